"""Write benchmarks/README.md: every table of benchmarks/results, with the commit and the machine that measured it.

`python tools/benchmark_tables.py`, after the benchmarks have run. `headline` chooses the few rows of the front page.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / 'benchmarks' / 'results'
sys.path.insert(0, str(ROOT / 'benchmarks'))
from _tables import markdown_tables, read_table, stored  # noqa: E402  (after the path)


def spread(values, form):
    "The smallest and the largest of some numbers, or the one that they are."
    texts = dict.fromkeys(format(v, form) for v in (min(values), max(values)))
    return ' to '.join(texts)


def of_polnet():
    "Vesicles of a third-party simulator: found and invented, and how far off their surfaces are, in nm."
    measured = [r for snr in ('1.0', '0.3') for r in read_table('accuracy', f'PolNet liposomes, SNR {snr}: surfaces against the true spheres, mean distance where visible, voxels of 10')]
    if not measured: return
    true = [r for r in measured if r['vesicle'] in 'ABCD']
    invented = sum(r['ids'] for r in measured if r['vesicle'] not in 'ABCD')
    yield 'vesicles of another simulator: found; invented', f'{sum(r["ids"] > 0 for r in true)} of {len(true)}; {invented}'
    yield '... mean distance from the truth', spread([r['to_truth_vox'] for r in true], '.2f') + ' nm'      # of voxels of 10 Å


def inside_the_band():
    "Share of surfaces within two standard deviations of the truth."
    of_phantoms, of_polnet = ([r['in_95'] for r in read_table('coverage', 'surfaces of labelled tomograms')
                               if r['tomograms'].startswith(name) and r['errors'].startswith('corrected') and r['places'] == 'all']
                              for name in ('phantoms', 'PolNet'))
    if of_phantoms: yield '... within 2 sd of the truth; on our own phantoms', f'{of_polnet[0]:.0%}; {of_phantoms[0]:.0%}'


def thickness():
    "Error of the bilayer's thickness on phantoms that chose no setting."
    measured = read_table('measures', 'thickness of the bilayers of phantoms')
    if measured: yield f'thickness of {measured[0]["measured"]} bilayers: rms error; within 2 sd', f'{measured[0]["rms_error_A"]/10:.2f} nm; {measured[0]["within_2_sd"]}'


def real_slices():
    "Hand-traced real slices: the skeleton F1 of images that chose no setting."
    measured = [r for r in read_table('network', 'real slices, default settings') if r['group'] not in ('mean', 'all')]
    if measured: yield 'real slices, hand-traced: F1 within 2 pixels', spread([r['f1_2px_other'] for r in measured], '.2f')


def ordinary_tomogram():
    "Time and memory of an ordinary tomogram."
    found = [r for r in read_table('scale', 'whole runs') if r['size'] == 'ordinary']
    if not found: return
    machine = stored('scale')['machine']
    yield (f'{found[0]["voxels"]/1e6:.0f} million voxels on {machine["cores"]} cores: time; memory',
           f'{found[0]["seconds"]/60:.0f} min; {found[0]["peak_anonymous_MB"]/1000:.1f} GB')


FORMATS = 'files', 'MRC, TIFF, OME-Zarr, Amira; RELION, IMOD, ChimeraX, copick, PLY'


def headline():
    "The table of the front page, as Markdown."
    chosen = [row for part in (of_polnet, inside_the_band, thickness, real_slices, ordinary_tomogram) for row in part()]
    lines = [f'| {what} | {value} |' for what, value in [('measured', 'by commands of this repository'), *chosen, FORMATS]]
    lines.insert(1, '|---|---|')
    return '\n'.join(lines) if chosen else '*Not measured yet: run `make test-long`.*'


def page():
    "The text of benchmarks/README.md."
    text = ['# Benchmarks', 'Made by `python tools/benchmark_tables.py` from the files in [results](results), which `make test-long` writes. '
            'Each benchmark is a command: `python benchmarks/NAME.py`.']
    for path in sorted(RESULTS.glob('*.json')):
        measured, script = stored(path.stem), ROOT / 'benchmarks' / f'{path.stem}.py'
        machine = measured['machine']
        text += [f'## {path.stem}', f'[{script.name}]({script.name}), commit `{measured["commit"]}`, {machine["cores"]} cores of {machine["cpu"]}.',
                 markdown_tables(path.stem)]
    return '\n\n'.join(text) + '\n'


def main():
    (ROOT / 'benchmarks' / 'README.md').write_text(page(), encoding='utf-8')
    print('benchmarks/README.md')


if __name__ == '__main__': main()
