#!/usr/bin/env bash
# System 000: two U-Nets side by side, each picture's SSIM as loss, SGD with momentum 0.95.
#
#     examples/system_000.sh DATASET RUN [--smoke]
#
# As its author meant it: composite and background in, 2 SSIM(mask) + SSIM(depth) with windows of
# 3 px, gradient values cut at 0.1, batches of 48, 7 epochs. One thing is mended: his plateau
# watched a loss for its rise, so the rate fell while the loss was falling.
set -euo pipefail
source "$(dirname "$0")/common.sh" "$@"

run train_joint.py --arch dual_unet --inputs composite background --output "$RUN" \
    --mask-loss ssim3 --mask-weight 2 --depth-loss ssim3 \
    --opt sgd --lr 0.01 --momentum 0.95 --weight-decay 0 --clip-grad-value 0.1 \
    --sched plateau --plateau-patience 2 --img-sizes 64 --epochs 7 --batch-size 48 --augment none
score "$RUN" mask depth
