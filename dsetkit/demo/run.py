"""The demo: draw pictures, generate a dataset, train and evaluate both networks briefly.

It runs the commands that a user would type, and prints each of them, so that users can follow,
repeat and change them. It trains the small networks; at the end it prints the commands for the full
ones.
"""

import shlex
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from dsetkit.demo.scenes import write_pictures
from dsetkit.errors import DsetkitError
from dsetkit.spawning import bound_command

REPOSITORY = Path(__file__).parents[2]

SCRIPTS = ("train_depth.py", "train_mask.py", "evaluate_depth.py", "evaluate_mask.py")
ROOMS, CUTOUTS = 32, 32
SIZE = 160  # of the dataset's pictures [px]
TRAIN_SIZE = 96  # [px]
GAP_PX = 24  # between the pictures of the overview

FULL_NETWORKS = """\
These were small networks on drawn pictures. The full ones, on your own pictures:

  python -m dsetkit generate --foregrounds DIR --backgrounds DIR --output data/mine
  python train_depth.py --data data/mine --output runs/depth --img-sizes 32 64 --epochs 10 10
  python train_mask.py  --data data/mine --output runs/mask --inputs composite background \\
                        --img-sizes 32 64 --epochs 10 10
  python evaluate_depth.py --data data/mine --checkpoint runs/depth/best.safetensors
  python evaluate_mask.py  --data data/mine --checkpoint runs/mask/best.safetensors
"""


def demo(output: Path, *, samples: int, epochs: int) -> Path:
    """Run all steps, from drawn pictures to evaluated networks.

    Args:
        output: Folder for all results. It must be new or empty.
        samples: Number of samples of the dataset.
        epochs: Epochs of each training.

    Returns:
        The path of the picture `predictions.png`, which shows predictions of both networks.

    Raises:
        DsetkitError: The repository's scripts are not there, `output` is not empty, or a step
            failed. The step has printed its own error.
    """
    _check_scripts()
    if output.exists() and any(output.iterdir()):
        raise DsetkitError(
            f"{output} is not empty: the demo wants a folder of its own; remove it or choose "
            "another --output"
        )
    start = time.monotonic()
    _step("1/6  draw pictures", f"{CUTOUTS} cut-outs and {ROOMS} rooms")
    foregrounds, backgrounds = write_pictures(output / "pictures", rooms=ROOMS, cutouts=CUTOUTS)

    data = output / "dataset"
    _step("2/6  generate a dataset", f"{samples} samples, depth by the bundled NYU teacher")
    _dsetkit(
        "generate", "--foregrounds", foregrounds, "--backgrounds", backgrounds,
        "--output", data, "--num-samples", samples, "--size", SIZE, "--teacher", "bundled",
    )  # fmt: skip
    _dsetkit("verify", data)
    _dsetkit("show", data, "--output", output / "dataset.png")

    _step("3/6  train the depth network", f"depth_lite, {epochs} epochs at {TRAIN_SIZE} px")
    short = ["--data", data, "--img-sizes", TRAIN_SIZE, "--epochs", epochs, "--batch-size", 16]
    _script(
        "train_depth.py", *short, "--arch", "depth_lite", "--loss", "silog+l1", "--lr", 1e-3,
        "--output", output / "depth",
    )  # fmt: skip
    _step("4/6  train the mask network", f"mask_lite, {epochs} epochs at {TRAIN_SIZE} px")
    _script(
        "train_mask.py", *short, "--arch", "mask_lite", "--inputs", "composite", "background",
        "--lr", 2e-3, "--output", output / "mask",
    )  # fmt: skip

    for number, task in ((5, "depth"), (6, "mask")):
        _step(f"{number}/6  evaluate the {task} network", "on the test split")
        _script(
            f"evaluate_{task}.py", "--data", data,
            "--checkpoint", output / task / "best.safetensors",
            "--output", output / task / "metrics.json", "--grid", output / f"{task}.png",
            *(["--stress"] if task == "mask" else []),
        )  # fmt: skip
    picture = output / "predictions.png"
    _join_pictures([output / "mask.png", output / "depth.png"], picture)

    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(f"\nDone in {minutes} min {seconds:02d} s. Look at {picture}\n\n{FULL_NETWORKS}")
    return picture


def _check_scripts() -> None:
    """Raises DsetkitError unless the scripts that train and evaluate lie beside the package."""
    missing = [name for name in SCRIPTS if not (REPOSITORY / name).is_file()]
    if missing:
        raise DsetkitError(
            "demo trains and evaluates by the scripts of dsetkit's repository, which are not "
            "installed with it: run `python -m dsetkit demo` in a clone"
        )


def _step(title: str, description: str) -> None:
    print(f"\n== {title}: {description}", flush=True)


def _dsetkit(*arguments: object) -> None:
    _run([sys.executable, "-m", "dsetkit", *map(str, arguments)])


def _script(name: str, *arguments: object) -> None:
    _run([sys.executable, str(REPOSITORY / name), *map(str, arguments)])


def _run(command: list[str]) -> None:
    """Print a command as a user would type it, and run it."""
    typed = ["python", *(part.removeprefix(f"{REPOSITORY}/") for part in command[1:])]
    print(f"$ {shlex.join(typed)}", flush=True)
    options = bound_command()
    options["env"] |= {"PYTHONPATH": str(REPOSITORY)}
    finished = subprocess.run(command, **options)
    if finished.returncode:
        raise DsetkitError(f"the step above ended with status {finished.returncode}")


def _join_pictures(paths: list[Path], output: Path) -> None:
    """Write pictures side by side, on the background colour of the first."""
    images = [_read(path) for path in paths]
    height = max(len(image) for image in images)
    background = images[0][0, 0].tolist()
    padded = [
        cv2.copyMakeBorder(
            image, 0, height - len(image), 0, GAP_PX, cv2.BORDER_CONSTANT, value=background
        )
        for image in images
    ]
    cv2.imwrite(str(output), np.hstack(padded))


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise DsetkitError(f"{path} is missing or not a picture")
    return image
