"""Sets of broken curves, touching vesicles and arcs of ellipses on which linking, merging and fitting are measured. Lengths are pixels or voxels.

`broken_curves`, `touching_vesicles`, `ellipse_arc`, `double_membrane` and `stacked_sheets` are reference sets: the order of their random draws is part of their definition
(a test holds them to their checksums). `deformed_curves` was added beside them: bodies that are no ellipses, open curves, touching ones.
"""
import numpy as np


def stamp(image, points):
    "Set the 3 x 3 pixels round each point (y,x) that lies inside the image."
    for y, x in np.round(points).astype(int):
        if 1 <= y < image.shape[0] - 1 and 1 <= x < image.shape[1] - 1: image[y - 1:y + 2, x - 1:x + 2] = 1


def dash(rng, image):
    "A straight dash of 4-18 px: noise that looks like a short membrane."
    centre, length, angle = rng.uniform(10, image.shape[0] - 10, 2), rng.uniform(4, 18), rng.uniform(0, np.pi)
    stamp(image, [centre + s*np.array([np.sin(angle), np.cos(angle)]) for s in np.arange(0, length, .5)])


def broken_curves(seed, size=512, nested=False):
    "Image (size,size) uint8, pieces [(curve, points (n,2) y,x)] and rings [(curve, piece numbers in order)]: 3-6 wobbly ellipses with 2-5 gaps of 5-40 px each, and dashes."
    rng = np.random.default_rng(seed)
    image, bodies, tries = np.zeros((size, size), np.uint8), [], 0
    wanted = rng.integers(3, 7)
    while len(bodies) < wanted and tries < 2000:
        tries += 1
        a = rng.uniform(35, 90)
        b, centre, angle = a*rng.uniform(.65, 1), rng.uniform(a + 5, size - a - 5, 2), rng.uniform(0, np.pi)
        if all(np.linalg.norm(centre - c) > max(a, b) + other + (3 if nested else 8) for c, other, *_ in bodies): bodies.append((centre, a, b, angle))
    if nested:
        for centre, a, b, angle in list(bodies)[:max(1, len(bodies)//3)]: bodies.append((centre + rng.uniform(-3, 3, 2), a*.75, b*.75, angle))
    pieces, rings = [], []
    for k, (centre, a, b, angle) in enumerate(bodies):
        m = int(2*np.pi*a*2)
        t = np.arange(m)/m*2*np.pi
        wobble = 1 + .015*np.sin(3*t + rng.uniform(0, 6))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        ids = cut(rng, image, pieces, k, np.c_[a*wobble*np.cos(t), b*wobble*np.sin(t)] @ turn + centre)
        rings.append((k, ids))
    for _ in range(rng.integers(5, 15)): dash(rng, image)
    return image, pieces, rings


def cut(rng, image, pieces, k, points):
    "Cut 2-5 gaps into a closed curve, stamp what is left and append it to the pieces; return their numbers."
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    n = rng.integers(2, 6)
    gaps = rng.uniform(5, 40, n)
    if gaps.sum() > .55*along[-1]: gaps *= .55*along[-1]/gaps.sum()
    arcs, at, ids = rng.dirichlet(np.full(n, 4.))*(along[-1] - gaps.sum()), 0, []
    for arc, gap in zip(arcs, gaps):
        piece = points[(along >= at) & (along < at + arc)]
        at = at + arc + gap
        if len(piece) < 4: continue
        ids.append(len(pieces))
        pieces.append((k, piece))
        stamp(image, piece + rng.normal(0, .4, piece.shape))
    return ids


def ring_links(rings):
    "The true links of rings as a set of pairs of piece ends (2 piece = first point, 2 piece + 1 = last)."
    return {tuple(sorted((2*a + 1, 2*b))) for _, ids in rings for a, b in zip(ids, ids[1:] + ids[:1])}


def easy(seed):
    "Image, pieces and true links of `broken_curves`."
    image, pieces, rings = broken_curves(seed)
    return image, pieces, ring_links(rings)


def nested(seed):
    "The same with membranes inside membranes."
    image, pieces, rings = broken_curves(seed, nested=True)
    return image, pieces, ring_links(rings)


def deformed_curves(seed, size=512):
    "Image, pieces and true links (pairs of piece ends): up to seven closed curves far from ellipses and open curves, three in ten allowed to touch, gaps of 5-40 px, and dashes."
    rng = np.random.default_rng(seed)
    image, curves = np.zeros((size, size), np.uint8), []
    for _ in range(400):
        if len(curves) >= 7: break
        points, closed = (deformed_ring if rng.random() < .6 else open_curve)(rng, size)
        room = 3 if rng.random() < .3 else 9
        if points is None or points.min() < 6 or points.max() > size - 7: continue
        if all(np.linalg.norm(points[::4, None] - other[None, ::4], axis=2).min() > room for other, _ in curves): curves.append((points, closed))
    pieces, links = [], []
    for k, (points, closed) in enumerate(curves):
        along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
        n = rng.integers(2, 6) if closed else rng.integers(1, 4)
        gaps = rng.uniform(5, 40, n)
        gaps *= min(1, .45*along[-1]/gaps.sum())
        arcs, at, ids = rng.dirichlet(np.full(n if closed else n + 1, 4.))*(along[-1] - gaps.sum()), 0., []
        for arc, gap in zip(arcs, [*gaps, 0.]):
            piece = points[(along >= at) & (along < at + arc)]
            at += arc + gap
            if len(piece) < 8: continue
            ids.append(len(pieces))
            pieces.append((k, piece))
            stamp(image, piece + rng.normal(0, .4, piece.shape))
        links += zip(ids, ids[1:] + ids[:1] if closed else ids[1:])
    for _ in range(rng.integers(5, 15)): dash(rng, image)
    return image, pieces, {tuple(sorted((2*a + 1, 2*b))) for a, b in links}


SETS = dict(easy=easy, nested=nested, deformed=deformed_curves)      # name -> function of a seed: image, pieces, true links


def deformed_ring(rng, size):
    "A closed curve of mean radius 35-80 px with harmonics 2-5, (n,2) y,x; None where it is too pinched."
    t = np.linspace(0, 2*np.pi, 1200, endpoint=False)
    radius = 1 + sum(.22*rng.normal()/k*np.cos(k*t + rng.uniform(0, 6.3)) for k in (2, 3, 4, 5))
    a = rng.uniform(35, 80)
    points = a*radius[:, None]*np.stack([np.sin(t), np.cos(t)], 1) + rng.uniform(a, size - a, 2)
    return (points if radius.min() >= .45 else None), True


def open_curve(rng, size):
    "A smooth open curve of 120-320 px, (n,2) y,x."
    s = np.linspace(0, 1, 800)
    length, start = rng.uniform(120, 320), rng.uniform(0, 6.3)
    angle = start + sum(rng.normal()*.9/k*np.sin(np.pi*k*s + rng.uniform(0, 6.3)) for k in (1, 2, 3))
    points = np.cumsum(np.stack([np.sin(angle), np.cos(angle)], 1)*length/len(s), 0)
    return points + rng.uniform(0, size, 2) - points[len(points)//2], False


def sphere_points(n):
    "Fibonacci points (n,3) on the unit sphere."
    k = np.arange(n) + .5
    z, angle = 1 - 2*k/n, np.pi*(1 + 5**.5)*k
    flat = np.sqrt(1 - z*z)
    return np.c_[flat*np.cos(angle), flat*np.sin(angle), z]


def touching_vesicles(seed, n_vesicles):
    "Labelled voxels (n,3) x,y,z and the vesicle of each: 2-4 ellipsoids that touch, 3 voxels thick, poles beyond 60 degrees missing, with holes, a fifth dropped."
    rng, bodies = np.random.default_rng(seed), []
    while len(bodies) < n_vesicles:
        axes = rng.uniform(22, 40)*rng.uniform(.85, 1.18, 3)
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        if not bodies:
            bodies.append((np.zeros(3), axes, turn))
            continue
        way = rng.normal(size=3)
        way[2] *= .25
        way /= np.linalg.norm(way)
        k = rng.integers(len(bodies))
        far = touching_distance(bodies[k], axes, turn, way)
        centre = bodies[k][0] + way*far
        if all((np.linalg.norm(((c + (sphere_points(1500)*a) @ q.T - centre) @ turn)/axes, axis=1) > 1).all() for j, (c, a, q) in enumerate(bodies) if j != k): bodies.append((centre, axes, turn))
    points, owner = [], []
    for k, body in enumerate(bodies):
        shell = seen_shell(rng, *body)
        points.append(shell)
        owner.append(np.full(len(shell), k))
    points, first = np.unique(np.round(np.vstack(points)).astype(int), axis=0, return_index=True)
    owner, keep = np.concatenate(owner)[first], np.ones(len(points), bool)
    for _ in range(6*n_vesicles): keep &= np.linalg.norm(points - points[rng.integers(len(points))], axis=1) > rng.uniform(2, 7)
    keep &= rng.random(len(points)) > .2
    return points[keep].astype(float), owner[keep]


def touching_distance(body, axes, turn, way):
    "How far along `way` another ellipsoid must stand to touch a body, by bisection."
    (centre, its_axes, its_turn), low, high = body, 0, 200
    surface = centre + (sphere_points(4000)*its_axes) @ its_turn.T
    for _ in range(25):
        middle = (low + high)/2
        inside = np.linalg.norm(((surface - (centre + way*middle)) @ turn)/axes, axis=1) < 1
        low, high = (middle, high) if inside.any() else (low, middle)
    return high


def seen_shell(rng, centre, axes, turn):
    "Points of an ellipsoid's shell, evenly by area, where the normal is more than 60 degrees from z."
    u = rng.normal(size=(40000, 3))
    u /= np.linalg.norm(u, axis=1)[:, None]
    points, normals = u*axes, u*axes/axes**2
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    keep = (rng.random(len(u)) < np.minimum(1, np.linalg.norm(u/axes, axis=1)*axes.min())) & (np.abs(normals[:, 2]) < .5)
    points, normals = points[keep], normals[keep]
    return centre + (points + normals*rng.uniform(-1.5, 1.5, (len(points), 1))) @ turn.T


def true_ends(fragments, pieces, near_px=3., end_px=8.):
    "For points (n,2) of each fragment: the piece end at each of its ends (2m,) (-1 = none near), and the piece on which it lies (m,) (-1 = none)."
    from scipy.spatial import cKDTree
    owner = np.concatenate([np.full(len(p), k) for k, (_, p) in enumerate(pieces)])
    tree = cKDTree(np.vstack([p for _, p in pieces]))
    ends, on = np.full(2*len(fragments), -1), np.full(len(fragments), -1)
    for f, points in enumerate(fragments):
        distance, nearest = tree.query(points)
        if (distance < near_px).mean() < .7: continue
        on[f] = np.bincount(owner[nearest[distance < near_px]]).argmax()
        piece = pieces[on[f]][1]
        for e, point in enumerate((points[0], points[-1])):
            away = [np.linalg.norm(point - piece[0]), np.linalg.norm(point - piece[-1])]
            if min(away) < end_px: ends[2*f + e] = 2*on[f] + int(np.argmin(away))
    return ends, on


def taken_links(table):
    "The links taken in a table of `link_fragments`, as pairs of fragment ends."
    return [tuple(2*r[f'fragment_{e}'] + r[f'end_{e}'] - 1 for e in 'ab') for r in table if r['taken']]


def link_counts(taken, ends, on, truth):
    "True and false positives and false negatives of links between fragment ends; all true links count, also those of pieces that nobody found."
    hit, false = set(), 0
    for i, j in taken:
        link = tuple(sorted((ends[i], ends[j])))
        if ends[i] >= 0 and ends[j] >= 0 and link in truth and link not in hit: hit.add(link)
        elif not (on[i//2] >= 0 and on[i//2] == on[j//2] and i//2 != j//2): false += 1      # joining two parts of one piece is no mistake
    return np.array([len(hit), false, len(truth) - len(hit)])


def f1(counts):
    "F1 of summed counts."
    tp, fp, fn = np.sum(counts, axis=0)
    return 2*tp/(2*tp + fp + fn)


def ellipse_arc(seed, fraction, outliers):
    "Points of one noisy arc: the true y, x, semi-axes, angle (rad, of the first axis, from x towards y); those of the neighbouring slice; points (n,2) y,x."
    rng = np.random.default_rng(seed)
    a = rng.uniform(45, 90)
    true = np.array([256, 256, a, a*rng.uniform(.65, .95), rng.uniform(0, np.pi)])
    start, n = rng.uniform(0, 2*np.pi), int(4*a*fraction) + 20
    t = start + rng.uniform(0, 2*np.pi*fraction, n)
    c, s = np.cos(true[4]), np.sin(true[4])
    x, y = true[2]*np.cos(t)*c - true[3]*np.sin(t)*s, true[2]*np.cos(t)*s + true[3]*np.sin(t)*c
    points = 256 + np.c_[x, y] + rng.normal(0, .8, (n, 2))
    strays = int(outliers*n)
    if strays: points[:strays] = rng.uniform(256 - a*1.3, 256 + a*1.3, (strays, 2))
    off = np.r_[rng.normal(0, 1, 2), rng.normal(0, 1.5, 2), rng.normal(0, .05)]
    return true, true + off[[1, 0, 2, 3, 4]], points[:, ::-1]


def bumpy_distance(rng, side, radius):
    "Signed distance (side,side,side), negative inside, of a body that is no ellipsoid: axes that differ by up to a fifth, and smooth bumps."
    from scipy.ndimage import distance_transform_edt
    grid = np.indices((side,)*3).reshape(3, -1).T - (side - 1)/2
    at = grid @ np.linalg.qr(rng.normal(size=(3, 3)))[0]/rng.uniform(.8, 1.2, 3)
    distance = np.linalg.norm(at, axis=1)
    way = at/np.maximum(distance, 1e-9)[:, None]
    bumps = sum(np.sin(way @ rng.normal(0, 2, 3) + rng.uniform(0, 6.3)) for _ in range(5))
    inside = (distance < radius*(1 + .04*bumps)).reshape((side,)*3)
    return np.where(inside, .5 - distance_transform_edt(inside), distance_transform_edt(~inside) - .5)


def slow_noise(rng, shape, scale=12):
    "Smooth noise of standard deviation 1."
    from scipy.ndimage import gaussian_filter
    noise = gaussian_filter(rng.standard_normal(shape), scale)
    return noise/noise.std()


def come_over(rng, places, shape, n):
    "Two fields (Z,Y,X) from 0 to 1: where the first of two sheets comes over to the second, and the second to the first; bumps some seven voxels wide at n of the places (m,3)."
    zyx, fields = np.indices(shape), np.zeros((2, *shape))
    for place in places[rng.choice(len(places), n, replace=False)]:
        field = fields[int(rng.random() < .5)]
        np.maximum(field, np.exp(-((zyx - place.reshape(3, 1, 1, 1))**2).sum(0)/2/rng.uniform(1.5, 2.5)**2), out=field)
    return fields


def tear_labels(rng, truth, hidden, slot=(3., 8.), holes=12):
    "Take away what is `hidden`, a fifth of the voxels, and of each membrane some holes and a slot right through."
    zyx = np.indices(truth.shape)
    truth[hidden | (rng.random(truth.shape) < .2)] = 0
    for k in np.unique(truth)[1:]:
        own = np.argwhere(truth == k)
        for _ in range(holes): truth[(np.linalg.norm(zyx - own[rng.integers(len(own))].reshape(3, 1, 1, 1), axis=0) < rng.uniform(2, 6)) & (truth == k)] = 0
        way = rng.normal(size=3)*(.3, 1, 1)
        along = np.tensordot(way/np.linalg.norm(way), zyx, 1)
        at = np.quantile(along[truth == k], rng.uniform(.25, .75))
        truth[(np.abs(along - at) < rng.uniform(*slot)) & (truth == k)] = 0


def double_membrane(seed):
    """Mask and labels (Z,Y,X) of one body in another: mid-surfaces 4-8 voxels apart, which touch in 1-20 places, walls one or two voxels thick.

    At a contact either shell flows into the other and back within some seven voxels. Torn: a slot through each shell, holes, a fifth of the voxels,
    what lies flat; most are cut by the volume. Voxels count as 20 Å, so that no gap is that of two leaflets.
    """
    rng = np.random.default_rng(seed)
    radius, gap, thickness, n = rng.uniform(24, 40), rng.uniform(4, 8), rng.choice([1.2, 2.2]), rng.integers(1, 21)
    side = int(2.9*radius)
    outer = bumpy_distance(rng, side, radius)
    height = int(min(side, 2*rng.uniform(.7, 1.3)*radius))
    outer = outer[(side - height)//2:][:height]
    gap = gap*(1 + .1*slow_noise(rng, outer.shape))
    normals = np.stack(np.gradient(outer), -1)
    upright = np.abs(normals[..., 0]) < .8
    outwards, inwards = come_over(rng, np.argwhere((np.abs(outer + gap) < .7) & upright), outer.shape, n)
    room = gap - thickness                          # walls that touch do not enter each other
    truth = np.zeros(outer.shape, np.int32)
    truth[np.abs(outer + gap - room*outwards) < thickness/2] = 2
    truth[np.abs(outer + room*np.minimum(inwards, 1 - outwards)) < thickness/2] = 1
    tear_labels(rng, truth, ~upright)
    return truth > 0, truth


def stacked_sheets(seed):
    """Mask and labels (Z,Y,X) of three to six upright wavy sheets side by side, 4-8 voxels apart, that touch in places and are tied by rungs; walls one or two voxels thick.

    Rungs are rods between two sheets; they are in the mask and have no label. Torn as `double_membrane`.
    """
    rng = np.random.default_rng(seed)
    n_sheets, gap, thickness = rng.integers(3, 7), rng.uniform(4, 8), rng.choice([1.2, 2.2])
    shape = tuple(int(n) for n in (rng.uniform(35, 60), rng.uniform(70, 110), 40 + n_sheets*gap))
    z, y, x = np.indices(shape)
    wave = rng.uniform(2, 6)*np.sin(y/rng.uniform(16, 30) + rng.uniform(0, 6.3)) + rng.uniform(0, 3)*np.sin(z/rng.uniform(16, 30) + rng.uniform(0, 6.3))
    wave = wave + rng.uniform(-.3, .3)*(y - shape[1]/2)
    steady = gap*(1 + .08*slow_noise(rng, shape[:2]))[..., None]
    at = [x - wave - 20 - k*steady for k in range(n_sheets)]      # voxels right of each sheet
    for k in range(n_sheets - 1):
        places = np.argwhere(np.abs(at[k]) < .7)
        right, left = come_over(rng, places, shape, rng.integers(1, 8))
        room = np.abs(steady) - thickness
        at[k], at[k + 1] = at[k] - room*right, at[k + 1] + room*np.minimum(left, 1 - right)
    truth = np.zeros(shape, np.int32)
    for k, away in enumerate(at): truth[np.abs(away) < thickness/2] = k + 1
    tear_labels(rng, truth, np.zeros(shape, bool), holes=6)
    mask = truth > 0
    for k in range(n_sheets - 1):
        for _ in range(rng.integers(1, 8)):
            place = np.argwhere(np.abs(at[k]) < .7)
            place = place[rng.integers(len(place))]
            rod = (np.hypot(z - place[0], y - place[1]) < rng.uniform(1, 1.8)) & (at[k] > 0) & (at[k + 1] < 0)
            mask |= rod
    return mask, truth
