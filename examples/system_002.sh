#!/usr/bin/env bash
# System 002: a ResNet-50 up-projection depth network, and a mask network trained through it.
#
#     examples/system_002.sh DATASET RUN [--smoke]
#
# As its author intended: the input is the composite; 32 then 64 px, Adam. The depth network is
# trained first and then frozen. The mask network is trained without masks: its mask must keep the
# pixels that the depth network needs to predict the same depth, and every kept pixel adds to the
# loss. (train_mask.py without --loss saliency trains it with masks.)
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
