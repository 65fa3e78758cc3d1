"Compiled functions whose store fails."
import errno
import pickle
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

from cryoseg.base.compiled import compiled

TEXT = 'def twice(values):\n    return 2*values.sum()\n'
VALUES = np.arange(10.)


@pytest.fixture
def fresh(tmp_path):
    "The function as each new process finds it."
    (tmp_path/'module.py').write_text(TEXT)

    def make(**options):
        names = {'__name__': 'module'}
        exec(compile(TEXT, str(tmp_path/'module.py'), 'exec'), names)
        return compiled(**options)(names['twice'])
    return make


def hits(function):
    assert function(VALUES) == 90
    return sum(function.stats.cache_hits.values())


def test_the_code_is_stored(fresh, tmp_path):
    assert hits(fresh()) == 0 and hits(fresh()) == 1
    assert Path(fresh().stats.cache_path).is_relative_to(tmp_path)


@pytest.mark.parametrize('kind', ['*.nbi', '*.nbc'])
@pytest.mark.parametrize('content', [b'', b'\x80', pickle.dumps('0.1'), b'words', pickle.dumps(caching.numba.__version__) + pickle.dumps(3)])
def test_a_damaged_store_is_passed_over_and_mended(fresh, tmp_path, kind, content):
    hits(fresh())
    damaged, = tmp_path.rglob(kind)
    damaged.write_bytes(content)
    assert hits(fresh()) == 0
    assert hits(fresh()) == 1


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EFBIG, errno.EACCES, errno.EROFS, errno.ESTALE])
def test_a_disk_that_takes_nothing_stops_no_work(fresh, monkeypatch, number):
    def full(*_): raise OSError(number, 'no')
    monkeypatch.setattr(caching.IndexDataCacheFile, 'save', full)
    monkeypatch.setattr(caching.IndexDataCacheFile, 'flush', full)
    assert hits(fresh()) == 0 and hits(fresh()) == 0


def test_no_place_for_a_store(fresh, monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, '_locator_classes', [])
    assert fresh(fastmath=True)(VALUES) == 90


def test_it_can_be_sent_to_another_process(fresh):
    function = fresh()
    hits(function)
    assert pickle.loads(pickle.dumps(function))(VALUES) == 90
