#!/usr/bin/env bash
# A dataset by an array of SLURM jobs, one for each shard, and a last job that gathers.
#
#     examples/slurm_shards.sh SHARDS DATASET --foregrounds DIR --backgrounds DIR [more for generate]
#     JOB="--cpus-per-task=8 --gpus=1 --time=2:00:00" AT_ONCE=64 examples/slurm_shards.sh 256 ...
#
# DATASET, the pictures and this repository must be where all nodes see them. JOB is what sbatch is
# told of each job, AT_ONCE how many may run at a time. SHARDS is bounded by SLURM's MaxArraySize,
# 1,001 where nobody changed it. What failed or was cut off goes on with the same line. The last job
# finds all shards there, and scores the labels of the whole.
#
# Where each node writes to a disk of its own, run `generate --shards N --shard-index I` into a
# directory each, and join them: `python -m dsetkit merge DIR... --output DATASET`.
set -euo pipefail
if [[ $# -lt 3 ]]; then
    echo "usage: $0 SHARDS DATASET --foregrounds DIR --backgrounds DIR [more for generate]" >&2
    exit 2
fi
SHARDS=$1 DATASET=$2
export HERE=${HERE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)} # a job runs a copy of this
export PYTHONPATH=$HERE${PYTHONPATH:+:$PYTHONPATH}

if [[ -z ${SLURM_JOB_ID:-} ]]; then # on the login node: hand in both
    read -ra OPTIONS <<<"${JOB:-}"
    SELF=$HERE/examples/slurm_shards.sh
    ARRAY=$(sbatch --parsable "--array=0-$((SHARDS - 1))${AT_ONCE:+%$AT_ONCE}" \
        "${OPTIONS[@]}" "$SELF" "$@")
    exec sbatch "--dependency=afterok:${ARRAY%%;*}" --kill-on-invalid-dep=yes \
        "${OPTIONS[@]}" "$SELF" "$@"
fi

GENERATE=("${PYTHON:-python}" -m dsetkit generate --output "$DATASET" --shards "$SHARDS")
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    # One core writes and asks the teacher, the others draw.
    exec "${GENERATE[@]}" --shard-index "$SLURM_ARRAY_TASK_ID" \
        --workers "$((${SLURM_CPUS_PER_TASK:-1} - 1))" "${@:3}"
fi
exec "${GENERATE[@]}" --workers 0 "${@:3}"
