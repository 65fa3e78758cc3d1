"The shape of a region: what must hold for every plate, ball and shell."
import numpy as np
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.geometry import Ellipsoid, fibonacci_sphere
from cryoseg.connect.pieces import Piece, Scale, describe_piece, fit_body, is_upright, plane_radius, sheet_thickness
from cryoseg.connect.pieces import shell_seen, with_body
from cryoseg.connect.settings import ConnectSettings

SCALE = Scale(ConnectSettings(), 10., (80, 80, 80))


def plate(thickness, side=40):
    "Voxels of a plate across z."
    return np.argwhere(np.ones((thickness, side, side))) + 10


def shell(radius, thickness=3, centre=40, side=80):
    "Voxels of a spherical shell."
    distance = np.linalg.norm(np.indices((side,)*3) - np.full((3, 1, 1, 1), centre), axis=0)
    return np.argwhere(np.abs(distance - radius) <= thickness/2)


def sphere(radius, centre=40.):
    return Ellipsoid(np.full(3, centre), np.eye(3)/radius)


# the scale

LENGTHS = 'epsilon', 'tolerance', 'bilayer', 'plane', 'min_radius', 'max_gap'


def test_lengths_are_voxels_and_areas_their_squares():
    fine, finer = (Scale(ConnectSettings(), a, (9, 9, 9)) for a in (4., 2.))
    assert (fine.epsilon, fine.min_radius, fine.min_area) == (7.5, 37.5, 6250.)
    for name in LENGTHS: assert getattr(finer, name) == 2*getattr(fine, name), name
    for name in ('min_piece', 'min_area'): assert getattr(finer, name) == 4*getattr(fine, name), name


def test_coarse_voxels_meet_the_floors():
    coarse = Scale(ConnectSettings(), 1000., (9, 9, 9))
    assert (coarse.epsilon, coarse.tolerance, coarse.plane, coarse.min_piece, coarse.min_area) == (3**.5, 2., 4., 40., 200.)


@pytest.mark.parametrize('size', [0, -1., np.inf, np.nan])
def test_a_voxel_has_a_size(size):
    with pytest.raises(VolumeError, match='voxel size'): Scale(ConnectSettings(), size, (9, 9, 9))


# thickness

@pytest.mark.parametrize('thickness', [1, 2, 3, 5])
def test_layers_are_counted(thickness):
    assert sheet_thickness(plate(thickness)) == pytest.approx(thickness, abs=.1)


def test_thickness_does_not_turn_with_the_axes():
    voxels = plate(3)
    for axes in ((1, 0, 2), (2, 1, 0)): assert sheet_thickness(voxels[:, axes]) == pytest.approx(sheet_thickness(voxels))
    assert sheet_thickness(voxels + 1000) == pytest.approx(sheet_thickness(voxels))


def test_a_blob_has_no_thickness():
    assert sheet_thickness(np.argwhere(np.ones((25, 25, 25)))) == np.inf


def test_the_seed_chooses_the_places():
    voxels = shell(25)
    assert sheet_thickness(voxels, seed=1) == sheet_thickness(voxels, seed=1)
    assert len({sheet_thickness(voxels, seed=s) for s in range(4)}) > 1


# bodies

def test_how_much_of_a_shell_is_seen():
    body = sphere(20)
    cells = body.at(fibonacci_sphere(3000))
    seen = [shell_seen(body, c, 2., SCALE.shape) for c in (cells, cells[cells[:, 2] > 40], cells[:0])]
    assert seen[0] == 1 and seen[1] == pytest.approx(.5, abs=.06) and seen[2] == 0
    assert shell_seen(body, cells[is_upright(body, cells)], 2., SCALE.shape) > .99         # the poles are not asked for
    assert shell_seen(body, cells, 2., (80, 80, 40)) == 1                                   # nor what lies outside
    assert shell_seen(body, cells[::60], 1., SCALE.shape) < shell_seen(body, cells[::60], 6., SCALE.shape)


def test_upright_is_sixty_degrees():
    body = sphere(20)
    points = body.at(np.array([(np.cos(a), np.sin(a), 0) for a in np.radians([0, 59, 61, 90])]))
    assert is_upright(body, points).tolist() == [False, False, True, True]


def test_an_ellipsoid_is_found_again():
    true = Ellipsoid(np.array([40., 38, 42]), np.diag(1/np.array([18., 24, 30])))
    found = fit_body(true.at(fibonacci_sphere(600)), SCALE)
    np.testing.assert_allclose(found.centre, true.centre, atol=.5)
    np.testing.assert_allclose(found.axes, true.axes, rtol=.03)


def test_too_little_defines_no_body():
    few = sphere(20).at(fibonacci_sphere(29))
    flat = np.column_stack([np.zeros(400), *np.indices((20, 20)).reshape(2, -1)])
    assert fit_body(few, SCALE) is None and fit_body(flat, SCALE) is None


# a piece

def test_a_shell_is_a_closed_body():
    piece = describe_piece(shell(25), SCALE)
    assert piece.sheet_fraction > .95 and piece.closed and piece.body.radius == pytest.approx(25, abs=.5)
    assert piece.area == pytest.approx(4*np.pi*25**2, rel=.1)
    assert piece.weights.sum() == pytest.approx(1) and len(piece.cells) == len(piece.normals)


def test_half_a_shell_is_not_closed():
    voxels = shell(25)
    piece = describe_piece(voxels[voxels[:, 2] > 40], SCALE)
    assert piece.body_fraction > .9 and piece.seen_fraction < .7 and not piece.closed


def test_a_plate_is_a_sheet_and_no_body():
    piece = describe_piece(plate(3), SCALE)
    assert piece.sheet_fraction > .95 and piece.area == pytest.approx(1600, rel=.05) and not piece.closed
    np.testing.assert_allclose(np.abs(piece.normals[:, 0]), 1, atol=.05)


def test_a_ball_is_no_sheet():
    piece = describe_piece(shell(5, 10), SCALE)
    assert piece.sheet_fraction == 0 and np.isnan(piece.normals).all()


def test_the_same_seed_gives_the_same_piece():
    one, again, other = (describe_piece(shell(25), SCALE, seed) for seed in (3, 3, 4))
    assert one.body_fraction == again.body_fraction and np.array_equal(one.body.matrix, again.body.matrix)
    assert not np.array_equal(one.body.matrix, other.body.matrix)


def test_a_body_flatter_than_its_wall_is_none():
    cells = Ellipsoid(np.full(3, 40.), np.diag(1/np.array([8., 28, 30]))).at(fibonacci_sphere(800))
    thin, thick = (Piece(cells, cells, np.full(800, 1/800), cells, 1., thickness, 2.) for thickness in (3., 10.))
    assert with_body(thin, SCALE).body.axes[2] == pytest.approx(8, abs=.7) and with_body(thick, SCALE).body is None


def test_planes_widen_with_the_sheet_up_to_a_limit():
    assert [plane_radius(t, SCALE) for t in (1., 5., 10., np.inf)] == [6., 10., 20., 20.]
