"Cutting what touches: what is two falls in two, what is one stays whole, and no voxel is lost."
import cc3d
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cryoseg.base.files import VolumeWarning
from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere
from cryoseg.base.metrics import adapted_rand_error
from cryoseg.base.pool import shared_map
from cryoseg.connect.pieces import Scale, describe_piece
from cryoseg.connect.settings import ConnectSettings
from cryoseg.connect.split import Specks, distance_to_shells, find_bodies, find_pieces, find_regions, fit_sphere, is_solid
from cryoseg.connect.split import likely_spheres, nearest_approach, seam_length, split_at_seams, split_piece, wall_missing

SHAPE = 70, 80, 150
SCALE = Scale(ConnectSettings(), 10., SHAPE)


def off_shell(centre, radius):
    "Distance of each voxel from a spherical shell."
    return np.linalg.norm(np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1)), axis=0) - radius


ONE, OTHER = off_shell((35, 40, 45), 28), off_shell((35, 40, 98), 25)


@pytest.fixture(scope='module')
def touching():
    "Two shells in contact, and whose each voxel is."
    truth = np.where(np.abs(ONE) < np.abs(OTHER), 1, 2)*(np.minimum(np.abs(ONE), np.abs(OTHER)) <= 1.5)
    return describe_piece(np.argwhere(truth), SCALE), truth


def sphere(radius, centre=(0., 0., 0.)):
    return Ellipsoid(np.array(centre, float), np.eye(3)/radius)


def number(piece, split):
    "The parts of a piece as a volume."
    ids = np.zeros(SHAPE, int)
    ids[tuple(piece.voxels.T)] = split.part + 1
    return ids


# bodies

def test_a_sphere_is_fitted_exactly():
    found = fit_sphere(7*fibonacci_sphere(50) + (1, 2, 3))
    np.testing.assert_allclose(found.centre, (1, 2, 3))
    assert found.radius == pytest.approx(7) and found.distance(np.array([[1., 2, 3]]))[0] == pytest.approx(7)


def test_likely_spheres_come_from_the_generator():
    cells = 20*fibonacci_sphere(800)
    one, again = (likely_spheres(cells, SCALE, np.random.default_rng(5)) for _ in range(2))
    assert one[0].radius == again[0].radius == pytest.approx(20, abs=1)


def test_two_bodies_are_found(touching):
    radii = sorted(b.radius for b in find_bodies(touching[0], SCALE))
    np.testing.assert_allclose(radii, (25, 28), atol=.7)


def test_a_wall_between_bodies():
    a, b = sphere(20), sphere(20, (0, 0, 30))
    shells = np.vstack([x.at(fibonacci_sphere(4000)) for x in (a, b)])
    open_ = shells[(a.signed_distance(shells) > -2) & (b.signed_distance(shells) > -2)]
    assert not wall_missing(a, b, shells, SCALE) and wall_missing(a, b, open_, SCALE) and wall_missing(b, a, open_, SCALE)
    assert not wall_missing(a, sphere(20, (0, 0, 60)), open_, SCALE)       # apart: no wall can be missed


def test_distance_to_one_shell_has_no_sign():
    signed = np.array([[-2.], [3.]])
    assert distance_to_shells(signed, np.zeros((2, 3)), SCALE).tolist() == [[2.], [3.]]


def test_a_shifted_shell_is_corrected():
    "Voxels of a plate lie one voxel off their ellipsoid everywhere; near the other body that is taken into account."
    voxels = np.argwhere(np.ones((1, 30, 60))).astype(float)
    signed = np.column_stack([np.ones(len(voxels)), voxels[:, 2]])
    found = distance_to_shells(signed, voxels, SCALE)
    disputed = voxels[:, 2] < 1.5*SCALE.tolerance
    assert np.all(found[disputed, 0] == 0) and np.all(found[~disputed, 0] == 1)


# the cut

def test_touching_shells_are_parted(touching):
    piece, truth = touching
    split = split_piece(piece, SCALE)
    assert split.part.max() == 1 and adapted_rand_error(number(piece, split), truth) < .02 and '2 closed bodies' in split.reason


def test_the_cut_mirrors_with_the_volume(touching):
    mirrored = touching[0].voxels*(1, 1, -1) + (0, 0, SHAPE[2] - 1)
    piece = describe_piece(mirrored, SCALE)
    assert adapted_rand_error(number(piece, split_piece(piece, SCALE))[:, :, ::-1], touching[1]) < .02


def test_one_shell_stays_whole():
    split = split_piece(describe_piece(np.argwhere(np.abs(ONE) <= 1.5), SCALE), SCALE)
    assert split.whole and 'one ellipsoid' in split.reason


def test_a_peanut_stays_whole():
    left, right = off_shell((35, 40, 50), 28), off_shell((35, 40, 90), 28)
    nut = (np.abs(np.minimum(left, right)) <= 1.5)
    split = split_piece(describe_piece(np.argwhere(nut), SCALE), SCALE)
    assert split.whole and split.reason == 'no wall between the bodies'


def test_the_seam_of_two_plates():
    a = np.argwhere(np.ones((3, 50, 30)))
    for gap in (1, 2):
        b = a + (0, 0, 29 + gap)
        assert seam_length(a, b, 3., 5.) == seam_length(b, a, 3., 5.) == 50*(5 - gap)/5       # the columns within reach
    assert seam_length(a, a + (0, 0, 100), 3., 5.) == 0


@pytest.mark.parametrize('slope, parts', [(0., 1), (1.2, 2)])
def test_sheets_are_cut_where_they_meet_at_an_angle(slope, parts):
    y, x = np.indices((80, 100)).reshape(2, -1)
    bent = np.round(20 + slope*np.maximum(x - 50, 0)).astype(int)
    flat = np.column_stack([np.full(len(x), 20), y, x])
    voxels = np.unique(np.vstack([p + (d, 0, 0) for p in (flat, np.column_stack([bent, y, x])) for d in (-1, 0, 1)]), axis=0)
    split = split_at_seams(describe_piece(voxels, SCALE), Scale(ConnectSettings(max_seam=1.5), 10., SHAPE))
    assert split.part.max() + 1 == parts and bool(split.reason) == (parts > 1)


# all pieces

def test_regions_are_connected_components():
    mask = np.random.default_rng(0).random((30, 40, 50)) < .04
    scale = Scale(ConnectSettings(epsilon_A=0, min_fragment_A2=0), 10., mask.shape)        # 26 neighbours, at least 40 voxels
    mask[5:8], mask[20:23, 5:30] = True, True
    regions, specks = find_regions(mask, scale)
    sizes = np.bincount(cc3d.connected_components(mask, connectivity=26).ravel())[1:]
    assert [len(r) for r in regions] == sorted(sizes[sizes >= 40], reverse=True)
    assert specks == Specks(int((sizes < 40).sum()), int(sizes[sizes < 40].sum()))


def test_blocks_are_solid_and_sheets_are_not():
    assert is_solid(np.ones((84, 84, 84), bool)) and not is_solid(np.ones((16, 99, 99), bool))
    hollow = np.ones((84, 84, 84), bool)
    hollow[4:-4, 4:-4, 4:-4] = False
    assert not is_solid(hollow)


def test_the_nearest_points():
    rng = np.random.default_rng(1)
    a, b = rng.random((40, 3)), rng.random((30, 3)) + 1
    distance, middle = nearest_approach(a, b)
    far = cdist(a, b)
    i, j = np.unravel_index(far.argmin(), far.shape)
    assert distance == pytest.approx(far.min()) == nearest_approach(b, a).distance
    np.testing.assert_allclose(middle, (a[i] + b[j])/2)


def test_every_voxel_is_accounted_for(touching):
    mask = touching[1] > 0
    mask[tuple(np.random.default_rng(2).integers(0, n, 300) for n in SHAPE)] = True
    found = find_pieces(mask, SCALE)
    voxels = np.vstack([p.voxels for p in found.pieces])
    assert len(voxels) == len(np.unique(voxels, axis=0)) and len(voxels) + found.specks.n_voxels == mask.sum()
    assert mask[tuple(voxels.T)].all()
    assert found.separate == {(0, 1)} and [(c.a, c.b) for c in found.contacts] == [(0, 1)] and len(found.reasons) == 2
    assert np.linalg.norm(found.contacts[0].middle - (35, 40, 73)) < 12


@pytest.mark.long
def test_two_processes_find_the_same_pieces(touching):
    mask = touching[1] > 0
    n_shells = mask.sum()
    mask[:1, 5:70, 5:140] = True
    alone, said = find_pieces(mask, SCALE), []
    with shared_map(2) as share: shared = find_pieces(mask, SCALE, share=share, progress=lambda done, total: said.append((done, total)))
    assert len(alone.pieces) == 3 and [done for done, _ in said] == [n_shells, mask.sum()]
    for one, other in zip(shared.pieces, alone.pieces, strict=True):
        assert one.voxels.tobytes() == other.voxels.tobytes() and one.cells.tobytes() == other.cells.tobytes()
    assert str(shared) == str(alone)


def test_regions_that_are_not_looked_at_are_said(monkeypatch):
    mask = np.zeros((10, 60, 60), bool)
    mask[4:6, 5:25, 5:25] = mask[4:6, 35:55, 5:25] = mask[4:6, 5:25, 35:50] = True
    scale = Scale(ConnectSettings(), 10., mask.shape)
    assert len(find_regions(mask, scale).voxels) == 3
    monkeypatch.setattr('cryoseg.connect.split.MAX_REGIONS', 2)
    monkeypatch.setattr('cryoseg.connect.split.MORE_REGIONS', 0)
    with pytest.warns(VolumeWarning, match='3 regions .* the largest 2 are looked at'):
        found = find_regions(mask, scale)
    assert [len(v) for v in found.voxels] == [800, 800] and found.others.n_voxels == 600


def test_nothing_has_no_pieces():
    found = find_pieces(np.zeros((4, 5, 6), bool), Scale(ConnectSettings(), 10., (4, 5, 6)))
    assert (found.pieces, found.separate, found.contacts, found.specks) == ((), frozenset(), (), Specks())


def test_splitting_can_be_forbidden(touching):
    whole = Scale(ConnectSettings(split=False), 10., SHAPE)
    assert len(find_pieces(touching[1] > 0, whole).pieces) == 1
