"""The reference sets of the benchmarks are what they were when their figures were measured."""
import hashlib
import sys

import numpy as np
import pytest

from notebooks import ROOT

sys.path.insert(0, str(ROOT / 'benchmarks'))
from _bodies import area_and_volume, bean, bent_capsule, biconcave_disc, observe, random_body  # noqa: E402  (after the path)
from _polnet import polnet_summary, row_of, true_values, true_vesicles  # noqa: E402
from _sets import broken_curves, deformed_curves, double_membrane, ellipse_arc, stacked_sheets, touching_vesicles  # noqa: E402
from _tables import POLNET_SPHERES  # noqa: E402


def digest(*arrays):
    return hashlib.sha256(b''.join(np.round(np.asarray(a, float), 6).tobytes() for a in arrays)).hexdigest()[:12]


@pytest.mark.parametrize('make, checksum', [
    (lambda: [broken_curves(0)[0]], 'd2ae6fb2cb84'),
    (lambda: [broken_curves(0, nested=True)[0]], '76e222017c9f'),
    (lambda: touching_vesicles(0, 3), '8408d3c54959'),
    (lambda: ellipse_arc(0, .5, .1), 'ab38c53f1937'),
    (lambda: double_membrane(0), 'e726aa7da9e4'),
    (lambda: stacked_sheets(0), '36ac693cbe4b'),
    (lambda: [random_body(100)[0]], '32e43ad008f4'),
    (lambda: [observe(*random_body(100))], '412baff025ba'),
    (lambda: [bent_capsule()[0]], 'c1cc714a9f6a'),
    (lambda: [observe(*bent_capsule())], '0fd2073beaa5'),
])
def test_reference_sets_keep_their_checksums(make, checksum):
    assert digest(*make()) == checksum


def test_true_links_join_neighbours_across_gaps():
    image, pieces, links = deformed_curves(3)
    assert image.max() == 1 and len(links) >= 5
    for a, b in links:
        (curve_a, p), (curve_b, q) = pieces[a // 2], pieces[b // 2]
        assert curve_a == curve_b and np.linalg.norm(p[-(a % 2)] - q[-(b % 2)]) < 45


@pytest.mark.parametrize('make', [lambda: random_body(1, 1., 20_000), bent_capsule, bean, biconcave_disc])
def test_bodies_are_closed_and_their_normals_point_outwards(make):
    points, normals, area = make()
    assert np.allclose((normals**2).sum(1), 1)
    assert np.abs(normals.T @ area).max() < .01*area.sum()                                  # the area vectors of a closed surface cancel
    volumes = [(area*points[:, k]*normals[:, k]).sum() for k in range(3)]                   # the divergence theorem along each axis
    assert np.allclose(volumes, area_and_volume(points, normals, area)[1], rtol=.01)
    assert area_and_volume(points, normals, area)[1]*6*np.pi**.5 < area.sum()**1.5          # less than the ball of that area


def test_truth_of_spheres_follows_from_their_labels():
    "Shells of known radius and thickness, drawn here: whole and cut by the volume's edge."
    shape, thickness, shift = (100, 200, 200), 3.2, np.array([.3, -.2, .1])
    at = np.moveaxis(np.indices(shape, np.float32), 0, -1)
    labels = np.zeros(shape, np.uint8)
    for centre, radius in POLNET_SPHERES.values():
        labels[np.abs(np.linalg.norm(at - (centre + shift), axis=-1) - radius) <= thickness/2] = 1
    for vesicle, (centre, radius) in zip(true_vesicles(labels), POLNET_SPHERES.values()):
        np.testing.assert_allclose(vesicle.centre, centre + shift, atol=.12)
        assert abs(vesicle.radius - radius) < .05 and abs(vesicle.thickness - thickness) < .08
        values, surface = true_values(vesicle, shape, 10.)
        whole = 4*np.pi*(10*vesicle.radius)**2
        assert (values['area_A2'] == pytest.approx(whole, rel=1e-3)) == (surface.status == 'closed') == (vesicle.name == 'C')
        if vesicle.name == 'C': assert values['volume_A3'] == pytest.approx(whole*10*vesicle.radius/3, rel=2e-3)


def test_what_was_not_measured_counts_as_truth_without_a_measure():
    rows = [row_of('1.0', 'A', 'area', 110., 10., 100.), row_of('1.0', 'B', 'area', 150., 10., 100.), row_of('1.0', 'C', 'area', None, None, 100.)]
    told, = polnet_summary(rows)
    assert (told['with_truth'], told['measured'], told['within_2_sd']) == (3, 2, '1 of 2')
