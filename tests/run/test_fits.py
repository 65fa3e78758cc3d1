"All membranes fitted: what two fits of a cut body disagree about is an error of the whole body."
from dataclasses import replace

import numpy as np
import pytest

from cryoseg.result.records import Curvature, Surface
from cryoseg.run.fits import widened


def body(diameter, curvature, status='truncated', sd=.1):
    "A surface with a diameter and a mean curvature, their errors small."
    known = Curvature(*[np.zeros(3)]*4, average_per_vox=curvature, average_sd_per_vox=.001)
    return Surface(1, np.zeros((3, 3)), np.zeros((1, 3), int), np.zeros(3), status, diameter_vox=diameter, diameter_sd_vox=sd, curvature=known)


def test_what_the_correction_explains_widens_nothing():
    first, second = body(60., 1/30), body(59., 1/30*(1 + 1/60))
    found = widened(second, first, .5)
    assert found.diameter_sd_vox == pytest.approx(.1) and found.curvature.average_sd_per_vox == pytest.approx(.001, rel=1e-3)


def test_what_it_does_not_explain_is_an_error():
    found = widened(body(56., 1/28), body(60., 1/30), .5)
    assert found.diameter_sd_vox == pytest.approx(np.hypot(.1, 3)) and found.diameter_vox == 56
    assert found.curvature.average_sd_per_vox == pytest.approx(np.hypot(.001, 1/28 - 1/30*(1 + 1/60)))


@pytest.mark.parametrize('change', [dict(status='closed'), dict(diameter_vox=None), dict(diameter_vox=np.nan)])
def test_only_cut_bodies_are_widened(change):
    second = replace(body(56., 1/28), **change)
    assert widened(second, body(60., 1/30), .5) is second


def test_a_curvature_that_is_not_known_is_left():
    found = widened(replace(body(56., 1/28), curvature=None), body(60., 1/30), .5)
    assert found.curvature is None and found.diameter_sd_vox > 3
