"""Ellipses through broken rings (§5.3.1, §6.1): error and calibration of the paper's fit, of the robust one, and of those with a neighbour, by what is seen of the ring and how many pixels are strays.

Seeds 500 to 539; settings were chosen on seeds below 100. *held*: share of the curve where the truth lies within two standard deviations (nominal 0.95).
"""
import numpy as np
from scipy.ndimage import gaussian_filter1d

from cryoseg.surface.settings import EllipseSettings
from cryoseg.surface.ellipse import (
    Ellipse, curve_distance, ellipse_from_parameters, ellipse_parameters, fit_ellipse, fit_ellipse_axis_aligned,
    fit_ellipse_near,
)
from _sets import ellipse_arc
from _tables import arguments, finish, print_table

SEEDS = range(500, 540)
FAR_PX = 50.        # errors of fits that run away are cut here


def as_ellipse(p):
    "The ellipse of y, x, two semi-axes and the angle of the first."
    return Ellipse(tuple(p[:2]), tuple(p[2:4]), p[4]) if p[2] >= p[3] else Ellipse(tuple(p[:2]), (p[3], p[2]), p[4] + np.pi/2)


def arc(seed, fraction, strays):
    "True ellipse, the neighbour's, points of the reference set."
    true, neighbour, points = ellipse_arc(seed, fraction, strays)
    return as_ellipse(true), as_ellipse(neighbour), points


def alike(seed, fraction, grain):
    "The same without strays, of whole pixels, with errors that are alike over about `grain` pixels."
    true, neighbour, _ = arc(seed, fraction, 0.)
    rng, t = np.random.default_rng(seed), true.spaced(int(true.perimeter()))
    error = gaussian_filter1d(rng.normal(size=len(t)), grain/2, mode='wrap')
    some = (np.arange(len(t)) - rng.integers(len(t))) % len(t) < fraction*len(t)
    return true, neighbour, np.round(true.at(t) + true.normals(t)*(.8*error/error.std())[:, None])[some]


def worse(seed, factor):
    "An arc of 40 % with 10 % strays whose neighbour is `factor` times as far off."
    true, neighbour, points = arc(seed, .4, .1)
    p = ellipse_parameters(true)
    return true, ellipse_from_parameters(p + factor*(ellipse_parameters(neighbour) - p)), points


def scores(way, arcs):
    "Error, share held and mean sigma of each fit; nan where it is refused."
    rows = []
    for true, neighbour, points in arcs:
        try: fit = way(points, neighbour)
        except ValueError: rows.append([np.nan]*3); continue
        ellipse = getattr(fit, 'ellipse', fit)
        error = min(curve_distance(ellipse, true), FAR_PX)
        if ellipse is fit: rows.append([error, np.nan, np.nan]); continue
        t = ellipse.spaced(72)
        sigma = fit.sigma(t)
        rows.append([error, np.mean(np.abs(true.signed_distance(ellipse.at(t))) <= 2*sigma), sigma.mean()])
    return np.array(rows)


WAYS = {
    'eq. (6)': lambda points, neighbour: fit_ellipse_axis_aligned(points),
    'alone': lambda points, neighbour: fit_ellipse(points),
    'bounds': lambda points, neighbour: fit_ellipse_near(points, neighbour, method='bounds'),
    'prior': lambda points, neighbour: fit_ellipse_near(points, neighbour),
}


def arc_rows():
    "Every way on every kind of arc."
    rows = []
    for strays in (0, .1, .25):
        for fraction in (1, .7, .5, .4, .3):
            arcs = [arc(s, fraction, strays) for s in SEEDS]
            refused, row = 0, dict(seen=f'{fraction:.0%}', strays=f'{strays:.0%}', neighbour_px=float(np.mean([curve_distance(nb, true) for true, nb, _ in arcs])))
            for name, way in WAYS.items():
                s = scores(way, arcs)
                row[f'{name}_px'] = float(np.nanmean(s[:, 0]))
                if name in ('alone', 'prior'): row[f'{name}_held'] = float(np.nanmean(s[:, 1]))
                refused += int(np.isnan(s[:, 0]).sum())
            row |= dict(prior_median_px=float(np.nanmedian(s[:, 0])), refused=refused)
            rows.append(row)
    return rows


def calibration_rows():
    "The band where errors are alike, with and without the model of it."
    rows = []
    for fraction in (1, .7, .5):
        for grain in (3, 6, 12, 20):
            arcs = [alike(s, fraction, grain) for s in SEEDS]
            full, plain = scores(WAYS['alone'], arcs), scores(lambda x, nb: fit_ellipse(x, EllipseSettings(correlated_fractions=())), arcs)
            rows.append(dict(seen=f'{fraction:.0%}', alike_over_px=grain, error_px=float(np.nanmean(full[:, 0])), sigma_px=float(np.nanmean(full[:, 2])),
                             held=float(np.nanmean(full[:, 1])), taken_as_independent_held=float(np.nanmean(plain[:, 1]))))
    return rows


def optimism_rows():
    "A neighbour that is worse than the prior believes."
    rows = []
    for factor in (.5, 1, 2, 3, 5):
        arcs = [worse(s, factor) for s in SEEDS]
        row = dict(neighbour_px=float(np.mean([curve_distance(nb, true) for true, nb, _ in arcs])))
        for name, settings in (('doubting', EllipseSettings()), ('believing', EllipseSettings(spread_factors=(1.,)))):
            s = scores(lambda x, nb: fit_ellipse_near(x, nb, settings=settings), arcs)
            row |= {f'{name}_px': float(np.nanmean(s[:, 0])), f'{name}_held': float(np.nanmean(s[:, 1])), f'{name}_refused': int(np.isnan(s[:, 0]).sum())}
        rows.append(row)
    return rows


def main():
    args, tables = arguments(__doc__).parse_args(), []
    for title, make in (('ellipses: error of each fit by what is seen, mean over 40 seeds, pixels', arc_rows),
                        ('ellipses: the band where errors of neighbouring pixels are alike', calibration_rows),
                        ('ellipses: arcs of 40 %, 10 % strays, with a neighbour that is worse or better than believed', optimism_rows)):
        tables.append((title, make()))
        print_table(*tables[-1])
    finish(tables, args.json)


if __name__ == '__main__': main()
