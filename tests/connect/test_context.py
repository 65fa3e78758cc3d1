"What the whole membrane says of a link."
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoseg.connect.context import CONTEXT, CONTEXT_WEIGHTS, Chain, context_features, find_chains, link_probability, off_full_turn


class Line(NamedTuple):
    points: np.ndarray


def arc(start, stop, radius=60.):
    t = np.radians(np.arange(start, stop))
    return Line(100 + radius*np.column_stack([np.sin(t), np.cos(t)]))


BROKEN = [arc(0, 100), arc(115, 215), arc(230, 345)]
RING = np.array([(1, 2), (3, 4), (0, 5)])
AWAY = np.array([15., 15., 15.])


@given(st.integers(1, 8), st.integers(0, 2**31))
def test_each_fragment_lies_in_one_chain(n, seed):
    rng = np.random.default_rng(seed)
    ends = rng.permutation(2*n)
    pairs = ends[:2*rng.integers(0, n + 1)].reshape(-1, 2)
    chains = find_chains(n, pairs)
    assert sorted(end//2 for chain in chains for end in chain.entered) == list(range(n))
    links = {frozenset(pair) for pair in pairs.tolist()}
    for chain in chains:
        steps = {frozenset((a ^ 1, b)) for a, b in zip(chain.entered, chain.entered[1:])}
        back = frozenset((chain.entered[-1] ^ 1, chain.entered[0]))
        assert steps <= links and (back in links) == chain.closed
    assert sum(len(chain.entered) - (not chain.closed) for chain in chains) == len(pairs)


def test_a_fragment_that_is_linked_to_itself_is_a_ring():
    assert find_chains(2, [(0, 1)]) == [Chain((0,), True), Chain((2,), False)]


@pytest.mark.parametrize('stretch', [1., .3])
def test_a_closed_curve_turns_once(stretch):
    line = arc(0, 360).points*[1, stretch]
    assert off_full_turn(line) < 1e-6 and off_full_turn(line[::-1]) < 1e-6
    assert off_full_turn(np.vstack([arc(0, 360).points, arc(0, 360).points])) == pytest.approx(2*np.pi, abs=.01)


def test_a_ring_is_likelier_than_its_links_alone():
    log_odds = np.full(3, .5)
    whole = link_probability(context_features(BROKEN, RING, log_odds, np.ones(3, bool), AWAY))
    broken = link_probability(context_features(BROKEN, RING, log_odds, np.array([True, True, False]), AWAY))
    assert whole.min() > .9 and broken[:2].max() < whole.min() and broken[2] < broken[0]


def test_rivals_speak_against_a_link():
    pairs = np.vstack([RING, [(0, 3)]])
    taken, distance = np.array([True, True, True, False]), np.r_[AWAY, 100.]
    doubt = [link_probability(context_features(BROKEN, pairs, np.r_[.5, .5, .5, rival], taken, distance))[2] for rival in (-4., 0., 3.)]
    assert doubt[0] > doubt[1] > doubt[2]


def test_features_are_named_and_weighed():
    found = context_features(BROKEN, RING, np.array([3., 1., -1.]), np.array([True, True, False]), AWAY)
    assert found.shape == (3, len(CONTEXT)) and len(CONTEXT_WEIGHTS) == len(CONTEXT)
    assert found[:, 2].tolist() == [2, 1, -1] and found[:, 8].tolist() == [0, 0, 0] and found[2, 7] == 0
    assert context_features([], np.zeros((0, 2), int), np.zeros(0), np.zeros(0, bool), np.zeros(0)).shape == (0, len(CONTEXT))
    assert link_probability(found*1e3).max() <= .999 and link_probability(-found*1e3).min() >= .001
