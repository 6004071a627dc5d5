"""The flags that the evaluation scripts share; known without torch."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dsetkit.arguments import BATCH, COUNT, WORKERS, image_size

# --average -> ending of the scores' names, in `metrics`
AVERAGES = {"image": "per_image", "pixel": "pooled"}


def add_evaluation_arguments(
    parser: argparse.ArgumentParser, *, size_help: str, train_data_help: str
) -> None:
    """Adds the flags that do not depend on the map that is scored.

    Args:
        parser: the script's parser.
        size_help: the help of --img-size.
        train_data_help: the help of --train-data.
    """
    # fmt: off
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="dataset to score on")
    add("--checkpoint", required=True, type=Path, metavar="FILE", help=".safetensors of a training")
    add("--split", choices=("train", "val", "test"), default="test", help="(default: test)")
    add("--limit-samples", type=COUNT, metavar="N",
        help="score N samples, spread over the split, for a quick look (default: all)")
    add("--batch-size", type=BATCH, default=32, metavar="N", help="(default: 32)")
    add("--workers", type=WORKERS, default=0, metavar="N", help="processes that load (default: 0)")
    add("--img-size", type=image_size, metavar="SIZE", help=size_help)
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    add("--train-data", metavar="DATASET", help=train_data_help)
    add("--published", action="store_true",
        help="also the odd scores of reference systems; see training/scoring/published_scores.py")
    add("--output", type=Path, metavar="FILE", help="write everything as JSON")
    add("--grid", type=Path, metavar="FILE", help="write a picture of predictions (PNG)")
    # fmt: on


def add_average_arguments(add: Callable[..., Any]) -> None:
    """Adds --tta and --average by the `add_argument` of a parser or of a group."""
    # fmt: off
    add("--tta", choices=("none", "flip"), default="none",
        help="flip: mean of the answers to the picture and to its mirror image (default: none)")
    add("--average", choices=AVERAGES, default="image",
        help="printed first: mean over images, or all pixels as one image (default: image)")
    # fmt: on


def describe_averages(tta: str) -> dict[str, str]:
    """What --tta and the two averages mean, for people, by topic."""
    return {
        "augmentation": "mean with the mirrored picture" if tta == "flip" else "none",
        "per image": "mean over images of each image's score",
        "pooled": "score of all pixels as if of one image",
    }
