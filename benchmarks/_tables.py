"""What every benchmark shares: its arguments, printing its tables, and writing its numbers."""
import argparse
import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / 'shared' / 'data'


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


def finish(tables, path):
    "Write the tables, a list of (title, rows), as JSON where a path is given."
    if path: path.write_text(json.dumps(dict(tables=[dict(title=title, rows=rows) for title, rows in tables]), indent=1) + '\n', encoding='utf-8')
