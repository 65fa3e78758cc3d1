"Long results of the book are stored by the cell that computes them, and read by the same cell."
import json

import numpy as np
import pytest

import stored
from notebooks import NBS, notebooks


def test_a_result_is_computed_when_asked_for_and_read_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, 'FOLDER', tmp_path)
    monkeypatch.setenv('CRYOSEG_LONG', '1')
    found = stored.stored('toy', lambda: [dict(x=np.float32(.5), n=3, words='a', none=None)])
    assert found == [dict(x=.5, n=3, words='a', none=None)]
    monkeypatch.delenv('CRYOSEG_LONG')
    assert stored.stored('toy', lambda: pytest.fail('computed')) == found


def test_every_stored_file_is_shown_and_can_be_read():
    text = '\n'.join(path.read_text(encoding='utf-8') for path in notebooks())
    for path in (NBS/'stored').iterdir():
        assert path.stem in text, f'no notebook shows nbs/stored/{path.name}'
        if path.suffix == '.json': json.loads(path.read_text(encoding='utf-8'))
