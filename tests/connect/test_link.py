"Linking: angles and bends of known arcs, the rules of each method, and probabilities that are frequencies."
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.linear_model import LogisticRegression

from cryoseg.base.files import VolumeError
from cryoseg.connect.link import (FEATURES, fit_log_odds, follow_policy, fragment_ends, jump_features, learn_q_table,
                                  link_by_matching, link_by_qlearning, link_ends, link_fragments, link_greedily,
                                  list_jumps)
from cryoseg.connect.settings import LINKERS, WEIGHTS, LinkSettings
from cryoseg.connect.trace import FragmentLine, resample
from cryoseg.result.records import Link

METHODS = dict(qlearning=link_by_qlearning, matching=link_by_matching, greedy=link_greedily)
each_method = pytest.mark.parametrize('method', METHODS)


def arc(start, stop, radius=45., centre=(60, 60)):
    "A fragment on a circle, from and to an angle in degrees."
    t = np.radians(np.linspace(start, stop, 400))
    points = resample(np.array(centre) + radius*np.column_stack([np.sin(t), np.cos(t)]))
    return FragmentLine(points, np.full(len(points), 4.))


def straight(a, b):
    "A straight fragment."
    points = resample(np.array([a, b], float))
    return FragmentLine(points, np.full(len(points), 4.))


def reversed_(line):
    "The same fragment, walked the other way."
    return FragmentLine(line.points[::-1], line.width[::-1], line.closed)


BROKEN = [arc(0, 80), arc(100, 215), arc(235, 340)]        # one circle in three


def test_ends_of_an_arc():
    ends = fragment_ends([arc(0, 90, 60.)])
    assert np.allclose(ends.position, [[60, 120], [120, 60]], atol=.5)
    assert np.allclose(ends.outward, [[-1, 0], [0, -1]], atol=.1)
    assert np.allclose(ends.curvature, [-1/60, 1/60], atol=2.5e-3)
    back = fragment_ends([reversed_(arc(0, 90, 60.))])
    assert np.allclose(back.position, ends.position[::-1]) and np.allclose(back.curvature, ends.curvature[::-1])


def test_short_lines_have_no_bend():
    ends = fragment_ends([straight((0, 0), (0, 9))])
    assert ends.curvature.tolist() == [0, 0] and np.allclose(ends.outward, [[0, -1], [0, 1]])


def test_a_jump_along_a_line_does_not_turn():
    lines = [straight((20, 0), (20, 50)), straight((20, 70), (20, 120))]
    jumps = jump_features(lines, fragment_ends(lines), 10.)
    k = jumps.pairs.tolist().index([1, 2])
    values = dict(zip(FEATURES, jumps.features[k]))
    assert values['constant'] == 1 and values['distance'] == pytest.approx(20*10/300) and values['crosses'] == 0
    assert values['distance squared'] == pytest.approx(values['distance']**2)
    for name in ('turns', 'uneven turns', 'unforeseen turns', 'different bends', 'same fragment'):
        assert values[name] == pytest.approx(0, abs=1e-6), name
    turned = jump_features([reversed_(f) for f in lines], fragment_ends([reversed_(f) for f in lines]), 10.)
    assert np.allclose(turned.features[turned.pairs.tolist().index([0, 3])], jumps.features[k])


def test_an_arc_turns_as_foreseen():
    jumps = jump_features(BROKEN, fragment_ends(BROKEN), 10.)
    values = dict(zip(FEATURES, jumps.features[jumps.pairs.tolist().index([1, 2])]))
    assert values['turns'] == pytest.approx(np.radians(20), abs=.07)           # half of the gap's 20 degrees at either end
    assert values['unforeseen turns'] < values['turns']/3 and values['uneven turns'] < .1


def test_a_jump_over_a_third_fragment_crosses():
    lines = [straight((20, 0), (20, 50)), straight((20, 70), (20, 120)), straight((0, 60), (40, 60))]
    jumps = jump_features(lines, fragment_ends(lines), 10.)
    crosses = dict(zip(map(tuple, jumps.pairs), jumps.features[:, FEATURES.index('crosses')]))
    assert crosses[1, 2] == 1 and crosses[1, 4] == 0


def test_jumps_have_limits():
    ends = fragment_ends(BROKEN)
    jumps = jump_features(BROKEN, ends, 10., max_jump_A=300.)
    assert 0 < len(jumps.pairs) and (jumps.distance*10 <= 300).all()
    closed = FragmentLine(arc(0, 350).points, arc(0, 350).width, True)
    assert len(jump_features([closed, BROKEN[0]], fragment_ends([closed, BROKEN[0]]), 10.).pairs) == 1    # of the open one with itself
    assert jump_features([], fragment_ends([]), 10.).features.shape == (0, len(FEATURES)) == (0, len(WEIGHTS))
    some = jumps.chosen(jumps.distance < np.median(jumps.distance))
    assert len(some.pairs) == len(some.features) < len(jumps.pairs)


def test_weights_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = np.c_[np.ones(800), rng.normal(3, 2, (800, 2))]
    y = rng.random(800) < 1/(1 + np.exp(-x @ [-.5, 1., -.7]))
    oracle = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(x[:, 1:], y)
    assert np.allclose(fit_log_odds(x, y, ridge=0.), [*oracle.intercept_, *oracle.coef_[0]], atol=2e-3)
    assert np.abs(fit_log_odds(x, y, ridge=.1)[1:]).sum() < np.abs(oracle.coef_).sum()


def test_jumps_go_both_ways():
    pairs, log_odds = np.array([(0, 3), (1, 2), (0, 5)]), np.array([.5, 1., 2.])
    jumps = list_jumps(6, pairs, log_odds)
    found = {(x, int(jumps.target[k])): jumps.log_odds[k] for x in range(6) for k in range(jumps.first[x], jumps.first[x + 1])}
    assert found == {(0, 3): .5, (3, 0): .5, (1, 2): 1., (2, 1): 1., (0, 5): 2., (5, 0): 2.}
    leave = np.repeat(np.arange(6), np.diff(jumps.first))
    assert np.array_equal(np.sort(np.column_stack([leave, jumps.target]), 1), pairs[jumps.pair])


def test_the_value_of_a_way_home():
    "Two fragments, one way: Q is r1 + lambda (r2 + bonus), eq. (4) at rest."
    jumps = list_jumps(4, np.array([(1, 2), (0, 3)]), np.array([.7, .4]))
    s = LinkSettings(episodes=400, rate=(.5, .5))
    q, home = learn_q_table(jumps, jumps.log_odds, 1, np.ones(4, bool), np.random.default_rng(0), s)
    out = [k for k in range(jumps.first[1], jumps.first[2])]
    back = [k for k in range(jumps.first[3], jumps.first[4])]
    assert home.all() and q[back[0]] == pytest.approx(.4 + s.bonus)
    assert q[out[0]] == pytest.approx(.7 + s.discount*(.4 + s.bonus))
    route = follow_policy(jumps, q, 1, np.ones(4, bool))
    assert route.home and route.jumps == [*out, *back]
    assert follow_policy(jumps, q, 1, np.zeros(4, bool)).jumps == []               # nothing is free


def test_a_dead_end_is_worth_failure():
    jumps = list_jumps(4, np.array([(1, 2)]), np.array([.7]))
    s = LinkSettings(episodes=400, rate=(.5, .5))
    q, home = learn_q_table(jumps, jumps.log_odds, 1, np.ones(4, bool), np.random.default_rng(0), s)
    assert not home.any() and q[jumps.first[1]] == pytest.approx(.7 + s.discount*s.failure)
    q, _ = learn_q_table(jumps, jumps.log_odds, 1, np.ones(4, bool), np.random.default_rng(0), s, ring=False)
    assert q[jumps.first[1]] == pytest.approx(.7)                                  # stopping is worth 0


def drawn(seed, n_ends=10, n_pairs=14):
    "Random candidates."
    rng = np.random.default_rng(seed)
    every = np.array([(i, j) for i in range(n_ends) for j in range(i + 1, n_ends)])
    return n_ends, every[np.sort(rng.choice(len(every), n_pairs, replace=False))], rng.normal(0, 2, n_pairs)


@each_method
@given(seed=st.integers(0, 200))
def test_no_end_serves_twice(method, seed):
    n_ends, pairs, log_odds = drawn(seed)
    taken = METHODS[method](n_ends, pairs, log_odds, LinkSettings(episodes=20))
    assert np.bincount(pairs[taken].ravel(), minlength=1).max(initial=0) <= 1
    lowest = LinkSettings().min_log_odds_in_ring if method == 'qlearning' else LinkSettings().min_log_odds
    assert (log_odds[taken] >= lowest).all()


@each_method
def test_nothing_gives_no_links(method):
    none = METHODS[method](0, np.zeros((0, 2), int), np.zeros(0))
    assert none.shape == (0,) and none.dtype == bool
    assert not METHODS[method](4, np.array([(0, 2)]), np.array([-9.])).any()


def test_matching_is_the_best_assignment():
    "On a bipartite graph it equals the Hungarian method of scipy."
    for seed in range(5):
        weight = np.random.default_rng(seed).normal(0, 2, (5, 6))
        pairs = np.array([(i, 5 + j) for i in range(5) for j in range(6)])
        taken = link_by_matching(11, pairs, weight.ravel())
        gain = np.maximum(weight + 1, 0)                               # above the least log odds, -1
        assert (weight.ravel()[taken] + 1).sum() == pytest.approx(gain[linear_sum_assignment(-gain)].sum())


def test_greedy_takes_the_best_first():
    pairs, log_odds = np.array([(0, 2), (2, 4), (4, 6)]), np.array([1., 1.5, 1.])
    assert link_greedily(8, pairs, log_odds).tolist() == [False, True, False]
    assert link_by_matching(8, pairs, log_odds).tolist() == [True, False, True]


def test_qlearning_closes_a_ring_over_a_doubtful_jump():
    pairs, log_odds = np.array([(1, 2), (0, 3)]), np.array([3., -2.])
    assert link_by_qlearning(4, pairs, log_odds).all()
    assert link_by_qlearning(4, pairs, np.array([3., -3.5])).tolist() == [True, False]
    assert not link_greedily(4, pairs, log_odds).all()


@each_method
def test_a_broken_circle_is_one_membrane(method):
    other = [arc(0, 170, 40., (60, 400))]
    found = link_fragments(BROKEN + other, 10., LinkSettings(method=method))
    assert found.group.tolist() == [0, 0, 0, 1]
    taken = [link for link in found.links if link.taken and link.fragment_a != link.fragment_b]
    assert {frozenset(link_ends(link)) for link in taken} == {frozenset(p) for p in ((1, 2), (3, 4), (0, 5))}
    assert all(link.rule == method and link.probability > .9 for link in taken)


def test_what_a_link_says():
    ends = fragment_ends(BROKEN)
    jumps = jump_features(BROKEN, ends)
    differences = {tuple(pair): bend for pair, bend in zip(jumps.pairs.tolist(), jumps.bend_difference)}
    for link in link_fragments(BROKEN, 10.).links:
        assert isinstance(link, Link)
        i, j = link_ends(link)
        assert 1 <= link.fragment_a <= 3 and link.end_a in (1, 2) and link.z_A is None and type(link.taken) is bool
        assert i == 2*(link.fragment_a - 1) + link.end_a - 1
        assert (link.y_A, link.x_A) == pytest.approx(tuple(10*(ends.position[i] + ends.position[j])/2))
        assert link.distance_A == pytest.approx(10*np.linalg.norm(ends.position[i] - ends.position[j]))
        assert .001 <= link.probability <= .999
        assert link.curvature_difference_per_A == pytest.approx(differences[i, j]/10)
        assert link.reason == (f'ends {link.distance_A:.0f} Å apart, turning {link.angle_a_deg:.0f} and '
                               f'{link.angle_b_deg:.0f} degrees')
    assert [link.link_id for link in link_fragments(BROKEN).links] == list(range(1, len(link_fragments(BROKEN).links) + 1))


def test_the_order_of_fragments_does_not_matter():
    order = [2, 0, 1]
    here, there = link_fragments(BROKEN), link_fragments([BROKEN[k] for k in order])
    back = {k + 1: order[k] + 1 for k in range(3)}
    def links(found, name=lambda k: k): return {frozenset((name(x.fragment_a), name(x.fragment_b))): round(x.cost, 6) for x in found.links if x.taken}
    assert links(here) == links(there, back.get)


def test_nothing_to_link():
    assert link_fragments([]).links == () and len(link_fragments([]).group) == 0
    assert link_fragments([arc(0, 60)]).group.tolist() == [0]


def test_the_scale_does_not_matter():
    "Twice the pixels at half the size: the same decisions."
    def large(f): return FragmentLine(resample(2*f.points), np.full(len(resample(2*f.points)), 8.))
    here, there = link_fragments(BROKEN, 10.), link_fragments([large(f) for f in BROKEN], 5.)
    assert [link.pair for link in here.links if link.taken] == [link.pair for link in there.links if link.taken]


def test_the_seed_is_a_parameter():
    a, b = (link_fragments(BROKEN, 10., seed=7) for _ in range(2))
    assert a.links == b.links


def test_a_method_from_the_register():
    LINKERS.add('none', lambda n_ends, pairs, log_odds, settings, seed: np.zeros(len(pairs), bool), 'no links')
    try: found = link_fragments(BROKEN, 10., LinkSettings(method='none'))
    finally: LINKERS.remove('none')
    assert found.group.tolist() == [0, 1, 2] and {link.rule for link in found.links} == {'none'}
    with pytest.raises(VolumeError): LinkSettings(method='none')


def test_unlikely_links_are_taken_back():
    "Two arcs that face each other across a long gap: the linker takes what it can, the second look only what is likely."
    lines = [arc(0, 60, 45., (60, 60)), arc(150, 210, 45., (60, 60)), arc(0, 90, 30., (60, 300))]
    for least in (0., .75, .99):
        links = link_fragments(lines, 10., LinkSettings(min_probability=least)).links
        assert all(link.probability >= least for link in links if link.taken)
    assert not any(link.taken for link in links)
    assert any(link.taken for link in link_fragments(lines, 10., LinkSettings(min_probability=0., min_log_odds=-4.)).links)


def test_probability_is_a_frequency():
    "On images that no weights have seen; here few of them, in benchmarks/linking.py many."
    import sys
    from pathlib import Path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))
    from _sets import SETS
    from linking import marked_links, plain, together
    marked = together([marked_links(make, range(5000, 5012)) for make in SETS.values()])
    p, before = marked.probability, plain(marked.log_odds)
    likely, doubtful = p > .8, p < .2
    assert len(p) > 800 and abs(p[likely].mean() - marked.right[likely].mean()) < .02
    assert abs(p[doubtful].mean() - marked.right[doubtful].mean()) < .02
    assert ((p - marked.right)**2).mean() < .5*((before - marked.right)**2).mean()     # Brier score: the whole says more than the jump
