"""Scores the bundled teacher on every camera at hand, with 95 % intervals; writes JSON and a table.

    python -m benchmarks.teacher_card --nyu NYU/test --cameras RGBD --work DIR

NYU: pairs of frames that the teacher has not been trained on. RGBD: a folder of pairs for each
other camera. Each frame is answered once, and once more as the mean with the answer to its mirror
image; scored in metres as it is answered, and with one factor fitted to each frame (the ratio of
the medians), which leaves the shape alone.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import keep, run_python
from benchmarks.tables import teacher_card
from dsetkit import SampleDataset
from dsetkit.arguments import COUNT, Parser
from dsetkit.teachers import load_teacher, settings_of
from tools.score_teacher import label
from training.scoring.evaluation import keep_some
from training.scoring.metrics import DRAWS, DepthMetrics

WAYS = {"once": False, "flip": True}  # name -> mean with the answer to the mirror image
SCORES = ("delta_1", "rmse_m", "abs_rel")
FITS = {"metres": "none", "shape": "median"}  # name -> alignment
CROPS = {"nyu": "toolbox"}  # of a camera; the others count whole frames


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--nyu", type=Path, required=True, metavar="DIR", help="pairs of NYU test frames")
    add("--cameras", type=Path, required=True, metavar="DIR", help="a folder of pairs for each")
    add("--work", type=Path, required=True, metavar="DIR", help="what is made on the way")
    add("--limit-frames", type=COUNT, metavar="N", help="of each camera (default: all)")
    args = parser.parse_args()
    folders = {"nyu": args.nyu} | {
        folder.name: folder for folder in sorted(args.cameras.iterdir()) if folder.is_dir()
    }
    cameras = {}
    for name, folder in folders.items():
        data = args.work / name
        if not data.exists():
            words = ("-m", "dsetkit", "import-rgbd", "--root", folder, "--output", data)
            run_python(*words, "--split", "test", "--skip-bad")
        crop = CROPS.get(name, "none")
        cameras[name] = score(data, crop=crop, at_most=args.limit_frames)
    content = {"bootstrap_draws": DRAWS, "cameras": cameras}
    print(teacher_card(content))
    keep("teacher_card", content, seeds=[0])


def score(dataset: Path, *, crop: str, at_most: int | None) -> dict:
    """The scores of the bundled teacher on the test split of a dataset of pairs.

    Args:
        dataset: as `import-rgbd` writes it.
        crop: a name in `training.scoring.protocols.CROPS`.
        at_most: frames, spread over the dataset; None = all.

    Returns:
        The teacher's settings, the number of frames, the median measured and answered depth [m];
        and for each of WAYS the milliseconds of CPU time for a frame and, for each of FITS,
        score -> value, low, high.
    """
    teacher = load_teacher("bundled", device="cpu", threads=1)
    assert teacher is not None
    data = SampleDataset(str(dataset), split="test", size=None, fields=("composite", "depth"))
    keep_some(data, at_most)
    most_m = data.manifest.max_depth_m
    metrics = {
        (way, fit): DepthMetrics(most_m, crop=crop, align=how)
        for way in WAYS
        for fit, how in FITS.items()
    }
    seconds = dict.fromkeys(WAYS, 0.0)
    measured, answered = [], []
    for number in range(len(data)):
        sample = data[number]
        picture = np.asarray(sample["composite"]).transpose(1, 2, 0)[None].copy()
        target = torch.as_tensor(sample["depth"])[None]
        for way, flip in WAYS.items():
            began = time.process_time()
            depth = label(teacher, picture, first=number, flip=flip)
            seconds[way] += time.process_time() - began
            for fit in FITS:
                metrics[way, fit].update(torch.from_numpy(depth)[:, None] / most_m, target)
        measured.append(float(target[target > 0].median()) * most_m)
        answered.append(float(np.median(depth)))
    result: dict = {"teacher": settings_of(teacher), "frames": len(data)}
    result |= {"median_m": float(np.median(measured)), "answered_m": float(np.median(answered))}
    for way in WAYS:
        result[way] = {"cpu_ms": 1000 * seconds[way] / len(data)}
        result[way] |= {fit: with_intervals(metrics[way, fit]) for fit in FITS}
    return result


def with_intervals(metric: DepthMetrics) -> dict[str, Sequence[float]]:
    """Score -> (mean over frames, low, high): see `DepthMetrics.intervals`."""
    found, ends = metric.compute(), metric.intervals()
    return {name: (found[f"{name}_per_image"], *ends[f"{name}_per_image"]) for name in SCORES}


if __name__ == "__main__":
    main()
