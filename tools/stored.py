"""Long results of the book: a cell shows what was found when it last ran; CRYOSEG_LONG=1 runs it again and stores it.

`sys.path.insert(0, '../../tools')`, then `from stored import stored`, as the notebooks do.
"""
import json
import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / 'nbs' / 'stored'


def is_long():
    "Whether long results are to be computed anew."
    return os.environ.get('CRYOSEG_LONG') == '1'


def stored(name, compute):
    "What `compute()` gave when it last ran, from nbs/stored/`name`.json: numbers, text, lists and dictionaries."
    path = FOLDER / f'{name}.json'
    if is_long():
        path.write_text(json.dumps(compute(), indent=1, default=float) + '\n', encoding='utf-8')
    return json.loads(path.read_text(encoding='utf-8'))
