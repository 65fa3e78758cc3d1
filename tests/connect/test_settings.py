"Settings of connection: what makes no sense is refused by name, every field explains itself, and methods can be added."
import subprocess
import sys
from dataclasses import fields

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.connect.settings import (LINKERS, WAYS, WEIGHTS, ConnectSettings, LinkSettings, TraceSettings)

CLASSES = TraceSettings, LinkSettings, ConnectSettings
NESTED = {'trace', 'links'}


@pytest.mark.parametrize('kind', CLASSES)
def test_every_field_explains_itself(kind):
    for field in fields(kind):
        if field.name in NESTED: continue
        assert field.metadata['help'].endswith('.'), field.name
        units = {'_A': 'Å', '_A2': 'Å²', '_deg': 'degrees'}
        for suffix, unit in units.items():
            if field.name.endswith(suffix): assert field.metadata['unit'] == unit, field.name


def test_the_options_of_the_command_line():
    options = {f.metadata['option']: f.name for f in fields(ConnectSettings) if f.metadata.get('option')}
    assert options == {'--membrane-values': 'membrane_values', '--min-area-A2': 'min_area_A2', '--link': 'link'}


@pytest.mark.parametrize('kind, wrong, word', [
    (TraceSettings, dict(half_window=0), 'at least 1'), (TraceSettings, dict(half_window=2.5), 'whole number'),
    (TraceSettings, dict(max_bend_deg=200.), 'at most 180'), (TraceSettings, dict(min_length=float('nan')), 'finite'),
    (LinkSettings, dict(method='telepathy'), 'qlearning, matching, greedy'), (LinkSettings, dict(reach_A=0.), 'more than 0'),
    (LinkSettings, dict(weights=(1., 2.)), '10 numbers'), (LinkSettings, dict(rate=(.5, 1.5)), 'at most 1'),
    (LinkSettings, dict(exploration=.5), 'give a list'), (LinkSettings, dict(weights=WEIGHTS[:-1] + ('x',)), 'weights'),
    (ConnectSettings, dict(link='telepathy'), 'merge, qlearning'), (ConnectSettings, dict(min_area_A2=-1.), 'min_area_A2'),
    (ConnectSettings, dict(membrane_values=()), 'at least 1'), (ConnectSettings, dict(membrane_values=1), 'list'),
    (ConnectSettings, dict(membrane_values=['a']), 'whole numbers'), (ConnectSettings, dict(membrane_values=[1.5]), 'whole'),
    (ConnectSettings, dict(membrane_values=[True]), 'whole'), (ConnectSettings, dict(labels_are='numbers'), 'mask, classes, instances, probability'), (ConnectSettings, dict(split=1), 'true or false'),
])
def test_nonsense_is_refused(kind, wrong, word):
    with pytest.raises(VolumeError, match=word): kind(**wrong)


def test_labels_become_whole_numbers():
    import numpy as np
    values = ConnectSettings(membrane_values=np.array([1, 3], np.uint8)).membrane_values
    assert values == (1, 3) and all(type(v) is int for v in values)
    assert ConnectSettings(membrane_values=[2]).membrane_values == ConnectSettings(membrane_values=[2]).values == (2,)
    assert ConnectSettings().membrane_values is None and ConnectSettings().values == (1,)       # nobody said: the file decides
    with pytest.raises(VolumeError): ConnectSettings(membrane_values='12')


def test_link_names_the_method_in_slices():
    links = LinkSettings(max_jump_A=500., method='greedy')
    assert ConnectSettings(links=links).linking.method == 'qlearning'             # merge: there is no method in a slice
    for name in LINKERS:
        chosen = ConnectSettings(link=name, links=links).linking
        assert (chosen.method, chosen.max_jump_A) == (name, 500.)


def test_a_method_can_be_added():
    LINKERS.add('none', lambda n_ends, pairs, log_odds, settings, seed: log_odds > 1e9, 'no links at all')
    try:
        assert 'none' in WAYS and list(WAYS) == ['merge', 'qlearning', 'matching', 'greedy', 'none']
        assert ConnectSettings(link='none').linking.method == 'none' and WAYS.help('none') == 'no links at all'
    finally: LINKERS.remove('none')
    assert 'none' not in WAYS and 'slice' not in WAYS and 'space' in WAYS.help('merge')


def test_settings_cost_no_import():
    program = 'import sys, cryoseg.connect.settings; print([m for m in ("numpy", "scipy", "numba") if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
