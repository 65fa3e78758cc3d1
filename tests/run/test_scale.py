"Memory that no file stands behind, of whole runs of the command: it hardly grows with the volume."
import shutil
import sys

import pytest

from notebooks import ROOT

sys.path.insert(0, str(ROOT/'benchmarks'))

import scale  # noqa: E402

DISK_BYTES = {'5e7': 2e9, '1e9': 30e9}      # volume, results and temporary files


@pytest.mark.long
@pytest.mark.parametrize('size, limit, most_MB', [('5e7', '1G', 1000), ('1e9', '4G', 4096)])
def test_a_large_volume_in_little_memory(tmp_path, size, limit, most_MB):
    "The system itself ends a run that takes more, where it lets a group of processes be limited."
    if shutil.disk_usage(tmp_path).free < DISK_BYTES[size]: pytest.skip('the disk is too small for it')
    row = scale.measure(size, scale.simulated(scale.BLOCK), tmp_path, limit)
    assert row['peak_anonymous_MB'] < most_MB and row['membranes'] > 0
