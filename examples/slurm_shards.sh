#!/usr/bin/env bash
# Generates a dataset with an array of SLURM jobs, one per shard, and a last job that completes it.
#
#     examples/slurm_shards.sh SHARDS DATASET --foregrounds DIR --backgrounds DIR [more for generate]
#     JOB="--cpus-per-task=8 --gpus=1 --time=2:00:00" AT_ONCE=64 examples/slurm_shards.sh 256 ...
#
# All nodes must see DATASET, the pictures and this repository. JOB holds the options of sbatch for
# each job, AT_ONCE limits the number of jobs that run at a time. SHARDS must be below SLURM's
# MaxArraySize, which is 1,001 by default. The same command continues what failed or was
# interrupted. The last job runs when all shards are complete, and scores the labels of the dataset.
#
# If each node writes to its own disk, run `generate --shards N --shard-index I` into one directory
# per node, and join them: `python -m dsetkit merge DIR... --output DATASET`.
set -euo pipefail
if [[ $# -lt 3 ]]; then
    echo "usage: $0 SHARDS DATASET --foregrounds DIR --backgrounds DIR [more for generate]" >&2
    exit 2
fi
SHARDS=$1 DATASET=$2
export HERE=${HERE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)} # a job runs a copy of this file
export PYTHONPATH=$HERE${PYTHONPATH:+:$PYTHONPATH}

if [[ -z ${SLURM_JOB_ID:-} ]]; then # on the login node: submit both
    read -ra OPTIONS <<<"${JOB:-}"
    SELF=$HERE/examples/slurm_shards.sh
    ARRAY=$(sbatch --parsable "--array=0-$((SHARDS - 1))${AT_ONCE:+%$AT_ONCE}" \
        "${OPTIONS[@]}" "$SELF" "$@")
    exec sbatch "--dependency=afterok:${ARRAY%%;*}" --kill-on-invalid-dep=yes \
        "${OPTIONS[@]}" "$SELF" "$@"
fi

GENERATE=("${PYTHON:-python}" -m dsetkit generate --output "$DATASET" --shards "$SHARDS")
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    # One core writes and runs the teacher, the others draw.
    exec "${GENERATE[@]}" --shard-index "$SLURM_ARRAY_TASK_ID" \
        --workers "$((${SLURM_CPUS_PER_TASK:-1} - 1))" "${@:3}"
fi
exec "${GENERATE[@]}" --workers 0 "${@:3}"
