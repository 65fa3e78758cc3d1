"""Start workers as SLURM jobs, and wait: `python slurm.py 100`. Then, in another terminal, the command that it prints.

Each job is one worker: one processor, one thread. Not run by the authors on such a machine. Change queue, time and memory to your own.
"""
import sys
import time

from dask_jobqueue import SLURMCluster


def cluster(interface='ib0', port=8786, dashboard=':8787'):
    "A cluster without workers; `interface` is the network that the nodes share."
    return SLURMCluster(
        queue='cpu',
        walltime='08:00:00',
        cores=1,
        processes=1,
        memory='8GB',                                   # of the job
        interface=interface,
        worker_extra_args=['--memory-limit', '0'],      # SLURM limits memory; Dask would count mapped files
        job_extra_directives=['--requeue'],
        scheduler_options=dict(port=port, dashboard_address=dashboard))


def main():
    with cluster() as here:
        here.scale(jobs=int(sys.argv[1]))
        print(f'cryoseg run *.mrc -o DIR --scheduler {here.scheduler_address}')
        print(f'the dashboard: {here.dashboard_link}; Ctrl-C ends all workers')
        while True: time.sleep(60)


if __name__ == '__main__': main()
