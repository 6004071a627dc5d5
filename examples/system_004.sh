#!/usr/bin/env bash
# System 004: a small network at full resolution, one block shared by both pictures, L1 loss.
#
#     examples/system_004.sh DATASET RUN [--smoke]
#
# As its author intended: inputs background and composite, loss L1(mask) + 2 L1(depth), SGD with
# momentum 0.9, batches of 32 at 64 px, 10 epochs. One thing is fixed: the author divided the rate
# by 100 after every epoch (1e-2, 1e-4, 1e-6, ...), so training stopped after the second. Here the
# rate is divided by 10 every 4 epochs.
set -euo pipefail
source "$(dirname "$0")/common.sh" "$@"

run train_joint.py --arch lite_dual --inputs composite background --output "$RUN" \
    --mask-loss l1 --depth-loss l1 --depth-weight 2 --opt sgd --lr 0.01 --momentum 0.9 \
    --weight-decay 1e-5 --sched step --step-epochs 4 --step-gamma 0.1 \
    --img-sizes 64 --epochs 10 --batch-size 32 --augment none
score "$RUN" mask depth
