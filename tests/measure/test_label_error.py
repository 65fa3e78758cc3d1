"How far labels are off: found where the densities show it, nothing where they do not, and the surface where the membrane is."
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cryoseg.base.mesh import vertex_normals
from cryoseg.measure.label_error import (
    FARTHEST_OFF_A, LEAST_PLACES, LabelError, corrected_points, estimate_label_error, label_error_of, label_error_task, settings_of_error,
)
from cryoseg.measure.thickness import Neighbours
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.result.records import Surface
from cryoseg.run.fits import Densities, fit_surfaces
from cryoseg.surface.fit import fit_again, fit_surface
from cryoseg.surface.settings import SurfaceSettings, errors_at

SIZE_A = 8.
SETTINGS = PhantomSettings(shape=(70, 90, 90), voxel_size_A=SIZE_A, n_vesicles=1, radius_A=(200., 210.), kinds=('sphere',), kind_probabilities=(1.,), double=0.,
                           truncated=False, n_ribosomes=0, proteins_per_vesicle=(0, 0), cnr=1.)


@cache
def vesicle(): return simulate_phantom(SETTINGS, 5)


def labels_off(outwards_vox, flat_vox=0.):
    "Labels of the vesicle, so far out; none on its caps."
    body = vesicle().bodies[0]
    away = np.stack(np.indices(SETTINGS.shape), -1) - body.centre_vox
    distance = np.linalg.norm(away, axis=-1)
    normal_z = away[..., 0]/np.maximum(distance, 1e-9)
    off = distance - body.axes_vox[0] - outwards_vox - flat_vox*normal_z**2
    return (np.abs(off) < 2.2) & (np.abs(normal_z) < .8)


def surface_of(outwards_vox=0.):
    "The true surface, moved."
    mesh = vesicle().bodies[0].mesh(2500)
    vertices = mesh.vertices + outwards_vox*vertex_normals(mesh.vertices, mesh.faces)
    return Surface(1, vertices, mesh.faces, np.full(len(vertices), .5), 'closed')


def error_of(surface, data=None):
    phantom = vesicle()
    return label_error_of(label_error_task(surface, phantom.tomogram.data if data is None else data, Neighbours(phantom.membranes), SIZE_A))


@pytest.mark.parametrize('outwards_vox', [-1.5, 0., 1.])
def test_a_known_offset_is_found(outwards_vox):
    found = error_of(surface_of(outwards_vox))
    assert found.offset_A == pytest.approx(SIZE_A*outwards_vox, abs=1.5) and found.offset_sd_A < 1
    assert abs(found.slope_A) < 2*found.slope_sd_A + 2 and found.n_places >= 20


def test_nothing_is_said_without_a_bilayer():
    noise = np.random.default_rng(0).normal(size=SETTINGS.shape).astype(np.float32)
    assert error_of(surface_of(), noise) is None
    assert error_of(surface_of(1.2*FARTHEST_OFF_A/SIZE_A)) is None
    lid = surface_of()
    top = (vertex_normals(lid.vertices_vox, lid.faces)[:, 0] > .8)[lid.faces].all(1)
    assert error_of(replace(lid, faces=lid.faces[top])) is None


def test_voxels_move_along_the_normals():
    error = LabelError(8., .5, 4., 1., 1., 80., 20)
    surface = surface_of()
    moved = corrected_points(surface.vertices_vox, surface, error, SETTINGS.shape, SIZE_A)
    normals = vertex_normals(surface.vertices_vox, surface.faces)
    away = ((surface.vertices_vox - moved)*normals).sum(1)
    assert np.allclose(away, 1 + .5*normals[:, 0]**2, atol=.01)


def test_errors_replace_those_of_the_settings():
    own = settings_of_error(LabelError(8., .5, 4., 1., 2., 160., 20), 4., SurfaceSettings(degree=9))
    assert (own.label_sigma_vox, own.label_length_vox, own.degree) == (.5, 40., 9)
    assert own.systematic_sigma_vox == pytest.approx(np.hypot(1.25, .5)/4)


def test_fixed_errors_are_lengths_where_voxels_are_fine():
    fine = errors_at(5., SurfaceSettings(flat_sigma_vox=3.))
    assert (fine.label_sigma_vox, fine.label_length_vox, fine.systematic_sigma_vox, fine.flat_sigma_vox) == (1., 16., .6, 3.)
    assert errors_at(10.) == errors_at(25.) == SurfaceSettings()


def test_offsets_from_the_model_are_found_within_their_errors():
    rng, scores = np.random.default_rng(1), []
    u = rng.standard_normal((40, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    u[:, 0] *= .7
    alike = np.exp(-((250*u[:, None] - 250*u)**2).sum(-1)/(2*80**2))
    for _ in range(60):
        y = -5 + 3*u[:, 0]**2 + rng.multivariate_normal(np.zeros(40), 1.5**2*alike) + rng.normal(0, .5, 40)
        found = estimate_label_error(250*u, u[:, 0], y, np.full(40, .5))
        scores.append([(found.offset_A + 5)/found.offset_sd_A, (found.slope_A - 3)/found.slope_sd_A])
    inside = (np.abs(scores) < 2).mean(0)
    assert (inside > .88).all() and np.abs(np.mean(scores, 0)).max() < .5


def test_few_places_tell_little():
    u = np.eye(3)[[1, 2]].repeat(LEAST_PLACES//2, 0)
    found = estimate_label_error(100*u + np.arange(LEAST_PLACES)[:, None], u[:, 0], np.full(LEAST_PLACES, 4.), np.full(LEAST_PLACES, 1.))
    assert 0 < found.offset_A < 4 and found.slope_sd_A > 7


def test_a_surface_lies_where_the_membrane_is():
    "Labels a voxel too far out, more so on their way to the caps: the fit follows them unless the densities are heard."
    ids, body = labels_off(.8, 1.)*np.uint16(7), vesicle().bodies[0]
    densities = Densities(vesicle().tomogram.data, SIZE_A)
    alone, corrected = fit_surfaces(ids)[0], fit_surfaces(ids, densities=densities)[0]
    unheard = fit_surfaces(ids, SurfaceSettings(use_densities=False), densities=densities)[0]
    off = [SIZE_A*np.abs(body.signed_distance(s.vertices_vox)) for s in (alone, corrected)]
    assert off[0].mean() > 7 and off[1].mean() < 2
    assert (off[1] < 2*SIZE_A*corrected.sigma_vox).mean() > .9 and corrected.sigma_vox.mean() < .6*alone.sigma_vox.mean()
    assert np.isnan(alone.label_offset_vox) and corrected.label_offset_vox == pytest.approx(.8, abs=.35) and corrected.curvature is not None
    assert np.array_equal(unheard.vertices_vox, alone.vertices_vox) and corrected.id == 7


def test_where_nothing_is_seen_the_surface_stays():
    ids = labels_off(.8)*np.uint16(1)
    noise = Densities(np.random.default_rng(0).normal(size=SETTINGS.shape).astype(np.float32), SIZE_A)
    alone, same = fit_surfaces(ids)[0], fit_surfaces(ids, densities=noise)[0]
    assert np.array_equal(alone.vertices_vox, same.vertices_vox) and np.array_equal(alone.sigma_vox, same.sigma_vox)
    assert np.isnan(same.label_offset_vox) and same.curvature is not None


@pytest.mark.long
def test_processes_give_the_same(monkeypatch):
    monkeypatch.setattr('cryoseg.run.fits.WORTH_SHARING', 0)
    ids = labels_off(.8)*np.uint16(1)
    ids[..., 45:][ids[..., 45:] > 0] = 2
    densities, told = Densities(vesicle().tomogram.data, SIZE_A), []
    one, two = (fit_surfaces(ids, workers=n, densities=densities, progress=lambda *k: told.append(k)) for n in (1, 2))
    assert all(np.array_equal(a.sigma_vox, b.sigma_vox) and a.reason == b.reason for a, b in zip(one, two))
    assert told[-1][0] == told[-1][1]


def test_a_method_of_a_user_is_corrected_too():
    "Whatever it writes into its surfaces."
    from cryoseg.surface.settings import SURFACE_METHODS
    from cryoseg.surface.star import fit_star_surface
    mine = lambda *args, **names: replace(fit_star_surface(*args, **names), method='a name of mine')
    SURFACE_METHODS.add('mine', mine, 'a method of a user')
    try: found = fit_surfaces(labels_off(.8)*np.uint16(1), SurfaceSettings(method='mine'), densities=Densities(vesicle().tomogram.data, SIZE_A))[0]
    finally: SURFACE_METHODS.remove('mine')
    assert found.method == 'a name of mine' and found.label_offset_vox == pytest.approx(.8, abs=.35)


def test_the_same_kind_of_surface_or_none():
    voxels = np.argwhere(labels_off(0.)).astype(float)
    first = fit_surface(voxels, SETTINGS.shape)
    assert fit_again(voxels, SETTINGS.shape, SurfaceSettings(), first).reason == first.reason
    half = voxels[voxels[:, 2] < 40]
    assert fit_again(half, SETTINGS.shape, SurfaceSettings(), first) is None
    assert fit_again(half, SETTINGS.shape, SurfaceSettings(), fit_surface(half, SETTINGS.shape)).status == 'open'
