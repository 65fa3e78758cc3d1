"""The report in a real browser: its slider, its scene, its keys, its widths, its print, its contrast."""
import re
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / 'show'))    # for report_toys

from cryoseg.base.formats import read_volume, write_volume  # noqa: E402
from cryoseg.result.records import Distance, Link, Membrane, Protein  # noqa: E402
from cryoseg.result.tables import write_rows  # noqa: E402
from cryoseg.show.report import write_report  # noqa: E402
from report_toys import ROWS, make_run, row  # noqa: E402

WIDE, NARROW = 1300, 420
MIN_CONTRAST = 4.5          # of text, WCAG 2.2, 1.4.3


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    "Of the report of a small run: three membranes, a pair, particles, two doubtful joins."
    folder = make_run(tmp_path_factory.mktemp('page') / 'run', ROWS)
    membranes = [Membrane(**row(1), thickness_A=38., thickness_sd_A=1.5, mean_curvature_per_A=.016, mean_curvature_sd_per_A=.001, nearest_membrane=2, nearest_distance_A=52., nearest_distance_sd_A=3.),
                 Membrane(**row(2, 'truncated'), thickness_A=39., thickness_sd_A=1.5), Membrane(7, 40, 'refused', 'a <b>plane</b> & no more; 40 voxels are too few (at least 100) for any surface')]
    write_rows(folder / 'membranes.csv', membranes, Membrane)
    write_rows(folder / 'distances.csv', [Distance(1, 2, 'apart', 52., 3., 170., 140., 100., 60., 4., 2e4, 3e3)], Distance)
    write_rows(folder / 'proteins.csv', [Protein(k, 'attached', '', 10.*k, 20., 30., 4., 420, 93., 1, 'outside', 96., 5., 1., 2., 3., .6, 0., .8, 3.) for k in range(1, 15)], Protein)
    write_rows(folder / 'links.csv', [Link(k, 1, None, 2, None, 170., 140., 100., 80., probability=.57, taken=True, rule='gap3d', reason='smooth across the gap') for k in (1, 2)], Link)
    labels = read_volume(folder / 'membranes.mrc', labels=True)
    write_volume(folder / 'fragments.mrc', labels.with_data(labels.data.astype(np.float32)))
    return write_report(folder).as_uri()


def picture(part, **how):
    "What is drawn of a part of the page, as numbers."
    return np.asarray(Image.open(BytesIO(part.screenshot(**how))).convert('RGB')).astype(int)


def shown_slice(page):
    "The caption of the one slice that is shown, and what is drawn of it."
    figures = page.locator('.stack figure:visible')
    assert figures.count() == 1
    return page.locator('.steer output').inner_text(), picture(figures.first)


def test_the_slider_shows_another_slice(open_page, faults, address):
    page = open_page(address, WIDE)
    before, pixels = shown_slice(page)
    slider = page.get_by_label('which slice')
    box = slider.bounding_box()
    page.mouse.click(box['x'] + .05*box['width'], box['y'] + box['height']/2)
    after, others = shown_slice(page)
    assert before != after and pixels.shape == others.shape and (abs(pixels - others).max(axis=2) > 30).mean() > .05
    assert re.fullmatch(r'z = \d+ nm \(slice \d+\)', after) and slider.get_attribute('aria-valuetext') == after
    assert not faults


def test_the_slider_obeys_the_keys_and_shows_where_the_focus_is(open_page, faults, address):
    page = open_page(address, WIDE)
    slider = page.get_by_label('which slice')
    for _ in range(40):
        page.keyboard.press('Tab')
        if slider.evaluate('e => e === document.activeElement'): break
    else: pytest.fail('the slider is not reached with Tab')
    assert slider.evaluate('e => getComputedStyle(e).outlineStyle') == 'solid' and slider.evaluate('e => parseFloat(getComputedStyle(e).outlineWidth)') >= 2
    seen = []
    for key in ('Home', 'ArrowRight', 'ArrowRight', 'ArrowLeft', 'End'):
        page.keyboard.press(key)
        seen.append(page.locator('.steer output').inner_text())
    places = [int(re.search(r'slice (\d+)', text).group(1)) for text in seen]
    assert places[0] < places[1] < places[2] < places[4] and places[3] == places[1]
    assert not faults


def test_labels_fade_and_tables_sort_without_a_mouse(open_page, faults, address):
    page = open_page(address, WIDE)
    before = shown_slice(page)[1]
    page.locator('#overlay').focus()
    page.keyboard.press('Home')
    assert abs(before - shown_slice(page)[1]).max() > 50
    ids = page.locator('#membranes tbody tr td:first-child')
    head = page.locator('#membranes th button').first
    for key, expected in (('Enter', ['1', '2', '7']), ('Space', ['7', '2', '1'])):
        head.focus()
        page.keyboard.press(key)
        assert [text.strip() for text in ids.all_inner_texts()] == expected
    assert page.locator('#membranes th').first.get_attribute('aria-sort') == 'descending' and not faults


def changed(a, b):
    "The fraction of pixels that differ clearly."
    return (abs(a - b).max(axis=2) > 20).mean()


def waited(page, part, done):
    "What is drawn of a part as soon as `done` of it holds."
    for _ in range(50):
        drawn = picture(part)
        if done(drawn): return drawn
        page.wait_for_timeout(200)
    pytest.fail('the drawing stays as it is')


CAMERA = 'K3DInstance.then(k3d => { const c = k3d.getWorld().camera; c.updateMatrixWorld(); return [...c.matrixWorldInverse.elements]; })'


@pytest.mark.long
def test_the_scene_turns_under_the_mouse(open_page, faults, address):
    page = open_page(address, WIDE)
    page.get_by_role('button', name='Turn them in 3-D').click()
    assert page.evaluate('document.activeElement.dataset.by') == 'by id'        # the focus is not lost with the button
    stage = page.locator('#stage iframe')
    frame = stage.element_handle().content_frame()
    frame.wait_for_function("typeof K3DInstance !== 'undefined'", timeout=20_000)
    still = waited(page, stage, lambda drawn: (drawn.std(axis=2) > 20).mean() > .01)        # coloured surfaces are drawn
    right, up, towards = np.reshape(frame.evaluate(CAMERA), (4, 4)).T[:3, :3]    # of the viewer, in x, y, z
    assert up[2] > .8 and right[0] > .3 and towards[1] < -.3                     # as the page says: z up, x to the right, y into the page
    np.testing.assert_allclose(np.cross(right, up), towards, atol=1e-6)          # right-handed
    page.wait_for_timeout(300)
    still = picture(stage)
    assert changed(picture(stage), still) < .001                                 # nothing turns by itself
    box = stage.bounding_box()
    middle = box['x'] + box['width']/2, box['y'] + box['height']/2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 150, middle[1] + 20, steps=6)
    page.mouse.up()
    turned = waited(page, stage, lambda drawn: changed(drawn, still) > .01)
    assert abs(np.reshape(frame.evaluate(CAMERA), (4, 4)).T[0, 0] - right[0]) > .1
    page.get_by_label('by uncertainty σ').check()
    waited(page, stage, lambda drawn: changed(drawn, turned) > .005)
    before = np.reshape(frame.evaluate(CAMERA), (4, 4)).T
    stage.focus()
    for key in ('ArrowLeft', 'ArrowLeft', 'ArrowUp', '+'): page.keyboard.press(key)
    after = np.reshape(frame.evaluate(CAMERA), (4, 4)).T
    assert np.degrees(np.arccos(before[2, :3] @ after[2, :3])) > 8 and after[1, 2] > .5     # turned, and z is still up
    assert np.linalg.norm(after[:3, 3]) < np.linalg.norm(before[:3, 3])                     # nearer
    assert not faults


def test_it_says_which_way_is_up(open_page, address):
    text = open_page(address, NARROW).locator('.way').inner_text()
    assert 'z out of the page, towards you' in text and 'y into the page' in text and 'z is up' in text and 'right-handed' in text


@pytest.mark.parametrize('width', [WIDE, NARROW, 320])
def test_nothing_is_wider_than_the_screen(open_page, faults, address, width):
    page = open_page(address, width)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    wide = page.evaluate('''width => [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('.skip, svg, .live figcaption')
        && e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 90))''', width)
    assert not wide or width == WIDE, wide                                        # a wide table may scroll in its own box
    assert not faults


def test_a_row_is_a_card_on_a_narrow_screen(open_page, address):
    page = open_page(address, NARROW)
    cells = page.locator('#membranes tbody tr').first.locator('td:visible')
    heads = [cell.evaluate("e => getComputedStyle(e, '::before').content") for cell in cells.all()]
    assert heads[0] == '"id"' and any('thickness' in head and 'Å' in head for head in heads)
    boxes = [cell.bounding_box() for cell in cells.all()]
    assert len({round(box['y']) for box in boxes}) > 3 and all(box['x'] + box['width'] <= NARROW for box in boxes)
    page.get_by_role('button', name='area').first.click()                         # still sorts
    assert page.locator('#membranes th[aria-sort]').count() == 1


def test_every_picture_and_control_has_words(open_page, address):
    page = open_page(address, WIDE)
    nameless = page.evaluate('''() => [...document.querySelectorAll('img, svg[role=img], input, button, iframe, select')].filter(e =>
        !(e.alt || e.getAttribute('aria-label') || e.title || e.textContent.trim() || (e.labels && [...e.labels].some(l => l.textContent.trim())))).map(e => e.outerHTML.slice(0, 90))''')
    assert not nameless and page.evaluate("[...document.querySelectorAll('svg')].every(e => e.getAttribute('role') === 'img' || e.closest('[role=img]'))")
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:]))
    assert page.locator('#doubts figure').count() == 2 and 'cryoseg view' in page.locator('#doubts').inner_text()


CONTRAST = '''() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = c => { const f = v => (v /= 255) <= .04045 ? v/12.92 : ((v + .055)/1.055)**2.4; return .2126*f(c[0]) + .7152*f(c[1]) + .0722*f(c[2]); };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; } return [255, 255, 255, 1]; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('svg, script, style') || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(parse(getComputedStyle(e).color)), b = light(ground(e)), ratio = (Math.max(a, b) + .05)/(Math.min(a, b) + .05);
    found.push([ratio, e.tagName + ' ' + e.className + ' ' + e.textContent.trim().slice(0, 40)]);
  }
  return found;
}'''


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_stands_out_from_its_ground(open_page, address, scheme):
    page = open_page(address, WIDE)
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    found = page.evaluate(CONTRAST)
    assert len(found) > 200
    assert [told for told in found if told[0] < MIN_CONTRAST] == []


def test_paper_gets_pictures_instead_of_what_moves(open_page, faults, address):
    page = open_page(address, 760)
    page.emulate_media(media='print')
    assert page.locator('.stack figure:visible').count() == 5 and page.locator('#surfaces img:visible').count() == 3
    for gone in ('.steer', '#wake', '#stage', 'nav', '#overlay'): assert page.locator(f'{gone}:visible').count() == 0, gone
    captions = page.locator('.stack figure:visible figcaption').all()
    assert all(caption.bounding_box()['width'] > 100 for caption in captions)     # each says where it lies
    assert page.evaluate('document.documentElement.scrollWidth') <= 760
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator('#proteins tbody tr:visible').count() == 14 and not faults


def test_without_a_script_everything_is_there(browser, address):
    context = browser.new_context(java_script_enabled=False, viewport=dict(width=WIDE, height=900))
    page = context.new_page()
    page.goto(address)
    assert page.locator('.stack figure:visible').count() > 5 and page.locator('.steer:visible').count() == 0
    context.close()
