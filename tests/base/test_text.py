"Text of other programs: every encoding they write is read, and what is no text, no TOML, too large or too deep is one line."
import os
import sys
import time

import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.text import MAX_TOML_BYTES, decode_text, parse_toml, read_text, read_toml

WORDS = 'größe = 4 # µm, Å'


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_every_encoding_and_line_end_is_read(encoding, end, tmp_path):
    text = '# size\nsize = 4\nname = "Zelle µ"\n'
    (tmp_path/'a.toml').write_bytes(text.replace('\n', end).encode(encoding))
    assert read_text(tmp_path/'a.toml', 'table', 1000) == text
    assert read_toml(tmp_path/'a.toml') == {'size': 4, 'name': 'Zelle µ'}


def test_big_endian_with_a_mark():
    assert decode_text(b'\xfe\xff' + WORDS.encode('utf-16-be'), 'x') == WORDS


def test_code_pages_only_where_they_are_expected():
    assert decode_text(WORDS.encode('cp1252'), 'x', 'cp1252') == WORDS
    with pytest.raises(VolumeError, match='x is no text in UTF-8 .*save it as UTF-8'): decode_text(WORDS.encode('cp1252'), 'x')
    with pytest.raises(VolumeError, match='UTF-16-LE'): decode_text(b'\xff\xfea', 'x', 'cp1252')           # a mark that lies


@pytest.mark.parametrize('text', [
    '[a', 'a = 1\na = 2', '[a]\n[a]', 'x = ' + '['*9000, 'x = ' + '{a = '*900, 'x = ' + '9'*5000, '[' + 'a.'*9000 + 'a]', 'a.'*9000 + 'a = 1', 'x = ' + '['*20 + ']'*20,
    ''.join(f'[a{n}.' + '.'.join('b'*50) + ']\n' for n in range(8000)), 'a = {' + 'b.'*7 + 'b = {' + 'b.'*7 + 'b = {' + 'b.'*7 + 'b = 1}}}', '\x00', 'x = 1e9999999999999\n['])
def test_what_is_no_settings_file_is_one_line_at_once(text, tmp_path):
    (tmp_path/'a.toml').write_text(text)
    begun = time.process_time()
    with pytest.raises(VolumeError) as error: read_toml(tmp_path/'a.toml')
    assert 'a.toml' in str(error.value) and '\n' not in str(error.value) and len(str(error.value)) < 300 + len(str(tmp_path))
    assert time.process_time() - begun < 3


def test_ordinary_dots_are_no_names():
    assert parse_toml('# ' + '.'*200 + '\nx = "..........................."\ny = "1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 9.5"', 'x')['y'].endswith('9.5')


def test_what_is_no_file(tmp_path):
    for name, words in (('no', 'there is no settings file'), ('a/b', 'there is no settings file'), ('.', 'cannot be read'), ('a\0b', 'no name of a file')):
        with pytest.raises(VolumeError, match=words): read_toml(os.path.join(tmp_path, name))
    (tmp_path/'large.toml').write_bytes(b'#'*(MAX_TOML_BYTES + 1))
    with pytest.raises(VolumeError, match='at most 1 MB'): read_toml(tmp_path/'large.toml')


@pytest.mark.skipif(sys.platform == 'win32', reason='no named pipes in folders')
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path/'pipe.toml')
    with pytest.raises(VolumeError, match='a pipe'): read_toml(tmp_path/'pipe.toml')
