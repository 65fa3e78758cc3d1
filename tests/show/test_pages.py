"""The pieces of a page: numbers, tables, templates that escape, styles that balance."""
import re

import pytest

from cryoseg.show.pages import (
    HELP, MADE, PANELS, SCENE, SCRIPT, STYLE, SUMMARY, WARNINGS, Cell, Head, Section, asleep, decimal_places, grouped,
    number_cell, page_html, table, text_cell, with_error,
)

EVIL = '<script>alert("&")</script>'


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
    assert '<script' not in page and page.count('&lt;script&gt;') == 3
    assert re.findall(r'data-value="([^"]*)"', page) == ['1234.5', '&lt;script&gt;alert(&#34;&amp;&#34;)&lt;/script&gt;', '', '']
    assert page.count('<th') - page.count('<thead') == 2 and 'tabindex="0"' in page


def test_an_empty_table_says_so():
    assert 'colspan="2" class="none">nothing</td>' in table([Head('a'), Head('b')], [], 'nothing')


def test_badges_and_dots():
    page = table([Head('a')], [[Cell('open', 'open', color='#123456', badge='open')]])
    assert '<i style="background:#123456"></i><span class="badge open">open</span>' in page


@pytest.mark.parametrize('page', [
    WARNINGS.render(notes=[EVIL]), MADE.render(facts=[(EVIL, EVIL)], groups=[(EVIL, [(EVIL, EVIL)])]),
    SUMMARY.render(size_vox='', rows=[dict(id=1)], refused=[dict(id=1, reason=EVIL)], limit=5, found=EVIL, statuses=EVIL),
    page_html(EVIL, [EVIL], []).replace(SCRIPT, '').replace('<script></script>', ''),
])
def test_what_comes_from_files_is_text(page):
    assert '<script' not in page and '&lt;script&gt;' in page


def test_a_sleeping_page_cannot_end_its_script():
    page = '<html><!-- x --><script>1</script></html>'
    sleeping = asleep(page)
    assert '</script' not in sleeping and '<!--' not in sleeping
    assert sleeping.replace('<~/script', '</script').replace('<~!--', '<!--') == page       # what SCRIPT does
    assert "replaceAll('<~/script', '<' + '/script')" in SCRIPT and "replaceAll('<~!--', '<' + '!--')" in SCRIPT
    assert sleeping in SCENE.render(page=sleeping, ramp='', has_image=False)


def test_layers_that_are_missing_leave_no_trace():
    bare = PANELS.render(axis='z', index=3, nm='3', width=40, height=30, gray='', labels='', ids='', band='', lines='', bar='')
    assert '<image' not in bare and 'fill="#777"' in bare and bare.count('viewBox="0 0 40 30"') == 2
    full = PANELS.render(axis='z', index=3, nm='3', width=40, height=30, gray='g', labels='l', ids='i', band='b', lines='<path/>', bar='')
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
