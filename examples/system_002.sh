#!/usr/bin/env bash
# System 002: a ResNet-50 up-projection depth network, and a mask found through it alone.
#
#     examples/system_002.sh DATASET RUN [--smoke]
#
# As its author meant it: the composite in, depth first; then a mask network that never sees a
# mask: it keeps what the frozen depth network needs to answer the same, and pays for every pixel
# it keeps. 32 then 64 px, Adam. (train_mask.py without --loss saliency trains it with masks.)
set -euo pipefail
source "$(dirname "$0")/common.sh" "$@"

run train_depth.py --arch resnet50_upproj --output "$RUN/depth" --loss l1+grad+cosine \
    --opt adam --lr 1e-4 --weight-decay 1e-4 --sched step --step-epochs 5 \
    --img-sizes 32 64 --epochs 10 10 --batch-size 64
run train_mask.py --arch mask_autoencoder --output "$RUN/mask" --loss saliency \
    --depth-checkpoint "$RUN/depth/best.safetensors" \
    --opt adam --lr 1e-4 --weight-decay 1e-4 --sched step --step-epochs 100 \
    --img-sizes 32 64 --epochs 10 10 --batch-size 64
score "$RUN/depth" depth
score "$RUN/mask" mask
