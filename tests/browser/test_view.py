"A run corrected in a real JupyterLab: a click changes edits.csv and the next run; keys do what the mouse does."
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
import pytest

from cryoseg.base.formats import write_volume
from cryoseg.base.volume import Volume
from cryoseg.result.records import Edit, Membrane
from cryoseg.result.tables import read_rows
from cryoseg.run.settings import RunSettings
from cryoseg.run.view import serving
from cryoseg.run.workflow import run_labels, run_membranes

SECONDS = 90_000        # milliseconds that a kernel may take to start on a busy machine


def make_run(folder):
    "Two halves of a sheet that the program joins, and a ball: labels, connected, fitted. Voxels of 10 Å."
    labels = np.zeros((40, 64, 130), np.int8)
    labels[5:35, 10:12, 5:60] = labels[5:35, 10:12, 66:125] = 1
    z, y, x = np.ogrid[:40, :64, :130]
    labels[np.abs(np.sqrt((z - 20.)**2 + (y - 40.)**2 + (x - 60.)**2) - 15) < 1.3] = 1
    volume, path = Volume(labels, 10.), folder/'mask.mrc'
    write_volume(path, volume)
    run = run_labels(path, folder/'out', labels, volume, RunSettings())
    ids = np.array(run.membranes)
    return run_membranes(folder/'out'/'membranes.mrc', folder/'out', ids, volume.with_data(ids), RunSettings())


@pytest.fixture(scope='module')
def run(tmp_path_factory): return make_run(tmp_path_factory.mktemp('view'))


@pytest.fixture(scope='module')
def server(run):
    with serving(run.folder) as started: yield started


def started(open_page, server, width=1300, height=1000):
    "The page with the cell run."
    page = open_page(server.address, width, height)
    page.wait_for_selector('.jp-CodeCell .cm-content', timeout=SECONDS)
    ran = "() => /\\[(\\*|\\d+)\\]/.test(document.querySelector('.jp-CodeCell .jp-InputPrompt').textContent)"
    for _ in range(20):                 # where the kernel is not there yet, the keys are lost, or JupyterLab asks for one
        if page.locator('.jp-Dialog .jp-mod-accept').count(): page.locator('.jp-Dialog .jp-mod-accept').first.click()
        page.locator('.jp-CodeCell .cm-content').first.click()
        page.keyboard.press('Control+Enter')
        page.wait_for_timeout(1000)
        if page.evaluate(ran): break
    page.wait_for_selector('.cryoseg-picture img', timeout=SECONDS)
    return page


def until(true, seconds=60):
    "Wait until something is so."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true(): return True
        time.sleep(.1)
    return False


def edits(run): return read_rows(run.folder/'edits.csv', Edit) if (run.folder/'edits.csv').exists() else []


def click_voxel(picture, x, y, columns=130, rows=64):
    "Click the voxel x, y of the slice; y points up."
    box = picture.bounding_box()
    picture.click(position=dict(x=(x + .5)/columns*box['width'], y=(rows - .5 - y)/rows*box['height']))


def test_a_run_is_corrected(run, server, open_page, faults):
    page = started(open_page, server)
    picture = page.locator('.cryoseg-picture').first
    assert 'slice z = 20' in picture.locator('img').get_attribute('alt')

    # what lies there is said in words, by mouse and by key
    status = page.locator('[role=status]')
    click_voxel(picture, 30, 11)
    page.wait_for_function("() => [...document.querySelectorAll('[role=status]')].some(e => e.textContent.includes('x 30, y 11, z 20: membrane'))")
    picture.focus()
    for key in ('ArrowRight', 'Shift+ArrowRight', 'Enter'): page.keyboard.press(key)
    page.wait_for_function("() => [...document.querySelectorAll('[role=status]')].some(e => e.textContent.includes('x 41, y 11'))")
    page.keyboard.press('PageUp')
    page.wait_for_function("() => document.querySelector('.cryoseg-picture img').alt.includes('z = 21')")
    assert status.count() >= 1

    # the picture is drawn anew while the slider is still held
    handle = page.locator('.jp-OutputArea .noUi-handle').first
    box = handle.bounding_box()
    page.mouse.move(box['x'] + box['width']/2, box['y'] + box['height']/2)
    page.mouse.down()
    page.mouse.move(box['x'] + 60, box['y'] + box['height']/2, steps=5)
    page.wait_for_function("() => !document.querySelector('.cryoseg-picture img').alt.includes('z = 21')")
    page.mouse.up()

    # a click drops the ball; undo takes it back
    page.get_by_role('button', name='drop', exact=True).click()
    click_voxel(picture, 60 + 15, 40)
    assert until(lambda: [e.kind for e in edits(run)] == ['drop'])
    page.get_by_role('button', name='Undo').click()
    assert until(lambda: not edits(run))

    # a name, then a join refused by key, then all applied
    page.get_by_role('button', name='rename', exact=True).click()
    page.get_by_label('name', exact=True).fill('the ball')
    page.get_by_label('name', exact=True).press('Tab')
    click_voxel(picture, 60 + 15, 40)
    assert until(lambda: [e.value for e in edits(run)] == ['the ball'])
    page.get_by_role('tab', name='Joins').click()
    second = page.locator('.cryoseg-picture').nth(1)
    second.focus()
    page.keyboard.press('n')
    assert until(lambda: [e.kind for e in edits(run)] == ['rename', 'cut'])
    ids = {m.id for m in run.table}
    page.get_by_role('button', name='Apply').click()
    page.wait_for_function("() => [...document.querySelectorAll('[role=status], [role=alert]')].some(e => e.textContent.includes('done: connect'))", timeout=SECONDS)
    table = read_rows(run.folder/'membranes.csv', Membrane)
    ball = next(m for m in table if m.name == 'the ball')
    assert ball.id in ids and len(table) == 3 and {m.id for m in table} == {ball.id, 3, 4}
    assert not faults


@pytest.mark.long
def test_the_scene_is_coloured_and_picked(run, server, open_page, faults):
    page = started(open_page, server)
    page.get_by_role('tab', name='Surfaces').click()
    canvas = page.locator('.jp-OutputArea canvas').first
    canvas.wait_for(timeout=SECONDS)
    page.get_by_label('coloured by').select_option('sigma')
    page.wait_for_function("() => [...document.querySelectorAll('[role=status]')].some(e => e.textContent.includes('coloured by sigma [Å]'))")
    said = "() => [...document.querySelectorAll('[role=status]')].some(e => /membrane \\d+ at .*sigma [\\d.]+ Å/.test(e.textContent))"
    page.wait_for_timeout(2000)         # the scene is built anew

    def picks():
        box = page.locator('.jp-OutputArea canvas').last.bounding_box()
        for part in np.linspace(.3, .7, 9):
            page.mouse.click(box['x'] + part*box['width'], box['y'] + box['height']/2)
            page.wait_for_timeout(200)
            if page.evaluate(said): return True
        return False
    assert until(picks, 40)
    assert not faults


@pytest.mark.long
def test_a_narrow_page_has_names_for_all(run, server, open_page, faults):
    page = started(open_page, server, 420, 900)
    cell = page.locator('.jp-OutputArea').last
    for image in cell.locator('img').all(): assert image.get_attribute('alt')
    for button in cell.locator('button').all(): assert (button.text_content() or button.get_attribute('title') or button.get_attribute('aria-label') or '').strip(), button.evaluate('e => e.outerHTML')
    picture = page.locator('.cryoseg-picture').first
    assert picture.bounding_box()['width'] <= 420 and picture.get_attribute('role') == 'application' and 'Arrow keys' in picture.get_attribute('aria-label')
    picture.focus()
    page.keyboard.press('ArrowUp')
    assert page.evaluate("getComputedStyle(document.querySelector('.cryoseg-picture')).outlineStyle") == 'solid'
    assert page.locator('.cryoseg-cross').first.is_visible()
    assert not faults


def test_nobody_else_gets_in(server):
    "Without the token there is no answer, and the server listens on this machine alone."
    address = server.address.split('/lab')[0]
    with pytest.raises(HTTPError) as refused: urlopen(f'{address}/api/contents')
    assert refused.value.code in (401, 403) and address.startswith('http://127.0.0.1:')
    assert not any('token' in word.lower() for word in server.process.args)
