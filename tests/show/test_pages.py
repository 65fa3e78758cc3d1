"""The pieces of a page: numbers, tables, templates that escape, styles that balance."""
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import cryoseg
from cryoseg.show.found import Tile
from cryoseg.show.pages import (
    MAX_ROWS, Cell, Head, Section, asleep, decimal_places, grouped, number_cell, page_html, render, source, table,
    text_cell, with_error,
)

EVIL = '<script>alert("&")</script>'
TEMPLATES = sorted((Path(cryoseg.__file__).parent / 'show' / 'templates').iterdir())
STYLE, SCRIPT, HELP = source('page.css'), source('page.js'), source('help.html')
PANELS = dict(axis='z', index=3, place='3 nm', width=40, height=30, up='y', told=EVIL, curves=False, main=True, bar='')
SUMMARY = dict(why_none='', left_out=[EVIL]*9, rows=[dict(id=1)], refused=[dict(id=1, reason=EVIL)], limit=5, name=EVIL, found=EVIL, statuses=EVIL, measured=[EVIL],
               kind='surfaces', tiles=[Tile(EVIL, EVIL, EVIL, 'found')], doubts=1, sigma='', worst='', fine='Å', proteins=None, clumps='', protein_voxels='', size_vox='', voxel_A='', size_nm='')


@pytest.mark.parametrize('text, grouped_text', [('9999', '9999'), ('10000', '10 000'), ('-1234567.5', '-1 234 567.5'), ('0.1234567', '0.1234567')])
def test_long_numbers_are_grouped(text, grouped_text):
    assert grouped(text).replace('\u202f', ' ') == grouped_text


@pytest.mark.parametrize('value', [1.0, 9.96, 0.0321, 12345.0, -4.56])
@pytest.mark.parametrize('sd', [0.011, 0.96, 9.96, 250.0])
def test_value_and_error_end_at_the_same_place(value, sd):
    shown, error = with_error(value, sd).replace('\u202f', '').split(' ± ')
    assert len(shown.partition('.')[2]) == len(error.partition('.')[2])
    assert float(error) == pytest.approx(sd, rel=0.06) and abs(float(shown) - value) <= sd / 10


@pytest.mark.parametrize('value, digits, places', [(31.2, 2, 0), (0.0234, 2, 3), (1312.0, 2, -2), (9.96, 2, 0), (0.0, 2, 1)])
def test_places(value, digits, places):
    assert decimal_places(value, digits) == places


def test_a_table_escapes_and_sorts_by_values():
    page = table([Head('a', 'nm'), Head(EVIL)], [[number_cell(1234.5, 10.0), text_cell(EVIL)], [number_cell(float('nan')), text_cell('')]])
    assert '<script' not in page and page.count('&lt;script&gt;') == 5
    assert re.findall(r'data-value="([^"]*)"', page) == ['1234.5', '&lt;script&gt;alert(&#34;&amp;&#34;)&lt;/script&gt;', '', '']
    assert page.count('<th ') == page.count('<button') == 2


def test_a_long_table_is_cut_and_says_where_the_rest_is():
    page = table([Head('id')], [[Cell(str(k), k)] for k in range(MAX_ROWS + 1)], file='<all>.csv')
    assert page.count('<td') == MAX_ROWS and '1 more stands in &lt;all&gt;.csv' in page
    assert 'more' not in table([Head('id')], [[Cell('1', 1)]]*MAX_ROWS)


def test_a_cell_carries_the_head_of_its_column():
    page = table([Head('a', 'nm'), Head('b')], [[Cell('1', 1), Cell('–')]])
    assert 'data-head="a" data-unit="nm">1</td>' in page.replace('\n', '') and 'data-head="b" class="nothing">' in page


@pytest.mark.parametrize('path', TEMPLATES, ids=[path.name for path in TEMPLATES])
def test_a_template_is_read_and_wants_its_values(path):
    "Styles and script hold nothing that a template would take for its own; a template without its values is an error."
    text = source(path.name)
    assert text.strip()
    if path.suffix != '.html': assert not re.search(r'{{|{%|{#', text)
    elif '{{' in text:
        with pytest.raises(UndefinedError): render(path.stem)
    else: assert render(path.stem)


def test_every_template_is_used():
    package = Path(cryoseg.__file__).parent
    text = ''.join(path.read_text(encoding='utf-8') for path in (*package.glob('show/*.py'), *TEMPLATES))
    unused = [path.name for path in TEMPLATES if not re.search(rf"render\(\s*'{path.stem}'|include '{path.name}'|templates/{path.name}", text)]
    assert unused == []


def test_an_empty_table_says_so():
    assert 'colspan="2" class="none">nothing</td>' in table([Head('a'), Head('b')], [], 'nothing')


def test_badges_and_dots():
    page = table([Head('a')], [[Cell('open', 'open', color='#123456', badge='open')]])
    assert '<i style="background:#123456"></i><span class="badge open">open</span>' in page


@pytest.mark.parametrize('page', [
    render('warnings', notes=[EVIL], limit=9), render('made', facts=[(EVIL, EVIL)], groups=[(EVIL, [(EVIL, EVIL)])]),
    render('summary', **SUMMARY), render('note', text=EVIL), render('no_scene', reason=EVIL), render('overview_lead', membranes=EVIL, tomograms=1, groups=0),
    render('gallery', pictures=[dict(alt=EVIL, uri='', text=EVIL, ramp=False)], ramp=''), render('strips', pictures=[dict(alt=EVIL, uri='', text=EVIL)]),
    render('doubts', shown=[dict(width=1, height=1, alt=EVIL, gray='', marked='', text=EVIL, id=1, other=0)], n=1, sure='', folder=EVIL),
    render('panels', **PANELS, gray='', labels='', ids='', band='', lines=''),
    re.sub('<script>.*?</script>', '', page_html(EVIL, [EVIL], []), flags=re.DOTALL),
])
def test_what_comes_from_files_is_text(page):
    assert '<script' not in page and '&lt;script&gt;' in page


def test_a_sleeping_page_cannot_end_its_script():
    page = '<html><!-- x --><script>1</script></html>'
    sleeping = asleep(page)
    assert '</script' not in sleeping and '<!--' not in sleeping
    assert sleeping.replace('<~/script', '</script').replace('<~!--', '<!--') == page       # what SCRIPT does
    assert "replaceAll('<~/script', '<' + '/script')" in SCRIPT and "replaceAll('<~!--', '<' + '!--')" in SCRIPT
    assert sleeping in render('scene', page=sleeping, ramp='', has_image=False, reduced='')


def test_layers_that_are_missing_leave_no_trace():
    bare = render('panels', **PANELS, gray='', labels='', ids='', band='', lines='')
    assert '<image' not in bare and 'fill="#777"' in bare and bare.count('viewBox="0 0 40 30"') == 2
    full = render('panels', **PANELS, gray='g', labels='l', ids='i', band='b', lines='<path/>')
    assert full.count('<image') == 4 and '<path/>' in full


def test_empty_sections_are_left_out():
    page = page_html('x', [], [Section('summary', 'Summary', '<p>1</p>'), Section('curves', 'Curves', '')], '<aside>!</aside>')
    assert page.count('<section') == page.count('<a href') == 1 and page.index('<p>1</p>') < page.index('<aside>')


def test_styles_balance_and_cover_the_badges():
    assert STYLE.count('{') == STYLE.count('}') and 'url(' not in STYLE and '@import' not in STYLE
    for status in ('closed', 'truncated', 'open', 'refused'): assert f'.badge.{status}' in STYLE and f'badge {status}' in HELP


def test_the_shape_score_is_no_probability_and_the_confidence_is_one():
    scores = dict(re.findall(r'<dt>([^<]+)</dt><dd>(.*?)</dd>', HELP, re.DOTALL))
    assert 'no\nprobability' in scores['Shape score'] and 'probability that every join' in scores['Confidence']
    assert 'network' not in scores['Shape score'] + scores['Confidence']
