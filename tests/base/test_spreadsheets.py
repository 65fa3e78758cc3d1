"Cells and rows of spreadsheets: numbers of any country, or refused; never another number."
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoseg.base.files import VolumeError
from cryoseg.base.spreadsheets import FALSE, MAX_LINE, TRUE, read_number, read_spreadsheet, read_truth, read_whole


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from('.,'))
def test_any_number_comes_back(value, decimal):
    for text in (f'{value!r}', f'{value:.12e}'.replace('e', 'E'), f' {value!r} '):
        assert math.isclose(read_number(text.replace('.', decimal), decimal), value, rel_tol=1e-11, abs_tol=1e-300)


@given(st.integers(-2**63, 2**63))
def test_any_whole_number_comes_back(value):
    assert read_whole(str(value)) == value
    if abs(value) < 2**50: assert read_whole(f'{value}.0') == read_whole(f'{value},00', ',') == read_whole(f'{value}E+00') == value


@pytest.mark.parametrize('text', ['', 'x', '1 2', '1_0', "1'000", '1.2.3', '1,5', '0x1', '٣', '²', 'nan', 'inf', '1e999', '9'*500, '--1', '1-', 'e5', '.', '5%', '€5', '=1+1', '1:2'])
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match='number'): read_number(text)
    with pytest.raises(ValueError, match='number'): read_whole(text)


@pytest.mark.parametrize('text', ['1.000', '12,000', '-1.234.567', '123,456'])
@pytest.mark.parametrize('decimal', '.,')
def test_what_may_be_thousands_is_no_whole_number(text, decimal):
    with pytest.raises(ValueError, match='number'): read_whole(text, decimal)


def test_a_point_is_no_sign_where_commas_are():
    with pytest.raises(ValueError): read_number('1.5', ',')


def test_words_for_true():
    assert not TRUE & FALSE and all(map(read_truth, (*TRUE, 'WAHR', 'True', ' 1 ', '1,0'))) and not any(map(read_truth, (*FALSE, 'FALSCH', 'Faux')))
    for wrong in ('2', '', 'maybe', '-1', 'nan'):
        with pytest.raises(ValueError): read_truth(wrong)


@pytest.mark.parametrize('text, said', [
    ('x,y\n', 'holds no column'), ('a,a\n', 'twice'), ('b\n1\n', 'the column a is missing'), ('a,b\n1\n', 'cut short'), ('a,b\n1,2,3\n', '3 cells'), ('a\n"1\n', 'quotation mark'),
    ('a,b\n' + ','*(MAX_LINE + 1), 'a million'), ('a\n\x00', 'zero bytes'), ('', 'holds no column'), ('\n\n', 'line 3')])
def test_what_is_no_table_is_one_line(text, said, tmp_path):
    (tmp_path/'t.csv').write_text(text)
    with pytest.raises(VolumeError, match=said) as error: list(read_spreadsheet(tmp_path/'t.csv', ('a', 'b'), ('a',)).rows)
    assert 't.csv' in str(error.value) and '\n' not in str(error.value) and len(str(error.value)) < 400


def test_empty_cells_may_be_missing_at_the_end_of_a_row(tmp_path):
    "Spreadsheets leave them out."
    def rows(text): return [row.cells for row in (tmp_path/'t.csv').write_text(text) and read_spreadsheet(tmp_path/'t.csv', ('a', 'b', 'c'), ('a', 'b'), optional=('c',)).rows]
    assert rows('a;b;own;c\n1;2\n3;4;5\n6;7;8;9\n') == [dict(a='1', b='2', c=''), dict(a='3', b='4', c=''), dict(a='6', b='7', c='9')]
    assert rows('a;b;own;c\n6;7;8;9') == [dict(a='6', b='7', c='9')]
    for cut in ('a;b;c\n1\n', 'a;b;c\n1;2;3\n4;5', 'sep=;\n\na;b;c\n4;5'):      # a value that is needed, or a line without an end
        with pytest.raises(VolumeError, match='cut short'): rows(cut)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    (tmp_path/'t.csv').write_text('sep=;\n\nb;A\n1;x\n\n2;"y\nz"\n3;w\n')
    sheet = read_spreadsheet(tmp_path/'t.csv', ('a', 'b'))
    assert sheet.columns == ('b', 'a') and [(row.line, row.cells['a']) for row in sheet.rows] == [(4, 'x'), (7, 'y\nz'), (8, 'w')]
