"""Makes the bundled teacher of a training's weights: float16, to dsetkit/teachers/.

python -m tools.bundle_teacher runs/teacher/best.safetensors
"""

import argparse
from pathlib import Path

from dsetkit.teachers import BUNDLED
from models import load_model, save_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="weights written by train_depth.py")
    args = parser.parse_args()
    net, about = load_model(args.checkpoint, needs="depth")
    save_model(BUNDLED, net, about, dtype="float16")
    print(f"{BUNDLED}: {BUNDLED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
