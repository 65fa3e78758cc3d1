"The displacement from an ellipsoid: binning, prior, fit, mesh, measures, folds, and what makes it refuse."
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere, fit_ellipsoid
from cryoseg.base.mesh import is_closed, mesh_area, mesh_volume, vertex_normals
from cryoseg.base.slivers import on_sides, smallest_angles
from cryoseg.surface.checks import NotClosed
from cryoseg.surface.settings import SurfaceSettings
from cryoseg.surface.star import (
    bin_displacements, find_star_body, fit_round_star, fit_star, fit_star_surface, flatness_in_z, group_median,
    label_noise, main_body, measure_star, outermost, smooth_measures, smoothness_prior, star_surface, wall_middle, with_note,
)

EXACT = SurfaceSettings(label_sigma_vox=0., flat_sigma_vox=0., systematic_sigma_vox=0., degree=6, samples=8, edge_vox=4.)
AXES = np.array([20., 25., 30.])
SHAPE = (90, 90, 90)


def egg(n=3000, noise=.3, seed=0):
    "Voxels of an ellipsoid without its poles."
    u = fibonacci_sphere(2*n)
    u = u[np.abs(u[:, 0]) < .7]
    return 45 + u*AXES + noise*np.random.default_rng(seed).standard_normal(u.shape)


@pytest.fixture(scope='module')
def seen():
    return egg()


@pytest.fixture(scope='module')
def star(seen):
    return fit_star(seen, EXACT)


@given(seed=st.integers(0, 1000))
def test_medians_of_groups_are_medians(seed):
    rng = np.random.default_rng(seed)
    values, group = rng.standard_normal(60), rng.integers(0, 8, 60)
    for k, median in enumerate(group_median(values, group, 9)):
        here = np.sort(values[group == k])
        assert np.isnan(median) if not len(here) else median == here[len(here)//2]


def test_binning_finds_a_swollen_sphere_and_leaves_strays_out():
    sphere = Ellipsoid(np.full(3, 45.), np.eye(3)/20)
    u = fibonacci_sphere(8000)
    points = np.vstack([45 + 22*u, 45 + 35*u[::100]])
    cells = bin_displacements(sphere, points, 300)
    np.testing.assert_allclose(cells.displacement, 2., atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(cells.directions, axis=1), 1.)
    assert cells.counts.sum() == 8000
    mixed = bin_displacements(sphere, points[np.random.default_rng(0).permutation(len(points))], 300)
    np.testing.assert_allclose(mixed.directions, cells.directions, atol=1e-9)


def test_the_gradient_of_the_prior_is_its_derivative():
    prior, theta = smoothness_prior(5, 10.), np.array([.3, -.7])
    numeric = [(prior(theta + 1e-5*e)[0] - prior(theta - 1e-5*e)[0])/2e-5 for e in np.eye(2)]
    np.testing.assert_allclose(prior(theta)[1], numeric, atol=1e-6)
    assert np.all(np.diff(prior(theta)[0][9:]) <= 0)                 # less with each degree


def test_labels_err_most_where_the_membrane_lies_flat(star):
    assert flatness_in_z(np.array([[1., 0, 0], [-1, 0, 0], [0, 1, 0], [.5, 0, .8]])).tolist() == [1, 1, 0, 0]
    up = np.array([[0, 0, 1.], [1., 0, 0]])
    side, top = label_noise(star.ellipsoid, up, SurfaceSettings(), 300)
    assert top > 10*side > 0
    assert label_noise(star.ellipsoid, up, EXACT, 300).tolist() == [0, 0]


def test_an_ellipsoid_comes_back_with_its_poles(star):
    truth = 45 + fibonacci_sphere(2000)*AXES
    off = np.abs(star.distance(truth))
    sigma = star.displacement(star.ellipsoid.directions(truth))[1]
    poles = np.abs(truth[:, 0] - 45) > .8*AXES[0]
    assert off.mean() < .1 and off[poles].mean() < .3 and sigma[poles].mean() > 1.5*sigma[~poles].mean()


def test_the_fit_moves_with_its_voxels(star, seen):
    shift = np.array([3., -4., 5.])
    moved = fit_star(seen + shift, EXACT)
    np.testing.assert_allclose(moved.mesh(8.).vertices, star.mesh(8.).vertices + shift, atol=1e-3)


def test_the_mesh_lies_on_the_surface_and_looks_outwards(star):
    mesh = star.mesh(4.)
    assert is_closed(mesh.faces) and mesh_volume(mesh.vertices, mesh.faces) > 0
    assert np.abs(star.distance(mesh.vertices)).max() < .05 and (mesh.sigma > 0).all()
    assert star.distance(np.array([[45., 45, 45], [0, 0, 0]])) @ [1, -1] < 0
    assert len(star.mesh(2.).vertices) == 4*len(mesh.vertices) - 6


def test_samples_scatter_as_sigma_says(star):
    samples, faces = star.sample_meshes(200, np.random.default_rng(0))
    directions = star.ellipsoid.directions(np.mean(samples, 0))
    distance = np.array([star.ellipsoid.signed_distance(v) for v in samples])
    ratio = distance.std(0)/star.displacement(directions)[1]
    assert abs(np.median(ratio) - 1) < .1 and is_closed(faces)
    shifted = star.sample_meshes(200, np.random.default_rng(0), systematic_sigma_vox=2.).vertices
    assert np.std([mesh_volume(v, faces) for v in shifted]) > 3*np.std([mesh_volume(v, faces) for v in samples])


def test_smooth_measures_are_exact_for_an_ellipsoid(star):
    ellipsoid = Ellipsoid(np.zeros(3), np.diag(1/AXES))
    still = replace(star, ellipsoid=ellipsoid, process=replace(star.process, coefficients=0*star.process.coefficients))
    area, volume = smooth_measures(still)
    assert area == pytest.approx(ellipsoid.area(), rel=1e-5) and volume == pytest.approx(ellipsoid.volume(), rel=1e-5)


def test_what_is_cut_is_a_part_of_the_whole(star):
    whole, half = measure_star(star, SHAPE, EXACT), measure_star(star, (90, 90, 45), EXACT)
    assert not whole.cut and half.cut
    np.testing.assert_array_equal(whole.whole, whole.inside)
    np.testing.assert_allclose(half.inside/whole.whole, .5, atol=.05)
    assert half.mesh.vertices[:, 2].max() <= 44.5 + 1e-9
    assert mesh_area(half.mesh.vertices, half.mesh.faces) == pytest.approx(half.inside[0])


def test_seeds_change_errors_only_and_the_same_seed_nothing(star, seen):
    one, again, other = (star_surface(star, seen, SHAPE, EXACT, 3, seed) for seed in (0, 0, 1))
    assert one.area_sd_vox2 == again.area_sd_vox2 != other.area_sd_vox2
    assert one.area_vox2 == other.area_vox2 and one.id == 3 and one.method == 'star'
    np.testing.assert_array_equal(one.vertices_vox, other.vertices_vox)


@pytest.mark.parametrize('shape', [(90, 90, 45), (90, 50, 62), (52, 50, 60)])
def test_a_cut_body_has_no_slivers_and_its_vertices_know_their_error(star, seen, shape):
    "One side of the volume, an edge, a corner: what was shifted lies on the fitted surface, or in the side."
    s, cut = star_surface(star, seen, shape, EXACT), measure_star(star, shape, EXACT).mesh
    assert smallest_angles(cut.vertices, cut.faces).min() < 10 < smallest_angles(s.vertices_vox, s.faces).min()
    assert mesh_area(s.vertices_vox, s.faces) == pytest.approx(s.area_vox2, rel=1e-3) and len(s.sigma_vox) == len(s.vertices_vox)
    rim = on_sides(s.vertices_vox, shape).any(1)
    assert np.abs(star.distance(s.vertices_vox[~rim])).max() < .05 and np.abs(star.distance(s.vertices_vox[rim])).max() < .3
    directions = star.ellipsoid.directions(s.vertices_vox)
    sigma = star.displacement(directions).sd*star.along(directions, vertex_normals(s.vertices_vox, s.faces))
    np.testing.assert_allclose(s.sigma_vox[~rim], sigma[~rim], rtol=.08)     # the cut one took its normals from other faces


def test_a_whole_round_body_keeps_its_mesh(star, seen):
    s, mesh = star_surface(star, seen, SHAPE, EXACT), measure_star(star, SHAPE, EXACT).mesh
    assert s.vertices_vox.tobytes() == mesh.vertices.tobytes() and s.faces.tobytes() == mesh.faces.tobytes()


def test_a_cut_body_says_what_lies_outside(seen):
    left = seen[seen[:, 2] < 60]
    s = fit_star_surface(left, (90, 90, 60), EXACT, id=5)
    assert s.status == 'truncated' and 'edge of the volume' in s.reason and s.area_outside_vox2 > 0
    true_volume = 4/3*np.pi*AXES.prod()
    assert abs(s.volume_vox3 + s.volume_outside_vox3 - true_volume) < 3*np.hypot(s.volume_sd_vox3, s.volume_outside_sd_vox3) + .02*true_volume


def test_a_round_fit_begins_from_a_sphere(seen):
    axes = fit_round_star(seen, EXACT).ellipsoid.axes
    assert axes[0]/axes[2] < 1.01


def folded(seen):
    rng = np.random.default_rng(0)
    plates = [np.column_stack([rng.uniform(-10, 10, 900), rng.uniform(0, 15, 900), rng.normal(x, .5, 900)]) + 45 for x in (-12, 0, 12)]
    return np.vstack([seen, *plates])


def test_folds_are_peeled_off(seen):
    mixed = folded(seen)
    body = find_star_body(mixed, SHAPE, EXACT)
    assert body.star is not None and 'inside' in body.note and len(body.points) < 1.1*len(seen)
    assert np.abs(body.star.distance(seen)).mean() < .5
    star, own = main_body(fit_star(mixed, EXACT), mixed, EXACT)
    assert own[:len(seen)].mean() > .95 and own[len(seen):].mean() < .4


def test_the_outer_layer_is_outside(seen):
    inner = 45 + (seen - 45)*.5
    star = fit_star(seen, EXACT)
    layer = outermost(star, np.vstack([seen, inner]))
    assert layer[:len(seen)].mean() > .9 and not layer[len(seen):].any()


@pytest.mark.parametrize('name, said', [('plane', 'plane'), ('sheet', 'flat'), ('cup', 'cup')])
def test_open_membranes_are_not_closed(seen, name, said):
    rng = np.random.default_rng(0)
    flat = rng.uniform(10, 80, (3000, 3))
    clouds = dict(plane=flat*[0, 1, 1] + [45, 0, 0] + rng.normal(0, .2, (3000, 1)), sheet=flat*[0, 1, 1] + [45, 0, 0] + rng.normal(0, 1.5, (3000, 1))*[1, 0, 0],
                  cup=seen[seen[:, 1] < 46])
    with pytest.raises(NotClosed, match=said):
        fit_star_surface(clouds[name], SHAPE, EXACT)


def test_notes_are_added_to_reasons(star, seen):
    s = star_surface(star, seen, SHAPE, EXACT)
    assert with_note(s, None).reason == '' and with_note(with_note(s, 'a'), 'b').reason == 'a; b'


def test_too_few_points_have_no_ellipsoid():
    body = find_star_body(fit_ellipsoid(egg()).at(fibonacci_sphere(8)), SHAPE, EXACT)
    assert body.star is None and 'no closed body fits' in body.reason


def test_label_noise_counts_the_cells_of_a_stretch():
    "A stretch of labels that err alike is a disc of the label length; a cell's variance is that of as many cells."
    sphere, upright = Ellipsoid(np.zeros(3), np.eye(3)/40), np.array([[0, 0, 1.]])
    def noise(length=8., n_cells=4000, radius=40.):
        return label_noise(replace(sphere, matrix=np.eye(3)/radius), upright, SurfaceSettings(label_length_vox=length), n_cells)[0]
    assert noise() == pytest.approx(.5**2*np.pi*8**2/(4*np.pi*40**2/4000))
    assert noise(length=16.) == pytest.approx(4*noise()) and noise(n_cells=8000) == pytest.approx(2*noise())
    assert noise(radius=20.) == pytest.approx(4*noise()) and noise(n_cells=1) == .5**2


@pytest.mark.parametrize('shift', [0., 2.])
def test_what_lies_outside_is_the_mean_of_two_fits(star, seen, monkeypatch, shift):
    "Its variance is theirs, and half of their difference squared."
    import cryoseg.surface.star as room
    second = replace(star, ellipsoid=replace(star.ellipsoid, centre=star.ellipsoid.centre + [0, 0, shift]))
    monkeypatch.setattr(room, 'fit_round_star', lambda *rest: second)
    shape = (90, 90, 60)
    measures = [measure_star(s, shape, EXACT, 0) for s in (star, second)]
    far = [m.whole - m.inside for m in measures]
    variance = np.mean([(m.whole_samples - m.inside_samples).var(0) for m in measures], 0)
    s = star_surface(star, seen, shape, EXACT, 1)
    assert s.area_outside_vox2 == pytest.approx(np.mean(far, 0)[0]) and s.volume_outside_vox3 == pytest.approx(np.mean(far, 0)[1])
    sd = np.sqrt(variance + (far[0] - far[1])**2/4)
    assert (s.area_outside_sd_vox2, s.volume_outside_sd_vox3) == pytest.approx(tuple(sd))


def leaflets(radius=30, half=5, shape=(80, 80, 80), low=0):
    "Voxels of two lines, each two voxels thick, on both sides of a sphere; without those below `low`."
    grid = np.indices(shape).reshape(3, -1).T.astype(float)
    away = np.linalg.norm(grid - 39.5, axis=1) - radius
    return grid[(np.abs(np.abs(away) - half) <= 1) & (np.abs(grid[:, 0] - 39.5) < 26) & (grid[:, 2] >= low)]


@pytest.mark.parametrize('low', [0, 30])
def test_a_surface_runs_between_two_leaflets(low):
    "Ten voxels apart, as at 5 Å a voxel; whole, and cut by the edge of the volume."
    points = leaflets(low=low) - [0, 0, low]
    body = find_star_body(points, (80, 80, 80 - low), SurfaceSettings(bilayer_vox=14.))
    surface = fit_star_surface(points, (80, 80, 80 - low), SurfaceSettings(bilayer_vox=14.))
    middle = surface.vertices_vox[np.abs(surface.vertices_vox[:, 0] - 39.5) < 20]
    radius = np.linalg.norm(middle - [39.5, 39.5, 39.5 - low], axis=1)
    assert 'between them' in body.note and np.abs(radius - 30).mean() < .6 and 'leaflets' in surface.reason


def test_two_membranes_are_no_leaflets():
    "What is farther apart than a bilayer, and what has no size, gets no surface in a place where nothing is."
    for settings in (SurfaceSettings(), SurfaceSettings(bilayer_vox=7.)):
        body = find_star_body(leaflets(), (80, 80, 80), settings)
        assert 'between' not in (body.note or '')
        if body.star: assert np.abs(np.linalg.norm(body.star.mesh(2.).vertices - 39.5, axis=1).mean() - 30) > 3


def test_one_line_and_a_filled_wall_have_no_middle():
    "A wall of which both faces are seen in few directions is none; a filled one needs no help."
    line = leaflets(half=0)
    settings = SurfaceSettings(bilayer_vox=14.)
    assert find_star_body(line, (80, 80, 80), settings).note is None
    half_of_it = np.vstack([leaflets()[leaflets()[:, 1] < 30], line[line[:, 1] >= 30]])
    star = fit_star(half_of_it)
    assert wall_middle(star, half_of_it, 14.) is None


@pytest.mark.parametrize('leaflets', [False, True])
def test_a_wall_that_the_volume_cuts_pulls_nothing_in(leaflets):
    "A thick wall of labels, cut at a slant: the mean of what is left of it lies inside; it must not count."
    shape, centre, radius = (80, 90, 60), np.array([40., 45., 12.]), 30.
    places = np.stack(np.indices(shape), -1).reshape(-1, 3).astype(float)
    off = np.linalg.norm(places - centre, axis=1) - radius
    wall = np.abs(np.abs(off) - 4) < 1.2 if leaflets else np.abs(off) < 4
    settings = SurfaceSettings(bilayer_vox=9., systematic_sigma_vox=0.)
    surface = fit_star_surface(places[wall], shape, settings)
    error = np.linalg.norm(surface.vertices_vox - centre, axis=1) - radius          # a thick shell has more voxels on its outer side: .3
    edge = surface.vertices_vox[:, 2] < 2
    assert surface.status == 'truncated' and abs(error[edge].mean() - error[~edge].mean()) < .2 and np.abs(error).max() < .7
    if not leaflets:
        pulled = fit_star(places[wall], settings).displacement(fit_ellipsoid(places[wall]).directions(surface.vertices_vox[edge])).mean
        kept = fit_star(places[wall], settings, cut_by=shape).displacement(fit_ellipsoid(places[wall]).directions(surface.vertices_vox[edge])).mean
        assert (kept - pulled).mean() > .3
