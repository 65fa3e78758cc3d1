"""What is written round the code says what the code does: commands, workflows, pins, version, and the pages of the book."""
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dev
from notebooks import NBS, ROOT, notebooks

WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))


def read(name):
    return (ROOT / name).read_text(encoding='utf-8')


def check(*command):
    "Run a module's command; fail with what it says."
    run = subprocess.run([sys.executable, '-m', *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    if run.returncode: pytest.fail(run.stdout + run.stderr, pytrace=False)


def test_workflows_are_valid():
    assert {p.stem for p in WORKFLOWS} == {'test', 'release', 'docs'}
    check('yamllint', '--strict', '.yamllint', '.github')
    check('check_jsonschema', '--builtin-schema', 'vendor.github-workflows', *WORKFLOWS)


def test_one_set_of_commands():
    "make, CI, the workflows and the documents call tools/dev.py, and only with commands that it has."
    targets, = re.findall(r'^\.PHONY: (.*)$', read('Makefile'), re.MULTILINE)
    assert set(targets.split()) == set(dev.COMMANDS)
    assert re.search(r'^make test$', read('.ci/run'), re.MULTILINE)
    jobs = {p.stem: yaml.safe_load(p.read_text(encoding='utf-8'))['jobs'].values() for p in WORKFLOWS}
    steps = {name: [step['run'] for job in some for step in job['steps'] if 'run' in step] for name, some in jobs.items()}
    assert steps['test'] == ['python tools/dev.py test', 'python tools/dev.py demo']
    assert steps['docs'] == ['python tools/dev.py site'] and 'python tools/dev.py test' in steps['release']
    for name in ('README.md', 'CONTRIBUTING.md', *(p.relative_to(ROOT) for p in WORKFLOWS)):
        said = set(re.findall(r'(?:`|^|run: )(?:make|python tools/dev\.py) ([a-z-]+)', read(name), re.MULTILINE))
        assert said <= set(dev.COMMANDS), f'{name} names {said - set(dev.COMMANDS)}'
    for command in ('make demo', 'make test'): assert command in read('README.md'), f'README.md does not give {command}'


def test_the_long_run_can_be_taken_up_part_by_part():
    books, tests, scripts = dev.long_parts([])
    assert tests and books and scripts == dev.benchmarks()
    assert dev.long_parts(['tests']) == ([], True, []) and dev.long_parts(['merging', '05b_link']) == (
        [NBS / '5_connect' / '05b_link.ipynb'], False, [ROOT / 'benchmarks' / 'merging.py'])
    with pytest.raises(SystemExit): dev.long_parts(['merging', 'nonsense'])


def test_the_workflows_cover_the_systems():
    matrix = yaml.safe_load(read('.github/workflows/test.yml'))['jobs']['test']['strategy']['matrix']
    assert {name.split('-')[0] for name in matrix['os']} == {'ubuntu', 'macos', 'windows'}
    assert matrix['python'][0] == dev.settings()['min_python']


def test_every_requirement_is_pinned():
    pins = {canonicalize_name(name): version for name, version in re.findall(r'^([\w.-]+)==(\S+)$', read('constraints.txt'), re.MULTILINE)}
    for key in ('requirements', 'notebook_requirements', 'dev_requirements'):
        for wanted in map(Requirement, dev.settings()[key].split()):
            pin = pins.get(canonicalize_name(wanted.name))
            assert pin, f'constraints.txt has no pin for {wanted.name} ({key} of settings.ini)'
            assert pin in wanted.specifier, f'constraints.txt pins {wanted.name} {pin}, settings.ini asks for {wanted.specifier}'
    assert '+' not in ''.join(pins.values()), 'a local build such as +cpu exists on one index only'


def test_the_version_is_in_the_changes():
    assert re.search(rf'^## {re.escape(dev.settings()["version"])}\b', read('CHANGELOG.md'), re.MULTILINE)


def test_the_pages_of_the_book(tmp_path):
    "Every notebook becomes a page that shows exported source, hides what is hidden, and whose links arrive."
    import make_site
    make_site.write_pages(tmp_path)
    pages = {p.relative_to(tmp_path).with_suffix('').as_posix(): json.loads(p.read_text(encoding='utf-8')) for p in tmp_path.rglob('*.ipynb')}
    assert set(pages) == {make_site.page_name(p) for p in notebooks()}
    for path in notebooks():
        name = make_site.page_name(path)
        shown = '\n'.join(''.join(c['source']) for c in pages[name]['cells'])
        assert shown.startswith('# ') and not re.search(r'^#\|', shown, re.MULTILINE), f'{name}: title first, no directives'
        for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
            source = ''.join(cell['source'])
            body = re.sub(r'^#\|.*\n?', '', source, flags=re.MULTILINE)
            if cell['cell_type'] == 'code' and source.startswith('#| hide') and len(body) > 40: assert body not in shown, f'{name} shows a hidden cell'
            if source.startswith('#| export'): assert body.strip() in shown, f'{name} does not show {body[:60]!r}'
        for link in re.findall(r'href="([\w/.]+)\.html', shown) + re.findall(r'\]\(([\w/.-]+)\.ipynb', shown):
            assert (tmp_path / name).parent.joinpath(f'{link}.ipynb').resolve().exists(), f'{name} links to {link}, which is no page'


def test_the_api_tells_shapes():
    "A page of the API has every public function of its part, with what each argument means."
    import site_pages
    page = site_pages.api_page('phantom')
    for words in ('## phantom.phantom', '### simulate_scene', '| `settings` | `PhantomSettings` |', '[notebook](../1_phantom/bodies.ipynb)'): assert words in page, words
    assert set(site_pages.WINGS) == {p.name for p in site_pages.PACKAGE.iterdir() if (p / '__init__.py').exists() and any(p.glob('*.py')) and p.name != 'weights'}


def links_of(page):
    "The links of a page that stay inside the site, without what follows # or ?; text that only looks like one is none."
    found = []

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs): found.extend(value for name, value in attrs if name in ('href', 'src') and value)

    Links().feed(page.read_text(encoding='utf-8'))
    parts = [urlsplit(link) for link in found]
    return {unquote(part.path) for part in parts if part.path and not part.scheme and not part.netloc}


@pytest.mark.long
def test_the_site_is_built_without_a_warning():
    "Only where its packages are installed (`make site` does that); all links inside it arrive."
    pytest.importorskip('furo')
    check_site = subprocess.run([sys.executable, 'tools/make_site.py'], cwd=ROOT, capture_output=True, text=True)
    assert not check_site.returncode, check_site.stdout + check_site.stderr
    for page in (ROOT / '_docs').rglob('*.html'):
        for link in links_of(page): assert (page.parent / link).exists(), f'{page.name}: {link}'


def test_the_contents_hold_every_page_in_its_chapter():
    "Nothing falls out of the table of contents, and each chapter has the title that the front page gives it."
    import make_site
    import nbformat
    titles = make_site.captions(nbformat.read(NBS / 'contents.ipynb', as_version=4))
    assert list(titles) == sorted({p.parent.name for p in notebooks()} - {'nbs', 'tutorials'}) and all(titles.values())
    pages = [make_site.page_name(p) for p in notebooks()]
    cell = make_site.contents(pages, titles).source
    named = re.findall(r'^\w+(?:/\w+)?$', cell, re.MULTILINE)
    assert sorted(named) == sorted(page for page in pages if page != 'index')
    assert re.findall(r':caption: (.*)', cell) == ['Start here', 'Tutorials', *titles.values()]


def test_the_links_of_the_readme_arrive():
    for link in re.findall(r'\]\((?!https?:|#)([^)#\s]+)', read('README.md')): assert (ROOT / link).exists(), f'README.md links to {link}, which is not there'


def test_the_contents_name_every_notebook():
    "The page of contents leads to each notebook, and the front page to it."
    text = (NBS / 'contents.ipynb').read_text(encoding='utf-8')
    missing = [p.stem for p in notebooks() if p.parent != NBS and p.stem not in text]
    assert not missing, f'nbs/contents.ipynb does not name {missing}'
    index = (NBS / 'index.ipynb').read_text(encoding='utf-8')
    assert all(name in index for name in ('contents.ipynb', 'commands.ipynb', 'glossary.ipynb'))


def test_the_front_page_is_one_screen():
    "Two commands, five lines of Python, a table of at most ten rows; what is longer has pages of its own."
    text = read('README.md')
    assert len(text) < 3000 and len(re.findall(r'^\| ', text, re.MULTILINE)) <= 10
    program, = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    assert len(program.strip().splitlines()) == 5


def test_the_map_is_drawn_anew():
    "The pictures of the map are those that the command draws, and its boxes lead to pages."
    import pipeline_map
    from site_pages import page_name
    pages = {page_name(p) for p in notebooks()}
    for step in pipeline_map.STEPS:
        assert (NBS / 'images' / f'map_{step.folder}.svg').read_text(encoding='utf-8') == pipeline_map.svg(step.folder)
        assert step.page in pages, step.page


def test_how_to_cite():
    cited = yaml.safe_load(read('CITATION.cff'))
    assert cited['version'] == dev.settings()['version'] and cited['license'] == 'BSD-3-Clause'


def test_the_page_of_refusals_counts_the_damaged_files():
    "How often each reader is tried on damaged files, and the limits, are those of the harness."
    constants = dict(re.findall(r'^([A-Z_]+) = ([\d_]+)\b', read('tests/fuzz/fuzz.py'), re.MULTILINE))
    readers, = re.findall(r"^READERS = \((.*?)\)\.split\(\)", read('tests/fuzz/fuzz.py'), re.MULTILINE | re.DOTALL)
    cells = json.loads((NBS / '9_base' / '09k_refuses.ipynb').read_text(encoding='utf-8'))['cells']
    section, = [' '.join(text.split()) for text in (''.join(cell['source']) for cell in cells) if text.startswith('## Damaged files')]
    kinds = re.findall(r'\w+', readers)
    told = (f'{len(kinds)} kinds of files', f'{int(constants["ORDINARY_CASES"])} damaged files', f'{int(constants["LONG_CASES"]):,} in all',
            f'{int(constants["MAX_SECONDS"])} seconds')
    missing = [words for words in told if words not in section]
    assert not missing, f'09k_refuses does not say {missing}'
