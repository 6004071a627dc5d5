#!/usr/bin/env bash
# One training on all GPUs of this machine, or of several machines under SLURM.
#
#     examples/many_gpus.sh DATASET RUN [more arguments for train_depth.py]
#     sbatch --nodes 2 --gpus-per-node 4 --ntasks-per-node 1 examples/many_gpus.sh DATASET RUN
#
# --batch-size counts the samples of all processes together. All machines must see the run folder.
# The same command continues an interrupted run, on any number of GPUs that divides the batch.
set -euo pipefail
if [[ $# -lt 2 ]]; then
    echo "usage: $0 DATASET RUN [more arguments for train_depth.py]" >&2
    exit 2
fi
DATA=$1 RUN=$2
shift 2
HERE=${SLURM_SUBMIT_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)} # sbatch runs a copy of this file

LAUNCH=("${PYTHON:-python}" -m torch.distributed.run --nproc-per-node "${PROCESSES:-gpu}")
if [[ ${SLURM_NNODES:-1} -gt 1 ]]; then
    FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
    LAUNCH=(srun "${LAUNCH[@]}" --nnodes "$SLURM_NNODES" --rdzv-backend c10d
        --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$FIRST:29500")
else
    LAUNCH+=(--standalone)
fi

if [[ -e $RUN/state.pt ]]; then
    exec "${LAUNCH[@]}" "$HERE/train_depth.py" --data "$DATA" --output "$RUN" --resume
fi
exec "${LAUNCH[@]}" "$HERE/train_depth.py" --data "$DATA" --output "$RUN" --batch-size 128 \
    --sync-bn "$@"
