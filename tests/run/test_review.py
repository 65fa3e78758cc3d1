"What a person decides is kept at once, applied by the stages that it changes, and taken back without a trace."
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.result.records import Edit, Membrane
from cryoseg.result.tables import read_rows
from cryoseg.run.cli import main
from cryoseg.run.review import Review, apply_edits
from cryoseg.run.settings import RunSettings, with_values
from cryoseg.run.workflow import measure_run, measured_on, run_labels, run_membranes
from cryoseg.segment.match import read_regions

BALL = 20, 40, 75       # a voxel z,y,x of it


def scene():
    "Two halves of a sheet that the program joins, and a ball."
    labels = np.zeros((40, 64, 130), np.int8)
    labels[5:35, 10:12, 5:60] = labels[5:35, 10:12, 66:125] = 1
    z, y, x = np.ogrid[:40, :64, :130]
    labels[np.abs(np.sqrt((z - 20.)**2 + (y - 40.)**2 + (x - 60.)**2) - 15) < 1.3] = 1
    return labels


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A run on labels, with surfaces, at an origin of its own."
    folder, labels = tmp_path_factory.mktemp('review'), scene()
    volume = Volume(labels, 10., (1000., 2000., 3000.))
    write_volume(folder/'mask.mrc', volume)
    run = run_labels(folder/'mask.mrc', folder/'out', labels, volume, RunSettings())
    ids = np.array(run.membranes)
    run_membranes(folder/'out/membranes.mrc', folder/'out', ids, volume.with_data(ids), RunSettings())
    return folder


@pytest.fixture
def review(made, tmp_path):
    shutil.copytree(made, tmp_path/'copy')
    return Review(tmp_path/'copy/out')


def names(run): return [name for name, why in run.again.items() if why]


def test_places_and_voxels(review):
    found = review.at(BALL)
    assert found.membrane == 1 and found.place_A == (1000 + 750, 2000 + 400, 3000 + 200) and review.voxel(*found.place_A) == BALL
    assert review.at((20, 55, 100)).fragment == 0 and 'nothing labelled' in str(review.at((20, 55, 100)))
    assert review.at((20, 40, 77)).membrane == 1            # two voxels off is near enough
    with pytest.raises(VolumeError, match='not inside'): review.at((20, 40, 130))


def test_decisions_are_kept_at_once(review):
    review.rename(BALL, '  the \n ball ')
    review.drop((20, 10, 30))
    kept = read_rows(review.folder/'edits.csv', Edit)
    assert [(e.kind, e.value, e.fragment_a) for e in kept] == [('rename', 'the ball', 1), ('drop', '', 3)]
    assert Review(review.folder).edits == kept and review.at(BALL).name == 'the ball'
    assert review.undo().kind == 'drop' and len(read_rows(review.folder/'edits.csv', Edit)) == 1
    review.undo()
    assert not (review.folder/'edits.csv').exists() and review.undo() is None


def test_what_does_not_fit_is_refused_at_once(review):
    for wrong, words in ((lambda: review.drop((20, 55, 100)), 'click on a fragment'), (lambda: review.join(BALL, (20, 40, 45)), 'both places are on fragment 1'),
                         (lambda: review.rename(BALL, '  '), 'name is empty'), (lambda: review.rename(BALL, ' =1+1'), 'formula'), (lambda: review.anchor((20, 10, 30), 'beside', 1), 'inside, on, outside'),
                         (lambda: review.anchor((0, 10, 30), 'on', 1), 'no pixel in slice 0'), (lambda: review.region(BALL, BALL, 'lipid'), 'background, membrane, protein')):
        with pytest.raises(VolumeError, match=words): wrong()
    assert review.edits == [] and not (review.folder/'edits.csv').exists()


def test_only_the_stages_that_change_are_done(review):
    before = {row.id: row for row in review.run.table}
    bytes_before = (review.folder/'fitted.csv').read_bytes()
    review.rename(BALL, 'the ball')
    assert review.pending == ['measure']
    run = review.apply(report=False)
    assert names(run) == ['measure'] and (review.folder/'fitted.csv').read_bytes() == bytes_before and review.pending == []
    assert replace(run.table[0], name='') == before[1] and run.table[0].name == 'the ball'
    link, = [k for k in review.links if k.taken]
    review.decide(link, join=False)
    assert review.pending == ['connect']
    run = review.apply(report=False)
    assert names(run) == ['connect', 'contours', 'surface', 'measure'] and [row.id for row in run.table] == [1, 3, 4]
    assert run.table[0].area_A2 == before[1].area_A2 and run.table[0].name == 'the ball' and run.record.unfit == ()
    assert sorted(p.stem for p in (review.folder/'fits').glob('*')) == [f'membrane_{k:04d}' for k in (1, 3, 4)]
    assert set(np.unique(run.membranes)) == {0, 1, 3, 4}
    review.undo()
    assert [row.id for row in review.apply(report=False).table] == [1, 2]


def test_nothing_is_done_twice(review):
    assert names(review.apply(report=False)) == [] and review.pending == []


def test_an_answer_that_agrees_settles_a_join(review):
    link, = [k for k in review.links if k.taken]
    review.decide(link, join=True)
    assert review.settled() == {link.pair} and review.edits[0].kind == 'join'
    assert [row.id for row in review.apply(report=False).table] == [1, 2]       # and changes nothing


def test_an_anchor_makes_the_contours_of_its_membrane(review):
    before = review.contour(20, 1)
    pixels = np.argwhere(review.membranes[20] == 1)
    top = pixels[pixels[:, 0].argmax()]
    review.anchor((20, top[0] + 4, top[1]), 'on', 1)
    (n, y, x, side), = review.anchors(20, 1)
    assert (y, x, side) == (top[0] + 4, top[1], 'on') and review.anchors(19, 1) == []
    after = review.contour(20, 1)

    def off(curve): return np.linalg.norm(curve.points - (top[0] + 4, top[1]), axis=1).min()
    assert off(after) < off(before) - .5
    assert review.pending == ['contours']
    run = review.apply(report=False)
    assert names(run) == ['contours', 'surface', 'measure'] and {s.membrane_id for s in run.sections} == {1}
    moved = review.move_anchor(n, (20, top[0] + 1, top[1]))
    assert review.anchors(20, 1)[0][1] == top[0] + 1 and moved.value == 'on' and review.pending == ['contours']
    review.forget(n)
    assert review.anchors(20, 1) == [] and names(review.apply(report=False))[0] == 'contours' and not (review.folder/'curves.csv').exists()


def test_an_anchor_that_fits_nothing_is_told(review):
    review._write([Edit('anchor', 1300., 2100., 3200., 1300., 2550., 3200., value='on'), Edit('anchor', 1300., 2100., 3200., 1300., 2100., 3200., value='above')])
    with pytest.warns(UserWarning) as told: review.apply(report=False)
    said = ' '.join(str(w.message) for w in told)
    assert 'its membrane has no pixel in that slice' in said and 'an anchor is above; take inside, on, outside' in said


def test_a_name_that_fits_nothing_is_told(review):
    review._write([Edit('rename', 1000., 2000., 3000., value='ghost'), Edit('rename', *review.place(BALL), value='=1+1')])
    with pytest.warns(UserWarning, match='the name ghost was not given'): run = review.apply(report=False)
    assert {row.name for row in run.table} == {''}


def test_regions_are_written_for_training(made, tmp_path):
    shutil.copytree(made, tmp_path/'copy')
    rng = np.random.default_rng(0)
    labels = scene()
    image = rng.normal(5., 1., labels.shape).astype(np.float32) - 4*(labels == 1)
    review = Review(tmp_path/'copy/out', Volume(image, 10.))
    with pytest.raises(VolumeError, match='no region is marked'): review.intensities()
    review.region((20, 50, 100), (20, 60, 120), 'background')
    with pytest.raises(VolumeError, match='fewer than 10 pixels are marked membrane'): review.intensities()
    review.region((20, 8, 20), (20, 13, 50), 'membrane')
    model = review.intensities()
    assert model.background.mean == pytest.approx(5, abs=.3) and model.membrane.mean == pytest.approx(1, abs=.3)
    marked = read_regions(review.folder/'regions.toml', review.shape)
    assert (marked[20, 50:61, 100:121] == 0).all() and (marked[20, 8:14, 20:51] == 1).all() and (marked[19] == 255).all() and review.pending == []
    while review.undo(): pass
    assert not (review.folder/'regions.toml').exists()
    with pytest.raises(VolumeError, match='shape'): Review(review.folder, Volume(image[:-1], 10.))


@pytest.mark.long
def test_given_ids_can_be_named_and_no_more(tmp_path):
    ids = (scene() > 0)*np.uint16(7)
    write_volume(tmp_path/'ids.mrc', Volume(ids, 10.))
    run_membranes(tmp_path/'ids.mrc', tmp_path/'out', ids, Volume(ids, 10.), with_values(RunSettings(), {'connect.labels_are': 'instances'}))
    review = Review(tmp_path/'out')
    review.rename(BALL, 'all of it')
    with pytest.raises(VolumeError, match='cryoseg connect'): review.drop(BALL)
    assert review.apply(report=False).table[0].name == 'all of it'


def test_the_command_applies(review, made, capsys):
    review.rename(BALL, 'the ball')
    with pytest.raises(SystemExit) as end: main(['apply', str(review.folder), '-q'])
    assert end.value.code == 0 and read_rows(review.folder/'membranes.csv', Membrane)[0].name == 'the ball'
    record = review.folder/'run.toml'
    record.write_text(record.read_text().replace(str(made/'mask.mrc'), str(made/'gone.mrc')))
    with pytest.raises(SystemExit) as end: main(['apply', str(review.folder)])
    assert end.value.code == 2 and 'is not there; put it back' in capsys.readouterr().err


def test_no_run_is_said(tmp_path):
    for wrong in (Review, apply_edits):
        with pytest.raises(VolumeError, match='holds no run.toml'): wrong(tmp_path)


def test_a_file_of_regions_that_a_person_wrote_is_not_lost(review):
    own = review.folder/'regions.toml'
    own.write_text('[[box]]\nlabel = "membrane"\nz = [1, 2]\ny = [1, 2]\nx = [1, 2]\n')
    review.rename(BALL, 'the ball')
    assert '[1, 2]' in own.read_text()
    review.region((20, 50, 100), (20, 60, 120), 'background')
    assert '[1, 2]' not in own.read_text() and '[1, 2]' in (review.folder/'regions.changed1.toml').read_text()


def test_two_who_decide_lose_nothing(review):
    other = Review(review.folder)
    other.rename(BALL, 'theirs')
    with pytest.raises(VolumeError, match='changed by another hand'): review.drop((20, 10, 30))
    assert [e.value for e in review.edits] == ['theirs']
    review.drop((20, 10, 30))
    assert [e.kind for e in read_rows(review.folder/'edits.csv', Edit)] == ['rename', 'drop']


def test_rows_written_by_hand_that_say_too_little_mark_nothing(review):
    review._write([Edit('region', 1100., 2100., 3100., value='membrane'), Edit('region', 1100., 2100., 3100., 1200., 2200., 3100., value='lipid'),
                   Edit('anchor', 1100., 2100., 3200., value='on'), Edit('anchor', 1300., 2100., 3200., 1300., 2100., 3200., value='above'), Edit('rename', -9000., 2400., 3200., value='off')])
    assert review.boxes() == [] and not (review.folder/'regions.toml').exists()
    assert all(review.anchors(20, id) == [] for id in (1, 2)) and not {1, 2} & {id for id, name in review.names.items() if name}


def test_an_anchor_outside_the_picture_is_told(review):
    review._write([Edit('anchor', 1e9, 2100., 3200., 1300., 2100., 3200., value='on')])
    with pytest.warns(UserWarning, match='lies outside the volume'): run = review.apply(report=False)
    assert len(run.sections) == 0


def test_places_in_voxels_are_read_as_such(review):
    review.rename(BALL, 'the ball')
    path = review.folder/'edits.csv'
    z, y, x = BALL
    path.write_text(f'kind,x1_A,y1_A,z1_A,x1_vox,y1_vox,z1_vox,value\nrename,,,,{100 + x},{200 + y},{300 + z},in voxels\n')    # the origin counts
    assert Review(review.folder).at(BALL).name == 'in voxels'
    assert apply_edits(review.folder).table[0].name == 'in voxels'


def test_a_run_measured_on_a_tomogram_is_measured_once_and_on_it(review, recwarn):
    labels = scene()
    image = np.random.default_rng(0).normal(0, 1, labels.shape).astype(np.float32) - 2*(labels > 0)
    tomogram = review.folder.parent/'tomogram.mrc'
    write_volume(tomogram, Volume(image, 10., (1000., 2000., 3000.)))
    measure_run(review.folder, RunSettings(), tomogram)
    review.read()
    assert names(review.apply(report=False)) == []
    review.rename(BALL, 'the ball')
    seen = []
    run = apply_edits(review.folder, lambda stage, done, total: seen.append((stage, done)))
    assert names(run) == ['measure'] and measured_on(run.record) == tomogram.resolve() and seen.count(('measure', 1000)) == 1
    assert not any('left out' in str(w.message) for w in recwarn)
    tomogram.unlink()
    before = (review.folder/'run.toml').read_bytes()
    with pytest.raises(VolumeError, match='cryoseg measure .* --tomogram FILE'): apply_edits(review.folder)
    assert (review.folder/'run.toml').read_bytes() == before
