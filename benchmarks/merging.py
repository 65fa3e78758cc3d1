"""Single membranes out of masks (§5.2): touching vesicles, torn scenes, real masks of other tools (not for choosing settings), and sheets cut and joined again.

Touching vesicles: seeds 0..4 with 2, 3 and 4 bodies, ellipsoids (the reference set) and bumpy ones made the same way here.
Torn scenes: seeds 0..3; sheets: seed 0. The settings that join pieces were chosen on scenes with seeds from 1000 on and on cuts with seeds 1 to 4.
Double membranes and stacks of sheets that touch: seeds 100 to 139; what tells them apart was made on seeds 0 to 39.
Probabilities of joins: torn scenes from seed 2000 on and crowded ones from seed 3000 on; even seeds are fitted, odd ones shown.
Real masks come from `--data DIR`; their labels only score, the input is the mask of all of them.
"""
import timeit
from dataclasses import replace

import numpy as np
from scipy.ndimage import label

from cryoseg.connect.settings import ConnectSettings
from cryoseg.connect.pieces import Scale
from cryoseg.connect.split import find_pieces
from cryoseg.connect.joins import CONTACT, SLICES, Join
from cryoseg.connect.candidates import COST_FLOOR, find_joins, join_probability
from cryoseg.connect.edits import edits_from_links
from cryoseg.connect.membranes import find_membranes
from cryoseg.connect.link import fit_log_odds
from cryoseg.connect.merge import merge_union_find, region_distance
from cryoseg.base.metrics import adapted_rand_error, expected_calibration_error, panoptic_quality, voi
from cryoseg.phantom.phantom import broken_shells
from cryoseg.base.formats import read_volume
from _sets import double_membrane, stacked_sheets, touching_vesicles
from _tables import arguments, finish, print_table

REAL = {'wrapped_autophagic_body_middle': (1, 2), 'phagophore_middle': (1, 2, 3), 'phagophore_vacuole_contact': (1, 2, 3), 'golgi_vesicles_filled': (1,)}    # label values that are membrane
CROWD = 56, 180, 200            # voxels z, y, x of a crowded scene
SHEETS = ('thylakoid_T1S1M1', 'thylakoid_T1S2M15', 'thylakoid_T1S4M8')


def bumpy(points, owner, seed):
    "The same vesicles with bumps: each point moves along the ray from its vesicle's centre by up to 1.5 voxels more or less, smoothly over the surface."
    rng, moved = np.random.default_rng(1000 + seed), points.copy()
    for k in np.unique(owner):
        mine = owner == k
        ray = points[mine] - points[mine].mean(0)
        radius = np.linalg.norm(ray, axis=1, keepdims=True)
        waves = sum(np.sin(ray/radius @ rng.normal(0, 3, 3) + rng.uniform(0, 6.3)) for _ in range(4))/2
        moved[mine] += ray/radius*(1.5*waves)[:, None]
    return moved


def as_volume(points, owner):
    "Mask and labels (Z,Y,X) of points x,y,z."
    index = np.round(points[:, ::-1]).astype(int)
    index -= index.min(0) - 4
    truth = np.zeros(index.max(0) + 5, np.int32)
    truth[tuple(index.T)] = owner + 1
    return truth > 0, truth


def touching_rows():
    "Mean scores over the seeds for each number of vesicles."
    rows = []
    for shape in ('ellipsoids', 'bumpy'):
        for n in (2, 3, 4):
            scores = []
            for seed in range(5):
                points, owner = touching_vesicles(seed, n)
                if shape == 'bumpy': points = bumpy(points, owner, seed)
                mask, truth = as_volume(points, owner)
                found = find_membranes(mask, 10.).membranes.astype(int)
                scores.append([adapted_rand_error(found, truth), *voi(found, truth), panoptic_quality(found, truth), found.max() - n])
            mean = np.mean(scores, axis=0)
            rows.append(dict(shape=shape, vesicles=n, adapted_rand=float(mean[0]), worst=float(np.max(scores, axis=0)[0]), voi_split_bits=float(mean[1]), voi_merge_bits=float(mean[2]),
                             panoptic_quality=float(mean[3]), too_many_or_few=float(np.abs([s[4] for s in scores]).mean())))
    return rows


def torn_scene(seed):
    "Four vesicles, two of them nested, and two wavy sheets; each is torn right through, anywhere and in any direction (the sheets upright), by 5 to 30 voxels."
    rng, shape = np.random.default_rng(seed), (64, 200, 240)
    outer = np.array([rng.uniform(26, 36), *rng.uniform(34, 44, 2)])
    bodies = [((32, 55, 55), outer), ((32, 55, 55), .6*outer), ((32, 145, 60), rng.uniform(26, 36, 3)), ((32, 60, 140), rng.uniform(24, 32, 3))]
    mask, truth = broken_shells(shape, bodies, seed=seed, specks=500, wedge=.6)
    z, y = np.indices(shape[:2])
    for k, x in enumerate((195, 225)):
        at = (x + rng.uniform(3, 7)*np.sin(y/rng.uniform(18, 30) + rng.uniform(0, 6)) + 3*np.cos(z/25)).round().astype(int)
        for dx in (-1, 0, 1):
            keep = (rng.random(z.shape) < .9) & (at + dx < shape[2])
            mask[z[keep], y[keep], (at + dx)[keep]], truth[z[keep], y[keep], (at + dx)[keep]] = True, 5 + k
    points = np.argwhere(truth > 0)
    owner = truth[tuple(points.T)]
    for k in range(1, 7):
        own, way = points[owner == k], rng.normal(size=3)*(1, 1, k <= 4)
        along, gap = own @ way/np.linalg.norm(way), rng.uniform(5, 30)
        gone = tuple(own[np.abs(along - np.quantile(along, rng.uniform(.3, .7))) < gap/2].T)
        mask[gone], truth[gone] = False, 0
    return mask, truth


def torn_rows(seeds=range(4)):
    "How many membranes of the torn scenes are whole again (90 % of their voxels in one id), and how many ids hold parts of two, by way of joining."
    rows = []
    for way in ('not joined', 'slices (qlearning)', 'space', 'slices, then space'):
        whole = mixed = true = 0
        scores = []
        for seed in seeds:
            mask, truth = torn_scene(seed)
            found = find_membranes(mask, 10., ConnectSettings(join=way != 'not joined', link='qlearning' if 'slices' in way else 'merge'))
            no_space = [replace(link, taken=link.taken and link.rule != 'gap3d') for link in found.links]
            undo = edits_from_links(no_space, found.links, found.fragments)
            if way == 'slices (qlearning)' and undo: found = find_membranes(mask, 10., ConnectSettings(link='qlearning'), edits=undo)
            both = np.zeros((truth.max() + 1, found.membranes.max() + 1))
            np.add.at(both, (truth.ravel(), found.membranes.ravel()), 1)
            whole += (both[1:, 1:].max(1, initial=0) > .9*both[1:].sum(1)).sum()
            mixed += (np.sort(both[1:, 1:], axis=0)[:-1].sum(0) > .05*both[1:, 1:].sum(0)).sum()
            true += len(both) - 1
            scores.append(adapted_rand_error(found.membranes, truth))
        rows.append(dict(joined=way, membranes=int(true), whole=int(whole), ids_of_two=int(mixed), adapted_rand=float(np.mean(scores))))
    return rows


def mixed_share(found, truth):
    "The largest share of an id that belongs to another membrane than most of it, of the voxels that have a true one."
    both = np.zeros((truth.max() + 1, found.max() + 1))
    np.add.at(both, (truth.ravel(), found.ravel()), 1)
    own = both[1:, 1:]
    return max((1 - column.max()/column.sum() for column in own.T if column.sum()), default=1.)


def beside_rows(seeds=range(100, 140), voxel_size_A=20.):
    "Double membranes and stacks of sheets that touch. Settings were chosen on seeds 0 to 39."
    rows = []
    for name, make in (('double membranes', double_membrane), ('stacks of sheets', stacked_sheets)):
        scores = []
        for seed in seeds:
            mask, truth = make(seed)
            found = np.where(truth > 0, find_membranes(mask, voxel_size_A).membranes, 0).astype(int)
            scores.append([adapted_rand_error(found, truth), adapted_rand_error((truth > 0).astype(int), truth), mixed_share(found, truth), len(np.unique(found)) - len(np.unique(truth))])
        error, as_one, mixed, more = np.array(scores).T
        rows.append(dict(set=name, scenes=len(scores), adapted_rand=float(error.mean()), worst=float(error.max()), as_one=float(as_one.mean()), pure=float((mixed <= .01).mean()),
                         within_003=float((error <= .03).mean()), right_number=float((more == 0).mean())))
    return rows


def crowded_bodies(rng, wanted=5, spare=6, tries=200):
    "Centres and semi-axes of bodies whose shells keep at least `spare` voxels apart; one may lie in another."
    bodies = []
    for _ in range(tries):
        radius, centre = rng.uniform(14, 38), rng.uniform((20, 20, 20), (36, 160, 130))
        away = [(np.linalg.norm(centre - c), np.mean(a)) for c, a in bodies]
        clear = [max(d - r - radius, abs(r - radius) - d) > spare + .1*(r + radius) for d, r in away]
        if all(clear): bodies.append((centre, radius*rng.uniform(.9, 1.1, 3)))
        if len(bodies) == wanted: break
    return bodies


def add_sheets(rng, mask, truth):
    "Two or three wavy sheets side by side, 9 to 16 voxels apart."
    z, y = np.indices(mask.shape[:2])
    x, phase, waves = 150., rng.uniform(0, 6), rng.uniform(2, 6)
    for _ in range(rng.integers(2, 4)):
        at = (x + waves*np.sin(y/rng.uniform(18, 30) + phase) + 2*np.cos(z/25)).round().astype(int)
        x, number = x + rng.uniform(9, 16), truth.max() + 1
        for dx in (-1, 0, 1):
            keep = (rng.random(z.shape) < .9) & (at + dx < mask.shape[2])
            mask[z[keep], y[keep], (at + dx)[keep]], truth[z[keep], y[keep], (at + dx)[keep]] = True, number


def add_scraps(rng, mask, truth, n=10):
    "Round scraps of membrane that belong to nothing, upright, of radius 8 to 22 voxels."
    grid = np.indices(mask.shape).reshape(3, -1).T
    for number in range(truth.max() + 1, truth.max() + 1 + n):
        way = rng.normal(size=3)*(.3, 1, 1)
        d = grid - rng.uniform(10, np.array(mask.shape) - 10)
        height = d @ way/np.linalg.norm(way)
        flat = (np.abs(height) < 1.5) & ((d**2).sum(1) - height**2 < rng.uniform(8, 22)**2)
        new = grid[flat & (truth.ravel() == 0)]
        mask[tuple(new.T)], truth[tuple(new.T)] = True, number


def tear(rng, mask, truth, labels):
    "Tear each membrane once to three times right through by a slot of 5 to 60 voxels."
    for k in labels:
        for _ in range(rng.integers(1, 4)):
            own = np.argwhere(truth == k)
            if len(own) < 500: break
            way, gap = rng.normal(size=3)*(.6, 1, 1), 5*12**rng.random()
            along = own @ way/np.linalg.norm(way)
            gone = tuple(own[np.abs(along - np.quantile(along, rng.uniform(.15, .85))) < gap/2].T)
            mask[gone], truth[gone] = False, 0


def crowded_scene(seed):
    "Mask and truth (Z,Y,X) of up to five bodies and two or three sheets side by side, all torn, among scraps and specks."
    rng = np.random.default_rng(seed)
    mask, truth = broken_shells(CROWD, crowded_bodies(rng), seed=seed, specks=500, wedge=.6)
    add_sheets(rng, mask, truth)
    tear(rng, mask, truth, range(1, truth.max() + 1))
    add_scraps(rng, mask, truth)
    return mask, truth


CALIBRATION = (torn_scene, range(2000, 2034)), (crowded_scene, range(3000, 3017))


def candidates_of(mask, truth, link):
    "All candidates for joins in a scene: dict of cue, taken, cost, probability, and whether it is right."
    scale = Scale(ConnectSettings(link=link), 10., mask.shape)
    found = find_pieces(mask, scale)
    joins = find_joins(found, scale)
    asked = {j.pair for j in joins}
    joins += [j for j in (Join(c.a, c.b, 1., c.distance, 'touching', CONTACT, taken=False) for c in found.contacts) if j.pair not in asked]
    of = []
    for piece in found.pieces:
        counts = np.bincount(truth[tuple(piece.voxels.T)], minlength=2)
        of.append(int(counts.argmax()) if counts.max() > .7*counts.sum() else 0)
    return [dict(cue=j.cue, taken=j.taken, cost=j.cost, probability=join_probability(j), right=of[j.a] == of[j.b] > 0) for j in joins]


def all_candidates():
    "Candidates of the scenes for calibration with their seeds; those within the slices are asked in scenes of their own."
    rows = []
    for make, seeds in CALIBRATION:
        for seed in seeds:
            scene = make(seed)
            for link in ('merge', 'qlearning'):
                kept = [r for r in candidates_of(*scene, link) if link == 'merge' or r['cue'] == SLICES]
                rows += [dict(seed=seed, **r) for r in kept]
    return rows


def fitted_rows(rows):
    "Log odds of being right = offset + slope log(cost + COST_FLOOR) for each cue, taken and refused, from the even seeds; what stands in connect/candidates."
    found = []
    for cue, taken in sorted({(r['cue'], r['taken']) for r in rows}):
        of = [[r for r in rows if (r['cue'], r['taken'], r['seed'] % 2) == (cue, taken, odd)] for odd in (0, 1)]
        cost, right = (np.array([r[k] for r in of[0]], float) for k in ('cost', 'right'))
        if len(np.unique(cost)) < 3: offset, slope = np.log((right.sum() + .5)/((1 - right).sum() + .5)), 0.
        else: offset, slope = fit_log_odds(np.column_stack([np.ones(len(cost)), np.log(cost + COST_FLOOR)]), right > 0, ridge=1e-2)
        found.append(dict(cue=cue, taken=taken, candidates=len(of[0]), offset=float(offset), slope=float(min(slope, 0.)), right=float(right.mean()),
                          right_other_seeds=float(np.mean([r['right'] for r in of[1]]))))
    return found


def reliability_rows(rows, edges=(0, .05, .2, .4, .6, .8, .9, 1)):
    "How often candidates of the odd seeds are right, by their probability; and by 1/(1 + cost), which was written before."
    rows, found = [r for r in rows if r['seed'] % 2], []
    right = np.array([r['right'] for r in rows])
    for name, p in (('probability', np.array([r['probability'] for r in rows])), ('1/(1 + cost)', np.array([1/(1 + r['cost']) for r in rows]))):
        error = float(expected_calibration_error(p, right))
        for k, low in enumerate(edges[:-1]):
            here = np.digitize(p, edges[1:-1]) == k
            if here.any():
                found.append(dict(score=name, from_=low, to=edges[k + 1], candidates=int(here.sum()), mean=float(p[here].mean()), right=float(right[here].mean()), calibration_error=error))
    return found


def pieces_of(labels):
    "The labels' own pieces: connected parts of each label of at least 1000 voxels, numbered."
    out, n = np.zeros(labels.shape, np.int32), 0
    for value in np.unique(labels[labels > 0]):
        parts, _ = label(labels == value, np.ones((3, 3, 3)))
        for k in np.flatnonzero(np.bincount(parts.ravel())[1:] >= 1000) + 1:
            n += 1
            out[parts == k] = n
    return out


def real_row(path, values):
    "One real mask, binarised: scores against the pieces of its labels (those of one label may belong together), and the largest share of an id that has another label."
    volume = read_volume(path, check=False)
    labels = np.asarray(volume.data).astype(int)
    labels[~np.isin(labels, values)] = 0
    start = timeit.default_timer()
    found = find_membranes(labels > 0, volume.voxel_size_A)
    seconds, ids = timeit.default_timer() - start, found.membranes.astype(int)
    truth = pieces_of(labels)
    both = (truth > 0) & (ids > 0)
    other = [1 - np.bincount(labels[ids == k]).max()/np.count_nonzero(ids == k) for k in range(1, ids.max() + 1)]
    split, merged = voi(np.where(both, ids, 0), np.where(both, truth, 0))
    return dict(mask=path.stem, voxels=int((labels > 0).sum()), labels=len(np.unique(labels[labels > 0])), pieces=int(truth.max()), found=len(found.table),
                voxels_found=' '.join(str(m.n_voxels) for m in found.table[:6]), adapted_rand=float(adapted_rand_error(np.where(both, ids, 0), np.where(both, truth, 0))),
                voi_split_bits=float(split), voi_merge_bits=float(merged),
                most_in_other_label=float(max(other, default=0)), seconds=seconds)


def cut_row(path, n_cuts=20):
    "Sheets cut by random slots of 5-30 voxels, one at a time, and joined again: how often the parts become one membrane as before. A sheet that had gaps already may fall into parts that are farther apart than the slot is wide; beyond 30 voxels another cut is made."
    volume, rng = read_volume(path, check=False), np.random.default_rng(0)
    size = volume.voxel_size_A
    before = find_membranes(np.asarray(volume.data) > 0, size, ConnectSettings(split=False)).membranes
    again = cut = tries = 0
    while cut < n_cuts and tries < 10*n_cuts:
        tries += 1
        k = rng.integers(before.max()) + 1
        voxels = np.argwhere(before == k)
        low = voxels.min(0)
        mask = np.zeros(np.ptp(voxels, axis=0) + 1, bool)
        mask[tuple((voxels - low).T)] = True
        axis = np.linalg.svd(voxels[rng.choice(len(voxels), min(len(voxels), 5000), replace=False)] - voxels.mean(0), full_matrices=False)[2]
        way = np.cos(t := rng.uniform(0, np.pi))*axis[0] + np.sin(t)*axis[1]
        along, gap = (voxels - voxels.mean(0)) @ way, rng.uniform(5, 30)
        at = np.quantile(along, rng.uniform(.25, .75))
        mask[tuple((voxels - low)[np.abs(along - at) < gap/2].T)] = False
        parts = merge_union_find(mask, Scale(ConnectSettings(), size, mask.shape).epsilon)
        sides = [np.bincount(parts[tuple((voxels - low)[side].T)]) for side in (along < at - gap/2, along > at + gap/2)]
        if any(len(s) < 2 for s in sides) or sides[0][1:].argmax() == sides[1][1:].argmax(): continue      # the cut does not part it
        if min(s[1:].max() for s in sides) < 1000: continue
        if region_distance(*(np.argwhere(parts == s[1:].argmax() + 1) for s in sides)) > 30: continue
        cut += 1
        found = find_membranes(mask, size, ConnectSettings(split=False)).membranes
        of = [np.bincount(found[parts == s[1:].argmax() + 1]).argmax() for s in sides]
        again += of[0] == of[1] > 0
    return dict(sheets=path.stem, cuts=cut, joined_again=int(again), share=again/max(cut, 1))


def main():
    args = arguments(__doc__, data=True).parse_args()
    tables = []

    def table(title, rows):
        tables.append((title, rows))
        print_table(title, rows)

    table('touching vesicles', touching_rows())
    table('membranes beside each other that touch', beside_rows())
    table('torn scenes', torn_rows())
    rows = all_candidates()
    table('probabilities of joins: the fit', fitted_rows(rows))
    table('probabilities of joins: reliability', reliability_rows(rows))
    masks = args.data / 'segmentations'
    if masks.is_dir():
        table('real masks, binarised', [real_row(masks / f'{name}.npz', values) for name, values in REAL.items()])
        table('thylakoid sheets cut and joined again', [cut_row(masks / f'{name}.npz') for name in SHEETS])
    else: print(f'no masks at {masks}: left out (--data DIR)')
    finish(tables, args.json)


if __name__ == '__main__': main()
