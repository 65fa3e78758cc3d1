"""Linking broken curves in a slice (§5.1): the walker against the skeleton, and F1, precision and recall of the links of each method.

Forty images a set (seeds 0..39); weights and settings were chosen on images with seeds from 1000 on. All true links count,
also those of pieces that the walker did not find.
"""
import timeit

import networkx as nx
import numpy as np
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from cryoseg.connect.settings import LinkSettings
from cryoseg.connect.link import METHODS, link_fragments
from cryoseg.connect.settings import TraceSettings
from cryoseg.connect.trace import trace_slice, walk_mask
from _tables import arguments, finish, print_table
from _sets import SETS, easy, f1, link_counts, taken_links, true_ends

SEEDS = range(40)


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
    return [line for line in lines if len(line) >= TraceSettings().least_length]


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
    for method in METHODS:
        counts, seconds = [], 0.
        for lines, ends, on, truth in slices:
            start = timeit.default_timer()
            table = link_fragments(lines, settings=LinkSettings(method=method)).table
            seconds += timeit.default_timer() - start
            counts.append(link_counts(taken_links(table), ends, on, truth))
        tp, fp, fn = np.sum(counts, axis=0)
        rows.append(dict(set=name, method=method, precision=float(tp/(tp + fp)), recall=float(tp/(tp + fn)), f1=float(f1(counts)), ms_an_image=1000*seconds/len(slices)))
    return rows


def main():
    args = arguments(__doc__).parse_args()
    trace_slice(easy(0)[0])                             # compiled before anything is timed
    tables = [('the walker against the skeleton', [walker_row(*item) for item in SETS.items()]),
              ('links', [row for item in SETS.items() for row in link_rows(*item)])]
    for title, rows in tables: print_table(title, rows)
    finish(tables, args.json)


if __name__ == '__main__': main()
