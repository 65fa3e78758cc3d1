"""The report: one page from the files of a run, whole or half, good or damaged."""
import base64
import html
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cryoseg.show.pages import with_error
from cryoseg.show.report import (
    MAX_BYTES, MAX_NOTES, SCENE_FACES, SLICE_SIZES, RunFiles, choose_slices, count_proteins, evaluation_html, read_run,
    report_html, slice_panels, slices_html, summary_html, table_html, write_report,
)
from cryoseg.result.records import Distance, Membrane
from cryoseg.result.tables import read_rows
from cryoseg.base.files import VolumeError
from cryoseg.base.volume import Volume
from cryoseg.base.formats import write_volume
from show_toys import ball
from report_toys import EVALUATION, NONE, ROWS, RUN, SHAPE, SIZE_A, make_run, row

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
    slices = page.count('<figure class="pair')
    assert 5 < slices <= SLICE_SIZES[0].n + 1 and page.count('<svg') == 2*slices and page.count('<img') == 3       # one of them from the side; three pictures of surfaces


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
    (folder / 'links.csv').write_text('nothing\n1\n', encoding='utf-8')
    (folder / 'fragments.mrc').write_bytes(b'short')
    write_volume(folder / 'tomogram.mrc', Volume(np.random.default_rng(0).normal(size=(9, 9, 9)).astype(np.float32), SIZE_A))
    run = read_run(folder)
    assert [s.id for s in run.surfaces] == [1] and run.image is None and run.evaluation is None
    said = words(report_html(run, max_faces=0))
    for phrase in ('membrane_0002.ply cannot be read', 'membranes.mrc', 'evaluation.json is damaged', 'links.csv', 'has changed since the run'): assert phrase in said, phrase


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
    path.write_text('title\nx\n', encoding='utf-8')
    with pytest.raises(VolumeError, match="line 1: 'title' holds no column of this table"): read_rows(path, Membrane)


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
    assert table_html([Membrane(**row(1))]).count('<tr ') == 2 and 'No membranes were found' in table_html([]) and 'surface stage' in table_html(None)
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


def marked(page, layer):
    "Where a layer of a slice is drawn: the middle of its opaque pixels, x and y in 0..1 from the upper left corner."
    uri = re.search(rf'class="{layer}"[^>]*href="data:image/png;base64,([^"]+)"', page).group(1)
    rows, columns = np.nonzero(np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert('RGBA'))[..., 3])
    picture = Image.open(io.BytesIO(base64.b64decode(uri))).size
    return (columns.mean() + .5)/picture[0], (rows.mean() + .5)/picture[1]


@pytest.mark.parametrize('axis, expected', [('z', (.9, .8)), ('y', (.9, .3))])
def test_slices_are_drawn_as_the_page_says(axis, expected):
    "x to the right; y upwards in slices at one z, z upwards in slices at one y: labels, ids, bands and contours alike."
    labels = np.zeros((20, 30, 40), np.int8)
    labels[12:16, 4:8, 34:38] = 1                                            # z 14, y 6, x 36: upper half in z, lower in y, right
    volume = Volume(labels, 10.)
    run = RunFiles(Path('o'), {}, None, volume, volume, [ball(1, (14, 6, 36), 1.5, .2)])
    page = slice_panels(run, 14 if axis == 'z' else 6, axis)
    for layer in ('overlay voxels', 'overlay voxels ids', 'band'): assert marked(page, layer) == pytest.approx(expected, abs=.04), layer
    points = np.array(re.findall(r'[\d.]+', re.search(r' d="([^"]+)" stroke', page).group(1)), float).reshape(-1, 2)
    assert points.mean(0)/(40, 30 if axis == 'z' else 20) == pytest.approx(expected, abs=.04)
    assert f'x to the right, {"y" if axis == "z" else "z"} upwards' in page


def test_it_says_which_way_is_up_and_what_was_mirrored(tmp_path):
    said = words(slices_html(read_run(make_run(tmp_path / 'a', ROWS[:1]))))
    assert 'x runs to the right, y upwards, and z out of the page, towards you' in said and 'nothing was turned or mirrored' in said
    text = RUN.replace('bin = 1', 'bin = 1\nbeam_axis = "y"')
    said = words(slices_html(read_run(make_run(tmp_path / 'b', ROWS[:1], text=text))))
    assert 'beam runs along y of the file' in said and 'nothing was turned' not in said and 'what is left-handed in the file looks right-handed' in said


def noisy(depth, side):
    "A run whose pictures are large: slices of noise, and a ball."
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(size=(depth, side, side)).astype(np.float32), 10.)
    labels = image.with_data((rng.random(image.shape) < .001).astype(np.int8))
    return RunFiles(Path('o'), {}, image, labels, labels, [ball(1, (depth/2, side/2, side/2), 8.)], rows=[Membrane(**row(1))])


def test_a_page_stays_under_its_limit_and_says_what_was_reduced():
    page = report_html(noisy(18, 640))
    said = words(page)
    assert len(page.encode()) <= MAX_BYTES and 'so that the page stays under 5 MB' in said
    shown = int(re.search(r'(\d+) of 18 slices are shown', said).group(1))
    assert 5 <= shown == page.count('<figure class="pair') - 1 and 'reduced from 640 to 5' in said and 'id="asleep"' in page


def test_what_cannot_be_small_enough_is_left_out():
    run = noisy(8, 200)
    for limit, left_out in ((1_500_000, 'scene'), (150_000, 'slices')):
        page = report_html(run, max_bytes=limit)
        assert len(page.encode()) <= limit and ('The slices are left out: with them the page would be larger' in words(page)) == (left_out == 'slices')
        assert 'The scene that can be turned is left out: with it the page would be larger' in words(page)


def test_the_scene_is_thinned_and_says_so(tmp_path):
    run = read_run(make_run(tmp_path / 'run', ROWS[:1]))
    fine = ball(1, (10, 14, 26), 6.)
    many = SCENE_FACES[-1]//len(fine.faces) + 2
    run.surfaces = [fine]*many
    assert f'at most {SCENE_FACES[-1]} triangles' in words(report_html(run, SCENE_FACES[-1]))
    assert 'triangles; the files' not in words(report_html(run, 60_000))


def test_thousands_of_membranes_fit(tmp_path):
    rows = [Membrane(**row(k, reason='cut by the edge of the volume; '*3)) for k in range(1, 3001)]
    pairs = [Distance(k, k + 1, 'apart', 100. + k, 3., 1., 2., 3.) for k in range(1, 3000)]
    run = RunFiles(tmp_path, dict(run=dict(left_out=['a membrane']*900)), rows=rows, distances=pairs, notes=['Not shown.']*500)
    page = report_html(run)
    said = words(page)
    assert len(page.encode()) < MAX_BYTES/2 and '2700 more stand in membranes.csv' in said and '2699 more stand in distances.csv' in said
    assert f'{500 - MAX_NOTES} more of this kind' in said
    assert 'run.toml names 895 more' in said


def test_without_a_voxel_size_nothing_is_in_angstrom(tmp_path):
    run = RunFiles(tmp_path, dict(run=dict(voxel_size_known=False)), rows=[Membrane(**row(1), mean_curvature_per_A=.01)], distances=[Distance(1, 2, 'apart', 14., .3)])
    said = words(summary_html(run))
    assert '14.00 ± 0.30 vox (middle to middle)' in said and '0.0100 1/vox' in said and 'Å' not in said and 'nm' not in said
