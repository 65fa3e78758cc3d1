"""A light start: help, version and `import cryoseg` load nothing heavy; how long it takes is measured in benchmarks/startup.py."""
import subprocess
import sys

import pytest

from notebooks import ROOT

HEAVY = ('torch', 'numba', 'matplotlib', 'scipy.stats', 'skimage', 'cv2', 'trimesh', 'k3d', 'zarr', 'numpy')
START = "import sys; sys.argv = ['cryoseg', *{words!r}]\nfrom cryoseg.run.cli import main\ntry: main()\nexcept SystemExit as e: assert not e.code, e.code\n"


def loaded(program, heavy=HEAVY):
    "Which heavy packages a program loads."
    tail = f'\nprint("LOADED", *[p for p in {heavy!r} if p in sys.modules])'
    run = subprocess.run([sys.executable, '-c', 'import sys\n' + program + tail], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.rsplit('LOADED', 1)[1].split()


@pytest.mark.parametrize('words', [['--help'], ['--version'], ['run', '--help'], ['settings'], ['settings', 'surface']], ids=' '.join)
def test_help_loads_nothing_heavy(words):
    assert loaded(START.format(words=words)) == []


def test_importing_the_package_loads_nothing_heavy():
    assert loaded('import cryoseg; dir(cryoseg)') == []


def test_looking_at_a_file_loads_no_net_and_no_pictures(tmp_path):
    from cryoseg.base.formats import write_volume
    from cryoseg.base.volume import Volume
    import numpy as np
    write_volume(tmp_path/'a.mrc', Volume(np.random.default_rng(0).normal(size=(4, 40, 40)).astype(np.float32), 10.))
    assert loaded(START.format(words=['info', str(tmp_path/'a.mrc')]), ('torch', 'numba', 'matplotlib', 'scipy.stats', 'trimesh', 'zarr')) == []


def test_the_public_face_is_whole():
    "Every name is there, and none is a wing's."
    import cryoseg
    wings = {p.name for p in (ROOT/'cryoseg').iterdir() if p.is_dir()}
    assert not wings & set(cryoseg.__all__)
    for name in cryoseg.__all__: assert getattr(cryoseg, name).__name__ == name
    with pytest.raises(AttributeError, match='read_volume'): cryoseg.read_tomogram
