"""The report: one page from the files of a run, whole or half, good or damaged."""
import csv
import html
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cryoseg.base.geometry import icosphere
from cryoseg.show.pages import with_error
from cryoseg.show.report import (
    MAX_BYTES, RunFiles, choose_slices, count_proteins, evaluation_html, read_run,
    report_html, summary_html, table_html, write_report,
)
from cryoseg.result.folder import checksum
from cryoseg.result.records import Membrane, Surface
from cryoseg.result.meshes import write_surface_ply
from cryoseg.result.tables import read_rows
from cryoseg.base.files import VolumeError
from cryoseg.base.volume import Volume
from cryoseg.base.formats import write_volume

SHAPE, SIZE_A = (20, 28, 36), 10.0
COLUMNS = 'id n_voxels status reason centre_x_A centre_y_A centre_z_A area_A2 area_sd_A2 volume_A3 volume_sd_A3 mean_sigma_A confidence method'.split()
RUN = '''[run]
version = "0.1.0"
input = "tomogram.mrc"
checksum = "sha256:00"
voxel_size_A = 10.0
seed = 3
[settings]
weights = ""
[settings.input]
bin = 1
[settings.surface]
method = "auto"
[stages]
segment = {}
connect = {}
contours = {}
surface = {}
measure = {}
'''
EVALUATION = dict(voxel=dict(membrane_iou=0.81, dice=0.9, precision=None, recall=0.88, surface_dice=0.95),
                  instances=dict(are=0.02, voi_split_bits=0.0, voi_merge_bits=0.1, pq=0.9, n_true=2, n_found=2),
                  surfaces=[dict(id=1, true_id=1, assd_A=3.2, assd_visible_A=2.0, hd95_A=9.0, coverage68=0.7, coverage95=0.96, mean_sigma_A=4.0, area_error=0.01, volume_error=None)])


def row(id, status='closed', **more):
    return dict(id=id, n_voxels=900, status=status, reason='', centre_x_A=100.0, centre_y_A=140.0, centre_z_A=100.0, area_A2=45_234.0, area_sd_A2=312.0, volume_A3=9.1e5,
                volume_sd_A3=1.2e4, mean_sigma_A=4.2, confidence=0.9, method='star') | more


def make_run(folder, rows, origin_A=(0., 0., 0.), **record):
    "A run folder with a sphere for each row that has a surface."
    (folder / 'surfaces').mkdir(parents=True)
    rng, directions, (z, y, x) = np.random.default_rng(0), icosphere(2), np.indices(SHAPE)
    like = Volume(rng.normal(size=SHAPE).astype(np.float32), SIZE_A, origin_A)
    labels, membranes = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.uint16)
    for r in rows:
        if r['status'] == 'refused': continue
        centre = np.array([10, 14, 9 + 17 * (r['id'] % 2)])
        shell = np.abs(np.sqrt((z - centre[0])**2 + (y - centre[1])**2 + (x - centre[2])**2) - 6) < 1
        labels[shell], membranes[shell] = 1, r['id']
        surface = Surface(r['id'], centre + 6 * directions[0], directions[1], np.full(len(directions[0]), 0.4), r['status'])
        write_surface_ply(folder / 'surfaces' / f'membrane_{r["id"]:04d}.ply', surface, like)
    labels[2:5, 2:5, 2:5] = 2 if rows else 0
    zero = np.zeros(SHAPE, np.float32)
    for name, data in dict(tomogram=like.data, labels=labels, membranes=membranes, membranes_closed=membranes, lumen=membranes, sigma=zero).items():
        write_volume(folder / f'{name}.mrc', like.with_data(data))
    with open(folder / 'membranes.csv', 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({k: '' if v is None else v for k, v in r.items()} for r in rows)
    text = record.get('text', RUN).replace('sha256:00', checksum(folder / 'tomogram.mrc'))
    (folder / 'run.toml').write_text(text, encoding='utf-8')
    return folder


NONE = dict.fromkeys(COLUMNS[4:])
ROWS = [row(1), row(2, 'truncated', reason='cut by the edge', volume_A3=None, volume_sd_A3=None), row(7, **NONE | dict(status='refused', n_voxels=40, reason='a <b>plane</b> & no more'))]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp('report') / 'run', ROWS)
    (folder / 'evaluation.json').write_text(json.dumps(EVALUATION), encoding='utf-8')
    return folder


@pytest.fixture(scope='module')
def page(folder):
    return write_report(folder).read_text(encoding='utf-8')


def words(text):
    "What a person reads of a page."
    text = re.sub(r'<(style|script)\b.*?</\1>', ' ', text, flags=re.DOTALL)
    return re.sub(r'\s+', ' ', html.unescape(re.sub(r'<[^>]+>', ' ', text))).replace('\u202f', '')


class Balance(HTMLParser):
    "Collects tags that are closed in the wrong order."
    EMPTY = {'meta', 'link', 'br', 'img', 'input'}

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.EMPTY: self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag: self.wrong.append((tag, self.getpos()))


def test_one_file_complete_in_itself(folder, page):
    assert (folder / 'report.html').exists() and len(page.encode()) < MAX_BYTES
    shown = page.split('<script type="text/plain"')[0]
    assert not re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?!data:|#)[\w/.]+:', shown)
    assert page.count('<svg') == 2 * (page.count('type="range"') - 2 + n_slices(page) + 1) and page.count('<img') == 3     # xy slices and one xz slice, twice; three pictures of surfaces


def test_the_markup_is_sound(page):
    parser = Balance()
    parser.feed(page)
    assert parser.wrong == [] and parser.open == []
    shown = re.sub(r'<script type="text/plain".*?</script>', '', page, flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', shown)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"', shown): assert target in ids, target


def test_it_says_what_was_found(page):
    said = words(page)
    for phrase in ('3 membranes were found: 1 is closed, 1 is cut by the edge of the volume and 1 is without a surface', 'Membrane 7 has no surface because a <b>plane</b> & no more',
                   '1 clump of protein (27 voxels) is marked', '36 × 28 × 20 voxels of 10 Å', '452.3 ± 3.1', '910 ± 12', '±4.2 Å', 'cryoseg 0.1.0', 'sha256:', 'IoU of membrane voxels'):
        assert phrase in said, phrase
    assert '<b>plane</b>' not in page                               # text of a file is text, not markup


def test_surfaces_come_back_where_they_were(tmp_path):
    run = read_run(make_run(tmp_path / 'run', ROWS[:2], origin_A=(-50., 20., 7.)))
    assert [s.id for s in run.surfaces] == [1, 2] and run.notes == []
    np.testing.assert_allclose(run.surfaces[0].vertices_vox.mean(0), (10, 14, 26), atol=1e-3)
    np.testing.assert_allclose(run.surfaces[0].sigma_vox, 0.4, rtol=1e-5)
    v, f = run.surfaces[0].vertices_vox - (10, 14, 26), run.surfaces[0].faces
    assert (np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]) * v[f].mean(1)).sum(1).min() > 0     # outwards


def test_a_slice_says_where_it_lies(page):
    captions = re.findall(r'<figcaption>(.*?)</figcaption>', page)
    places = [re.fullmatch(r'z = (\d+) nm <span>\(slice (\d+)\)</span>', caption) for caption in captions if caption.startswith('z = ')]
    assert places and all(places) and all(int(p[1]) == int(p[2]) for p in places)        # voxels of 10 Å


def test_nothing_found_is_a_result(tmp_path):
    told = []
    said = words(write_report(make_run(tmp_path / 'run', []), progress=lambda done, total: told.append((done, total))).read_text(encoding='utf-8'))
    assert told == sorted(told) and told[0] == (0, 100) and told[-1] == (100, 100)
    for phrase in ('No membranes were found', 'There are no surfaces to show', 'No protein is marked'): assert phrase in said, phrase


@pytest.mark.parametrize('name, phrase', [('labels.mrc', 'labels.mrc is missing'), ('membranes.mrc', 'membranes.mrc is missing'), ('membranes.csv', 'no table of membranes yet'),
                                          ('tomogram.mrc', 'is not there any more'), ('sigma.mrc', 'sigma.mrc is missing')])
def test_what_is_missing_is_said(tmp_path, name, phrase):
    folder = make_run(tmp_path / 'run', ROWS)
    (folder / name).unlink()
    assert phrase in words(report_html(read_run(folder), max_faces=0))


def test_only_the_record_is_needed(tmp_path):
    (tmp_path / 'run.toml').write_text('', encoding='utf-8')
    assert 'there is no slice to show' in words(write_report(tmp_path, tmp_path / 'elsewhere' / 'r.html').read_text(encoding='utf-8'))


def test_damaged_parts_are_left_out(tmp_path):
    folder = make_run(tmp_path / 'run', ROWS)
    (folder / 'surfaces' / 'membrane_0002.ply').write_bytes(b'no mesh')
    (folder / 'membranes.mrc').write_bytes(b'short')
    (folder / 'evaluation.json').write_text('{', encoding='utf-8')
    write_volume(folder / 'tomogram.mrc', Volume(np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32), SIZE_A))
    run = read_run(folder)
    assert [s.id for s in run.surfaces] == [1] and run.image is None and run.evaluation is None
    said = words(report_html(run, max_faces=0))
    for phrase in ('membrane_0002.ply cannot be read', 'membranes.mrc', 'evaluation.json is damaged', 'has changed since the run'): assert phrase in said, phrase


def test_the_input_is_read_as_the_run_read_it(tmp_path):
    text = RUN.replace('bin = 1', 'bin = 2\nz_range = [0, 20]\ninvert = true')
    folder = make_run(tmp_path / 'run', ROWS[:1], text=text)
    half = Volume(np.zeros((10, 14, 18), np.int8), 20.0)
    write_volume(folder / 'labels.mrc', half)
    run = read_run(folder)
    assert run.image.shape == (10, 14, 18) and run.image.voxel_size_A == 20.0


@pytest.mark.parametrize('given', ['', 'voxel_size_A = 10.0'])
def test_binning_counts_once(tmp_path, given):
    "The run's voxel size is that after binning; the one of the input, given or in its header, is that before."
    text = RUN.replace('voxel_size_A = 10.0', 'voxel_size_A = 20.0').replace('bin = 1', f'bin = 2\n{given}')
    folder = make_run(tmp_path / 'run', ROWS[:1], text=text)
    write_volume(folder / 'labels.mrc', Volume(np.zeros((10, 14, 18), np.int8), 20.0))
    run = read_run(folder)
    assert (run.image.shape, run.image.voxel_size_A) == (run.labels.shape, run.labels.voxel_size_A)


def test_another_image_of_the_same_shape_is_not_shown(tmp_path):
    folder = make_run(tmp_path / 'run', ROWS[:1])
    write_volume(folder / 'tomogram.mrc', Volume(np.zeros(SHAPE, np.float32) + np.arange(SHAPE[2]), SIZE_A))
    run = read_run(folder)
    assert run.image is None and run.notes == ['The input tomogram.mrc has changed since the run, and is not shown.']


def test_scores_keep_their_names():
    page = words(table_html([Membrane(**row(1) | dict(confidence=0.97, shape_score=0.31))]))
    assert 'shape 0–1 confidence 0–1' in page and page.index('0.31') < page.index('0.97')


def test_rows_become_records(tmp_path):
    path = tmp_path / 'membranes.csv'
    path.write_text('id,n_voxels,status,area_A2,mean_sigma_A,n_fragments\n3,12,open,nan,4.5,2\n4,1,refused,,,\n', encoding='utf-8')
    assert read_rows(path, Membrane) == [Membrane(3, 12, 'open', mean_sigma_A=4.5, n_fragments=2), Membrane(4, 1, 'refused')]
    path.write_text('name\nx\n', encoding='utf-8')
    with pytest.raises(VolumeError, match="line 1: 'name' holds no column of this table"): read_rows(path, Membrane)


def test_proteins_are_counted_where_they_touch(tmp_path):
    run = read_run(make_run(tmp_path / 'run', ROWS))
    assert count_proteins(run) == (1, 27)
    run.labels = None
    assert count_proteins(run) is None


@pytest.mark.parametrize('make, said', [
    (lambda p: p / 'none', 'is no folder; give the folder that cryoseg run -o wrote'),
    (lambda p: p, 'is not the folder of a run: it has no run.toml'),
    (lambda p: ((p / 'run.toml').write_text('[run', encoding='utf-8'), p)[1], 'is damaged'),
    (lambda p: ((p / 'run.toml').write_bytes(b'\xff\xfe\x00'), p)[1], 'is damaged'),
])
def test_what_is_no_run_is_refused(tmp_path, make, said):
    with pytest.raises(VolumeError) as error: write_report(make(tmp_path))
    assert said in str(error.value) and '\n' not in str(error.value)
    assert not (tmp_path / 'report.html').exists()


def test_an_incomplete_run_says_so(tmp_path):
    folder = make_run(tmp_path / 'run', ROWS, text=RUN.replace('surface = {}', ''))
    assert 'The run is not complete: surface did not finish' in words(report_html(read_run(folder), max_faces=0))


def test_without_k3d_there_are_still_pictures(folder, tmp_path):
    program = 'import sys; sys.modules["k3d"] = None; from cryoseg.show.report import write_report; write_report(sys.argv[1], sys.argv[2])'
    run = subprocess.run([sys.executable, '-c', program, str(folder), str(tmp_path / 'r.html')], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    page = (tmp_path / 'r.html').read_text(encoding='utf-8')
    assert 'pip install "cryoseg[notebook]"' in html.unescape(page) and page.count('<img') == 3 and len(page) < 1_500_000


@pytest.mark.parametrize('value, sd, text', [(4523.4, 31.2, '4523 ± 31'), (0.12345, 0.0234, '0.123 ± 0.023'), (123_456.0, 2345.0, '123500 ± 2300'), (5.0, None, '5.00'), (0.0, 0.0, '0.00'),
                                             (None, 1.0, '–'), (float('nan'), None, '–'), (7.0, float('nan'), '7.00'), (-3.14159, 0.1, '-3.14 ± 0.10'), (1e-5, None, '0.0000100'), (99.96, 9.96, '100 ± 10')])
def test_digits_follow_the_error(value, sd, text):
    assert with_error(value, sd).replace('\u202f', '') == text


def test_tables():
    assert table_html([Membrane(**row(1))]).count('<tr>') == 2 and 'No membranes were found' in table_html([]) and 'surface stage' in table_html(None)
    assert evaluation_html(None) == '' and evaluation_html(dict(voxel=None, instances=None, surfaces=[])).count('<table') == 0
    assert words(evaluation_html(EVALUATION)).count('–') == 2        # two values are unknown


def test_slices_are_chosen_where_membranes_are():
    labels = np.zeros((40, 10, 10), int)
    labels[20:31, 6:9] = 1
    at, side = choose_slices(labels)
    assert len(at) == 5 and min(at) > 20 and max(at) < 30 and side == 7
    assert choose_slices(np.zeros((1, 5, 5), int))[0] == [0]
    labels[25, 0] = 9
    assert choose_slices(labels, through=9)[1] == 0


def test_many_refusals_are_not_all_told(tmp_path):
    rows = [row(i, **NONE | dict(status='refused', n_voxels=9, reason='small')) for i in range(1, 10)]
    said = words(summary_html(read_run(make_run(tmp_path / 'run', rows))))
    assert said.count('has no surface') == 5 and '4 more have none either' in said


def test_a_single_image_shows_its_curves(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    like = Volume(np.zeros((1, 30, 40), np.float32), SIZE_A, (0., 0., 0.))
    for name in ('tomogram', 'labels', 'membranes'): write_volume(folder / f'{name}.mrc', like.with_data(np.ones((1, 30, 40), np.float32 if name == 'tomogram' else np.int8)))
    (folder / 'run.toml').write_text(RUN, encoding='utf-8')
    t = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    points = ''.join(f'1,0,{k},{200 + 80 * np.cos(a):.6g},{150 + 80 * np.sin(a):.6g},5,{int(k < 9)},gp\n' for k, a in enumerate(t))
    (folder / 'curves.csv').write_text('membrane_id,z,point,x_A,y_A,sigma_A,extrapolated,method\n' + points, encoding='utf-8')
    head = 'membrane_id,z,status,reason,method,n_pixels,seen,area_A2,area_sd_A2,perimeter_A,perimeter_sd_A,mean_sigma_A,max_sigma_A\n'
    (folder / 'sections.csv').write_text(head + '1,0,closed,,gp,300,.82,20106,400,503,4,5,9\n2,0,refused,3 pixels <b>,gp,3,,,,,,,\n', encoding='utf-8')
    page = report_html(read_run(folder), max_faces=0)
    said = words(page)
    for phrase in ('membranes and curves', '201.1 ± 4.0', '50.30 ± 0.40', '3 pixels <b>'): assert phrase in said, phrase
    assert page.count('class="contour"') == 2 and page.count('stroke-dasharray') == 1 and '<b></td>' not in page
    parser = Balance()
    parser.feed(page)
    assert parser.wrong == [] and parser.open == []
    (folder / 'curves.csv').write_text('membrane_id,z\n1,0\n', encoding='utf-8')
    assert 'The curves are not shown' in words(report_html(read_run(folder), max_faces=0))


@pytest.mark.parametrize('with_table', [True, False])
def test_no_membranes_says_why_in_its_first_sentences(with_table):
    run = RunFiles(Path('o'), dict(run=dict(why_none='No membranes: 1,882 voxels are labelled. Its area is 64,653 Å².')), rows=[] if with_table else None)
    assert 'No membranes were found.</b> 1,882 voxels are labelled.' in summary_html(run)
