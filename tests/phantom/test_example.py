"The running example of the book: what its chapters rely on."
import itertools

import numpy as np
import pytest

from cryoseg.phantom.example import EXAMPLE, EXAMPLE_BODIES, EXAMPLE_COLOURS, EXAMPLE_SLICE, example_particles, example_phantom


def least_distance(a, b): return float(np.abs(a.signed_distance(b.surface(2000).points)).min())


def test_two_touch_two_are_double_and_the_others_stay_apart():
    half = EXAMPLE.thickness_A/2/EXAMPLE.voxel_size_A
    near = {(a.id, b.id): least_distance(a, b) for a, b in itertools.combinations(EXAMPLE_BODIES, 2)}
    assert half < near.pop((3, 4)) < 2*half and 2*half < near.pop((1, 2)) < 5*half and min(near.values()) > 2*half + 1
    assert [b.id for b in EXAMPLE_BODIES] == list(range(1, len(EXAMPLE_COLOURS) + 1))


def test_one_is_cut_and_the_slice_shows_all():
    reach = np.array(EXAMPLE.shape) - 1
    cut = {b.id for b in EXAMPLE_BODIES if ((b.surface(2000).points < 0) | (b.surface(2000).points > reach)).any()}
    assert cut == {6}
    made = example_phantom()
    assert set(np.unique(made.membranes[EXAMPLE_SLICE])) == set(range(8)) and (made.labels == 2).any()
    assert made.reached_cnr == pytest.approx(EXAMPLE.cnr, rel=.02) and made.distractors[EXAMPLE_SLICE].any()


def test_nothing_that_is_no_membrane_runs_into_one():
    half = EXAMPLE.thickness_A/2/EXAMPLE.voxel_size_A
    for particle in example_particles():
        if particle.kind == 'protein': continue
        balls = np.array(particle.balls)
        assert all((b.signed_distance(balls[:, :3]) > balls[:, 3] + half - .5).all() for b in EXAMPLE_BODIES)
