"What the report says first, and what it doubts: sentences and tables that agree with the files."
import re

import numpy as np
import pytest

from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.measure.groups import Finished, compare_groups, tomogram_row
from cryoseg.result.records import Distance, Link, Membrane, Protein
from cryoseg.result.tables import write_rows
from cryoseg.show.doubts import MOST_SHOWN, doubt, doubtful, doubts_html
from cryoseg.show.found import MAX_PROTEINS, distances_html, headline, measures_in_words, plain_words, proteins_html, shapes_html, table_html
from cryoseg.show.overview import overview_html


def words(page):
    "The text of a page."
    return re.sub(r'\s+', ' ', re.sub('<[^>]*>', ' ', page))


def membrane(id, thickness=None, **values):
    return Membrane(id, 900, 'closed', thickness_A=thickness, thickness_sd_A=1.5 if thickness else None, **values)


def test_thickness_in_words():
    assert measures_in_words([membrane(1), Membrane(2, 5, 'refused')], []) == []
    one, = measures_in_words([membrane(4, 38.2)], [])
    assert one == 'The bilayer of membrane 4 is 38.2 ± 1.5 Å thick.'
    same, = measures_in_words([membrane(1, 38.), membrane(2, 39.)], [])
    assert 'within the error' in same
    many, = measures_in_words([membrane(1, 38.), membrane(2, 47.), membrane(3, 39.)], [])
    assert '39.0 ± 1.5 Å' in many and 'from 38 Å (membrane 1) to 47 Å (membrane 2)' in many


def test_curvature_in_words():
    one, = measures_in_words([membrane(4, mean_curvature_per_A=.004, mean_curvature_sd_per_A=.0001)], [])
    assert one == 'The mean curvature of membrane 4 is 40.0 ± 1.0 1/µm, as a ball of 25 nm radius.'
    flat, = measures_in_words([membrane(k, mean_curvature_per_A=-.001, mean_curvature_sd_per_A=.0001) for k in (1, 2)], [])
    assert flat == 'Their mean curvature is -10.0 ± 1.0 1/µm (the median).'


def test_the_large_numbers_have_errors_and_units():
    rows = [membrane(1, 38., mean_curvature_per_A=.004), membrane(2, 40.), Membrane(3, 5, 'refused')]
    tiles = headline(rows, [Distance(1, 2, 'apart', 140., 3.), Distance(1, 3, 'apart', 90., 2.)])
    assert [tile[:2] for tile in tiles] == [('3', ''), ('39.0 ± 1.5', 'Å'), ('40.0', '1/µm'), ('90.0 ± 2.0', 'Å')]
    assert tiles[0].text == 'membranes: 2 closed, 1 without a surface' and tiles[3].text == 'least distance, membranes 1 and 3'


TWO = 'left-out patches are predicted to 1.54 voxels by the displacement, to 0.62 by the normals'


@pytest.mark.parametrize('exact, method, plain', [
    (TWO, 'star', 'the fit predicts parts left out of it to 1.54 voxels'), (TWO, 'normals', 'the fit predicts parts left out of it to 0.62 voxels'),
    (f'{TWO}, but nothing closes', 'star', 'the fit predicts parts left out of it to 1.54 voxels'),
    (f'{TWO}; fitted with membrane 4, 12.1 voxels from it (left-out patches are predicted to 0.81 voxels, alone to 0.95)', 'nested',
     'a double membrane with membrane 4; the fit predicts parts left out of it to 0.81 voxels'),
    ('not star-shaped; its voxels end at the edge of the volume, where the zero set closes by itself', '', 'folded: no point inside sees all of it; cut by the edge of the volume'),
    ('only 61% of its voxels lie on one star-shaped body: two bodies under one id, or a concave or open one', '',
     'only 61% of its voxels lie on one round body: perhaps two membranes under one number, or a folded one'),
    ('a <b>; 12 voxels are too few (at least 100)', '', 'a <b>; 12 voxels are too few (at least 100)'), ('', '', ''), ('fitted by normals alone', 'normals', ''),
])
def test_reasons_in_plain_words(exact, method, plain):
    "Of two ways that were compared, the error of the one that was taken is told."
    assert plain_words(exact, method) == plain


def test_remarks_say_how_it_was_fitted_and_not_twice_that_it_is_cut():
    text = words(table_html([Membrane(1, 900, 'truncated', 'cut by the edge of the volume; not star-shaped', method='normals')]))
    assert 'cut by the edge' in text and 'cut by the edge of the volume' not in text and 'fitted as a sheet of any shape; folded' in text


def test_distances_in_words():
    pairs = [Distance(1, 2, 'apart', 140., 3.), Distance(1, 3, 'inside', 66., 4.), Distance(2, 5, 'crossing', 1., 2.)]
    said, = measures_in_words([], pairs)
    assert said.startswith('Membranes 2 and 5 come nearest') and '2 pairs are in contact' in said and 'In 1 pair one lies within' in said
    assert 'Membranes 2 and 5 seem to cross' in said
    assert 'contact' not in measures_in_words([], pairs[:1])[0] and '1 pair is in contact, nearer than 150 Å' in measures_in_words([], pairs[:1], contact_A=150.)[0]


def test_proteins_in_words():
    attached, free = Protein(1, 'attached', side='outside', membrane_id=1), Protein(2, 'free', 'far')
    assert measures_in_words([], [], []) == ['No protein was found on a membrane.']
    assert measures_in_words([], [], [attached, free])[0].startswith('1 protein stands on membranes, 1 outside. 1 more particle does not count')
    assert measures_in_words([], [], None) == []


def test_tables_hold_what_is_known():
    row = membrane(3, 38., diameter_A=612., diameter_sd_A=4., nearest_membrane=7, nearest_distance_A=71., nearest_distance_sd_A=3., n_proteins=5, proteins_outside=4,
                   proteins_inside=1, willmore=4*np.pi*1.2, willmore_sd=.1)
    text = words(shapes_html([row, Membrane(4, 5, 'refused')]))
    assert '61.20 ± 0.40' in text and '71.0 ± 3.0 (7)' in text and '4 + 1' in text and '1.2000' in text
    assert shapes_html([Membrane(4, 5, 'refused')]) == distances_html([]) == proteins_html([]) == proteins_html(None) == ''
    pair = Distance(1, 2, 'inside', 66., 4., 100., 200., 300., 150., 3., 1e5, 2e4, 1e3)
    text = words(distances_html([pair]))
    assert 'the second within the first' in text and '10.0, 20.0, 30.0' in text and '200 ± 10' in text
    many = [Protein(k, 'attached', membrane_id=1) for k in range(MAX_PROTEINS + 5)]
    assert '5 more stand in proteins.csv' in proteins_html(many)


def join(id, probability, taken=True, **values):
    return Link(id, 1, None, 2, None, 100., 200., 50., probability=probability, taken=taken, **values)


def test_doubts_are_sorted():
    links = [join(1, .99), join(2, .6), join(3, .3, False), join(4, .55), join(5, .02, False), join(6, None), join(7, .5, rule='user')]
    assert [link.link_id for link in doubtful(links)] == [4, 2, 3] and doubt(links[0]) == pytest.approx(.01)
    assert len(doubtful([join(k, .5) for k in range(40)])) == MOST_SHOWN
    assert doubtful([Link(1, 1, None, 2, None, probability=.5)]) == []          # without a place there is no picture


@pytest.mark.parametrize('place', [(100., 200., 50.), (0., 0., 0.), (1e5, -300., 1e5)])
def test_pictures_at_every_place(tmp_path, place):
    "At the edge, and beyond it: the picture stays inside."
    volume = Volume(np.random.default_rng(0).normal(size=(12, 50, 60)).astype(np.float32), 10.)
    numbers = np.zeros((12, 50, 60), np.float32)
    numbers[4:7, 18:22, 4:30] = 1
    write_volume(tmp_path/'fragments.mrc', volume.with_data(numbers))
    x, y, z = place
    write_rows(tmp_path/'links.csv', [Link(8, 1, None, 2, None, x, y, z, probability=.57, taken=True)], Link)
    page = doubts_html(tmp_path, volume, volume)
    assert page.count('<figure') == 1 and 'cryoseg view' in page and '<code>link_id 8</code>, <code>taken = 0</code>' in page and page.count('data:image') == 2
    assert doubts_html(tmp_path, None, volume).count('data:image') == 1


def test_a_run_without_doubt_says_nothing(tmp_path):
    volume = Volume(np.zeros((4, 20, 20), np.float32), 10.)
    assert doubts_html(tmp_path, volume, volume) == ''
    write_volume(tmp_path/'fragments.mrc', volume)
    write_rows(tmp_path/'links.csv', [join(1, .999)], Link)
    assert doubts_html(tmp_path, volume, volume) == ''


def finished(name, thickness, tmp_path):
    return Finished(name, tmp_path, 8., [membrane(k, t, area_A2=1e5) for k, t in enumerate(thickness, 1)], [Distance(1, 2, 'crossing', 1., 1., contact_area_A2=50.)])


def test_groups_are_compared_by_tomograms(tmp_path):
    runs = [finished('a', [30, 31], tmp_path), finished('b', [32, 33, 34], tmp_path), finished('c', [50], tmp_path), finished('d', [52, None], tmp_path)]
    groups = dict(a='x', b='x', c='y', d='y')
    rows = {(row.measure, row.group): row for row in compare_groups(runs, groups)}
    x, y = rows['thickness_A', 'x'], rows['thickness_A', 'y']
    assert (x.n_tomograms, x.n_membranes, x.median, y.median) == (2, 5, 31.75, 51) and x.p_value == y.p_value == pytest.approx(1/3)
    assert rows['diameter_A', 'x'].median is None and rows['diameter_A', 'x'].test == 'too few tomograms'
    sums = tomogram_row(runs[1], 'x')
    assert (sums.n_membranes, sums.n_crossing, sums.contact_area_A2, sums.total_area_A2, sums.n_proteins) == (3, 1, 50, 3e5, None)
    page = overview_html('study', runs, [tomogram_row(run, groups[run.name]) for run in runs], groups, list(rows.values()))
    assert '8 membranes in 4 tomograms' in words(page)
    assert 'Mann-Whitney' in page and page.count('<img') == 2


def test_names_are_no_formulas(tmp_path):
    runs = [finished('b$_$c', [30, 31], tmp_path), finished('d', [32], tmp_path)]
    page = overview_html('study', runs, [tomogram_row(run) for run in runs], {'b$_$c': '_wt', 'd': '<5 nm'}, [])
    assert 'b$_$c' in page and page.count('<img') == 2


def test_a_name_and_a_doubtful_distance_are_told_and_escaped():
    page = table_html([Membrane(1, 10, 'closed', name='<i>outer</i>')])
    assert 'named &lt;i&gt;outer&lt;/i&gt;' in page and '<i>outer' not in page
    assert 'nearest on a flat cap' in distances_html([Distance(1, 2, 'apart', 50., 4., reason='nearest on a flat cap')])
