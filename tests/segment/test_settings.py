"The settings of segmentation: what they say about themselves, and what they refuse."
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.segment import settings as room
from cryoseg.segment.settings import (ROUGH_SCENES, ROUGH_SLABS, ContrastSettings, GeneralSettings, HardSettings, MotifSettings, SceneSettings,
                                      SegmentSettings, SlabSettings, TrainSettings)

CLASSES = ContrastSettings, MotifSettings, SceneSettings, HardSettings, SlabSettings, TrainSettings, GeneralSettings, SegmentSettings
each_class = pytest.mark.parametrize('kind', CLASSES, ids=lambda kind: kind.__name__)


@each_class
def test_every_field_explains_itself(kind):
    for field in fields(kind):
        text = field.metadata['help']
        assert text and text[0].isupper() and text.endswith('.'), field.name
        unit = field.metadata['unit']
        if field.name.endswith('_px'): assert unit == 'px'
        if field.name.endswith('_vox'): assert unit == 'voxels'
        if field.name.endswith('_deg'): assert unit == 'degrees'


@each_class
def test_defaults_are_accepted_and_kept(kind):
    one = kind()
    assert one == kind() and hash(one) == hash(kind())
    with pytest.raises(FrozenInstanceError): setattr(one, fields(kind)[0].name, 1)


@each_class
def test_limits_hold(kind):
    "One step beyond each limit is refused with the name of the setting; the limit itself is not."
    for field in fields(kind):
        low, high, above, below = (field.metadata[k] for k in ('low', 'high', 'above', 'below'))
        n = len(field.default) if isinstance(field.default, tuple) else None
        def filled(value): return value if n is None else (value,)*n
        for limit, beyond in ((low, -1), (high, 1)):
            if limit is None: continue
            assert getattr(replace(kind(), **{field.name: filled(limit)}), field.name) == filled(limit)
            with pytest.raises(VolumeError, match=field.name): replace(kind(), **{field.name: filled(limit + beyond)})
        for limit in (above, below):
            if limit is None: continue
            with pytest.raises(VolumeError, match=field.name): replace(kind(), **{field.name: filled(limit)})


def test_options_are_those_of_the_command_line():
    options = [f.metadata['option'] for kind in CLASSES for f in fields(kind) if f.metadata['option']]
    assert sorted(options) == ['--device', '--engine', '--precision', '--probabilities', '--quality', '--threshold', '--weights', '--workers']


def test_what_cannot_change_a_result_costs_nothing():
    free = [f.name for kind in CLASSES for f in fields(kind) if not f.metadata['cost']]
    assert free == ['workers', 'device']


def test_what_is_open_is_none():
    s = SegmentSettings()
    assert [getattr(s, name) for name in ('weights', 'scale', 'flips', 'scale_spread', 'workers')] == [None] * 5


@pytest.mark.parametrize('wrong', [
    dict(precision='int7'), dict(device='mars'), dict(flips=3), dict(flips=0), dict(scale=0.), dict(scale=-1.), dict(scale_spread=-1.),
    dict(workers=0), dict(workers=True), dict(threshold=float('nan')), dict(threshold='high'), dict(neighbours=1.5), dict(weights=3),
    dict(calibration=(1., float('nan'))), dict(calibration=(1.,)), dict(calibration=[1., 0., 2.]), dict(probabilities='yes')])
def test_wrong_values_are_refused_with_their_name(wrong):
    with pytest.raises(VolumeError, match=next(iter(wrong))): SegmentSettings(**wrong)


@pytest.mark.parametrize('kind, name', [(MotifSettings, 'radius'), (SceneSettings, 'thickness'), (SlabSettings, 'cnr'), (SlabSettings, 'n_vesicles')])
@pytest.mark.parametrize('value', [(5, 2), (1, 2, 3), (1, float('inf')), ('a', 'b'), (True, None), 3.])
def test_ranges_are_two_numbers_in_order(kind, name, value):
    with pytest.raises(VolumeError, match=name): kind(**{name: value})
    assert getattr(kind(**{name: (3, 3)}), name) == (3, 3)


def test_a_shape_has_three_lengths():
    with pytest.raises(VolumeError, match='shape'): SlabSettings(shape=(48, 160))


def test_rough_material_has_more_in_it():
    for rough, plain in ((ROUGH_SCENES, SceneSettings()), (ROUGH_SLABS, SlabSettings())):
        changed = [f.name for f in fields(rough) if getattr(rough, f.name) != getattr(plain, f.name)]
        assert changed and all(getattr(rough, n) > getattr(plain, n) for n in changed)


def test_the_room_needs_no_numpy():
    code = 'import sys, cryoseg.segment.settings; assert not {"numpy", "torch", "cv2"} & set(sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_every_settings_class_is_tested_here():
    found = {c for c in vars(room).values() if is_dataclass(c) and isinstance(c, type)}
    assert found == set(CLASSES)
