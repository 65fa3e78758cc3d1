"What the tests of this folder share."
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))    # for show_toys

from show_toys import noise_volume  # noqa: E402


@pytest.fixture(scope='module')
def volume():
    return noise_volume()
