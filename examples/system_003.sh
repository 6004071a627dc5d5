#!/usr/bin/env bash
# System 003: two U-Nets that share their first block, binary cross-entropy for both maps, Adam.
#
#     examples/system_003.sh DATASET RUN [--smoke]
#     examples/system_003.sh C RUN --data A B C --chain     # A, B and C in turn; scores on C
#
# As its author intended: inputs background and composite, both losses with weight 1, Adam at 0.01,
# plateau with patience 3, batches of 128 at 64 px, 10 epochs. One thing is fixed: the author divided
# the targets by 255 twice.
set -euo pipefail
source "$(dirname "$0")/common.sh" "$@"

run train_joint.py --arch shared_unet --inputs background composite --output "$RUN" \
    --mask-loss bce --depth-loss bce --opt adam --lr 0.01 --weight-decay 0 \
    --sched plateau --plateau-patience 3 --img-sizes 64 --epochs 10 --batch-size 128 --augment none
score "$RUN" mask depth
