"""The phantom's truth must be exact, its physics linear and with a true wedge, its refusals clear."""
import math
import tomllib
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import trimesh
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree
from scipy.special import legendre_p, sph_harm_y

from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere
from cryoseg.phantom.settings import DEMO, PhantomSettings
from cryoseg.phantom.bodies import (
    Body, Particle, bilayer_profile, place_bodies, place_particles, random_body, star_radius, visible,
)
from cryoseg.phantom.imaging import (
    apply_optics, back_project, contrast_to_noise, detector_width, missing_wedge, project, tilt_angles,
)
from cryoseg.phantom.phantom import (
    paint, particle_mask, read_phantom_truth, scene_margin, simulate_phantom, write_phantom,
)
from cryoseg.base.files import VolumeError

TINY = replace(DEMO, shape=(40, 72, 72), n_vesicles=2, radius_A=(150., 200.), n_ribosomes=1)


def some_bodies():
    "Bodies of every kind."
    rng = np.random.default_rng(0)
    bumpy = PhantomSettings(bumpiness=.06)
    return [replace(random_body(rng, kind, 20., bumpy), centre_vox=(30., 31., 32.)) for kind in ('sphere', 'ellipsoid', 'bumpy', 'bumpy')]


@pytest.fixture(scope='module')
def phantom():
    return simulate_phantom(TINY, seed=1)


# --- bodies

def test_bumps_are_spherical_harmonics():
    "The addition theorem: a Legendre bump is a sum of spherical harmonics of its degree."
    u, w = fibonacci_sphere(50), fibonacci_sphere(7)[2]
    def polar(v): return np.arccos(v[..., 0]), np.arctan2(v[..., 2], v[..., 1])
    for degree in (2, 3, 5):
        total = sum(sph_harm_y(degree, m, *polar(u))*np.conj(sph_harm_y(degree, m, *polar(w))) for m in range(-degree, degree + 1))
        np.testing.assert_allclose(legendre_p(degree, u@w)[0], 4*np.pi/(2*degree + 1)*total.real, atol=1e-12)


@pytest.mark.parametrize('body', some_bodies(), ids=lambda b: b.kind)
def test_slope_normals_and_distance(body):
    u = fibonacci_sphere(400)
    aside = np.cross(u, [0, .6, .8])
    moved = u + 1e-6*aside
    _, slope = star_radius(u, body.axes_vox, body.rotation, body.bumps)
    change = (body.radius(moved/np.linalg.norm(moved, axis=1, keepdims=True)) - body.radius(u))/1e-6
    np.testing.assert_allclose((slope*aside).sum(1), change, atol=1e-3)
    points, normals, area = body.surface(3000)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    for d in (-4, -.5, 0, .5, 4): np.testing.assert_allclose(body.signed_distance(points + d*normals), d, atol=.1)
    np.testing.assert_allclose(area.sum(), body.area_vox2, rtol=1e-3)
    np.testing.assert_allclose((area[:, None]*normals).sum(0)/body.area_vox2, 0, atol=1e-3)       # a closed surface
    np.testing.assert_allclose((area*((points - body.centre_vox)*normals).sum(1)).sum()/3, body.volume_vox3, rtol=1e-3)   # Gauss


def test_distance_far_away():
    "Far from the surface the sign holds and the size is between the true distance and the way along the ray."
    body = replace(some_bodies()[2], centre_vox=(0., 0., 0.))
    points = np.random.default_rng(1).normal(0, 30, (2000, 3))
    r = np.linalg.norm(points, axis=1)
    along, distance = r - body.radius(points/r[:, None]), body.signed_distance(points)
    true, _ = cKDTree(body.surface(100_000)[0]).query(points)
    assert (np.sign(distance) == np.sign(along)).all() and (np.abs(distance) <= np.abs(along) + 1e-9).all() and (np.abs(distance) >= true - .2).all()
    near = (true > 2) & (true < 8)
    np.testing.assert_allclose(np.abs(distance)[near], true[near], atol=.1)
    assert body.signed_distance((0., 0., 0.)) < -10 and body.signed_distance(np.zeros((2, 5, 3))).shape == (2, 5)


def test_ellipsoid_agrees_with_geometry():
    body = some_bodies()[1]
    known = Ellipsoid(np.array(body.centre_vox), np.transpose(body.rotation)/body.axes_vox)
    assert body.area_vox2 == pytest.approx(known.area(), rel=1e-8) and body.volume_vox3 == pytest.approx(known.volume(), rel=1e-8)


@pytest.mark.parametrize('n', [12, 100, 2562])
def test_mesh_is_closed_and_outward(n):
    body = some_bodies()[3]
    vertices, faces = body.mesh(n)
    assert len(vertices) >= n and np.abs(body.signed_distance(vertices)).max() < 1e-6
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight and mesh.euler_number == 2 and 0 < mesh.volume < body.volume_vox3*1.001


# --- placing

@pytest.mark.parametrize('seed', range(4))
def test_bodies_keep_apart(seed):
    settings = replace(DEMO, double=1., radius_A=(150., 280.), gap_A=0.)
    bodies = place_bodies(np.random.default_rng(seed), settings)
    assert [b.id for b in bodies] == list(range(1, len(bodies) + 1))
    for a in bodies:
        for b in bodies:
            distance = a.signed_distance(b.surface(1500)[0])
            if a.id == b.id: continue
            if b.role == 'inner' and b.partner == a.id: assert distance.max() < -.8*settings.double_gap_A[0]/10 and bodies[b.id - 1].partner == a.id
            elif a.role != 'inner' and b.role != 'inner': assert distance.min() > settings.thickness_A/10 - .3
    _, labels, ids = paint(settings, bodies)
    assert set(np.unique(ids[labels == 1])) <= {b.id for b in bodies}


def test_whole_vesicles_stay_inside():
    for b in place_bodies(np.random.default_rng(0), replace(DEMO, truncated=False)):
        points = b.surface(1000)[0]
        assert (points > 2.9).all() and (points < np.array(DEMO.shape) - 3.9).all()


def test_proteins_stand_outside():
    rng = np.random.default_rng(2)
    bodies = place_bodies(rng, DEMO)
    particles = place_particles(rng, DEMO, bodies)
    proteins = [p for p in particles if p.kind == 'protein']
    assert proteins and sum(p.kind == 'ribosome' for p in particles) == DEMO.n_ribosomes
    for p in proteins:
        distances = {b.id: b.signed_distance(p.centre_vox) for b in bodies if b.role != 'inner'}
        assert min(distances, key=distances.get) == p.membrane and distances[p.membrane] == pytest.approx(3 + 1.5 + 5, abs=.2)
    for p in particles:
        for q in particles: assert p is q or math.dist(p.centre_vox, q.centre_vox) > p.radius_vox + q.radius_vox - 1e-9


# --- painting

def test_profile():
    d = np.linspace(-60, 60, 2401)
    for h in (0, 5, 10, 20):
        profile = bilayer_profile(d, voxel_size_A=h)
        assert profile.sum() == pytest.approx(bilayer_profile(d, voxel_size_A=0).sum(), rel=.01)
        np.testing.assert_allclose(profile, profile[::-1], atol=1e-12)
    def seen_apart(h): return bilayer_profile(np.zeros(1), voxel_size_A=h) < .5*bilayer_profile(np.array([18.5]), voxel_size_A=h)
    assert seen_apart(5) and seen_apart(10) and not seen_apart(40)
    assert bilayer_profile(np.zeros(1), core=-.3) < 0


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


# --- imaging

def test_projection_and_back_projection_are_linear():
    rng = np.random.default_rng(0)
    angles = tilt_angles(60, 10)
    a, b = rng.random((2, 20, 3, 24), dtype=np.float32)
    np.testing.assert_allclose(project(a + 2*b, angles), project(a, angles) + 2*project(b, angles), atol=1e-3)
    images = rng.random((2, len(angles), 3, 60), dtype=np.float32)
    both = back_project(images[0] + 2*images[1], angles, (20, 3, 24))
    np.testing.assert_allclose(both, back_project(images[0], angles, (20, 3, 24)) + 2*back_project(images[1], angles, (20, 3, 24)), atol=1e-3)


def test_projection_untilted_is_a_sum():
    volume = np.pad(np.random.default_rng(0).random((9, 4, 16), dtype=np.float32), ((0, 0), (0, 0), (8, 8)))
    volume = gaussian_filter1d(volume, 1.5, axis=2)
    image = project(volume, [0.], width=32)[0]
    np.testing.assert_allclose(image, volume.sum(0), atol=.03)
    np.testing.assert_allclose(project(volume, tilt_angles(60, 5)).sum(2), volume.sum((0, 2))[None].repeat(25, 0), rtol=1e-3)     # nothing is lost


def test_nothing_wraps_round():
    "A point in one corner leaves the opposite corner calm."
    corner = np.zeros((32, 1, 48), np.float32)
    corner[1, 0, 1] = 1
    angles = tilt_angles(60, 2)
    again = back_project(project(corner, angles), angles, corner.shape)
    assert np.unravel_index(again.argmax(), again.shape) == (1, 0, 1) and np.abs(again[20:, :, 30:]).max() < .03*again.max()


def test_missing_wedge():
    wedge = missing_wedge((20, 3, 24), 60)
    assert wedge.dtype == bool and wedge.shape == (20, 3, 24) and not wedge[0].any() and wedge[1:, :, 0].all()
    np.testing.assert_array_equal(wedge, np.roll(np.flip(wedge, (0, 2)), 1, (0, 2)))                # a real volume: k and -k alike
    assert missing_wedge((64, 1, 64), 45).mean() == pytest.approx(.5, abs=.02)
    assert missing_wedge((64, 1, 64), 70).sum() < missing_wedge((64, 1, 64), 50).sum()


def test_a_point_leaves_the_wedge_empty():
    point = np.zeros((64, 1, 64), np.float32)
    point[32, 0, 32] = 1
    angles = tilt_angles(50, 2)
    spread = back_project(project(point, angles), angles, point.shape)*np.hanning(64)[:, None, None]*np.hanning(64)
    power = np.abs(np.fft.fftn(spread))**2
    assert power[missing_wedge(point.shape, 53)].sum() < .005*power.sum()


def test_optics():
    images = np.random.default_rng(0).random((2, 16, 20), dtype=np.float32)
    assert apply_optics(images, DEMO) is images
    out = apply_optics(images, replace(DEMO, defocus_um=3.))
    assert out.shape == images.shape and np.isfinite(out).all()
    np.testing.assert_allclose(out.mean((1, 2)), .07*images.mean((1, 2)), rtol=1e-3)                # only the amplitude contrast at k = 0


@pytest.mark.parametrize('normal, point, seen', [
    ((1, 0, 0), (5, 5, 5), False), ((0, 1, 0), (5, 5, 5), True), ((0, 0, -3), (5, 5, 5), True), ((1, 0, 1), (5, 5, 5), True), ((1.01, 0, 1), (5, 5, 5), False),
    ((0, 0, 1), (-1, 5, 5), False), ((0, 0, 1), (9.4, 5, 5), True), ((0, 0, 1), (9.6, 5, 5), False)])
def test_visible(normal, point, seen):
    assert visible(np.array([normal], float), np.array([point], float), (10, 10, 10))[0] == seen


# --- the phantom

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
    assert contrast_to_noise(p.tomogram.data, p.labels == 1, background) == pytest.approx(cnr, rel=.03) == p.settings['reached_cnr']


def test_snr_and_no_noise():
    assert simulate_phantom(replace(TINY, snr=.5), seed=1).settings['reached_snr'] == pytest.approx(.5, rel=.02)
    quiet = simulate_phantom(replace(TINY, cnr=math.inf), seed=1)
    assert quiet.settings['noise_sd'] == 0 and quiet.settings['reached_cnr'] > 2


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


# --- files

def test_files_round_trip(phantom, tmp_path):
    folder = write_phantom(phantom, tmp_path/'a'/'b')
    back = read_phantom_truth(folder)
    assert back.bodies == phantom.bodies and back.particles == phantom.particles and isinstance(back.particles[0], Particle)
    assert {k: v for k, v in phantom.settings.items() if v is not None} == back.settings
    assert PhantomSettings(**{k: v for k, v in back.settings.items() if k in PhantomSettings.__dataclass_fields__}) == TINY
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


# --- bad input

@pytest.mark.parametrize('change, words', [
    (dict(shape=(4, 64, 64)), 'at least 16'), (dict(shape=(64, 64)), 'three whole numbers'), (dict(shape='big'), 'shape'), (dict(voxel_size_A=0.), 'voxel_size_A'),
    (dict(n_vesicles=-1), 'negative'), (dict(n_vesicles=2.5), 'n_vesicles'), (dict(radius_A=(300., 200.)), 'least, largest'), (dict(radius_A=(20., 200.)), 'at least 1.5'),
    (dict(radius_A=('a', 'b')), 'radius_A'), (dict(kinds=('cube',)), 'choose from'), (dict(kind_probabilities=(1.,)), 'one number'), (dict(elongation=.5), 'at least 1'), (dict(bumpiness=.5), '0.15'),
    (dict(double=2.), 'probability'), (dict(double_gap_A=(10., 20.)), 'merge'), (dict(leaflet_separation_A=70.), 'less than thickness_A'), (dict(tilt_deg=90.), 'between 0 and 90'),
    (dict(tilt_step_deg=0.), 'positive'), (dict(tilt_step_deg=70.), 'at most'), (dict(cnr=0.), 'positive'), (dict(cnr=math.nan), 'cnr'), (dict(cnr='high'), 'cnr'),
    (dict(snr=-1.), 'snr'), (dict(truncated=1), 'truncated'), (dict(amplitude_contrast=2.), 'amplitude_contrast'), (dict(defocus_um=-1.), 'negative')])
def test_bad_settings_name_the_value(change, words):
    with pytest.raises(VolumeError, match=words) as error: replace(TINY, **change)
    assert '\n' not in str(error.value) and str(error.value).startswith(next(iter(change)))


def test_lists_from_a_file_become_tuples():
    assert PhantomSettings(shape=[64, 128, 128]).shape == (64, 128, 128)


@pytest.mark.parametrize('change, words', [
    (dict(n_vesicles=40), r'only \d of 40 vesicles'), (dict(truncated=False, radius_A=(400., 400.)), 'only 0 of 2.*larger shape'), (dict(n_ribosomes=60), 'of 60 particles of kind ribosome'),
    (dict(cnr=50.), 'cannot be reached'), (dict(n_vesicles=0), 'has no CNR')])
def test_impossible_phantoms_say_why(change, words):
    with pytest.raises(VolumeError, match=words): simulate_phantom(replace(TINY, **change), seed=1)


def test_bad_arrays_are_refused():
    angles = tilt_angles(60, 10)
    with pytest.raises(VolumeError, match='give .Z,Y,X.'): project(np.zeros((4, 4)), angles)
    with pytest.raises(VolumeError, match='needs a detector'): project(np.zeros((20, 4, 20)), angles, width=10)
    with pytest.raises(VolumeError, match='do not fit'): back_project(np.zeros((3, 4, 40)), angles, (20, 4, 20))
    with pytest.raises(VolumeError, match='between 0 and 90'): missing_wedge((8, 8, 8), 90)
    assert tilt_angles(60, 3).size == 41 and tilt_angles(50, 50).tolist() == [-50, 0, 50] and detector_width((20, 4, 20), angles) >= 28
