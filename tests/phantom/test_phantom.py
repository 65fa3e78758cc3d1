"""The phantom: painted labels are the truth, the contrast is met, files come back whole."""
import math
import tomllib
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import trimesh

from cryoseg.base.files import VolumeError
from cryoseg.phantom.settings import DEMO
from cryoseg.phantom.bodies import Body, Particle
from cryoseg.phantom.imaging import back_project, contrast_to_noise, project, tilt_angles
from cryoseg.phantom.phantom import (
    broken_shells, paint, particle_mask, read_phantom_truth, scene_margin, simulate_phantom, write_phantom,
)

TINY = replace(DEMO, shape=(40, 72, 72), n_vesicles=2, radius_A=(150., 200.), n_ribosomes=1)


@pytest.fixture(scope='module')
def phantom():
    return simulate_phantom(TINY, seed=1)


def test_painted_labels_are_the_truth(phantom):
    "Label 1 is where the true distance is at most half the thickness, by the body's own distance."
    grid = np.stack(np.indices(phantom.labels.shape), -1)
    nearest = np.full(phantom.labels.shape, np.inf)
    for body in phantom.bodies:
        distance = np.abs(body.signed_distance(grid))
        nearest = np.minimum(nearest, distance)
        at = (distance < 2.9)
        assert (phantom.membranes[at] == body.id).all()
    assert (phantom.labels[nearest < 2.9] == 1).all() and (phantom.labels[nearest > 3.1] != 1).all()
    assert ((phantom.membranes > 0) == (phantom.labels == 1)).all()


def test_same_seed_same_phantom(phantom):
    again, other = simulate_phantom(TINY, seed=1), simulate_phantom(TINY, seed=2)
    np.testing.assert_array_equal(again.tomogram.data, phantom.tomogram.data)
    assert again.bodies == phantom.bodies and again.particles == phantom.particles and other.bodies != phantom.bodies
    assert phantom.labels.dtype == np.uint8 and phantom.membranes.dtype == np.uint16 and phantom.tomogram.data.dtype == np.float32
    assert phantom.labels.shape == phantom.membranes.shape == phantom.tomogram.shape == TINY.shape


def test_membranes_are_dark_and_ribosomes_darker(phantom):
    mean = {name: phantom.tomogram.data[mask].mean() for name, mask in
            dict(membrane=phantom.labels == 1, ribosome=phantom.distractors, background=(phantom.labels == 0) & ~phantom.distractors).items()}
    assert mean['ribosome'] < mean['membrane'] < mean['background']
    assert not phantom.labels[phantom.distractors].any() and particle_mask(TINY.shape, phantom.particles, ('gold',)).sum() == 0


@pytest.mark.parametrize('cnr', [.5, 1.5])
def test_cnr_is_met(cnr):
    p = simulate_phantom(replace(TINY, cnr=cnr), seed=3)
    background = (p.labels == 0) & ~p.distractors
    assert contrast_to_noise(p.tomogram.data, p.labels == 1, background) == pytest.approx(cnr, rel=.03) == p.reached_cnr


def test_snr_and_no_noise():
    assert simulate_phantom(replace(TINY, snr=.5), seed=1).reached_snr == pytest.approx(.5, rel=.02)
    quiet = simulate_phantom(replace(TINY, cnr=math.inf), seed=1)
    assert quiet.noise_sd == 0 and quiet.reached_cnr > 2


def test_other_specimens_and_optics():
    "Settings that a network was not trained on still give a phantom."
    for change in (dict(defocus_um=3.), dict(noise_blur_vox=1.), dict(n_gold=2), dict(voxel_size_A=13.), dict(thickness_A=80., leaflet_separation_A=45.),
                   dict(tilt_deg=45., tilt_step_deg=4.), dict(core_density=.3), dict(n_vesicles=0, snr=.1)):
        p = simulate_phantom(replace(TINY, **change), seed=4)
        assert np.isfinite(p.tomogram.data).all() and p.tomogram.data.std() > 0, change


def test_what_lies_outside_casts_its_shadow():
    "A vesicle cut by the edge of the tomogram looks inside it as in a tomogram that holds it whole."
    body = Body(1, 'sphere', (20., 16., 0.), (15., 15., 15.))
    angles = tilt_angles(60, 4)
    settings = replace(TINY, shape=(40, 32, 64))
    margin = scene_margin(settings, (body,))
    scene = paint(settings, (body,), (), margin)[0]
    cut = back_project(project(scene, angles), angles, settings.shape)
    large = replace(settings, shape=(40, 32, 128))
    whole = back_project(project(paint(large, (replace(body, centre_vox=(20., 16., 32.)),))[0], angles), angles, large.shape)[:, :, 32:96]
    assert np.corrcoef(cut.ravel(), whole.ravel())[0, 1] > .97


def test_files_round_trip(phantom, tmp_path):
    folder = write_phantom(phantom, tmp_path/'a'/'b')
    back = read_phantom_truth(folder)
    assert back.bodies == phantom.bodies and back.particles == phantom.particles and isinstance(back.particles[0], Particle)
    assert back.settings == phantom.settings == TINY
    for name in ('seed', 'noise_sd', 'reached_cnr', 'reached_snr'): assert getattr(back, name) == getattr(phantom, name)
    for name in ('labels', 'membranes'): np.testing.assert_array_equal(getattr(back, name), getattr(phantom, name))
    np.testing.assert_array_equal(np.asarray(back.tomogram.data), phantom.tomogram.data)
    assert back.labels.dtype == np.uint8 and back.membranes.dtype == np.uint16 and back.tomogram.voxel_size_A == 10
    modes = {name: int(mrcfile.open(folder/f'{name}.mrc', header_only=True).header.mode) for name in ('tomogram', 'truth_labels', 'truth_membranes')}
    assert modes == dict(tomogram=2, truth_labels=0, truth_membranes=6)
    assert 'body' in tomllib.loads((folder/'truth.toml').read_text(encoding='utf-8'))


def test_meshes_are_in_angstrom_xyz(phantom, tmp_path):
    folder = write_phantom(phantom, tmp_path)
    (folder/'truth_surfaces'/'membrane_0099.ply').touch()
    write_phantom(phantom, folder)                                                                  # what is stale goes
    assert sorted(p.name for p in (folder/'truth_surfaces').iterdir()) == [f'membrane_{b.id:04d}.ply' for b in phantom.bodies]
    for body in phantom.bodies:
        mesh = trimesh.load(folder/'truth_surfaces'/f'membrane_{body.id:04d}.ply', process=False)
        assert mesh.is_watertight and mesh.volume/1000 == pytest.approx(body.volume_vox3, rel=.02)
        assert np.abs(body.signed_distance(np.asarray(mesh.vertices)[:, ::-1]/10)).max() < .01


def test_damaged_truth_is_refused(phantom, tmp_path):
    with pytest.raises(VolumeError, match='truth.toml'): read_phantom_truth(tmp_path)
    folder = write_phantom(phantom, tmp_path/'p')
    text = (folder/'truth.toml').read_text(encoding='utf-8')
    for damage, words in ((text[:len(text)//2] + '[', 'damaged'), (text.replace('kind =', 'sort ='), 'does not fit'), (text.replace('[settings]', '[other]'), 'does not fit')):
        (folder/'truth.toml').write_text(damage, encoding='utf-8')
        with pytest.raises(VolumeError, match=words): read_phantom_truth(folder)
    (tmp_path/'file').write_text('in the way')
    with pytest.raises(VolumeError, match='file'): write_phantom(phantom, tmp_path/'file')


@pytest.mark.parametrize('change, words', [
    (dict(n_vesicles=40), r'only \d of 40 vesicles'), (dict(truncated=False, radius_A=(400., 400.)), 'only 0 of 2.*larger shape'), (dict(n_ribosomes=60), 'of 60 particles of kind ribosome'),
    (dict(cnr=50.), 'cannot be reached'), (dict(n_vesicles=0), 'has no CNR')])
def test_impossible_phantoms_say_why(change, words):
    with pytest.raises(VolumeError, match=words): simulate_phantom(replace(TINY, **change), seed=1)


def test_an_empty_scene_is_empty():
    scene = paint(TINY, ())
    assert scene.density.shape == TINY.shape and not scene.density.any() and not scene.labels.any() and not scene.instances.any()
    assert scene_margin(TINY, ()) == (2, 0, 2) and scene_margin(replace(TINY, defocus_um=1.), ()) == (2, 16, 2)


def test_the_margin_holds_what_is_cut():
    "On both sides: a radius of 15, and a thickness of 6 beyond it."
    z, y, x = scene_margin(TINY, (Body(1, 'sphere', (2., 36., 70.), (15., 15., 15.)),))
    assert z == pytest.approx(15 + 6 - 2, abs=1) and y == 0 and x == pytest.approx(70 + 15 + 6 - 71, abs=1)
    low = scene_margin(TINY, (), (Particle('gold', (1., 30., 30.), 5., ((1., 30., 30., 5.),)),))
    assert low[0] == 5 + 2 - 1 and low[2] == 2


def test_a_margin_only_shifts_the_scene():
    body = Body(1, 'sphere', (20.1, 36.2, 36.3), (15., 15., 15.))
    particle = Particle('protein', (20., 36., 57.), 3., ((20., 36., 57., 3.),), 1)
    plain, wide = paint(TINY, (body,), (particle,)), paint(TINY, (body,), (particle,), (3, 0, 5))
    for a, b in zip(plain, wide): np.testing.assert_allclose(b[3:-3, :, 5:-5], a, atol=1e-5)
    np.testing.assert_array_equal(wide.labels[3:-3, :, 5:-5], plain.labels)
    assert (plain.labels == 2).any() and plain.density.min() < -.8


def test_density_integrates_to_the_profile():
    "The sum of the density is the area of the mid-surface times the integral of the profile (two Gaussians)."
    body = Body(1, 'sphere', (30., 36., 36.), (18., 18., 18.))
    settings = replace(TINY, shape=(60, 72, 72), voxel_size_A=10.)
    sigma = (settings.thickness_A - settings.leaflet_separation_A)/4
    across = -2*sigma*math.sqrt(2*math.pi)/settings.voxel_size_A
    assert paint(settings, (body,)).density.sum() == pytest.approx(across*body.area_vox2, rel=.03)


def test_particle_mask_fills_a_ball():
    ball = Particle('gold', (20., 20., 20.), 8., ((20., 20., 20., 8.),))
    assert particle_mask((40, 40, 40), (ball,)).sum() == pytest.approx(4/3*np.pi*8**3, rel=.02)
    assert not particle_mask((40, 40, 40), (ball,), ('ribosome',)).any()


def test_broken_shells():
    bodies = [((30, 44, 45), (24, 32, 34)), ((30, 46, 110), (22, 30, 26))]
    whole = broken_shells((60, 90, 150), bodies, keep=1., holes=0, wedge=1.)
    broken = broken_shells((60, 90, 150), bodies, specks=200)
    assert set(np.unique(whole.truth)) == {0, 1, 2} == set(np.unique(broken.truth))
    assert (whole.mask == (whole.truth > 0)).all() and (broken.truth[broken.truth > 0] == whole.truth[broken.truth > 0]).all()
    assert broken.mask[broken.truth > 0].all() and 0 < (broken.mask & (broken.truth == 0)).sum() <= 200
    body = Body(1, 'ellipsoid', *((tuple(map(float, v)) for v in bodies[0])))
    assert (whole.truth == 1).sum() == pytest.approx(3*body.area_vox2, rel=.03)                      # 3 voxels thick
    assert not broken.truth[:8].any() and whole.truth[:8].any()                                      # no poles
    again = broken_shells((60, 90, 150), bodies, specks=200)
    np.testing.assert_array_equal(again.mask, broken.mask)
