"Thickness of bilayers: right on known ones, within its error, and nothing where nothing is."
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.mesh import vertex_normals
from cryoseg.measure import thickness
from cryoseg.measure.settings import ThicknessSettings
from cryoseg.measure.thickness import Bilayer, Neighbours, bilayer_density, fit_bilayer, fit_patches, measure_thickness, sample_profiles, start_fits
from cryoseg.phantom.bodies import bilayer_profile
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.result.records import Surface

NO_FRINGES = ThicknessSettings(systematic_sigma_A=.25)
SETTINGS = PhantomSettings(shape=(80, 110, 110), voxel_size_A=8., n_vesicles=1, radius_A=(220., 240.), kinds=('sphere',), kind_probabilities=(1.,), double=0.,
                           truncated=False, leaflet_separation_A=44., thickness_A=66., n_ribosomes=0, proteins_per_vesicle=(0, 0), cnr=1.)


@cache
def vesicle(): return simulate_phantom(SETTINGS, 5)


def surface_of(phantom, outwards_vox=0., n=2500):
    "The true surface of the first body, moved along its normals."
    mesh = phantom.bodies[0].mesh(n)
    vertices = mesh.vertices + outwards_vox*vertex_normals(mesh.vertices, mesh.faces)
    return Surface(1, vertices, mesh.faces, np.full(len(vertices), .5), 'closed')


def measured(data=None, membranes=None, labels=None, settings=NO_FRINGES, surface=None):
    phantom = vesicle()
    data = phantom.tomogram.data if data is None else data
    neighbours = Neighbours(phantom.membranes if membranes is None else membranes, labels)
    return measure_thickness(surface or surface_of(phantom), data, neighbours, 8., settings)


@pytest.mark.parametrize('outwards_vox', [-2., 0., 2.])
def test_a_known_bilayer_wherever_the_surface_runs(outwards_vox):
    found = measured(surface=surface_of(vesicle(), outwards_vox))
    assert abs(8*found.average_vox - 44) <= min(2, 3*8*found.average_sd_vox) and found.reason == ''
    assert found.average_offset_vox == pytest.approx(-outwards_vox, abs=.15)


def test_patches_scatter_as_their_errors_say():
    found = measured()
    known = found.reliability >= .5
    z = (found.thickness_vox[known] - 44/8)/found.thickness_sd_vox[known]
    assert .85 < (np.abs(z) < 2).mean() and .4 < z.std() < 1.5


def test_the_beam_sees_no_flat_membrane():
    found, surface = measured(), surface_of(vesicle())
    normal_z = np.abs(vertex_normals(surface.vertices_vox, surface.faces)[:, 0])
    assert np.isnan(found.thickness_vox[normal_z > .71]).all() and np.isfinite(found.thickness_vox[normal_z < .5]).mean() > .8
    assert (found.reliability[np.isnan(found.thickness_vox)] == 0).all()


def test_noise_has_no_thickness():
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = measured(data=rng.normal(size=SETTINGS.shape).astype(np.float32))
        assert np.isnan(found.average_vox) and 'could be told apart' in found.reason
        assert (found.reliability > .5).mean() < .05


def test_one_leaflet_is_no_bilayer():
    "A single dark sheet, as an actin layer or a membrane out of resolution, is not 40 Å thick."
    phantom, rng = vesicle(), np.random.default_rng(1)
    distance = np.linalg.norm(np.indices(SETTINGS.shape).T - phantom.bodies[0].centre_vox, axis=-1).T - phantom.bodies[0].axes_vox[0]
    sheet = -np.exp(-(distance*8/12)**2/2) + .3*rng.normal(size=SETTINGS.shape)
    found = measured(data=sheet.astype(np.float32))
    assert np.isnan(found.average_vox) or found.average_sd_vox*8 > 2 or found.average_vox*8 < 28


def test_what_is_near_is_left_out():
    phantom = vesicle()
    other = phantom.membranes.copy()
    middle = round(phantom.bodies[0].centre_vox[2])
    half = other[:, :, middle:]
    half[half == 0] = 7
    found, surface = measured(membranes=other), surface_of(phantom)
    from_middle = surface.vertices_vox[:, 2] - middle
    assert np.isnan(found.thickness_vox[from_middle > 14]).all() and np.isfinite(found.thickness_vox[from_middle < -5]).any()
    protein = np.where(phantom.labels == 1, 0, 2).astype(np.uint8)
    nothing = measured(labels=protein)
    assert np.isnan(nothing.average_vox) and 'another membrane' in nothing.reason


def test_a_vesicle_at_the_edge_has_the_rest():
    end = round(vesicle().bodies[0].centre_vox[2])
    found = measured(data=vesicle().tomogram.data[:, :, :end], membranes=vesicle().membranes[:, :, :end])
    assert 8*found.average_vox == pytest.approx(44, abs=2) and np.isnan(found.thickness_vox).any()


def test_the_cubes_that_are_read_change_nothing(monkeypatch):
    whole = measured()
    monkeypatch.setattr(thickness, 'CUBE_VOX', 24)
    parts = measured()
    assert parts.average_vox == pytest.approx(whole.average_vox, rel=1e-4)
    np.testing.assert_allclose(parts.thickness_vox, whole.thickness_vox, rtol=1e-3)


def test_the_scale_of_densities_and_of_voxels_changes_nothing():
    one = measured()
    data = 250*vesicle().tomogram.data + 1000
    assert measured(data=data).average_vox == pytest.approx(one.average_vox, rel=1e-4)
    neighbours = Neighbours(vesicle().membranes)
    settings = replace(NO_FRINGES, patch_radius_A=100., reach_A=90.)
    again = measure_thickness(surface_of(vesicle()), data, neighbours, 8., settings)
    assert again.average_sd_vox == pytest.approx(one.average_sd_vox, rel=1e-2)


def test_larger_patches_are_surer():
    small, large = (measured(settings=replace(NO_FRINGES, patch_radius_A=r)) for r in (60., 140.))
    assert np.nanmedian(large.thickness_sd_vox) < .8*np.nanmedian(small.thickness_sd_vox)


def test_the_fit_of_a_clean_profile_is_exact():
    t = np.linspace(-9, 9, 37)
    true = Bilayer(1.3, 4.4, .9, 2., -.01, -1., -.6, .1)
    profile = bilayer_density(true, t)
    start = start_fits(profile[None], t, 10.)
    fit = fit_bilayer(profile, t, 10., start.shape[0], .001)
    np.testing.assert_allclose(fit.bilayer, true, atol=2e-3)


def test_leaflets_that_run_together_are_less_sure():
    "At twice the voxel size the two are hardly resolved: the width of the leaflets decides, and the error says so."
    sds = []
    for size in (8., 16.):
        t = np.arange(-90, 91, size/2)/size
        profile = -bilayer_profile(t*size, 60., 36., size)
        start = start_fits(profile[None], t, size)
        fit = fit_bilayer(profile, t, size, start.shape[0], .05, leaflet_sd=start.shape[0][2])
        sds.append(size*np.sqrt((.05*fit.response)@(.05*fit.response) + fit.prior_variance))
    assert sds[1] > 1.5*sds[0]


def test_the_error_of_a_real_tomogram_has_that_of_the_fringes():
    assert 8*measured(settings=ThicknessSettings()).average_sd_vox > 1.5 > 8*measured().average_sd_vox


def test_a_large_membrane_has_a_patch_at_every_place(monkeypatch):
    monkeypatch.setattr(thickness, 'MANY_PATCHES', 12)
    profiles = sample_profiles(surface_of(vesicle()), vesicle().tomogram.data, Neighbours(vesicle().membranes), 8., ThicknessSettings(patch_radius_A=60.))
    patches = fit_patches(profiles, 8., ThicknessSettings(patch_radius_A=60.))
    places = profiles.points[[p.node for p in patches]]
    nearest = np.linalg.norm(profiles.points[:, None] - places, axis=2).min(1)
    assert len(patches) > 12 and (nearest <= 60/8).mean() > .95


def test_distances_without_pairs_do_not_cut_the_correlogram():
    "On a coarse mesh no two profiles are near, and neighbours that err alike must not count as independent."
    grid = 5.*np.stack(np.meshgrid(*2*[np.arange(20.)], [0.], indexing='ij'), -1).reshape(-1, 3)
    slow = np.sin(grid[:, 0]/40)
    patch = thickness.Patch(0, np.arange(400), np.full(400, 1/400), 1., None, slow - slow.mean(), 0., None)
    likeness = thickness.likeness_by_distance([patch], grid, 40)
    assert likeness[2] > .9 and (likeness[:4] > .8).all()


def test_the_other_wall_of_a_tube_is_no_leaflet():
    mesh = vesicle().bodies[0].mesh(2500)
    flat = (mesh.vertices - mesh.vertices.mean(0))*[1, .08, 1] + mesh.vertices.mean(0)      # walls 37 Å apart
    found = measured(surface=Surface(1, flat, mesh.faces, np.full(len(flat), .5), 'closed'))
    assert np.isnan(found.average_vox) and found.reason and np.isfinite(found.thickness_vox).mean() < .05


@pytest.mark.parametrize('size', [20., 50., 200.])
def test_coarse_voxels_are_refused(size):
    found = measure_thickness(surface_of(vesicle()), vesicle().tomogram.data, Neighbours(vesicle().membranes), size)
    assert np.isnan(found.average_vox) and 'too coarse' in found.reason


def test_missing_densities_spoil_only_what_is_near():
    data = vesicle().tomogram.data.copy()
    data[tuple(np.round(vesicle().bodies[0].centre_vox).astype(int))] = np.nan
    assert measured(data=data).average_vox == pytest.approx(measured().average_vox, rel=1e-6)


def test_constant_densities_say_why():
    found = measured(data=np.ones(SETTINGS.shape, np.float32))
    assert np.isnan(found.average_vox) and 'two' in found.reason and 'lies flat' not in found.reason


def test_a_fit_at_a_limit_does_not_count():
    t = np.linspace(-9, 9, 37)
    profile = -np.exp(-(t/1.)**2/2)             # one line
    start = start_fits(profile[None], t, 10.)
    assert not np.isfinite(start.misfit[0]) or not fit_bilayer(profile, t, 10., start.shape[0], .01, leaflet_sd=1.).free


def test_settings_that_show_no_bilayer_are_refused():
    for wrong in (dict(reach_A=10.), dict(patch_radius_A=5.)):
        with pytest.raises(VolumeError, match='at least'): ThicknessSettings(**wrong)


def test_nothing_to_measure():
    nothing = Surface(1, np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros(0), 'refused')
    assert measured(surface=nothing).reason == 'it has no surface'
    profiles = sample_profiles(surface_of(vesicle()), vesicle().tomogram.data, Neighbours(vesicle().membranes), 8., ThicknessSettings(reach_A=800.))
    assert len(profiles.points) == 0 and profiles.lost[1] > .5 and fit_patches(profiles, 8.) == []
