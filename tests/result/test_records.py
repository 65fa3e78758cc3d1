"""Records: frozen, moved as a whole, and equal when they say the same."""
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from cryoseg.result.records import Contour, Edit, Fragment, Link, Membrane, Surface, moved, refused_surface

SEEN = [Fragment(1, None, 9, 1, 1., 2., 3.), Fragment(2, 4, 9, 1, 1., 2., 3., 4., 5., 6., 7.), Link(1, 2, None, 3, None, 1., 2., 3., 40.),
        Membrane(1, 9, centre_x_A=1., centre_y_A=2., centre_z_A=3., area_A2=8.), Edit('join', 1., 2., 3., 4., 5., 6.), Edit('cut', 1., 2., 3.)]


@pytest.mark.parametrize('record', SEEN, ids=lambda r: type(r).__name__)
def test_moving_there_and_back_changes_nothing(record):
    there = moved(record, (10, 20, 40))
    assert there != record and moved(there, (-10, -20, -40)) == record


def test_moving_shifts_places_and_nothing_else():
    link = moved(SEEN[2], (10, 20, 40))
    assert (link.x_A, link.y_A, link.z_A, link.distance_A) == (11., 22., 43., 40.)
    membrane = moved(SEEN[3], (10, 20, 40))
    assert (membrane.centre_x_A, membrane.centre_y_A, membrane.centre_z_A, membrane.area_A2) == (11., 22., 43., 8.)
    edit = moved(SEEN[4], (10, 20, 40))
    assert (edit.x1_A, edit.y1_A, edit.z1_A, edit.x2_A, edit.y2_A, edit.z2_A) == (11., 22., 43., 14., 25., 46.)
    line = moved(SEEN[1], (10, 20, 40))
    assert (line.end1_x_A, line.end1_y_A, line.end2_x_A, line.end2_y_A, line.z) == (14., 25., 16., 27., 4)


def test_records_are_not_changed_in_place():
    with pytest.raises(FrozenInstanceError): SEEN[0].n_voxels = 3


def test_a_pair_has_no_order():
    assert Link(1, 2, 1, 5, 2).pair == Link(9, 5, 2, 2, 1).pair


def test_how_much_of_a_contour_is_seen():
    c = Contour(1, 0, 'closed', points=np.zeros((4, 2)), sigma=np.ones(4), extrapolated=np.array([True, False, False, False]))
    assert c.seen == .75 and c.closed and Contour(1, 0, 'truncated').closed and not Contour(1, 0, 'open').closed
    assert np.isnan(Contour(1, 0, 'refused').seen)


def test_a_refused_surface_has_no_mesh_and_prints_its_reason():
    s = refused_surface(3, 'too few voxels', 12)
    assert (s.id, s.status, s.n_points, len(s.vertices_vox), s.faces.dtype) == (3, 'refused', 12, 0, int)
    assert 'too few voxels' in repr(s) and 'array' not in repr(Surface(1, np.zeros((500, 3)), np.zeros((900, 3), int), np.zeros(500), 'open'))
