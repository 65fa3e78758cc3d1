"""Settings of the phantom: every field explains itself, and what makes no phantom is refused by name."""
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from cryoseg.phantom.settings import DEMO, PhantomSettings
from cryoseg.base.files import VolumeError

TINY = replace(DEMO, shape=(40, 72, 72), n_vesicles=2, radius_A=(150., 200.), n_ribosomes=1)


@pytest.mark.parametrize('change, words', [
    (dict(shape=(4, 64, 64)), 'at least 16'), (dict(shape=(64, 64)), '3 whole numbers'), (dict(shape='big'), 'shape'), (dict(voxel_size_A=0.), 'voxel_size_A'),
    (dict(n_vesicles=-1), 'at least 0'), (dict(n_vesicles=2.5), 'n_vesicles'), (dict(radius_A=(300., 200.)), 'smaller number first'), (dict(radius_A=(20., 200.)), 'at least 1.5'),
    (dict(radius_A=('a', 'b')), 'radius_A'), (dict(kinds=('cube',)), 'take sphere, ellipsoid, bumpy'), (dict(kind_probabilities=(1.,)), 'one number'), (dict(elongation=.5), 'at least 1'), (dict(bumpiness=.5), '0.15'),
    (dict(double=2.), 'at most 1'), (dict(double_gap_A=(10., 20.)), 'merge'), (dict(leaflet_separation_A=70.), 'less than thickness_A'), (dict(tilt_deg=90.), 'between 0 and 90'),
    (dict(tilt_step_deg=0.), 'more than 0'), (dict(tilt_step_deg=70.), 'at most'), (dict(cnr=0.), 'more than 0'), (dict(cnr=math.nan), 'cnr'), (dict(cnr='high'), 'cnr'),
    (dict(snr=-1.), 'snr'), (dict(truncated=1), 'truncated'), (dict(amplitude_contrast=2.), 'amplitude_contrast'), (dict(defocus_um=-1.), 'at least 0')])
def test_bad_settings_name_the_value(change, words):
    with pytest.raises(VolumeError, match=words) as error: replace(TINY, **change)
    assert '\n' not in str(error.value) and str(error.value).startswith(next(iter(change)))


def test_lists_from_a_file_become_tuples():
    assert PhantomSettings(shape=[64, 128, 128]).shape == (64, 128, 128)


def test_every_field_explains_itself():
    for f in fields(PhantomSettings):
        assert len(f.metadata['help']) > 10, f.name
        unit = {'_A': 'Å', '_vox': 'voxels', '_deg': 'degrees', '_um': 'µm', '_kV': 'kV'}
        assert all(f.metadata['unit'] == u for suffix, u in unit.items() if f.name.endswith(suffix)), f.name
        assert f.metadata['cost']
    assert [f.metadata['option'] for f in fields(PhantomSettings) if f.metadata['option']] == ['--shape', '--voxel-size', '--vesicles', '--tilt', '--cnr']


@pytest.mark.parametrize('f', [f for f in fields(PhantomSettings) if isinstance(f.default, float)], ids=lambda f: f.name)
def test_limits_hold_and_their_bounds_pass(f):
    low, above, high = (f.metadata[k] for k in ('low', 'above', 'high'))
    for limit, step in ((low, -1e-3), (high, 1e-3), (above, 0)):
        if limit is None: continue
        with pytest.raises(VolumeError, match=f.name): PhantomSettings(**{f.name: limit + step})
    for limit in (low, high):
        if limit is not None: assert getattr(PhantomSettings(**{f.name: float(limit)}), f.name) == limit


def test_no_noise_is_the_only_infinity():
    assert PhantomSettings(cnr=math.inf).cnr == math.inf
    with pytest.raises(VolumeError, match='snr'): PhantomSettings(snr=math.inf)
    with pytest.raises(VolumeError, match='gap_A'): PhantomSettings(cnr=math.inf, gap_A=-1.)       # the others are still checked
    with pytest.raises(VolumeError, match='cnr'): PhantomSettings(cnr=-math.inf)


def test_numbers_of_numpy_become_plain():
    s = PhantomSettings(n_vesicles=np.int64(3), cnr=np.float32(2), shape=[np.int64(32)]*3)
    assert PhantomSettings(shape=np.array([32, 32, 32])).shape == (32, 32, 32)
    assert type(s.n_vesicles) is int and type(s.cnr) is float and s.shape == (32, 32, 32)
