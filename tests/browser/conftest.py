"""A real browser for the tests. Without one they are skipped, with the reason; where CRYOSEG_NEEDS_BROWSER is set, as in
CI, its absence is a failure."""
import os
import shutil

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
# A container has no sandbox of its own and little shared memory; the scenes are drawn without a graphics card.
FLAGS = ('--no-sandbox', '--disable-dev-shm-usage', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader')


def absent(reason):
    "Fail where a browser must be there, else skip."
    if os.environ.get('CRYOSEG_NEEDS_BROWSER'): pytest.fail(f'{reason}; CRYOSEG_NEEDS_BROWSER is set', pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope='session')
def browser():
    "Headless Chromium under Playwright; CRYOSEG_BROWSER names another than the first on the path."
    try: from playwright.sync_api import sync_playwright
    except ImportError: absent('playwright is not installed (extra [dev])')
    path = os.environ.get('CRYOSEG_BROWSER') or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None: absent('no Chromium or Chrome is on the path (CRYOSEG_BROWSER names one)')
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def faults():
    "What pages said of errors; a test asserts that it stays empty."
    return []


@pytest.fixture
def open_page(browser, faults):
    "A function(address, width=1300, height=900) -> page; its errors go to `faults`."
    contexts = []

    def open_(address, width=1300, height=900):
        context = browser.new_context(viewport=dict(width=width, height=height))
        contexts.append(context)
        page = context.new_page()
        page.on('pageerror', lambda error: faults.append(str(error)))
        page.goto(address)
        return page

    yield open_
    for context in contexts: context.close()
