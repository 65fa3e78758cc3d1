"The choice of a surface: the register, what is refused before any method, failures of a method, and held-out patches."
import numpy as np
import pytest

import cryoseg.surface.fit
from cryoseg.base.files import VolumeError
from cryoseg.base.geometry import fibonacci_sphere, fit_ellipsoid, icosphere
from cryoseg.result.records import Surface, refused_surface
from cryoseg.run.fits import fit_surfaces
from cryoseg.surface.checks import NotClosed
from cryoseg.surface.fit import fit_auto, fit_surface, held_out_errors
from cryoseg.surface.settings import SURFACE_METHODS, SurfaceSettings

EXACT = dict(label_sigma_vox=0., flat_sigma_vox=0., systematic_sigma_vox=0., edge_vox=4., samples=4, degree=6)
SHAPE = (100, 100, 100)


def ball(radius=20., centre=50., n=3000, seed=0):
    "Voxels of a sphere without its poles."
    u = fibonacci_sphere(n)
    u = u[np.abs(u[:, 0]) < .7]
    return centre + radius*u + .3*np.random.default_rng(seed).standard_normal(u.shape)


def sheet(thickness=1.5):
    rng = np.random.default_rng(0)
    return np.column_stack([50 + thickness*rng.standard_normal(900), rng.uniform(30, 70, (900, 2))])


def fit_toy(points, shape, settings, id=0, seed=0):
    "A method of a user: the sphere by least squares."
    design = np.column_stack([2*points, np.ones(len(points))])
    *centre, rest = np.linalg.lstsq(design, (points**2).sum(1), rcond=None)[0]
    radius = np.sqrt(rest + np.square(centre).sum())
    off = np.linalg.norm(points - centre, axis=1) - radius
    if off.std() > .1*radius:
        raise NotClosed('no sphere')
    directions, faces = icosphere(3)
    return Surface(id, centre + radius*directions, faces, np.full(len(directions), off.std()), 'closed', method='toy', n_points=len(points))


@pytest.fixture
def register():
    "A function that enters a method for the time of one test."
    added = []

    def add(name, method):
        SURFACE_METHODS.add(name, method)
        added.append(name)
        return SurfaceSettings(method=name, **EXACT)

    yield add
    for name in added:
        SURFACE_METHODS.remove(name)


def test_a_method_of_a_user_fits_one_membrane_and_several(register):
    settings = register('toy', fit_toy)
    s = fit_surface(ball(), SHAPE, settings, id=3)
    assert (s.id, s.status, s.method) == (3, 'closed', 'toy')
    assert np.linalg.norm(s.vertices_vox - 50, axis=1) == pytest.approx(20, abs=.2)
    volume = np.zeros(SHAPE, np.uint16)
    for id, points in ((1, ball(20, 30)), (2, ball(12, 75)), (3, ball()[:10])):
        volume[tuple(np.round(points).astype(int).T)] = id
    found = fit_surfaces(volume, settings)
    assert [(s.id, s.status, s.method) for s in found] == [(1, 'closed', 'toy'), (2, 'closed', 'toy'), (3, 'refused', '')]


def test_where_a_method_finds_no_closed_body_a_sheet_is_drawn(register):
    s = fit_surface(sheet(), SHAPE, register('toy', fit_toy))
    assert (s.status, s.method, s.reason) == ('open', 'normals', 'no sphere')


@pytest.mark.parametrize('error', [np.linalg.LinAlgError('singular'), ValueError('singular')])
def test_a_failure_refuses_one_membrane(register, error):
    def fails(points, shape, settings, id=0, seed=0):
        raise error

    s = fit_surface(ball(), SHAPE, register('fails', fails), id=9)
    assert (s.id, s.status, s.reason) == (9, 'refused', 'the fit failed: singular') and len(s.faces) == 0


def test_a_failing_sheet_is_refused_too(register, monkeypatch):
    def fails(*arguments):
        raise np.linalg.LinAlgError('no sheet')

    monkeypatch.setattr(cryoseg.surface.fit, 'open_surface', fails)
    s = fit_surface(sheet(), SHAPE, register('toy', fit_toy))
    assert (s.status, s.reason) == ('refused', 'the fit failed: no sheet')


def test_a_method_may_refuse_by_itself_and_gets_id_and_seed(register):
    def refuses(points, shape, settings, id=0, seed=0):
        return refused_surface(id, f'seed {seed}, shape {shape}', len(points))

    s = fit_surface(ball(), SHAPE, register('refuses', refuses), id=4, seed=8)
    assert (s.id, s.reason) == (4, f'seed 8, shape {SHAPE}')


def test_an_unknown_method_names_the_choices():
    with pytest.raises(VolumeError, match='star'):
        SurfaceSettings(method='magic')


@pytest.mark.parametrize('points, said', [
    (ball()[:20], 'too few'), (np.zeros((0, 3)), 'too few'), (np.full((90, 3), np.nan), 'too few'),
    (np.column_stack([np.full(500, 4.), np.random.default_rng(0).uniform(0, 50, (500, 2))]), 'one slice'),
    (np.random.default_rng(0).normal(50, [20, .8, 1], (500, 3)), 'along a line'),
])
@pytest.mark.parametrize('method', list(SURFACE_METHODS))
def test_what_is_no_surface_is_refused_by_every_method(points, said, method):
    s = fit_surface(points, SHAPE, SurfaceSettings(method=method, **EXACT))
    assert s.status == 'refused' and said in s.reason


def test_points_that_are_not_finite_and_strays_do_not_count(register):
    seen = []

    def looks(points, shape, settings, id=0, seed=0):
        seen.append(points)
        return refused_surface(id, '')

    settings = register('looks', looks)
    clean = ball()
    fit_surface(clean, SHAPE, settings)
    fit_surface(np.vstack([clean, [[np.nan, 1, 1], [np.inf, 0, 0], [2, 97, 3]]]), SHAPE, settings)
    np.testing.assert_array_equal(*seen)


def test_auto_closes_balls_and_leaves_sheets_open():
    settings = SurfaceSettings(**EXACT)
    s = fit_surface(ball(), SHAPE, settings, id=2)
    assert s.id == 2 and s.status == 'closed' and s.reason.startswith('left-out patches are predicted to')
    other = fit_surface(ball(), SHAPE, settings, seed=1)
    np.testing.assert_array_equal(s.vertices_vox, other.vertices_vox)
    assert s.area_sd_vox2 != other.area_sd_vox2
    assert fit_surface(sheet(), SHAPE, settings).status == 'open'
    assert fit_auto(sheet(.2), SHAPE, settings).reason == 'its voxels lie in a plane'


def test_held_out_patches_are_predicted_well_or_not_at_all():
    points = ball()
    errors = held_out_errors(points, fit_ellipsoid(points), SurfaceSettings(**EXACT))
    assert errors.star < .3 and errors.normals < .6
    few = held_out_errors(points[:60], fit_ellipsoid(points), SurfaceSettings(**EXACT))
    assert np.isnan(few.star) and np.isnan(few.normals)


@pytest.mark.parametrize('status, result', [('closed', 'closed'), ('refused', 'open')])
def test_what_is_no_star_is_closed_by_its_normals_or_stays_open(monkeypatch, status, result):
    from cryoseg.surface.star import StarBody
    points = ball()
    def concave(points, shape, settings, id, reason): return Surface(id, points, np.zeros((0, 3), int), np.ones(len(points)), status, 'the normals say so')
    def opened(points, shape, settings, id, reason): return Surface(id, points, np.zeros((0, 3), int), np.ones(len(points)), 'open', reason)
    monkeypatch.setattr(cryoseg.surface.fit, 'concave_surface', concave)
    monkeypatch.setattr(cryoseg.surface.fit, 'open_surface', opened)
    monkeypatch.setattr(cryoseg.surface.fit, 'find_star_body', lambda *rest: StarBody(None, points, reason='folds', no_star=True))
    s = fit_auto(points, SHAPE, SurfaceSettings(**EXACT), 3)
    assert s.status == result and 'the normals say so' in s.reason and ('folds' in s.reason) == (result == 'open')
    monkeypatch.setattr(cryoseg.surface.fit, 'find_star_body', lambda *rest: StarBody(None, points, reason='flat', no_star=False))
    s = fit_auto(points, SHAPE, SurfaceSettings(**EXACT), 3)
    assert (s.status, s.reason) == ('open', 'flat')


@pytest.mark.parametrize('normals, status, method', [(.5, 'closed', 'normals'), (.5, 'refused', 'star'), (.95, 'closed', 'star'), (np.nan, 'closed', 'star')])
def test_the_normals_win_where_they_predict_better_and_close(monkeypatch, normals, status, method):
    from cryoseg.surface.fit import HeldOut
    def concave(points, shape, settings, id, reason): return Surface(id, points, np.zeros((0, 3), int), np.ones(len(points)), status, 'it says why', 'normals')
    monkeypatch.setattr(cryoseg.surface.fit, 'concave_surface', concave)
    monkeypatch.setattr(cryoseg.surface.fit, 'held_out_errors', lambda *rest: HeldOut(1., normals))
    s = fit_auto(ball(), SHAPE, SurfaceSettings(**EXACT), 3)
    assert s.method == method and s.status == 'closed' and ('it says why' in s.reason) == (normals == .5)


def test_surfaces_on_a_shelf_are_equal_and_lie_in_files():
    from cryoseg.result.records import Curvature
    shelf = cryoseg.surface.fit.Shelf()
    v, f = icosphere(3)
    some = Surface(4, v, f, np.arange(642.), 'closed', area_vox2=3., curvature=Curvature(*np.random.default_rng(0).normal(size=(4, 642)), .5, .1))
    kept = [shelf.surface(some) for _ in range(700)]        # more than the first block holds
    for s in (kept[0], kept[333], kept[-1]):
        assert np.array_equal(s.vertices_vox, v) and np.array_equal(s.faces, f) and s.faces.dtype == f.dtype and (s.id, s.area_vox2) == (4, 3.)
        assert np.array_equal(s.curvature.gaussian_sd_per_vox2, some.curvature.gaussian_sd_per_vox2) and s.curvature.average_per_vox == .5
    assert len(shelf.block) == cryoseg.surface.fit.SHELF_BYTES
    base = kept[-1].faces
    while isinstance(base, np.ndarray): base = base.base
    assert type(base).__name__ == 'mmap'                    # pages of a file, not memory of the process
    assert shelf.surface(refused_surface(1, 'no')).reason == 'no'
