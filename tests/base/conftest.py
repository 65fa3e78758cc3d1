"What the tests of this folder share."
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))    # for volume_files


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(12, 16, 20)).astype(np.float32)
