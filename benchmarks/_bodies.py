"""Closed bodies and what a tomogram shows of them, on which surfaces (§6.2) are measured. Lengths are voxels, points x,y,z; z is the beam.

`random_body`, `bent_capsule` and `observe` are reference sets: the order of their random draws is part of their definition
(a test holds them to their checksums). `double_body`, `bean` and `biconcave_disc` were added beside them. A body is its points (n,3), their
outward normals (n,3) and the area (n,) that each stands for.
"""
import numpy as np

from _sets import sphere_points
from cryoseg.base.geometry import spherical_harmonics


def star(radius, n):
    "The star-shaped body |x| = radius(x/|x|)."
    u = sphere_points(n)
    r = radius(u)
    points, step, slope = u*r[:, None], 1e-3, np.zeros((n, 3))
    for axis in range(3):
        for sign in (1, -1):
            moved = points.copy()
            moved[:, axis] += sign*step
            length = np.linalg.norm(moved, axis=1)
            slope[:, axis] += sign*(length - radius(moved/length[:, None]))
    normals = slope/np.linalg.norm(slope, axis=1)[:, None]
    return points, normals, 4*np.pi/n*r*r/np.abs((normals*u).sum(1))


def random_body(seed, amplitude=.6, n=100_000):
    "A bumpy ellipsoid of mean radius 60: spherical harmonics of degree 2-5; amplitude 0 is a pure ellipsoid."
    rng, heights = np.random.default_rng(seed), np.zeros(36)
    for l in (2, 3, 4, 5):
        for m in range(-l, l + 1): heights[l*l + l + m] = (-1)**m*rng.normal()*60*.16/l**1.3
    axes = rng.uniform(.85, 1.2, 3)
    return star(lambda u: 60/np.sqrt((u*u/axes**2).sum(1)) + amplitude*(spherical_harmonics(u[:, ::-1], 5) @ heights), n)


def double_body(seed, amplitude=.6, distance=10., wobble=.4, n=30_000):
    "A random body and, `distance` inside it along its normals give or take a smooth `wobble`, its inner membrane. The areas are those of the outer one."
    points, normals, area = random_body(seed, amplitude, n)
    height = spherical_harmonics(points[:, ::-1]/np.linalg.norm(points, axis=1)[:, None], 3)[:, 1:] @ np.random.default_rng([seed, 7]).standard_normal(15)
    return (points, normals, area), (points - normals*(distance + wobble*height/height.std())[:, None], normals, area)


def bent_capsule(n=400_000):
    "A tube of radius 22 along a 240° arc of radius 50 in the xy plane, with round ends: a C."
    reach, tube, bend, m = np.radians(120), 22., 50., int(n*.9)
    along, around = np.random.default_rng(0).uniform(-reach, reach, m), np.random.default_rng(1).uniform(0, 2*np.pi, m)
    weight = bend + tube*np.cos(around)
    out = np.c_[np.cos(along), np.sin(along), 0*along]
    normals = out*np.cos(around)[:, None] + np.array([0, 0, 1.])*np.sin(around)[:, None]
    parts = [(bend*out + tube*normals, normals, weight/weight.sum()*(2*reach*bend*2*np.pi*tube))]
    for end in (reach, -reach):
        u = sphere_points(n//10)
        u = u[u @ (np.array([-np.sin(end), np.cos(end), 0])*np.sign(end)) > 0]
        parts.append((np.array([bend*np.cos(end), bend*np.sin(end), 0]) + tube*u, u, np.full(len(u), 2*np.pi*tube*tube/len(u))))
    return tuple(np.concatenate(x) for x in zip(*parts))


def bean(n=100_000, half_length=75., tube=28., bend=50.):
    "An ellipsoid, long along y, bent round the axis x = -bend, y = 0 in the xy plane."
    u, axes = sphere_points(n), np.array([tube, half_length, tube])
    x, y, z = (u*axes).T
    area = 4*np.pi/n*axes.prod()*u/axes                             # normals times areas, before bending
    stretch, c, s = (bend + x)/bend, np.cos(y/bend), np.sin(y/bend)
    area = area*np.c_[stretch, np.ones(n), stretch]                 # the cofactors of the bending's slope
    spin = lambda v: np.c_[c*v[:, 0] - s*v[:, 1], s*v[:, 0] + c*v[:, 1], v[:, 2]]
    area, size = spin(area), np.linalg.norm(area, axis=1)
    return np.c_[(bend + x)*c - bend, (bend + x)*s, z], area/size[:, None], size


def biconcave_disc(n=100_000, diameter=120.):
    "The red blood cell of Evans and Fung (1972, doi:10.1016/0026-2862(72)90069-6), its axis along x."
    across, up, c = sphere_points(n).T                              # c: cosine of the polar angle, evenly spread
    ring = np.hypot(across, up)
    q = (1 - c*c)/4
    profile, slope = .0518 + 2.0026*q - 4.491*q*q, 2.0026 - 2*4.491*q
    height_slope, radius_slope = diameter*(profile - c*c*slope/2), -diameter/2*c/ring
    radial, axial = diameter/2*ring*height_slope, -diameter/2*ring*radius_slope     # the area vector, over dc dphi
    area = 4*np.pi/n*np.c_[axial, radial*across/ring, radial*up/ring]
    size = np.linalg.norm(area, axis=1)
    return np.c_[diameter*c*profile, diameter/2*across, diameter/2*up], area/size[:, None], size


def observe(points, normals, area, n=20_000, sigma=.75, outliers=.05, wedge=True, seed=0):
    "What a tomogram shows of a surface: `n` points, normal noise `sigma`, uniform outliers, nothing where the normal is within 60° of z."
    rng = np.random.default_rng(seed)
    weight = np.where(np.abs(normals[:, 2]) > .5, 0, area) if wedge else area
    i, strays = rng.choice(len(points), n, p=weight/weight.sum()), int(outliers*n)
    seen = points[i] + normals[i]*rng.normal(0, sigma, (n, 1))
    seen[:strays] = rng.uniform(points.min(0) - 10, points.max(0) + 10, (strays, 3))
    return seen[rng.permutation(n)]


def area_and_volume(points, normals, area):
    "Area, and volume by the divergence theorem."
    return float(area.sum()), float((area*(points*normals).sum(1)).sum()/3)
