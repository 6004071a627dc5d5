"""Measures how fast the pictures of a sample are decoded and shrunk, by one thread; writes JSON.

    python -m benchmarks.bench_decoders --data DATASET [--sizes 64 224] [--samples 500]

The same JPEG and PNG bytes for all: composite, mask and depth of a rendered dataset, which are in
memory. The decoders (`benchmarks.peers.shared.DECODERS`) take turns, round after round. A decoder
whose library is not installed is left out, and a note says so.
"""

import warnings
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import torch

from benchmarks.common import report, rounds
from benchmarks.peers.shared import DECODERS, Decode, Encoded, EncodedSamples
from dsetkit.arguments import COUNT, SIDE_PX, Parser

PACKAGES = {"Pillow": "pillow", "torchvision": "torchvision", "TorchCodec": "torchcodec"}


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DATASET", help="of the rendered layout")
    add("--sizes", type=SIDE_PX, nargs="+", default=[64, 224], help="[px] (default: 64 224)")
    add("--samples", type=COUNT, default=500, metavar="N", help="in a round (default: 500)")
    add("--repeat", type=COUNT, default=5, metavar="N", help="rounds (default: 5)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # torchvision says in each round that its decoders will go.
    warnings.filterwarnings("ignore", category=DeprecationWarning)

    samples = EncodedSamples(args.data)
    encoded = [samples[index] for index in range(min(args.samples, len(samples)))]
    notes = {"samples": f"{len(encoded):,}"}
    cases = {}
    for name, decode in DECODERS.items():
        if package := PACKAGES.get(name):
            try:
                notes[f"version, {name}"] = version(package)
            except PackageNotFoundError:
                notes[f"{name} skipped"] = f"not installed: pip install {package}"
                continue
        for size in args.sizes:
            cases[f"{size} px: {name}"] = partial(decode_all, decode, encoded, size)
    report("bench_decoders: samples decoded", rounds(cases, repeat=args.repeat), notes, seeds=[])


def decode_all(decode: Decode, encoded: list[Encoded], size: int) -> int:
    for files in encoded:
        decode(files, size)
    return len(encoded)


if __name__ == "__main__":
    main()
