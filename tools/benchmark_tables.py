"""Write benchmarks/README.md: every table of benchmarks/results, with the commit and the machine that measured it.

`python tools/benchmark_tables.py`, after the benchmarks have run. `headline` chooses the few rows of the front page.
"""
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'benchmarks' / 'results'
sys.path.insert(0, str(ROOT / 'benchmarks'))


def read(name):
    "What a benchmark measured; None where it was not run."
    path = RESULTS / f'{name}.json'
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else None


def rows(name, title):
    "The rows of one table of a benchmark; none where it was not measured."
    measured = read(name)
    tables = measured['numbers']['tables'] if measured else []
    return next((table['rows'] for table in tables if table['title'].startswith(title)), [])


def spread(values, form):
    "The smallest and the largest of some numbers, or the one that they are."
    texts = dict.fromkeys(format(v, form) for v in (min(values), max(values)))
    return ' to '.join(texts)


def found_membranes():
    "Vesicles of a third-party simulator: how many were found, and how far off their surfaces are."
    for snr in ('1.0', '0.3'):
        measured = rows('accuracy', f'PolNet liposomes, SNR {snr}')
        vesicles = [r for r in measured if r['to_truth_vox'] is not None]
        if not vesicles: continue
        true = [r for r in measured if r['vesicle'] in 'ABCD']
        found = sum(r['ids'] > 0 for r in true)
        yield f'vesicles of another simulator (PolNet, signal to noise {snr}): found', f'{found} of {len(true)}'
        yield '... mean distance of their surfaces from the truth', spread([r['to_truth_vox'] for r in vesicles], '.2f') + ' voxel'


def real_slices():
    "Hand-traced real slices: the skeleton F1 of images that chose no setting."
    measured = [r for r in rows('network', 'real slices, default settings') if r['group'] not in ('mean', 'all')]
    if measured: yield 'real slices traced by hand: F1 within 2 pixels, by group', spread([r['f1_2px_other'] for r in measured], '.2f')


def touching_vesicles():
    "Vesicles that touch, drawn with known truth."
    measured = rows('merging', 'touching vesicles')
    if measured: yield 'touching vesicles: adapted Rand error (0 is perfect)', spread([r['adapted_rand'] for r in measured], '.3f')


def held_out():
    "Real membranes of which a part was hidden: how often the truth lay within the error bar."
    measured = [r for r in rows('surfaces', 'real membranes') if r['in_95'] is not None]
    if measured: yield 'hidden parts of real membranes: within the 95 % error bar', spread([r['in_95'] for r in measured], '.0%')


def time_of_a_run():
    "Seconds of the stages on a phantom, all together."
    measured = [r for r in rows('pipeline', 'stages on a phantom of 200x512x512') if r['stage'] not in ('simulate', 'total')]
    if not measured: return
    machine = read('pipeline')['machine']
    yield f'a volume of 200x512x512 voxels, all stages with measures and files, {machine["cores"]} cores of {machine["cpu"]}', f'{sum(r["seconds"] for r in measured):.0f} s'


def headline():
    "The table of the front page, as Markdown."
    chosen = [row for part in (found_membranes, real_slices, touching_vesicles, held_out, time_of_a_run) for row in part()]
    lines = ['| measured | |', '|---|---|', *(f'| {what} | {value} |' for what, value in chosen)]
    return '\n'.join(lines) if chosen else '*Not measured yet: run `make test-long`.*'


def page():
    "The text of benchmarks/README.md."
    from _tables import markdown_tables
    text = ['# Benchmarks', 'Made by `python tools/benchmark_tables.py` from the files in [results](results), which `make test-long` writes. '
            'Each benchmark is a command: `python benchmarks/NAME.py`.']
    for path in sorted(RESULTS.glob('*.json')):
        measured, script = read(path.stem), ROOT / 'benchmarks' / f'{path.stem}.py'
        machine = measured['machine']
        text += [f'## {path.stem}', f'[{script.name}]({script.name}), commit `{measured["commit"]}`, {machine["cores"]} cores of {machine["cpu"]}.',
                 markdown_tables(path.stem)]
    return '\n\n'.join(text) + '\n'


def main():
    (ROOT / 'benchmarks' / 'README.md').write_text(page(), encoding='utf-8')
    print('benchmarks/README.md')


if __name__ == '__main__': main()
