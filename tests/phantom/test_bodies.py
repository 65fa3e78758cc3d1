"""Bodies: radius, normals, distance, area and volume are exact, and what is placed keeps apart."""
import math
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.special import legendre_p, sph_harm_y

from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere
from cryoseg.phantom.settings import DEMO, PhantomSettings
from cryoseg.phantom.bodies import Body, bilayer_profile, dots, filament, lengths, place_bodies, place_particles, random_body
from cryoseg.phantom.bodies import sphere_quadrature, star_radius, visible
from cryoseg.phantom.phantom import paint


def some_bodies():
    "Bodies of every kind."
    rng = np.random.default_rng(0)
    bumpy = PhantomSettings(bumpiness=.06)
    return [replace(random_body(rng, kind, 20., bumpy), centre_vox=(30., 31., 32.)) for kind in ('sphere', 'ellipsoid', 'bumpy', 'bumpy')]


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


def test_profile():
    d = np.linspace(-60, 60, 2401)
    for h in (0, 5, 10, 20):
        profile = bilayer_profile(d, voxel_size_A=h)
        assert profile.sum() == pytest.approx(bilayer_profile(d, voxel_size_A=0).sum(), rel=.01)
        np.testing.assert_allclose(profile, profile[::-1], atol=1e-12)
    def seen_apart(h): return bilayer_profile(np.zeros(1), voxel_size_A=h) < .5*bilayer_profile(np.array([18.5]), voxel_size_A=h)
    assert seen_apart(5) and seen_apart(10) and not seen_apart(40)
    assert bilayer_profile(np.zeros(1), core=-.3) < 0


@pytest.mark.parametrize('normal, point, seen', [
    ((1, 0, 0), (5, 5, 5), False), ((0, 1, 0), (5, 5, 5), True), ((0, 0, -3), (5, 5, 5), True), ((1, 0, 1), (5, 5, 5), True), ((1.01, 0, 1), (5, 5, 5), False),
    ((0, 0, 1), (-1, 5, 5), False), ((0, 0, 1), (9.4, 5, 5), True), ((0, 0, 1), (9.6, 5, 5), False)])
def test_visible(normal, point, seen):
    assert visible(np.array([normal], float), np.array([point], float), (10, 10, 10))[0] == seen


def test_lengths_and_dots_are_numpys():
    a, b = np.random.default_rng(0).normal(size=(2, 50, 3))
    np.testing.assert_allclose(lengths(a), np.linalg.norm(a, axis=1))
    np.testing.assert_allclose(dots(a, b), (a*b).sum(1))


def test_quadrature_integrates_polynomials_of_the_sphere():
    u, w = sphere_quadrature(12)
    assert w.sum() == pytest.approx(4*np.pi) and np.allclose(lengths(u), 1)
    np.testing.assert_allclose((w[:, None]*u).sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.einsum('n,ni,nj->ij', w, u, u), np.eye(3)*4*np.pi/3, atol=1e-12)


def test_scaling_and_turning():
    "Twice as large: area x 4, volume x 8; turned: the distances turn with it."
    body = some_bodies()[2]
    large = replace(body, axes_vox=tuple(2*a for a in body.axes_vox))
    assert large.area_vox2 == pytest.approx(4*body.area_vox2) and large.volume_vox3 == pytest.approx(8*body.volume_vox3)
    turn = Rotation.from_rotvec([.3, -.5, .8]).as_matrix()
    origin = replace(body, centre_vox=(0., 0., 0.))
    bumps = tuple((d, h, *(turn@axis)) for d, h, *axis in body.bumps)
    turned = replace(origin, rotation=tuple(map(tuple, np.array(body.rotation)@turn.T)), bumps=bumps)
    points = np.random.default_rng(0).normal(0, 15, (200, 3))
    np.testing.assert_allclose(turned.signed_distance(points@turn.T), origin.signed_distance(points), atol=1e-9)


@pytest.mark.parametrize('kind', ['sphere', 'ellipsoid', 'bumpy'])
def test_random_bodies_keep_their_mean_radius(kind):
    body = random_body(np.random.default_rng(3), kind, 20., PhantomSettings(), id=4)
    assert body.id == 4 and body.kind == kind and np.prod(body.axes_vox)**(1/3) == pytest.approx(20)
    assert (len(body.bumps) > 0) == (kind == 'bumpy') and (np.ptp(body.axes_vox) > 0) == (kind != 'sphere')
    np.testing.assert_allclose(np.array(body.rotation)@np.transpose(body.rotation), np.eye(3), atol=1e-12)


def test_gold_and_ribosomes_are_where_they_say():
    settings = replace(DEMO, n_gold=3)
    bodies = place_bodies(np.random.default_rng(1), settings)
    particles = place_particles(np.random.default_rng(1), settings, bodies)
    gold = [p for p in particles if p.kind == 'gold']
    assert len(gold) == 3 and all(p.balls == ((*p.centre_vox, p.radius_vox),) for p in gold)
    for p in particles:
        if p.kind == 'protein': continue
        assert p.membrane == 0
        for z, y, x, r in p.balls: assert math.dist((z, y, x), p.centre_vox) + r < 1.01*p.radius_vox
        assert all(b.signed_distance(p.centre_vox) > p.radius_vox + 3 for b in bodies if b.role != 'inner')


def test_visible_area_of_a_sphere():
    "Normals at least 45° from the beam hold cos 45° of a sphere."
    points, normals, area = Body(1, 'sphere', (30., 30., 30.), (20., 20., 20.)).surface(20_000)
    assert area[visible(normals, points, (60, 60, 60))].sum()/area.sum() == pytest.approx(math.cos(math.pi/4), abs=2e-3)


def test_a_filament_runs_through_its_corners():
    corners = np.array([(10., 5., 5.), (12., 20., 30.), (10., 40., 60.)])
    made = filament(corners, 6.)
    balls = np.array(made.balls)
    steps = np.linalg.norm(np.diff(balls[:, :3], axis=0), axis=1)
    assert made.kind == 'filament' and (balls[:, 3] == 3).all() and steps.max() < 1.6 and np.ptp(steps) < .05
    assert all(np.linalg.norm(balls[:, :3] - corner, axis=1).min() < 1 for corner in corners)
    assert (np.linalg.norm(balls[:, :3] - made.centre_vox, axis=1) + 3 <= made.radius_vox + 1e-9).all()
    straight = np.array(filament(corners[:2], 6.).balls)[:, :3]
    across = np.cross(straight - corners[0], corners[1] - corners[0])
    assert np.abs(across).max() < 1e-9
