"""Many tomograms on one and on two workers, and the constants of the model for a thousand machines: `python benchmarks/cluster.py`.

Each worker is a process with one thread. The ratio T1 / (2 T2) says what is lost by sharing; it needs two processors that nobody else uses.
Tasks of no work say what Dask itself costs, and how many a second one scheduler can give out.
"""
import os
import pickle
import re
import tempfile
import time
from pathlib import Path

from cryoseg.base.formats import write_volume
from cryoseg.phantom.phantom import simulate_phantom
from cryoseg.phantom.settings import PhantomSettings
from cryoseg.run import cluster
from cryoseg.run.settings import RunSettings
from _tables import arguments, finish, print_table

EMPTY_TASKS = 1000
HELPED = 128, 512, 512          # of the larger one of the two tomograms that two workers share


def process_counts():
    "CPU seconds, peak of resident memory, and bytes that went through read and write, of this process."
    import resource
    usage, io = resource.getrusage(resource.RUSAGE_SELF), Path('/proc/self/io')
    counts = dict(re.findall(r'(\w+): (\d+)', io.read_text())) if io.exists() else {}
    return dict(cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss*1024, read=int(counts.get('rchar', 0)), written=int(counts.get('wchar', 0)))


def contents(folder):
    "Name -> bytes of all files."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def run(paths, out, n):
    "Run tomograms on n workers: a dictionary of what it took, and the outcomes."
    begun = time.perf_counter()
    with cluster.local_cluster(n) as client:
        client.run(process_counts)
        started = time.perf_counter()
        before = client.run(process_counts)
        tasks = cluster.tasks_for({path: out/path.stem for path in paths}, RunSettings(), False, n)
        ended = list(cluster.outcomes(client, tasks))
        seconds = time.perf_counter() - started
        after = client.run(process_counts)
    failed = [outcome.words() for outcome in ended if outcome.error]
    if failed: raise SystemExit('\n'.join(failed))
    spent = {name: sum(after[w][name] - before[w][name] for w in after) for name in ('cpu', 'read', 'written')}
    return dict(start=started - begun, seconds=seconds, peak=max(a['peak'] for a in after.values()), **spent), tasks, ended


def empty_tasks(n):
    "Seconds a task of no work, on n workers."
    with cluster.local_cluster(n) as client:
        client.gather(client.map(abs, range(50), pure=False))
        begun = time.perf_counter()
        client.gather(client.map(abs, range(EMPTY_TASKS), pure=False))
        return (time.perf_counter() - begun)/EMPTY_TASKS


def simulated(shape):
    "A tomogram with as many vesicles for each voxel as in the other benchmarks."
    return simulate_phantom(PhantomSettings(shape=shape, n_vesicles=max(2, shape[0]*shape[1]*shape[2]//10**6), cnr=2.), 0).tomogram


def helped(shape, folder):
    "One tomogram on one worker, and on two that share its slices and membranes; both have just started. A row."
    folder.mkdir()
    path = folder/'t0.mrc'
    write_volume(path, simulated(shape))
    alone, shared = (run([path], folder/f'{n}', n)[0] for n in (1, 2))
    # Amdahl's law, T2 = (s + (1 - s)/2) T1
    return dict(shape='x'.join(map(str, shape)), one_worker_s=alone['seconds'], two_workers_s=shared['seconds'],
                one_worker_cpu_s=alone['cpu'], two_workers_cpu_s=shared['cpu'], not_shared=2*shared['seconds']/alone['seconds'] - 1,
                same_bytes=contents(folder/'1') == contents(folder/'2'))


def measure(shape, count, folder):
    "The three tables."
    paths = [folder/f't{k}.mrc' for k in range(count)]
    tomogram = simulated(shape)                         # the same cost for each
    for path in paths: write_volume(path, tomogram)
    n_voxels = count*tomogram.data.size
    run(paths[:1], folder/'warm', 1)                    # what numba compiles is stored
    one, tasks, ended = run(paths, folder/'one', 1)
    two, _, _ = run(paths, folder/'two', 2)
    help_rows = [helped(shape, folder/f'help{shape[0]}') for shape in (shape, HELPED)]
    same = {k: contents(folder/name) for k, name in ((1, 'one'), (2, 'two'))}
    scaling = [dict(tomograms=count, shape='x'.join(map(str, shape)), workers=n, seconds=t['seconds'], cpu_seconds=t['cpu'],
                    efficiency=one['seconds']/(n*t['seconds']), same_bytes=same[1] == same[n]) for n, t in ((1, one), (2, two))]
    results = sum(len(data) for data in same[1].values())
    constants = [
        ('CPU of a voxel', 1e6*one['cpu']/n_voxels, 'us'),
        ('start of a worker', one['start'], 's'),
        ('Dask, a task', 1e3*empty_tasks(2), 'ms'),
        ('a task as it is sent', len(pickle.dumps((cluster.do_tomogram, tasks[0]))), 'bytes'),
        ('its result', max(len(pickle.dumps(outcome)) for outcome in ended), 'bytes'),
        ('input', paths[0].stat().st_size*count/n_voxels, 'bytes a voxel'),
        ('results', results/n_voxels, 'bytes a voxel'),
        ('written by workers', one['written']/n_voxels, 'bytes a voxel'),
        ('read by workers, mapped files apart', one['read']/n_voxels, 'bytes a voxel'),
        ('peak memory of a worker, files included', one['peak']/2**20, 'MB')]
    return scaling, help_rows, [dict(constant=name, value=float(value), unit=unit) for name, value, unit in constants]


def main():
    parser = arguments(__doc__)
    parser.add_argument('--shape', default='64,256,256', help='of each tomogram')
    parser.add_argument('--count', type=int, default=8, help='tomograms')
    parser.add_argument('--folder', help='for the tomograms and results; a temporary one where not given')
    args = parser.parse_args()
    print(f'{os.cpu_count()} processors')
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        scaling, help_rows, constants = measure(tuple(map(int, args.shape.split(','))), args.count, Path(folder))
    tables = [('the same tomograms on one and two workers', scaling), ('one tomogram, shared by two workers', help_rows),
              ('constants of the model', constants)]
    for table in tables: print_table(*table)
    finish(tables, args.json)


if __name__ == '__main__': main()
