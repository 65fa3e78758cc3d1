#!/bin/sh
# Plain machines that share a folder: a scheduler here, a worker for each processor of each machine named.
# Usage: sh machines.sh host1 host2 ...       Not run by the authors on such machines.
set -eu

port=8786
here=$(hostname -f)

dask scheduler --host "$here" --port "$port" &
trap 'kill %1' EXIT INT TERM

for host in "$@"; do
    # -tt: the workers end with this script
    ssh -tt "$host" "dask worker tcp://$here:$port --nthreads 1 --nworkers \$(nproc) --memory-limit 0 --death-timeout 60" &
done

echo "cryoseg run *.mrc -o DIR --scheduler tcp://$here:$port"
wait
