"""What a user gets: the sdist builds a wheel, and the wheel alone, in an environment of its own, works from any folder."""
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from notebooks import ROOT

BUILT_FROM = ('settings.ini', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md', 'constraints.txt')


def call(*command, cwd):
    "Run `command` without the environment's own import paths; return what it printed."
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    run = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, encoding='utf-8', errors='replace')
    if run.returncode: pytest.fail(f'{" ".join(map(str, command))}\n{run.stdout[-2000:]}{run.stderr[-4000:]}', pytrace=False)
    return run.stdout


def test_wheel_works_elsewhere(tmp_path):
    source, elsewhere, env = (tmp_path / name for name in ('source', 'elsewhere', 'env'))
    for folder in (source, elsewhere): folder.mkdir()
    for name in BUILT_FROM: shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / 'cryoseg', source / 'cryoseg', ignore=shutil.ignore_patterns('__pycache__'))
    call(sys.executable, '-m', 'build', cwd=source)         # the sdist, and the wheel from the sdist: MANIFEST.in is right
    wheel, = (source / 'dist').glob('*.whl')
    inside = set(zipfile.ZipFile(wheel).namelist())
    for path in sorted((ROOT / 'cryoseg').rglob('*')):
        if path.suffix in ('.py', '.safetensors', '.json', '.html', '.css', '.js'): assert path.relative_to(ROOT).as_posix() in inside, f'{path.name} is not in the wheel'
    assert any(name.endswith('.safetensors') for name in inside), 'the wheel brings no weights'
    assert 'cryoseg/show/templates/page.css' in inside, 'the wheel brings no templates'

    call(sys.executable, '-m', 'venv', '--without-pip', env, cwd=elsewhere)
    scripts = env / ('Scripts' if os.name == 'nt' else 'bin')
    python, command = (shutil.which(name, path=str(scripts)) or scripts / name for name in ('python', 'cryoseg'))
    call(sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-deps', '--no-index', wheel, cwd=elsewhere)
    packages = call(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', cwd=elsewhere).strip()
    with open(os.path.join(packages, 'requirements.pth'), 'w', encoding='utf-8') as file:     # lent by this environment, without its .pth files:
        file.write(sysconfig.get_path('purelib') + '\n')                                     # not the editable cryoseg
    modules = sorted('.'.join(p.relative_to(ROOT / 'cryoseg').with_suffix('').parts) for p in (ROOT / 'cryoseg').glob('*/[!_]*.py'))
    where = call(python, '-c', f'import cryoseg, {", ".join("cryoseg." + m for m in modules)}; print(cryoseg.__file__)', cwd=elsewhere)
    assert str(env) in where or env.resolve().as_posix() in where.replace('\\', '/'), f'imported from {where}'
    page = call(python, '-c', 'from cryoseg.show.pages import page_html; print(page_html("x", [], []))', cwd=elsewhere)
    assert page.startswith('<!doctype html>') and '--paper' in page
    command = shutil.which('cryoseg', path=str(scripts))
    assert command, 'the wheel brings no command cryoseg'
    assert 'Usage' in call(command, '--help', cwd=elsewhere)
