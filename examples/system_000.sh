#!/usr/bin/env bash
# System 000: two separate U-Nets, SSIM loss per picture, SGD with momentum 0.95.
#
#     examples/system_000.sh DATASET RUN [--smoke]
#
# As its author intended: inputs composite and background, loss 2 SSIM(mask) + SSIM(depth) with
# windows of 3 px, gradient values clipped at 0.1, batches of 48, 7 epochs. One thing is fixed: the
# author's plateau schedule expected the loss to rise, so it lowered the rate while the loss fell.
set -euo pipefail
source "$(dirname "$0")/common.sh" "$@"

run train_joint.py --arch dual_unet --inputs composite background --output "$RUN" \
    --mask-loss ssim3 --mask-weight 2 --depth-loss ssim3 \
    --opt sgd --lr 0.01 --momentum 0.95 --weight-decay 0 --clip-grad-value 0.1 \
    --sched plateau --plateau-patience 2 --img-sizes 64 --epochs 7 --batch-size 48 --augment none
score "$RUN" mask depth
