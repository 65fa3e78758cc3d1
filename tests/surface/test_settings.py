"""Settings of contours and surfaces: each explains itself, refuses what makes no sense, and costs no import."""
import subprocess
import sys
from dataclasses import fields

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.surface.settings import CONTOUR_METHODS, KERNELS, SURFACE_METHODS
from cryoseg.surface.settings import ContourSettings, EllipseSettings, SurfaceSettings

CLASSES = EllipseSettings, ContourSettings, SurfaceSettings
FIELDS = [pytest.param(f, id=f'{kind.__name__}.{f.name}') for kind in CLASSES for f in fields(kind) if f.name != 'ellipse']


@pytest.mark.parametrize('f', FIELDS)
def test_each_setting_explains_itself(f):
    assert f.metadata['help'].rstrip().endswith('.') and len(f.metadata['help'].split()) > 3
    assert f.metadata['unit'] == {'px': 'px', 'vox': 'voxels'}.get(f.name.split('_')[-1], '')
    assert f.name != 'seed'         # chance comes from the run's seed, not from settings


@pytest.mark.parametrize('kind, wrong', [
    (SurfaceSettings, dict(method='wish')), (SurfaceSettings, dict(kernel='cubic')), (SurfaceSettings, dict(anchors='moon')),
    (SurfaceSettings, dict(min_coverage=1.5)), (SurfaceSettings, dict(edge_vox=0.)), (SurfaceSettings, dict(degree=2.5)),
    (SurfaceSettings, dict(reach_vox=float('nan'))), (ContourSettings, dict(method='circle')), (ContourSettings, dict(method=3)),
    (ContourSettings, dict(samples=1)), (ContourSettings, dict(min_seen=-.1)), (EllipseSettings, dict(elongation=0.)),
    (EllipseSettings, dict(spread_factors=())), (EllipseSettings, dict(correlated_fractions=(1.,))),
    (EllipseSettings, dict(lengths_px=('3',))), (EllipseSettings, dict(lengths_px=(True,))), (EllipseSettings, dict(prune=1)),
])
def test_refuses_what_makes_no_sense(kind, wrong):
    with pytest.raises(VolumeError, match=next(iter(wrong))): kind(**wrong)


def test_takes_every_choice():
    for name in SURFACE_METHODS: assert SurfaceSettings(method=name).method == name
    for name in KERNELS: assert SurfaceSettings(kernel=name).kernel == name
    for name in CONTOUR_METHODS: assert ContourSettings(method=name).method == name
    assert ContourSettings().method is None and EllipseSettings(correlated_fractions=()).correlated_fractions == ()


def test_options_of_the_command_line():
    options = {f.name: f.metadata['option'] for kind in CLASSES for f in fields(kind) if f.metadata.get('option')}
    assert {f.metadata['option'] for f in fields(SurfaceSettings)} == {None, '--surface-method', '--kernel'}
    assert {f.metadata.get('option') for f in fields(ContourSettings)} == {None, '--contours'}
    assert options['kernel'] == '--kernel'


def test_registers_have_help_and_kernels_are_there():
    assert list(SURFACE_METHODS) == ['auto', 'star', 'normals', 'paper']
    assert all(SURFACE_METHODS.help(name) for name in SURFACE_METHODS) and all(KERNELS.help(name) for name in KERNELS)
    assert all(KERNELS[name](2.).scale == 2. for name in KERNELS)


def test_the_bound_of_an_entry_is_named():
    assert EllipseSettings(lengths_px=[3, 6]).lengths_px == (3., 6.)
    with pytest.raises(VolumeError, match='correlated_fractions = .* less than 1'): EllipseSettings(correlated_fractions=(1.,))
    with pytest.raises(VolumeError, match='at least 1'): EllipseSettings(spread_factors=())


def test_costs_no_import():
    code = 'import sys, cryoseg.surface.settings; sys.exit("numpy" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
