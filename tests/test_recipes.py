"""Recipes for clusters are not run here; their form is checked, and that they keep to one thread a worker and no limit of Dask's own."""
import importlib
import importlib.util
import py_compile
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from notebooks import ROOT

RECIPES = ROOT / 'recipes'


def test_the_readme_names_each_and_says_that_none_was_run():
    text = (RECIPES / 'README.md').read_text(encoding='utf-8')
    assert set(re.findall(r'^\| `([\w.]+)`', text, re.MULTILINE)) == {p.name for p in RECIPES.iterdir() if p.is_file()} - {'README.md'}
    for path in RECIPES.iterdir():
        if path.is_file(): assert re.search(r'[Nn]ot run by the authors|None of these was run by the authors', path.read_text(encoding='utf-8')), path.name


def test_kubernetes():
    "Valid YAML, of the operator's kind; service and pods agree about ports, volumes and names."
    path = RECIPES / 'kubernetes.yaml'
    run = subprocess.run([sys.executable, '-m', 'yamllint', '--strict', '-c', ROOT / '.yamllint', path], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    cluster = yaml.safe_load(path.read_text(encoding='utf-8'))
    assert (cluster['apiVersion'], cluster['kind']) == ('kubernetes.dask.org/v1', 'DaskCluster')
    worker, scheduler = cluster['spec']['worker'], cluster['spec']['scheduler']
    args = worker['spec']['containers'][0]['args']
    assert args[args.index('--nthreads') + 1] == '1' and args[args.index('--memory-limit') + 1] == '0'
    ports = {port['name']: port['containerPort'] for port in scheduler['spec']['containers'][0]['ports']}
    assert {port['targetPort']: port['port'] for port in scheduler['service']['ports']} == ports == {'tcp-comm': 8786, 'http-dashboard': 8787}
    assert scheduler['service']['selector'] == {'dask.org/cluster-name': cluster['metadata']['name'], 'dask.org/component': 'scheduler'}
    for group in (worker, scheduler):
        mounted = {mount['name'] for container in group['spec']['containers'] for mount in container['volumeMounts']}
        assert mounted == {volume['name'] for volume in group['spec']['volumes']}
    assert len({group['spec']['containers'][0]['image'] for group in (worker, scheduler)}) == 1


@pytest.mark.skipif(shutil.which('sh') is None, reason='no shell')
def test_plain_machines():
    "The shell can read it, and each option is one that Dask's commands have."
    path = RECIPES / 'machines.sh'
    subprocess.run(['sh', '-n', path], check=True)
    text = path.read_text(encoding='utf-8')
    pytest.importorskip('distributed')
    for name in ('scheduler', 'worker'):
        command = importlib.import_module(f'distributed.cli.dask_{name}').main
        known = {option for parameter in command.params for option in parameter.opts}
        wanted = set(re.findall(r'--[a-z-]+', ' '.join(re.findall(rf'dask {name} [^"&]*', text))))
        assert wanted and wanted <= known, f'dask {name} has no {wanted - known}'
    assert '--nthreads 1' in text and '--memory-limit 0' in text


def test_slurm():
    "It compiles; where dask-jobqueue is installed, the job that it would hand in is looked at."
    path = RECIPES / 'slurm.py'
    py_compile.compile(str(path), doraise=True)
    pytest.importorskip('dask_jobqueue')
    spec = importlib.util.spec_from_file_location('slurm', path)
    slurm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(slurm)
    with slurm.cluster('lo', 0, None) as cluster: job = cluster.job_script()
    limits = re.findall(r'--memory-limit (\S+)', job)
    assert '--nthreads 1 ' in job and limits[-1] == '0' and '#SBATCH --cpus-per-task=1' in job and '#SBATCH --requeue' in job
