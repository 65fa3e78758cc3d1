"""Settings of input and output: what is refused, and a mesh format that somebody adds."""
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.result.settings import MESH_FORMATS, InputSettings, OutputSettings


@pytest.mark.parametrize('given, kept', [((40, 120), (40, 120)), ([3, 9], (3, 9)), ((5, None), (5, 0)), ((None, 7), (0, 7)), (None, None)])
def test_ranges_of_slices(given, kept):
    assert InputSettings(z_range=tuple(given) if given else None).z_range == kept


@pytest.mark.parametrize('wrong', [dict(z_range=(9, 3)), dict(z_range=(1, 2, 3)), dict(z_range=(1.5, 3)), dict(z_range=(True, 3)), dict(bin=0),
                                   dict(bin=True), dict(bin=1.5), dict(beam_axis='w'), dict(voxel_size_A=0.), dict(voxel_size_A=float('nan')),
                                   dict(invert=1), dict(mask=3), dict(resample=1), dict(allow_missing='yes'), dict(follow_links=None)])
def test_what_makes_no_sense_is_refused_by_name(wrong):
    name, = wrong
    with pytest.raises(VolumeError, match=name): InputSettings(**wrong)


def test_ply_is_always_written():
    assert OutputSettings(meshes=('obj', 'stl')).meshes == ('ply', 'obj', 'stl')
    assert OutputSettings().meshes == ('ply', 'vtp')


def test_an_unknown_mesh_format_names_those_that_there_are():
    with pytest.raises(VolumeError, match='blend.*ply, vtp, obj, stl'): OutputSettings(meshes=('blend',))


def test_every_mesh_format_can_be_imported_and_says_what_it_is_for():
    assert all(callable(MESH_FORMATS[name]) and MESH_FORMATS.help(name) for name in MESH_FORMATS)
