#!/usr/bin/env bash
# System 001: one residual encoder, two pixel-shuffle decoders, Dice with squared denominators.
#
#     examples/system_001.sh DATASET RUN [--smoke]
#
# As its author intended: inputs background and composite, loss 2 Dice(mask) + Dice(depth), SGD with
# momentum 0.9, gradient values clipped at 0.1, colour shifts, noise and rotation by up to 10
# degrees, 64 then 256 px. The learning rate was not recorded; 0.01 is our choice. One thing is
# fixed: the author's plateau schedule got no metric, which is an error after the first epoch.
set -euo pipefail
source "$(dirname "$0")/common.sh" "$@"

run train_joint.py --arch res_unet --inputs background composite --output "$RUN" \
    --mask-loss dice_squared --mask-weight 2 --depth-loss dice_squared \
    --opt sgd --lr 0.01 --momentum 0.9 --weight-decay 1e-8 --clip-grad-value 0.1 \
    --sched plateau --plateau-patience 2 --img-sizes 64 256 --epochs 7 2 --batch-size 16 \
    --augment hsv_or_rgb+noise+rotate
score "$RUN" mask depth
