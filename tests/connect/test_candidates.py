"All candidates: one a pair, the forbidden ones refused, and each with a probability."
import numpy as np
import pytest

from cryoseg.base.geometry import connected_groups
from cryoseg.connect.candidates import LOG_ODDS, find_joins, join_in_slices, join_probability, keep_separate
from cryoseg.connect.joins import BODY, CONTACT, LEAFLET, PATCH, SLICES, Join
from cryoseg.connect.pieces import Scale
from cryoseg.connect.settings import ConnectSettings
from cryoseg.connect.split import find_pieces
from cryoseg.phantom.phantom import broken_shells

SHAPE = 60, 90, 90


def scale(**settings): return Scale(ConnectSettings(**settings), 10., SHAPE)


@pytest.fixture(scope='module')
def torn():
    "The pieces of one vesicle, torn by an upright slot."
    mask, _ = broken_shells(SHAPE, [((30, 45, 45), (40, 36, 34))], seed=2, wedge=.8)[:2]
    mask[:, 38:52] = False
    return find_pieces(mask, scale())


# probability

@pytest.mark.parametrize('cue, taken', LOG_ODDS)
def test_the_cheaper_the_likelier(cue, taken):
    p = [join_probability(Join(0, 1, cost, 0., '', cue, taken=taken)) for cost in (0., .1, .5, .99, 3., 50.)]
    assert p == sorted(p, reverse=True) and 0 < p[-1] <= p[0] < 1


@pytest.mark.parametrize('cue', [PATCH, SLICES])
def test_what_was_refused_is_less_likely(cue):
    for cost in (0., .3, .9):
        taken, refused = (join_probability(Join(0, 1, cost, 0., '', cue, taken=t)) for t in (True, False))
        assert taken > 2*refused


def test_every_cue_has_odds_taken_or_not():
    assert set(LOG_ODDS) == {(cue, taken) for cue in (BODY, CONTACT, LEAFLET, PATCH, SLICES) for taken in (True, False)}


def test_the_curve_is_a_logistic_one():
    offset, slope = LOG_ODDS[BODY, True]
    odds = [(lambda p: np.log(p/(1 - p)))(join_probability(Join(0, 1, cost, 0., '', BODY))) for cost in (.25, .55)]
    np.testing.assert_allclose(np.diff(odds), slope*np.log(2))
    assert odds[0] == pytest.approx(offset + slope*np.log(.3))


# separate things

CHAIN = [Join(0, 2, .1, 5., '', PATCH), Join(1, 2, .2, 5., '', PATCH), Join(1, 3, .3, 5., '', PATCH)]


@pytest.mark.parametrize('separate, taken', [(set(), [1, 1, 1]), ({(0, 1)}, [1, 0, 1]), ({(0, 3)}, [1, 1, 0]), ({(0, 2), (1, 3)}, [0, 1, 0])])
def test_what_is_two_stays_two(separate, taken):
    kept = keep_separate(CHAIN, separate)
    assert [j.taken for j in kept] == [bool(t) for t in taken] and all(j.cost >= 1 for j in kept if not j.taken)


def test_no_way_round_for_random_joins():
    rng = np.random.default_rng(3)
    for _ in range(20):
        pairs = {tuple(sorted(rng.choice(12, 2, replace=False).tolist())) for _ in range(25)}
        separate = {tuple(sorted(rng.choice(12, 2, replace=False).tolist())) for _ in range(4)}
        kept = keep_separate([Join(*p, rng.random(), 1., '', PATCH) for p in pairs], separate)
        group = connected_groups(12, [(j.a, j.b) for j in kept if j.taken])
        assert all(group[i] != group[j] for i, j in separate)


# the cues together

@pytest.mark.long
def test_a_torn_vesicle_is_joined_either_way(torn):
    for link in ('merge', 'qlearning', 'greedy'):
        taken = [j for j in find_joins(torn, scale(link=link)) if j.taken]
        group = connected_groups(len(torn.pieces), [(j.a, j.b) for j in taken])
        assert group.max() == 0, link
        assert {j.rule for j in taken} == {'gap3d' if link == 'merge' else link}


def test_joining_can_be_forbidden(torn):
    assert find_joins(torn, scale(join=False)) == []


def test_a_pair_has_one_candidate(torn):
    joins = find_joins(torn, scale())
    assert len({j.pair for j in joins}) == len(joins) and all(j.middle is not None for j in joins)


@pytest.mark.long
def test_slices_vote_for_a_pair_whatever_its_numbers(torn):
    one = join_in_slices(torn.pieces, scale(link='greedy'))[0]
    other = join_in_slices(torn.pieces[::-1], scale(link='greedy'))[0]
    assert (one.cost, one.distance, one.reason) == (other.cost, other.distance, other.reason)
    np.testing.assert_allclose(one.angles, other.angles[::-1])
    np.testing.assert_allclose(one.middle, other.middle)
    assert 38 <= one.middle[1] <= 52 and 0 <= one.middle[0] < SHAPE[0]
