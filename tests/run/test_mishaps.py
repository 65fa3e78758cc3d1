"""Mishaps: two runs at once, a kill, a full disk, a damaged file. What was whole stays whole, and what happened is said."""
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from cryoseg.base.files import VolumeError, atomic_write, same_name
from cryoseg.base.formats import read_volume, write_volume
from cryoseg.base.volume import Volume
from cryoseg.result.lock import locked_file, locked_folder
from cryoseg.result.resources import bytes_to_write
from cryoseg.result.folder import changed_file, is_whole
from cryoseg.run import workflow
from cryoseg.run.cli import app, output_folders
from cryoseg.run.command import plain_errors
from cryoseg.run.console import one_line
from cryoseg.run.settings import RunSettings

posix = pytest.mark.skipif(os.name != 'posix', reason='signals and limits of POSIX')
SLOW = '''
import sys, time
import cryoseg.connect.membranes as room
real = room.find_membranes
def find_membranes(*args, **keywords):
    print('at work', flush=True)
    time.sleep({seconds})
    return real(*args, **keywords)
room.find_membranes = find_membranes
from cryoseg.run.signals import main
main()
'''
PLAIN = 'from cryoseg.run.signals import main; main()'


def start(program, *words, **keywords):
    "A command in a process of its own."
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, '-c', program, *map(str, words)], **pipes, **keywords)


def end(process):
    "Exit code and lines of stderr of a process, without those of progress bars."
    said = process.communicate()[1]
    assert 'Traceback' not in said, said
    return process.returncode, [line for line in said.splitlines() if line.startswith('cryoseg: ')]


def contents(folder):
    "Name -> bytes of all files, hidden ones too."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob('*') if p.is_file()}


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    "A shell, and the folder of a run on it that nothing disturbed."
    folder = tmp_path_factory.mktemp('mishaps')
    z, y, x = np.ogrid[-20:20, -24:24, -24:24]
    write_volume(folder/'mask.mrc', Volume((abs(np.sqrt(z**2 + y**2 + x**2) - 15) < 1.2).astype(np.int8), 10.))
    assert end(start(PLAIN, 'connect', folder/'mask.mrc', '-o', folder/'one/o', '-q'))[0] == 0
    assert end(start(PLAIN, 'surface', folder/'one/o/membranes.mrc', '-o', folder/'one/o', '-q'))[0] == 0
    assert (folder/'one/o/surfaces/membrane_0001.ply').exists()
    return folder


@pytest.fixture(scope='module')
def image(labels):
    "A tomogram: noise round a dark shell."
    mask = read_volume(labels/'mask.mrc', check=False).data
    write_volume(labels/'image.mrc', Volume((np.random.default_rng(0).normal(size=mask.shape) - 3*(mask > 0)).astype(np.float32), 10.))
    return labels/'image.mrc'


@pytest.fixture
def done(labels, tmp_path):
    "A copy of the finished run."
    shutil.copytree(labels/'one/o', tmp_path/'o')
    return tmp_path/'o'


@pytest.mark.long
def test_equal_runs_give_equal_files(labels):
    "With other addresses in memory and another order of sets; the report too. (The record names the input by its place.)"
    other = dict(os.environ, PYTHONHASHSEED='77')
    one = contents(labels/'one/o')
    (labels/'one/o').rename(labels/'first')
    assert end(start(PLAIN, 'connect', labels/'mask.mrc', '-o', labels/'one/o', '-q', env=other))[0] == 0
    assert end(start(PLAIN, 'surface', labels/'one/o/membranes.mrc', '-o', labels/'one/o', '-q', env=other))[0] == 0
    two = contents(labels/'one/o')
    assert {'report.html', 'run.toml', 'surfaces.glb', 'membranes.csv', 'sigma.mrc'} <= one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


@posix
def test_two_runs_on_one_folder(labels, done):
    "One is told; the result of the other is whole."
    shutil.rmtree(done)
    first = start(SLOW.format(seconds=3), 'connect', labels/'mask.mrc', '-o', done, '-q')
    assert first.stdout.readline() == 'at work\n'
    code, said = end(start(PLAIN, 'connect', labels/'mask.mrc', '-o', done, '-q', '--set', 'connect.min_area_A2=1e9'))
    assert code == 2 and len(said) == 1 and f'held by process {first.pid}' in said[0] and ' since 20' in said[0]
    assert end(first)[0] == 0
    names = 'membranes.mrc', 'fragments.mrc', 'fragments.csv', 'links.csv', 'connected.csv'
    now, wanted = contents(done), contents(labels/'one/o')
    assert all(now[name] == wanted[name] for name in names) and not [name for name in now if name.startswith('.')]


@posix
def test_killed_and_started_again(labels, done):
    "The older results stay until the new ones are whole; what the dead run has left goes."
    before = contents(done)
    first = start(SLOW.format(seconds=60), 'connect', labels/'mask.mrc', '-o', done, '-q', '--overwrite')
    first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    left = [p.name for p in done.iterdir() if p.name.startswith('.')]
    assert len(left) == 2 and {name: data for name, data in contents(done).items() if name[0] != '.'} == before
    code, said = end(start(PLAIN, 'connect', labels/'mask.mrc', '-o', done, '-q'))
    assert code == 0 and any('taken over' in line for line in said) and any('removed' in line for line in said)
    assert not [p.name for p in done.iterdir() if p.name.startswith('.')]


@posix
@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM', 'SIGHUP'])
def test_stopped_at_work(labels, done, name):
    before = contents(done)
    first = start(SLOW.format(seconds=60), 'connect', labels/'mask.mrc', '-o', done, '-q', '--overwrite')
    first.stdout.readline()
    first.send_signal(getattr(signal, name))
    code, said = end(first)
    assert code == 130 and 'what was finished is kept' in said[-1] and contents(done) == before


def cryoseg(*words):
    "Run a command line in this process."
    return CliRunner().invoke(app, [str(w) for w in words])


def refused(*words):
    "The one line with which a command is refused."
    result = cryoseg(*words)
    lines = [line for line in result.stderr.splitlines() if line.startswith('cryoseg: ') and 'warning' not in line]
    assert result.exit_code == 2 and len(lines) == 1, result.output + result.stderr
    return lines[0]


@pytest.mark.parametrize('command, target', [('connect', 'o'), ('surface', 'o'), ('simulate', 'o'), ('demo', 'o'), ('run', 'o'),
                                             ('segment', 'o/mask.mrc'), ('train', 'w.safetensors')])
def test_every_command_that_writes_asks_for_the_lock(labels, tmp_path, command, target):
    import threading
    hold = locked_folder if target == 'o' else locked_file
    held, free = threading.Event(), threading.Event()

    def other():
        with hold(tmp_path/target):
            held.set()
            free.wait()
    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    output = tmp_path/('o' if target.startswith('o') else target)
    inputs = () if command in ('simulate', 'demo') else (labels/'mask.mrc',)
    try: assert 'held by process' in refused(command, *inputs, '-o', output, '-q')
    finally:
        free.set()
        thread.join()


# a full disk

@posix
def test_no_space_in_the_middle_says_what_is_whole(labels, done):
    "A limit on the size of files is as a full disk to the writer."
    before = contents(done)
    import resource
    few = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))      # noqa: E731
    code, said = end(start(PLAIN, 'connect', labels/'mask.mrc', '-o', done, '-q', '--overwrite', preexec_fn=few))
    assert code == 2 and len(said) == 1 and 'connect cannot be written (File too large)' in said[0] and 'nothing older was changed' in said[0]
    assert contents(done) == before


@pytest.fixture
def two_stages(monkeypatch):
    "A chain of two stages, the second of which finds the disk full."
    def first(job, fresh): write_volume(fresh/'labels.mrc', job.volume.with_data(np.zeros(job.volume.shape, np.int8)))
    def second(job, fresh):
        with atomic_write(fresh/'membranes.mrc') as part:
            part.write_bytes(b'half')
            raise OSError(errno.ENOSPC, 'No space left on device')
    stages = workflow.Stage('segment', ('input',), ('labels.mrc',), first), workflow.Stage('connect', ('connect',), ('membranes.mrc',), second)
    monkeypatch.setattr(workflow, 'STAGES', stages)


def test_what_is_whole_when_a_later_stage_finds_no_space(image, tmp_path, two_stages):
    with pytest.raises(VolumeError, match='No space left.*whole are labels.mrc; connect was not written, and nothing older was changed') as told:
        workflow.run_tomogram(image, tmp_path/'o', RunSettings())
    assert '.new' not in str(told.value) and sorted(contents(tmp_path/'o')) == ['labels.mrc', 'run.toml']


def test_space_is_asked_before_a_stage(image, tmp_path, two_stages, monkeypatch):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(VolumeError, match='segment needs .* MB, the disk has 1000 bytes free'):
        workflow.run_tomogram(image, tmp_path/'o', RunSettings())
    assert not (tmp_path/'o').exists()


@pytest.mark.parametrize('command', ['segment', 'simulate'])
def test_space_is_asked_before_single_files_too(image, tmp_path, monkeypatch, command):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(10**9, 10**9 - 1000, 1000))
    inputs = (image,) if command == 'segment' else ()
    assert 'has 1000 bytes free' in refused(command, *inputs, '-o', tmp_path/'o', '-q')


def test_memory_is_asked_before_a_stage(image, tmp_path, two_stages, monkeypatch):
    monkeypatch.setattr('cryoseg.result.resources.free_memory', lambda: 1000)
    with pytest.raises(VolumeError, match='segment of 92,160 voxels needs 9 kB of memory, 1000 bytes are free: .*--bin'):
        workflow.run_tomogram(image, tmp_path/'o', RunSettings())
    assert not (tmp_path/'o').exists()
    for command, inputs in (('segment', [image]), ('simulate', [])):
        assert '1000 bytes are free' in refused(command, *inputs, '-o', tmp_path/'o', '-q')


@posix
def test_a_name_that_is_no_text_is_said_before_any_work(image, tmp_path, two_stages):
    "Of a disk whose names are Latin-1: run.toml could not hold it, and the work would be lost."
    given = tmp_path/os.fsdecode(b'gr\xfc\xdfe.mrc')
    shutil.copy(image, given)
    for words in ([given], [image, '--mask', given], [image, '--weights', given]):
        assert 'UTF-8' in refused('run', *words, '-o', tmp_path/'o', '-q')
    assert not (tmp_path/'o/run.toml').exists()


def test_labels_are_no_image_to_train_on(labels, tmp_path):
    assert 'holds labels, no image' in refused('train', labels/'mask.mrc', '-o', tmp_path/'w.safetensors', '-q')


@pytest.mark.parametrize('size', ['1e-300', '1e300', '1e-30'])
def test_voxel_sizes_that_no_microscope_has(labels, tmp_path, size):
    for command in ('connect', 'surface', 'run'):
        assert f'{float(size):g}' in refused(command, labels/'mask.mrc', '-o', tmp_path/'o', '-q', '--voxel-size', size)


def test_the_estimate_is_what_is_written(labels):
    "Of every volume that the stages leave, but for the headers."
    folder, n_voxels = labels/'one/o', 40*48*48
    for stage in workflow.STAGES[1:]:
        wrote = sum((folder/name).stat().st_size - 1024 for name in stage.files if name.endswith('.mrc'))
        assert wrote == bytes_to_write(stage.name, n_voxels)


# files that would be lost

@pytest.mark.parametrize('command, name', [('run', 'labels.mrc'), ('run', 'sigma.mrc'), ('surface', 'sigma.mrc'), ('connect', 'fragments.mrc')])
def test_an_input_is_never_written_over(labels, image, tmp_path, command, name):
    given = image if command == 'run' else labels/'mask.mrc'
    shutil.copy(given, tmp_path/name)
    for more in ((), ('--overwrite',)):
        assert 'would be written over' in refused(command, tmp_path/name, '-o', tmp_path, '-q', *more)
    assert contents(tmp_path) == {name: given.read_bytes()}


def test_files_that_no_run_has_written_are_not_replaced_unasked(labels, tmp_path):
    (tmp_path/'o').mkdir()
    (tmp_path/'o/membranes.mrc').write_text('of another program')
    words = refused('connect', labels/'mask.mrc', '-o', tmp_path/'o', '-q')
    assert 'membranes.mrc' in words and '--overwrite' in words and contents(tmp_path/'o') == {'membranes.mrc': b'of another program'}


@pytest.mark.parametrize('name', ['membranes.csv', 'surfaces/membrane_0001.ply', 'surfaces/membrane_0001.txt', 'lumen.mrc'])
def test_a_stage_removes_nothing_of_others(labels, tmp_path, name):
    "Files with the names of a later stage, in the folder of a run that has not come to it."
    out, size = tmp_path/'o', ('--set', 'connect.min_area_A2=90000')
    assert cryoseg('connect', labels/'mask.mrc', '-o', out, '-q').exit_code == 0
    (out/name).parent.mkdir(exist_ok=True)
    (out/name).write_text('mine')
    assert cryoseg('connect', labels/'mask.mrc', '-o', out, '-q', *size).exit_code == 0 and (out/name).read_text() == 'mine'
    if name.endswith('txt'):
        assert cryoseg('surface', out/'membranes.mrc', '-o', out, '-q').exit_code == 0
    else:
        assert 'no run there has written' in refused('surface', out/'membranes.mrc', '-o', out, '-q')
    assert (out/name).read_text() == 'mine'


def test_other_files_of_the_program_are_not_replaced_unasked(labels, image, two_stages, tmp_path):
    "A report, a phantom, probabilities and labels that somebody else has put there."
    wanted = {'report.html': ('connect', labels/'mask.mrc'), 'tomogram.mrc': ('simulate',), 'evaluation.json': ('demo',), 'phantom/truth_labels.mrc': ('demo',),
              f'{image.stem}_probability.mrc': ('segment', image, '--set', 'segment.probabilities=true'), f'{image.name}': ('segment', image)}
    for name, words in wanted.items():
        place = tmp_path/words[0]/name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text('mine')
        assert '--overwrite' in refused(*words, '-o', tmp_path/words[0], '-q') and place.read_text() == 'mine'
        place.unlink()


def test_labels_of_another_tomogram_are_not_kept_for_these(image, two_stages, tmp_path):
    "Two tomograms of one name; one tomogram with other settings."
    other = tmp_path/'other'/image.name
    other.parent.mkdir()
    write_volume(other, read_volume(image).with_data(np.asarray(read_volume(image).data)[::-1]))
    labels = tmp_path/'o'/image.name
    assert cryoseg('segment', image, '-o', tmp_path/'o', '-q').exit_code == 0
    first = labels.read_bytes()
    assert 'not made from this tomogram' in refused('segment', other, '-o', tmp_path/'o', '-q') and labels.read_bytes() == first
    assert 'kept' in cryoseg('segment', image, '-o', tmp_path/'o').stdout and labels.read_bytes() == first
    result = cryoseg('segment', image, '-o', tmp_path/'o', '--threshold', '.9')
    assert 'made with other settings: made again' in result.stdout and labels.read_bytes() != first
    labels.write_bytes(first[:-9])
    assert 'cut short: made again' in cryoseg('segment', image, '-o', tmp_path/'o').stdout and labels.read_bytes() == first


@pytest.mark.parametrize('command', ['connect', 'surface'])
def test_settings_of_a_tomogram_have_no_effect_on_labels_and_that_is_said(labels, tmp_path, command):
    result = cryoseg(command, labels/'mask.mrc', '-o', tmp_path/'o', '--set', 'input.voxel_size_A=20')
    assert result.exit_code == 0 and 'input.voxel_size_A = 20.0: of the tomogram, without effect here; say --voxel-size' in result.stderr


def test_decisions_of_another_run_stay_where_they_are(labels, tmp_path):
    "A refused run has changed nothing, and one that takes the folder over forgets them with a word."
    other, out = tmp_path/'other.mrc', tmp_path/'o'
    write_volume(other, read_volume(labels/'mask.mrc').with_data(np.roll(read_volume(labels/'mask.mrc').data, 1, 0)))
    assert cryoseg('connect', labels/'mask.mrc', '-o', out, '-q').exit_code == 0
    (out/'edits.csv').write_text('kind,x1_A,y1_A,z1_A,x2_A,y2_A,z2_A,fragment_a,fragment_b\n')
    before = contents(out)
    assert 'another input' in refused('connect', other, '-o', out, '-q', '--links', out/'links.csv') and contents(out) == before
    result = cryoseg('connect', other, '-o', out, '--overwrite')
    assert result.exit_code == 0 and 'set aside as edits.changed1.csv' in result.stderr and not (out/'edits.csv').exists()
    assert (out/'edits.changed1.csv').read_bytes() == before['edits.csv']


def test_an_edited_table_is_kept_where_another_was_applied(labels, tmp_path):
    out = tmp_path/'o'
    assert cryoseg('connect', labels/'mask.mrc', '-o', out, '-q').exit_code == 0
    shutil.copy(out/'links.csv', tmp_path/'given.csv')
    mine = (out/'links.csv').read_text() + '\n'
    for words in (('--links', tmp_path/'given.csv', '--set', 'connect.min_area_A2=90000'), ('--overwrite',)):
        (out/'links.csv').write_text(mine)
        assert cryoseg('connect', labels/'mask.mrc', '-o', out, '-q', *words).exit_code == 0
        assert (out/'links.changed1.csv').read_text() == mine
        (out/'links.changed1.csv').unlink()


def test_a_table_that_was_edited_stops_no_later_stage(done):
    (done/'connected.csv').write_text((done/'connected.csv').read_text() + '\n')
    assert cryoseg('surface', done/'membranes.mrc', '-o', done, '-q').exit_code == 0


def test_surfaces_of_a_run_on_labels_take_those_labels(labels, tmp_path):
    "They lie where they were given, not in the folder, where something else may be called labels.mrc."
    out = tmp_path/'o'
    assert cryoseg('connect', labels/'mask.mrc', '-o', out, '-q').exit_code == 0
    told = workflow.read_record(out).reading
    tables = []
    for stray in (False, True):
        if stray: write_volume(out/'labels.mrc', read_volume(labels/'mask.mrc').with_data(np.zeros((40, 48, 48), np.int8)))
        assert cryoseg('surface', out/'membranes.mrc', '-o', out, '-q', '--contours', 'gp', '--seed', int(stray)).exit_code == 0
        tables.append(len((out/'curves.csv').read_text().splitlines()))
        assert workflow.read_record(out).reading == told
    assert tables[0] == tables[1] > 1000


def test_results_of_a_run_that_is_given_up_do_not_stay(done, tmp_path):
    "Membranes of one run beside the surfaces of another."
    shutil.copy(done/'membranes.mrc', tmp_path/'given.mrc')
    (done/'notes.txt').write_text('mine')
    assert cryoseg('surface', tmp_path/'given.mrc', '-o', done, '-q', '--overwrite').exit_code == 0
    names = {p.name for p in done.iterdir()}
    assert not names & {'membranes.mrc', 'fragments.mrc', 'fragments.csv', 'links.csv', 'connected.csv'} and {'notes.txt', 'sigma.mrc'} <= names


def test_a_record_names_nothing_outside_its_folder(done, tmp_path):
    (tmp_path/'precious').write_text('mine')
    text = (done/'run.toml').read_text()
    (done/'run.toml').write_text(text.replace('"fragments.csv" = ', '"../precious" = ').replace('fragments.csv = ', '"../precious" = '))
    shutil.copy(done/'membranes.mrc', tmp_path/'given.mrc')
    assert 'precious' in (done/'run.toml').read_text()
    cryoseg('surface', tmp_path/'given.mrc', '-o', done, '-q', '--overwrite')
    assert (tmp_path/'precious').read_text() == 'mine'


@pytest.mark.parametrize('one, other', [('A.mrc', 'a.mrc'), ('a..mrc', 'a.mrc'), ('é.mrc', 'e\u0301.mrc'), ('a .mrc', 'a.mrc')])
def test_names_that_some_disks_take_for_the_same(one, other):
    with pytest.raises(VolumeError, match='would both go to'): output_folders([Path('x', one), Path('y', other)], Path('out'))
    assert same_name('a.b') != same_name('ab')


# damage

@pytest.mark.parametrize('name', ['membranes_closed.mrc', 'lumen.mrc', 'sigma.mrc', 'membranes.csv', 'surfaces.glb',
                                  'surfaces/membrane_0001.ply', 'surfaces/membrane_0001.vtp'])
@pytest.mark.parametrize('how', ['cut', 'changed', 'removed'])
def test_a_damaged_file_is_made_again_with_a_word(done, name, how):
    before, path = contents(done), done/name
    data = bytearray(path.read_bytes())
    data[len(data)//2] ^= 1
    if how == 'removed': path.unlink()
    else: path.write_bytes(data if how == 'changed' else data[:-1])
    record = workflow.read_record(done)
    stage = 'surface' if name.endswith('.mrc') else 'measure'
    assert changed_file(done, record.stages[stage]) == name.partition('/')[0]
    if (name, how) in (('surfaces/membrane_0001.ply', 'cut'), ('membranes.csv', 'changed')):      # the others by the same way
        result = cryoseg('surface', done/'membranes.mrc', '-o', done)
        assert result.exit_code == 0 and f'measure: done again, {name.partition("/")[0]} is not what was written' in result.stdout
        now = contents(done)
        assert [name for name in before if before[name] != now[name]] in ([], ['run.toml'], ['report.html', 'run.toml'])     # they know the place
        assert (now.keys() - before.keys() == {'membranes.changed1.csv'}) == (name == 'membranes.csv')


def test_what_a_person_has_changed_or_added_is_kept(done):
    "Notes in a table, decisions in links.csv that were never given to the program, a session beside the meshes."
    notes = (done/'membranes.csv').read_text() + '\n'
    (done/'membranes.csv').write_text(notes)
    (done/'surfaces/session.cxs').write_text('mine')
    (done/'surfaces/pictures').mkdir()
    (done/'surfaces/pictures/a.png').write_text('mine too')
    record = workflow.read_record(done)
    assert changed_file(done, record.stages['measure']) == 'membranes.csv'         # what is added is no damage
    for settings, warned in (((), True), (('--set', 'surface.min_points=60'), False), (('--set', 'surface.min_points=61'), False)):
        result = cryoseg('surface', done/'membranes.mrc', '-o', done, *settings)
        assert result.exit_code == 0 and ('kept as membranes.changed1.csv' in result.stderr) == warned, result.stderr
        assert (done/'membranes.changed1.csv').read_text() == notes and not (done/'membranes.changed2.csv').exists()
        assert (done/'surfaces/session.cxs').read_text() == 'mine' and (done/'surfaces/pictures/a.png').read_text() == 'mine too'
    (done/'membranes.csv').write_text(notes)                    # the same once more is kept already, another is not
    for text, names in ((notes, ['membranes.changed1.csv']), (notes + '\n', ['membranes.changed1.csv', 'membranes.changed2.csv'])):
        (done/'membranes.csv').write_text(text)
        assert cryoseg('surface', done/'membranes.mrc', '-o', done, '-q').exit_code == 0
        assert sorted(p.name for p in done.glob('*.changed*')) == names


def test_links_that_were_given_are_not_kept_twice(labels, tmp_path):
    for words in ((), ('--links', tmp_path/'o/links.csv')):
        if words: (tmp_path/'o/links.csv').write_text((tmp_path/'o/links.csv').read_text() + '\n')
        result = cryoseg('connect', labels/'mask.mrc', '-o', tmp_path/'o', *words)
        assert result.exit_code == 0 and 'kept as' not in result.stderr
    (tmp_path/'o/edits.csv').unlink()
    (tmp_path/'o/links.csv').write_text((tmp_path/'o/links.csv').read_text() + '\n')
    assert 'kept as links.changed1.csv, which `connect --links` takes' in cryoseg('connect', labels/'mask.mrc', '-o', tmp_path/'o').stderr


def test_labels_that_were_cut_short_are_not_kept(labels, tmp_path):
    path = tmp_path/'a.mrc'
    shutil.copy(labels/'mask.mrc', path)
    assert is_whole(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert not is_whole(path)
    path.write_bytes(b'')
    assert not is_whole(path)


def test_a_report_that_is_gone_is_written_again(done):
    cryoseg('surface', done/'membranes.mrc', '-o', done, '-q')      # the record knows the place of the copy
    before = contents(done)
    for damage in (Path.unlink, lambda path: path.write_text('<html>')):
        damage(done/'report.html')
        result = cryoseg('surface', done/'membranes.mrc', '-o', done)
        assert result.exit_code == 0 and 'already done' in result.stdout and contents(done) == before


@pytest.mark.parametrize('error, words', [(OSError(errno.EMFILE, 'Too many open files'), 'Too many open files; allow more files at a time (ulimit -n)'),
                                          (PermissionError(errno.EACCES, 'Permission denied', 'a.mrc'), 'a.mrc: Permission denied; ask for permission'),
                                          (OSError('odd\nthing'), 'odd thing'), (MemoryError(), 'MemoryError'), (ImportError('no torch'), 'a package cannot be loaded (no torch); is there enough memory? Else install cryoseg and its packages again'), (ValueError('a\x1b[31m\x07b'), 'a?[31m?b'),
                                          (EOFError('marshal data too short'), 'a file that Python has stored is cut short (marshal data too short); install cryoseg and its packages again')])
def test_errors_of_the_system_name_a_remedy(error, words):
    assert one_line(error) == words


@pytest.mark.parametrize('error', [RuntimeError('CUDA out of memory'), ZeroDivisionError('division'), np.linalg.LinAlgError('singular')])
def test_what_fails_in_any_command_is_one_line(error, capsys):
    "torch.OutOfMemoryError is a RuntimeError; so is the exit of a command, which keeps its code."
    for raised, code in ((error, 2), (typer.Exit(1), 1)):
        with pytest.raises(typer.Exit) as ended, plain_errors(): raise raised
        assert ended.value.exit_code == code
    assert capsys.readouterr().err.strip().endswith(str(error))


@posix
def test_a_reader_that_goes_away(labels):
    "`cryoseg settings | head -1`: no traceback, nothing about exceptions that were ignored."
    run = start(PLAIN, 'settings')
    run.stdout.close()                          # before it says anything
    said = run.stderr.read()
    assert run.wait() == 0 and said == ''


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='Linux has a disk that is always full')
def test_output_that_goes_to_a_full_disk_stops_no_work(labels, tmp_path):
    with open('/dev/full', 'w') as full:
        run = subprocess.run([sys.executable, '-c', PLAIN, 'connect', labels/'mask.mrc', '-o', tmp_path/'o'], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 1 and 'No space left' in run.stderr and 'Traceback' not in run.stderr
    now, wanted = contents(tmp_path/'o'), contents(labels/'one/o')
    assert now['membranes.mrc'] == wanted['membranes.mrc'] and 'report.html' in now


@pytest.mark.parametrize('encoding', ['cp932', 'cp936', 'ascii', 'cp1252'])
def test_a_console_of_another_code_page(done, encoding):
    run = start(PLAIN, 'surface', done/'membranes.mrc', '-o', done, env=dict(os.environ, PYTHONIOENCODING=encoding), encoding=encoding)
    said, complaints = run.communicate()
    assert run.returncode == 0 and 'results in' in said and 'closed' in said
    assert complaints.split()[:2] == ['report', '100/100'] and len(complaints.splitlines()) == 1


def test_locks_name_functions_that_there_are():
    from cryoseg.result import lock
    from cryoseg.run import command
    assert all(callable(getattr(lock, name)) for name in command.LOCKS.values())
    commands = {c.callback.__name__ for c in app.registered_commands}
    assert command.LOCKS.keys() <= commands
