"""What every benchmark shares: its arguments, the real slices, printing its tables, writing its numbers and showing them in a notebook."""
import argparse
import json
from pathlib import Path

import numpy as np
from skimage.io import imread

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'
POLNET_SPHERES = {'A': ((9.3, 14.1, 86.7), 20.7), 'B': ((36.6, 107.2, 14.6), 33.0), 'C': ((58.2, 36.1, 163.2), 26.2), 'D': ((94.6, 125.5, 44.6), 22.5)}     # centre z,y,x and radius, voxels
RESULTS = Path(__file__).resolve().parent / 'results'


def read_slices(data):
    "Image and mask of each hand-traced slice, by group, in the order of their numbers; the first two of a group may choose settings."
    groups = {}
    for path in sorted((data / 'slices_masked').glob('*_image.png')):
        mask = imread(path.with_name(path.name.replace('_image', '_mask'))) > 127
        groups.setdefault(path.name[0], []).append((imread(path).astype(np.float32), mask))
    return groups


def arguments(description, data=False):
    "Parse `--json FILE` (and `--data DIR`)."
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--json', type=Path, help='also write the numbers to this file')
    if data: parser.add_argument('--data', type=Path, default=DATA, help='folder with the third-party data')
    return parser


def show(value):
    "A number with three digits, anything else as it is."
    return '' if value is None else f'{value:.3g}' if isinstance(value, float) else str(value)


def print_table(title, rows):
    "Print `rows` (a list of dicts with the same keys) under `title`."
    head = list(rows[0])
    cells = [head] + [[show(row[h]) for h in head] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    print(f'\n{title}')
    for line in cells: print('  '.join(text.ljust(width) for text, width in zip(line, widths)), flush=True)


def stored(name):
    "What the last run of a benchmark wrote, with its commit and machine; None where it was not run."
    path = RESULTS / f'{name}.json'
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else None


def read_table(name, title):
    "Rows of the first table of a benchmark whose title starts with `title`; none where it was not measured."
    measured = stored(name)
    tables = measured['numbers']['tables'] if measured else []
    return next((t['rows'] for t in tables if t['title'].startswith(title)), [])


def markdown_tables(name, *titles):
    "The tables that the last run of a benchmark wrote, as Markdown; where titles are given, those that start with one of them."
    measured = stored(name)
    if not measured: return f'*{name}: not measured yet; run `make test-long`.*'
    text = []
    for t in measured['numbers']['tables']:
        if titles and not t['title'].startswith(titles): continue
        head = list(t['rows'][0])
        text += [f'**{t["title"]}**', '\n'.join(['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head), *('| ' + ' | '.join(show(row[h]) for h in head) + ' |' for row in t['rows'])])]
    return '\n\n'.join(text)


def finish(tables, path):
    "Write the tables, a list of (title, rows), as JSON where a path is given."
    if path: path.write_text(json.dumps(dict(tables=[dict(title=title, rows=rows) for title, rows in tables]), indent=1) + '\n', encoding='utf-8')
