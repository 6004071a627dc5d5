"""Makes the bundled mask network from pictures: pieces, a dataset, a training, an ONNX file.

    python -m tools.bundle_mask --foregrounds DIR --backgrounds DIR --work DIR

    dsetkit/predicting/bundled_mask.onnx, bundled_mask.json     what `bundled:mask` is

The training takes about 45 minutes of one core; given the same --work, what is done is not done
again. The pictures must be such that their networks may be given away; BUNDLED_MASK.md names those
of the bundled file, and its scores.
"""

import shutil
from pathlib import Path

from benchmarks.common import run_python
from benchmarks.compare_labels import cut_pieces
from dsetkit.arguments import COUNT, Parser
from dsetkit.predicting.bundled import FILES, MASK


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, required=True, metavar="DIR", help="photographs")
    add("--work", type=Path, required=True, metavar="DIR", help="what is made on the way")
    add("--samples", type=COUNT, default=80_000, help="composites (default: %(default)s)")
    args = parser.parse_args()
    pieces, data, run = (args.work / name for name in ("pieces", "data", "run"))
    if not pieces.exists():
        cut_pieces(sorted(args.backgrounds.iterdir()), args.work / "pieces-new")
        (args.work / "pieces-new").rename(pieces)
    run_python(
        *("-m", "dsetkit", "generate", "--foregrounds", args.foregrounds, "--backgrounds", pieces),
        *("--output", data, "--num-samples", args.samples, "--size", 160, "--teacher", "none"),
        *("--layout", "recipe"),
    )
    if (run / "state.pt").exists():
        run_python("train_mask.py", "--output", run, "--resume")
    else:
        run_python(
            *("train_mask.py", "--data", data, "--output", run, "--arch", "mask_slim"),
            *("--inputs", "composite", "background", "--img-sizes", 64, 128, "--epochs", 1, 2),
            *("--batch-size", 16, "--lr", 3e-3, "--warmup-steps", 200, "--clip-grad", 1),
            *("--ema", 0.999, "--amp", "none"),
        )
    exported = run / "mask.onnx"
    best = run / "best.safetensors"
    run_python("-m", "dsetkit", "export-model", best, "--any-size", "--output", exported)
    for suffix in (".onnx", ".json"):
        shutil.copy(exported.with_suffix(suffix), FILES[MASK].with_suffix(suffix))
    print(f"{FILES[MASK]}: {FILES[MASK].stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
