"""Settings that every test shares; they must be in the environment before NumPy, torch or matplotlib is imported."""
import os
import signal

for variable in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NUMBA_NUM_THREADS'):
    os.environ.setdefault(variable, '1')      # two processes of pytest share the machine
os.environ.setdefault('MPLBACKEND', 'agg')    # no window

from hypothesis import settings  # noqa: E402  (after the environment)

settings.register_profile('house', deadline=None, derandomize=True)   # the same examples on every machine, however slow
settings.load_profile('house')

for name in ('SIGINT', 'SIGHUP'):       # ignored under nohup: then a program that a test starts would ignore them too
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) == signal.SIG_IGN: signal.signal(number, lambda *_: None)
