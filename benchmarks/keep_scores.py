"""Keeps what evaluate_mask.py and evaluate_depth.py wrote with --output among the other results.

    python -m benchmarks.keep_scores small_pair mask=runs/mask.json depth=runs/depth.json

Each NAME=FILE becomes a part of benchmarks/results/small_pair.json: scores, cells, stress, and how
they were measured. The seeds are those of the trainings, read from args.json beside each network.
"""

import argparse
import json
from pathlib import Path

from benchmarks.common import keep
from dsetkit.arguments import Parser
from dsetkit.files import read_json

KEPT = ("protocol", "scores", "cells", "intervals", "stress", "stress_cells")


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the JSON, without .json")
    parser.add_argument("parts", nargs="+", type=_part, metavar="NAME=FILE")
    args = parser.parse_args()
    parts, seeds = {}, set()
    for name, file in args.parts:
        evaluation = json.loads(file.read_text())
        parts[name] = {key: evaluation[key] for key in KEPT if evaluation[key]}
        arguments = Path(evaluation["checkpoint"]["path"]).parent / "args.json"
        if arguments.exists():  # a network that comes with the repository has none
            seeds.add(read_json(arguments)["arguments"]["seed"])
    keep(args.name, {"parts": parts}, seeds=sorted(seeds))


def _part(text: str) -> tuple[str, Path]:
    name, equals, file = text.partition("=")
    if not (name and equals and Path(file).is_file()):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE of an evaluation, got {text}")
    return name, Path(file)


if __name__ == "__main__":
    main()
