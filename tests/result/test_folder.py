"""The folder of a run: keys that know all that matters, records that come back, results that are whole."""
import datetime
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import tomli_w

from cryoseg.base.files import VolumeError, VolumeWarning
from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.result.folder import (RunRecord, StageRecord, _to_toml, changed_file, checksum, input_settings, read_record, record_path,
                                   setting_changes, stage_key, staged, usable_record, why_again, write_record)
from cryoseg.result.lock import LOCK_NAME, Locked, locked_folder
from cryoseg.result.records import Dropped
from cryoseg.show.report import read_run

STAGE = StageRecord('k', '1.0', {'connect': {'min_area_A2': 1e5}, 'seed': 0}, {'edits.csv': 'sha256:1'}, {})
RECORD = RunRecord('tomogram', 'a.mrc', 'sha256:1', '1.0', 10., (4, 5, 6), 3, 'bf16', {'input': {'bin': 2}, 'seed': 3},
                   {'connect': STAGE}, (Dropped(12, 1, 'a "speck", of [dirt]'),), ('an edit that does not fit',))


def test_the_checksum_is_of_the_contents(tmp_path):
    (tmp_path/'a').write_bytes(b'x'*5_000_000)
    assert checksum(tmp_path/'a') == 'sha256:' + hashlib.sha256(b'x'*5_000_000).hexdigest()[:16]
    (tmp_path/'b').write_bytes(b'x'*5_000_000)
    assert checksum(tmp_path/'a') == checksum(tmp_path/'b')


def test_the_checksum_of_a_folder_knows_names_and_contents(tmp_path):
    for name in ('one', 'two'):
        (tmp_path/name/'c').mkdir(parents=True)
        (tmp_path/name/'c/0').write_text('chunk')
    assert checksum(tmp_path/'one') == checksum(tmp_path/'two')
    (tmp_path/'two/c/0').rename(tmp_path/'two/c/1')
    assert checksum(tmp_path/'one') != checksum(tmp_path/'two')


@pytest.mark.parametrize('change', [dict(name='surface'), dict(version='1.1'), dict(settings={'seed': 1}), dict(read={'input': 'b'}), dict(before='y')])
def test_a_key_knows_all_that_matters(change):
    same = dict(name='connect', version='1.0', settings={'seed': 0, 'a': [1, 2]}, read={'input': 'a'}, before='x')
    assert stage_key(**same) == stage_key(**same | dict(settings={'a': [1, 2], 'seed': 0}))
    assert stage_key(**same) != stage_key(**same | change)


def test_a_record_comes_back(tmp_path):
    write_record(tmp_path, RECORD)
    assert read_record(tmp_path) == RECORD and read_record(tmp_path/'no') is None


@pytest.mark.parametrize('text, name', [('[run', 'damaged'), ('format = 2\n', 'damaged'), ('[run]\nversion = "0.1.0"\n[done]\nsegment = true\n', '0.1.0'),
                                        ('format = 3\n', 'format 3'), ('format = 2\nstages = 3\nrun = 4\n', 'damaged'), ('x = ' + '['*5000, 'damaged'),
                                        ('format = 2\nunfit = []\ndropped = [1]\nsettings = {}\nstages = {}\nrun = {shape_zyx = 3}\n', 'damaged')])
def test_a_record_that_cannot_be_used_is_refused_in_one_line(text, name, tmp_path):
    record_path(tmp_path).write_text(text)
    with pytest.raises(VolumeError) as error: read_record(tmp_path)
    assert name in str(error.value) and '--overwrite' in str(error.value) and '\n' not in str(error.value)


def test_striking_stages_off():
    assert RECORD.without(['connect', 'surface']).stages == {} and RECORD.without(['surface']) == RECORD


def test_a_file_that_is_not_what_was_written_is_noticed(tmp_path):
    (tmp_path/'a.csv').write_text('id\n1\n')
    (tmp_path/'surfaces').mkdir()
    (tmp_path/'surfaces/membrane_0001.ply').write_text('mesh')
    stage = replace(STAGE, wrote={name: checksum(tmp_path/name) for name in ('a.csv', 'surfaces')})
    assert changed_file(tmp_path, stage) == ''
    (tmp_path/'surfaces/membrane_0001.ply').write_text('mes')
    assert changed_file(tmp_path, stage) == 'surfaces'
    (tmp_path/'a.csv').unlink()
    assert changed_file(tmp_path, stage) == 'a.csv'
    if hasattr(os, 'mkfifo'):
        os.mkfifo(tmp_path/'a.csv')
        assert changed_file(tmp_path, stage) == 'a.csv'
        with pytest.raises(VolumeError, match='pipe'): checksum(tmp_path/'a.csv')


def test_why_a_stage_is_done_again(tmp_path):
    same = dict(stage=STAGE, key='k', version='1.0', settings=STAGE.settings, read=STAGE.read)
    assert why_again(tmp_path, **same) == ''
    assert why_again(tmp_path, **same | dict(stage=None)) == 'not done yet'
    assert '1.0' in why_again(tmp_path, **same | dict(version='2.0'))
    assert 'connect.min_area_A2 was 100000.0, is 5' in why_again(tmp_path, **same | dict(settings={'connect': {'min_area_A2': 5}, 'seed': 0}))
    assert 'edits.csv has changed' in why_again(tmp_path, **same | dict(read={}))
    assert 'before it' in why_again(tmp_path, **same | dict(key='other'))


def test_changes_are_told_by_path():
    assert setting_changes({'a': {'b': 1, 'c': 2}}, {'a': {'b': 1, 'c': 3}, 'd': 4}) == ['a.c was 2, is 3', 'd was None, is 4']
    assert setting_changes({'output': {'meshes': ('ply',)}, 'seed': 0}, {'contours': {'method': 'gp'}, 'seed': 1}) == [
        'contours matters now', 'output does not matter any more', 'seed was 0, is 1']


def test_results_are_replaced_when_they_are_whole(tmp_path):
    (tmp_path/'surfaces').mkdir()
    (tmp_path/'surfaces/membrane_0002.ply').write_text('x')
    (tmp_path/'gone.csv').write_text('x')
    with staged(tmp_path, ['surfaces', 'gone.csv']) as fresh:
        (fresh/'surfaces').mkdir()
        (fresh/'surfaces/membrane_0001.ply').write_text('y')
        assert (tmp_path/'surfaces/membrane_0002.ply').exists()
    assert [p.name for p in tmp_path.iterdir()] == ['surfaces'] and [p.name for p in (tmp_path/'surfaces').iterdir()] == ['membrane_0001.ply']


@pytest.mark.parametrize('trouble', [OSError(28, 'No space left on device'), KeyboardInterrupt(), ValueError('a bug')])
def test_a_stage_that_fails_leaves_the_older_results(trouble, tmp_path):
    (tmp_path/'a.csv').write_text('older')
    with pytest.raises(type(trouble)), staged(tmp_path, ['a.csv']) as fresh:
        (fresh/'a.csv').write_text('half')
        raise trouble
    assert (tmp_path/'a.csv').read_text() == 'older' and len(list(tmp_path.iterdir())) == 1


def test_results_that_no_longer_belong_are_removed(tmp_path):
    (tmp_path/'surfaces').mkdir()
    (tmp_path/'surfaces/membrane_0001.ply').write_text('x')
    (tmp_path/'a.csv').write_text('x')
    with staged(tmp_path, ['surfaces', 'a.csv', 'never.csv']): pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('stays', [True, False], ids=['new surfaces', 'none'])
def test_what_a_user_keeps_among_the_meshes_stays(tmp_path, stays):
    (tmp_path/'surfaces').mkdir()
    (tmp_path/'surfaces/membrane_0002.ply').write_text('x')
    (tmp_path/'surfaces/notes.txt').write_text('mine')
    (tmp_path/'surfaces/link').symlink_to('/nowhere')
    with staged(tmp_path, ['surfaces']) as fresh:
        if stays:
            (fresh/'surfaces').mkdir()
            (fresh/'surfaces/membrane_0001.ply').write_text('y')
            digest = checksum(fresh/'surfaces', own=True)
    assert sorted(p.name for p in (tmp_path/'surfaces').iterdir()) == sorted(['link', 'notes.txt', *['membrane_0001.ply']*stays])
    assert not stays or checksum(tmp_path/'surfaces', own=True) == digest


def test_an_input_is_all_that_is_read_of_it(tmp_path):
    "A Zarr may be called surfaces, and its chunks may lie behind links."
    place = tmp_path/'surfaces'
    (tmp_path/'elsewhere').mkdir()
    place.mkdir()
    (place/'chunk').write_text('1')
    (place/'more').symlink_to(tmp_path/'elsewhere')
    seen = [checksum(place)]
    for path in (place/'chunk', tmp_path/'elsewhere/0'):
        path.write_text('2')
        seen.append(checksum(place))
    (tmp_path/'elsewhere/round').symlink_to(place)                  # no walk without end
    assert len({*seen}) == 3 and checksum(place) == seen[-1]


@pytest.mark.parametrize('after', range(7))
def test_a_kill_while_results_are_put_in_place_loses_nothing(tmp_path, after):
    "Whoever starts next puts the older results back, and what a user keeps among them."
    (tmp_path/'surfaces').mkdir()
    for name in ('a.csv', 'gone.csv', 'surfaces/membrane_0001.ply', 'surfaces/session.cxs'): (tmp_path/name).write_text('old')
    before = {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob('*') if p.is_file()}
    script = f"""
import os
from cryoseg.result import folder, lock
left = [{after}]
def move(source, target, really=folder.move_where_there):
    if left[0] == 0: os._exit(9)
    left[0] -= 1
    really(source, target)
folder.move_where_there = lock.move_where_there = move
with folder.staged({str(tmp_path)!r}, ['a.csv', 'surfaces', 'gone.csv', 'new.csv']) as fresh:
    (fresh/'surfaces').mkdir()
    for name in ('a.csv', 'surfaces/membrane_0001.ply', 'new.csv'): (fresh/name).write_text('new')
"""
    assert subprocess.run([sys.executable, '-c', script]).returncode == 9
    with pytest.warns(VolumeWarning, match='of a run that was killed'), locked_folder(tmp_path): pass
    assert {p.relative_to(tmp_path).as_posix(): p.read_text() for p in tmp_path.rglob('*') if p.is_file()} == before


@pytest.mark.parametrize('stuck', ['a.csv', 'surfaces', 'c.csv'])
@pytest.mark.parametrize('trouble', [PermissionError(13, 'open in another program'), KeyboardInterrupt()], ids=['open', 'stopped'])
def test_all_or_none_are_put_in_place(tmp_path, monkeypatch, stuck, trouble):
    "Whichever of them cannot be replaced, and whether it is its older or its newer file that cannot be moved."
    names = ['a.csv', 'surfaces', 'gone.csv', 'c.csv', 'new.csv']
    real, real_link = os.replace, os.link
    for older in (True, False):
        folder = tmp_path/str(older)
        (folder/'surfaces').mkdir(parents=True)
        for name in ('a.csv', 'surfaces/m', 'gone.csv', 'c.csv'): (folder/name).write_text('older')
        failed = []

        def move(source, target):
            if not failed and (source if older else target) == folder/stuck:
                failed.append(1)        # once: what is put back can be moved
                raise trouble
            real(source, target)
        def link(source, target):
            if older and source == folder/stuck and not isinstance(trouble, OSError): raise trouble
            if older and source == folder/stuck: raise OSError(95, 'no second names here')
            real_link(source, target)
        monkeypatch.setattr(os, 'replace', move)
        monkeypatch.setattr(os, 'link', link)
        with pytest.raises((VolumeError, KeyboardInterrupt)), staged(folder, names) as fresh:
            (fresh/'surfaces').mkdir()
            for name in ('a.csv', 'surfaces/n', 'c.csv', 'new.csv'): (fresh/name).write_text('newer')
        monkeypatch.undo()
        assert {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob('*') if p.is_file()} == dict.fromkeys(
            ('a.csv', 'surfaces/m', 'gone.csv', 'c.csv'), 'older')


def test_results_are_not_put_into_a_folder_that_another_has_taken(tmp_path):
    (tmp_path/'a.csv').write_text('older')
    with pytest.raises(Locked), locked_folder(tmp_path), staged(tmp_path, ['a.csv']) as fresh:
        (fresh/'a.csv').write_text('newer')
        (tmp_path/LOCK_NAME).write_text('{}')
    assert (tmp_path/'a.csv').read_text() == 'older'


def test_a_folder_that_was_removed_during_the_run_is_said(tmp_path):
    with pytest.raises(VolumeError, match='removed'), locked_folder(tmp_path/'o'), staged(tmp_path/'o', ['a.csv']) as fresh:
        shutil.rmtree(tmp_path/'o')
        fresh.mkdir(parents=True)       # as a writer does that makes its folder
        (fresh/'a.csv').write_text('newer')
    assert not (tmp_path/'o/a.csv').exists()


def test_the_image_behind_a_run_is_binned_once(tmp_path):
    "FINDINGS A.2: labels at 20 Å beside an image at 40 Å."
    data = np.random.default_rng(0).normal(size=(8, 12, 10)).astype(np.float32)
    write_volume(tmp_path/'a.mrc', Volume(data, 10., (5., 6., 7.)))
    def image_behind(**about):
        write_record(tmp_path, replace(RECORD, voxel_size_A=20., checksum=checksum(tmp_path/'a.mrc'), **about))
        return read_run(tmp_path).image
    for size_A in (None, 10.):
        settings = {'input': {'bin': 2} | ({'voxel_size_A': size_A} if size_A else {})}
        image = image_behind(input=str(tmp_path/'a.mrc'), settings=settings)
        assert image.shape == (4, 6, 5) and image.voxel_size_A == 20.
    assert image_behind(input=str(tmp_path/'gone.mrc')) is None
    assert image_behind(input=str(tmp_path/'a.mrc'), kind='labels') is None


def change(where, value):
    "The text of RECORD with one value changed."
    values = tomllib.loads(tomli_w.dumps(_to_toml(RECORD)))
    *tables, name = where.split('.')
    here = values
    for table in tables: here = here[table]
    here[name] = value
    return tomli_w.dumps(values)


@pytest.mark.parametrize('where, value', [
    ('format', [1]), ('format', {'a': 1}), ('format', 2.5), ('run', 3), ('run.kind', 'moon'), ('run.kind', [1]), ('run.shape_zyx', [4, 5]), ('run.shape_zyx', [4, 5, -6]), ('run.shape_zyx', [True, 5, 6]),
    ('run.shape_zyx', 'abc'), ('run.shape_zyx', [4., 5., 6.]), ('run.voxel_size_A', float('nan')), ('run.voxel_size_A', float('inf')), ('run.voxel_size_A', -1.), ('run.voxel_size_A', '10'),
    ('run.seed', 'x'), ('run.seed', True), ('run.colour', 'red'), ('run.input', 3), ('settings', [1]), ('stages', 1), ('stages.connect', 5), ('stages.moon', {}), ('stages.connect.wrote', ['a']),
    ('stages.connect.wrote', {'a': 1}), ('stages.connect.read', {'a': 1}), ('stages.connect.key', 1), ('dropped', 1), ('dropped', [1]), ('dropped', [{'n_voxels': 'x'}]),
    ('dropped', [{'n_voxels': 1, 'n_regions': 1, 'reason': 'x', 'fragments': ['a']}]), ('unfit', [1]), ('unfit', 'abc'), ('run.shape_zyx', [datetime.date(2026, 1, 1)]),
    *(('stages.connect.wrote', {name: 'sha256:1'}) for name in ('../a', '/etc/passwd', '..', '.', 'a/b', 'a\\b', 'C:a', '', 'a b\n', 'x'*200))], ids=str)
def test_a_record_of_wrong_values_is_one_line_and_can_be_passed_over(where, value, tmp_path):
    record_path(tmp_path).write_text(change(where, value), encoding='utf-8')
    with pytest.raises(VolumeError) as error: read_record(tmp_path)
    assert 'run.toml' in str(error.value) and '--overwrite' in str(error.value) and '\n' not in str(error.value) and len(str(error.value)) < 500 + len(str(tmp_path))
    assert usable_record(tmp_path, overwrite=True) is None
    with pytest.raises(VolumeError): usable_record(tmp_path, overwrite=False)


def test_a_good_record_is_usable_either_way(tmp_path):
    assert usable_record(tmp_path, False) is None
    write_record(tmp_path, RECORD)
    assert usable_record(tmp_path, True) == usable_record(tmp_path, False) == RECORD


@pytest.mark.parametrize('text', [b'\xff\xfe\x00', b'format = 2\n[' + b'a.'*5000 + b'b]\n', b'x = ' + b'['*5000, b'#'*(2 << 20), b'x = ' + b'9'*5000, b'\x00'*100])
def test_a_record_of_any_bytes_is_one_line(text, tmp_path):
    record_path(tmp_path).write_bytes(text)
    with pytest.raises(VolumeError, match='run.toml.*--overwrite'): read_record(tmp_path)


def test_settings_of_the_input_are_held_to_their_types():
    assert input_settings({'bin': 2, 'z_range': [1, 3]}).z_range == (1, 3)
    for wrong in ({'bin': 'x'}, {'colour': 1}, {'z_range': 3}, 3, {'z_range': [3, 1]}, {'invert': 1}):
        with pytest.raises(VolumeError): input_settings(wrong)
