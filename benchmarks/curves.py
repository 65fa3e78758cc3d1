"""Sections closed by an ellipse and by a Gaussian process round it (§5.3): error, calibration, and what is called closed, on torn rings whose whole curve is known.

Settings were chosen on seeds 0 to 19; these are seeds 200 to 219. *within*: share of the curve with the truth within two standard deviations (nominal 0.95).
"""
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from cryoseg.surface.settings import ContourSettings
from cryoseg.surface.contours import fit_section, polygon_area, polygon_length
from _sets import deformed_ring, open_curve
from _tables import arguments, finish, print_table

SEEDS = range(200, 220)


def wobbly_ring(rng, small=False):
    "An ellipse with a wave of 1.5 %, as in `broken_curves`, round 0; a small one has a radius of 8 to 18 px."
    a, angle, t = rng.uniform(8, 18) if small else rng.uniform(35, 90), rng.uniform(0, np.pi), np.linspace(0, 2*np.pi, 1200, endpoint=False)
    b, wave = a*rng.uniform(.65, 1), 1 + .015*np.sin(3*t + rng.uniform(0, 6))
    return np.c_[a*wave*np.cos(t), b*wave*np.sin(t)] @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def torn_ring(seed, kind='wobbly', seen=.7, width=3., grain=8., error=.6, strays=0, size=300):
    "True curve (n,2), which of it is seen (n,), its labelled pixels (m,2) and their picture's shape: one wide gap, three of 3-10 px, labels that err by `error` px, alike over about `grain` px."
    rng, curve = np.random.default_rng(seed), None
    if kind != 'deformed': curve = wobbly_ring(rng, kind == 'small')
    while curve is None: curve = deformed_ring(rng, 512)[0]
    curve = curve - curve.mean(0) + size/2
    steps = np.linalg.norm(np.diff(curve, axis=0, append=curve[:1]), axis=1)
    length, along = steps.sum(), np.r_[0, np.cumsum(steps)[:-1]]
    kept = (along - rng.uniform(0, length)) % length >= (1 - seen)*length
    for _ in range(0 if kind == 'small' else 3): kept &= (along - rng.uniform(0, length)) % length >= rng.uniform(3, 10)
    return curve, kept, labelled(rng, curve, kept, width, grain*len(curve)/length, error, size, strays), (size, size)


def labelled(rng, curve, kept, width, grain, error, size, strays=0, mode='wrap'):
    "Pixels (m,2) within half the width of a curve that errs."
    way = np.roll(curve, -1, 0) - np.roll(curve, 1, 0)
    normals = np.c_[-way[:, 1], way[:, 0]]/np.linalg.norm(way, axis=1)[:, None]
    off = gaussian_filter1d(rng.normal(size=len(curve)), grain/2, mode=mode)
    pixels = np.argwhere(np.ones((size, size), bool))
    on = cKDTree((curve + normals*(error*off/off.std())[:, None])[kept]).query(pixels)[0] < width/2
    if strays: on[rng.integers(len(on), size=strays)] = True
    return pixels[on]


def torn_line(seed, size=300):
    "The same of an open curve without a gap."
    rng = np.random.default_rng(seed)
    curve, _ = open_curve(rng, size)
    curve = curve - curve.mean(0) + size/2
    ends = np.r_[np.zeros(4), np.ones(len(curve) - 8), np.zeros(4)].astype(bool)
    return curve, ends, labelled(rng, curve, ends, 3., 8*len(curve)/polygon_length(curve, False), .6, size, mode='reflect'), (size, size)


def score(found, true, seen):
    "Error, sigma and share within two sigma, where pixels are and in the gap; and whether area and perimeter are within theirs."
    away = cKDTree(true).query(found.points)[0]
    gap = cKDTree(true[seen]).query(found.points)[0] > 4
    mean = lambda values, part: float(values[part].mean()) if part.any() else np.nan
    row = [mean(v, part) for part in (~gap, gap) for v in (away, found.sigma, away < 2*found.sigma)]
    inside = [abs(a - b) < 2*sd for a, b, sd in ((found.area_px2, polygon_area(true), found.area_sd_px2), (found.perimeter_px, polygon_length(true), found.perimeter_sd_px))]
    return row + (inside if found.closed else [np.nan]*2)


def ring_rows(kinds=('wobbly', 'deformed', 'small'), shares=(1., .8, .6, .4), seeds=SEEDS, methods=('ellipse', 'gp')):
    "Every method on every kind of ring."
    rows = []
    for kind in kinds:
        for share in shares:
            for method in methods:
                cases = [torn_ring(seed, kind, share) for seed in seeds]
                found = [fit_section(pixels, shape, ContourSettings(method=method)) for _, _, pixels, shape in cases]
                marks = [score(c, true, seen) for c, (true, seen, *_) in zip(found, cases) if c.closed]
                m = np.nanmean(np.array(marks), 0) if marks else np.full(8, np.nan)
                number = lambda v: float(v) if np.isfinite(v) else None
                rows.append(dict(ring=kind, seen=f'{share:.0%}', fit=method, closed=sum(c.closed for c in found), open=sum(c.status == 'open' for c in found), refused=sum(c.status == 'refused' for c in found),
                                 seen_px=number(m[0]), seen_within=number(m[2]), gap_px=number(m[3]), gap_sigma_px=number(m[4]), gap_within=number(m[5]),
                                 area_within=number(m[6]), perimeter_within=number(m[7])))
    return rows


def line_rows(seeds=SEEDS):
    "Curves with two ends: what is called closed is wrong."
    rows = []
    for method in ('ellipse', 'gp'):
        cases = [torn_line(s) for s in seeds]
        found = [fit_section(pixels, shape, ContourSettings(method=method)) for _, _, pixels, shape in cases]
        marks = np.array([score(c, true, seen)[:3] for c, (true, seen, *_) in zip(found, cases) if c.status == 'open'])
        rows.append(dict(fit=method, curves=len(found), open=sum(c.status == 'open' for c in found), refused=sum(c.status == 'refused' for c in found), closed=sum(c.closed for c in found),
                         open_px=float(marks[:, 0].mean()) if len(marks) else None, open_within=float(marks[:, 2].mean()) if len(marks) else None))
    return rows


def main():
    args, tables = arguments(__doc__).parse_args(), []
    for title, make in (('sections of torn rings: error and calibration of each fit by what is seen, over 20 seeds, pixels', ring_rows), ('sections: curves with two ends', line_rows)):
        tables.append((title, make()))
        print_table(*tables[-1])
    finish(tables, args.json)


if __name__ == '__main__': main()
