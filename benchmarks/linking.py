"""Linking broken curves in a slice (§5.1): the walker against the skeleton, precision, recall and F1 of the links of each
method, and whether the probability of a link is how often such a link is right.

Forty images a set (seeds 0..39) are scored. All true links count, also those of pieces that the walker did not find.
The other seeds: 1000..1119 fitted the weights of the log odds, 1200..1319 those of the context (and chose `min_probability`), 3000..3119
show how often links are right; no image serves twice. `WEIGHTS` (connect/settings) and `CONTEXT_WEIGHTS` (connect/context) are the numbers
that this program prints, rounded.
"""
import json
import timeit
from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from cryoseg.connect.context import CONTEXT, context_features
from cryoseg.connect.settings import LINKERS, LinkSettings, TraceSettings
from cryoseg.connect.link import FEATURES, fit_log_odds, fragment_ends, jump_features, link_ends, link_fragments
from cryoseg.connect.trace import trace_slice, walk_mask
from _tables import RESULTS, arguments, finish, print_table
from _sets import SETS, easy, f1, link_counts, true_ends

SEEDS = range(40)
WEIGHT_SEEDS = range(1000, 1120)
CONTEXT_SEEDS = range(1200, 1320)
THRESHOLDS = 0., .5, .65, .75, .85                              # of the probability of a link that is taken
RELIABILITY_SEEDS = range(3000, 3120)
EDGES = (0, .02, .05, .1, .2, .4, .6, .8, .9, .95, .98, 1)      # of the bins of probability
DRAWS = 400                                                     # resamplings of the images, for standard errors


def skeleton_lines(image):
    "What the walker is measured against: the longest shortest path through each part of the skeleton, (n,2) pixels in order."
    thin = skeletonize(image > 0)
    points, lines = np.argwhere(thin), []
    pairs = cKDTree(points).query_pairs(1.5, output_type='ndarray')
    whole = nx.Graph()
    whole.add_nodes_from(range(len(points)))
    whole.add_weighted_edges_from((i, j, float(np.linalg.norm(points[i] - points[j]))) for i, j in pairs)
    for part in nx.connected_components(whole):
        graph = whole.subgraph(part)
        far = max(nx.single_source_dijkstra_path_length(graph, next(iter(part))).items(), key=lambda v: v[1])[0]
        length, path = nx.single_source_dijkstra(graph, far)
        lines.append(points[path[max(length, key=length.get)]])
    return [line for line in lines if len(line) >= TraceSettings().min_length]


def covered(of, by, tolerance_px=2.):
    "Share of the points of some lines that lie near others."
    return float((cKDTree(np.vstack(by)).query(np.vstack(of))[0] <= tolerance_px).mean())


def walker_row(name, make):
    "Coverage of the skeleton's lines, and time, over the images of a set."
    images = [make(seed)[0] for seed in SEEDS]
    shares = [covered(skeleton_lines(im), [f.points for f in trace_slice(im)]) for im in images]
    time = lambda work: min(timeit.repeat(lambda: [work(im) for im in images], number=1, repeat=2))/len(images)
    skeleton, walk, whole = time(skeleton_lines), time(walk_mask), time(trace_slice)
    return dict(set=name, coverage=float(np.mean(shares)), worst_image=float(min(shares)), walk_over_skeleton_time=walk/skeleton, with_centre_lines_over_skeleton_time=whole/skeleton)


def link_rows(name, make):
    "Precision, recall and F1 of each method, summed over the images of a set."
    rows, slices = [], []
    for seed in SEEDS:
        image, pieces, truth = make(seed)
        lines = trace_slice(image)
        slices.append((lines, *true_ends([f.points for f in lines], pieces), truth))
    for method in LINKERS:
        counts, seconds = [], 0.
        for lines, ends, on, truth in slices:
            start = timeit.default_timer()
            links = link_fragments(lines, settings=LinkSettings(method=method)).links
            seconds += timeit.default_timer() - start
            counts.append(link_counts([link_ends(link) for link in links if link.taken], ends, on, truth))
        rows.append(dict(set=name, method=method, **precision_and_recall(counts), f1=float(f1(counts)), ms_an_image=1000*seconds/len(slices)))
    return rows


def precision_and_recall(counts):
    "Of summed true and false positives and false negatives."
    tp, fp, fn = np.sum(counts, axis=0)
    return dict(precision=float(tp/(tp + fp)), recall=float(tp/(tp + fn)))


def threshold_rows(name, make, seeds=SEEDS):
    "Precision and recall where links below a probability are taken back; how many of the wrong ones leave from an end that the walker made up."
    slices, rows = [traced(make, seed) for seed in seeds], []
    for least in THRESHOLDS:
        counts, wrong, made_up = [], 0, 0
        for lines, at, on, truth in slices:
            taken = [link_ends(link) for link in link_fragments(lines, settings=LinkSettings(min_probability=least)).links if link.taken]
            counts.append(link_counts(taken, at, on, truth))
            wrong += int(counts[-1][1])
            made_up += sum(int(min(at[i], at[j]) < 0) for i, j in taken)
        rows.append(dict(set=name, least_probability=least, **precision_and_recall(counts), wrong=wrong, of_no_true_end=made_up))
    return rows


def traced(make, seed):
    "Fragments of an image, the piece end at each of their ends, the piece of each, and the true links."
    image, pieces, truth = make(seed)
    lines = trace_slice(image)
    return lines, *true_ends([f.points for f in lines], pieces), truth


def marked_jumps(make, seeds):
    "Features of all jumps in images of broken curves (m,10), and which are right (m,)."
    features, right = [], []
    for seed in seeds:
        lines, at, _, truth = traced(make, seed)
        jumps = jump_features(lines, fragment_ends(lines))
        features.append(jumps.features)
        right += [tuple(sorted((at[i], at[j]))) in truth for i, j in jumps.pairs]
    return np.vstack(features), np.array(right)


def fit_weights():
    "The weights of the log odds, a row a feature."
    features, right = zip(*(marked_jumps(make, WEIGHT_SEEDS) for make in SETS.values()))
    weights = fit_log_odds(np.vstack(features), np.concatenate(right))
    return [dict(feature=name, weight=float(w)) for name, w in zip(FEATURES, weights)]


def fit_context():
    "The weights of the context, a row a feature: candidates of slices in which Q-learning has chosen and nothing was taken back."
    features, right = [], []
    for make in SETS.values():
        for seed in CONTEXT_SEEDS:
            lines, at, on, truth = traced(make, seed)
            links = link_fragments(lines, settings=LinkSettings(min_probability=0.)).links
            if not links: continue
            pairs, taken = np.array([link_ends(link) for link in links]), np.array([link.taken for link in links])
            log_odds, distance = np.array([-link.cost for link in links]), np.array([link.distance_A/10 for link in links])
            marks = [mark(at, on, truth, pair) for pair in pairs.tolist()]
            known = np.array([m is not None for m in marks])
            features.append(context_features(lines, pairs, log_odds, taken, distance)[known])
            right += [m for m in marks if m is not None]
    return [dict(feature=name, weight=float(w)) for name, w in zip(CONTEXT, fit_log_odds(np.vstack(features), np.array(right)))]


def mark(at, on, truth, pair):
    "Whether a candidate is right; None where it joins two parts of one piece, which counts neither way."
    i, j = pair
    if at[i] >= 0 and at[j] >= 0 and tuple(sorted((at[i], at[j]))) in truth: return True
    return None if i//2 != j//2 and on[i//2] >= 0 and on[i//2] == on[j//2] else False


@dataclass(frozen=True)
class Marked:
    "Listed candidates of several images."
    probability: np.ndarray     # (m,) with all the others in place
    log_odds: np.ndarray        # (m,) by itself
    right: np.ndarray           # (m,) bool
    image: np.ndarray           # (m,) number of the image

    def of(self, images):
        "The candidates of some images, with repeats."
        rows = [np.flatnonzero(self.image == k) for k in range(self.image.max() + 1)]
        chosen = np.concatenate([rows[k] for k in images])
        return Marked(self.probability[chosen], self.log_odds[chosen], self.right[chosen], self.image[chosen])


def marked_links(make, seeds):
    "The candidates that are listed for the images of a set, and which are right; joins of two parts of one piece are left out, as in the scores."
    rows = []
    for number, seed in enumerate(seeds):
        lines, at, on, truth = traced(make, seed)
        for link in link_fragments(lines).links:
            right = mark(at, on, truth, link_ends(link))
            if right is not None: rows.append((link.probability, -link.cost, right, number))
    probability, log_odds, right, image = zip(*rows)
    return Marked(np.array(probability), np.array(log_odds), np.array(right, bool), np.array(image))


def together(parts):
    "The candidates of several sets as one."
    first = np.cumsum([0] + [p.image.max() + 1 for p in parts])
    return Marked(*(np.concatenate([getattr(p, name) for p in parts]) for name in ('probability', 'log_odds', 'right')),
                  np.concatenate([p.image + k for p, k in zip(parts, first)]))


def plain(log_odds):
    "Log odds as they are, as a probability."
    return 1/(1 + np.exp(-log_odds))


def calibration_error(p, right):
    "Expected calibration error: |said - right| of the bins, weighted by their counts."
    bins = np.clip(np.digitize(p, EDGES) - 1, 0, len(EDGES) - 2)
    said, hits = (np.bincount(bins, weights=v, minlength=len(EDGES) - 1) for v in (p, right))
    return float(np.abs(said - hits).sum()/len(p))


def frequencies(p, right):
    "Of each bin of probability: count, mean probability, fraction that is right."
    rows = []
    for low, high in zip(EDGES, EDGES[1:]):
        inside = (p >= low) & ((p < high) | (high == 1))
        n = int(np.count_nonzero(inside))
        rows.append((n, float(p[inside].mean()) if n else None, float(right[inside].mean()) if n else None))
    return rows


def reliability_rows(marked):
    "A row a bin, of the probability and of the log odds of a jump by itself; standard errors from resampled images."
    rng, n_images = np.random.default_rng(0), marked.image.max() + 1
    columns, ways = {}, (('', lambda m: m.probability), ('_alone', lambda m: plain(m.log_odds)))
    for suffix, probability in ways:
        columns[suffix] = frequencies(probability(marked), marked.right), []
    for _ in range(DRAWS):
        drawn = marked.of(rng.integers(0, n_images, n_images))
        for suffix, probability in ways:
            columns[suffix][1].append([row[2] for row in frequencies(probability(drawn), drawn.right)])
    rows = []
    for k, (low, high) in enumerate(zip(EDGES, EDGES[1:])):
        row = {'from': low, 'to': high}
        for suffix, (found, draws) in columns.items():
            again = [d[k] for d in draws if d[k] is not None]
            error = float(np.std(again)) if len(again) > 1 else None
            row |= dict(zip((f'candidates{suffix}', f'said{suffix}', f'right{suffix}'), found[k])) | {f'right{suffix}_se': error}
        rows.append(row)
    return rows


def calibration_row(name, marked):
    "How far what is said is from what is right, in one set."
    p, before = marked.probability, plain(marked.log_odds)
    brier = lambda p: float(((p - marked.right)**2).mean())
    return dict(set=name, candidates=len(p), right=int(marked.right.sum()), mean_probability=float(p.mean()), fraction_right=float(marked.right.mean()),
                ece=calibration_error(p, marked.right), ece_alone=calibration_error(before, marked.right), brier=brier(p), brier_alone=brier(before))


def calibration_tables():
    "The calibration error of each set, and the reliability of all sets together."
    fresh = {name: marked_links(make, RELIABILITY_SEEDS) for name, make in SETS.items()}
    fresh['all'] = together(list(fresh.values()))
    return {'calibration': [calibration_row(name, marked) for name, marked in fresh.items()], 'reliability': reliability_rows(fresh['all'])}


def stored_table(title):
    "The rows of a table that the last run of this program wrote."
    tables = json.loads((RESULTS / 'linking.json').read_text(encoding='utf-8'))['numbers']['tables']
    return next(table['rows'] for table in tables if table['title'] == title)


def main():
    args = arguments(__doc__).parse_args()
    trace_slice(easy(0)[0])                             # compiled before anything is timed
    tables = [('the walker against the skeleton', [walker_row(*item) for item in SETS.items()]),
              ('links', [row for item in SETS.items() for row in link_rows(*item)]),
              ('links that are likely enough', [row for item in SETS.items() for row in threshold_rows(*item)]),
              ('weights', fit_weights()), ('weights of the context', fit_context()), *calibration_tables().items()]
    for title, rows in tables: print_table(title, rows)
    finish(tables, args.json)


if __name__ == '__main__': main()
