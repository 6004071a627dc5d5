"""From which alpha on should a pixel have the depth of the object? Boundary recall decides.

    python -m benchmarks.object_alpha --foregrounds DIR --backgrounds DIR [--samples 1000]

The labels of scene depth are drawn with each threshold, at each size, and scored against the edges
of the mask. Depth Pro scores at alpha 0.1 (26 of 255), which favours labels drawn from there on; so
the edges are taken at the half of alpha (128) too. The last row of a size does not depend on edges:
it says by how much the area of the object in the label exceeds its alpha.
"""

import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.common import keep, markdown_table
from dsetkit.arguments import COUNT, Parser
from dsetkit.compositing import compositor
from dsetkit.compositing.recipe import Canvas
from dsetkit.datasets.reader import Dataset
from dsetkit.generating import SceneDepth, Spread, generate
from dsetkit.labels import TeacherChoice
from dsetkit.labels.quality import boundary_recall, inverse_depth

THRESHOLDS = (13, 26, 64, 128)  # from which on an object is drawn
EDGES = (26, 128)  # of the mask that is scored against
SIZES = (56, 96, 224)


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR")
    add("--backgrounds", type=Path, required=True, metavar="DIR")
    add("--samples", type=COUNT, default=1000, help="(default: %(default)s)")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        generate(
            foregrounds=args.foregrounds,
            backgrounds=args.backgrounds,
            output=Path(folder) / "d",
            num_samples=args.samples,
            canvas=Canvas(size=max(SIZES)),
            teacher=TeacherChoice(name="bundled"),
            scene=SceneDepth(),
            layout="recipe",
            spread=Spread(workers=0),
        )
        dataset = Dataset(Path(folder) / "d")
        names = [*(f"recall, edge at {edge}" for edge in EDGES), "area beyond alpha"]
        scores = {
            f"{size} px": {
                f"{drawn}": dict(zip(names, scores_of(dataset, drawn, size), strict=True))
                for drawn in THRESHOLDS
            }
            for size in SIZES
        }
    rows = [
        [size, drawn, *(f"{100 * found[name]:.1f} %" for name in names)]
        for size, by_threshold in scores.items()
        for drawn, found in by_threshold.items()
    ]
    print(markdown_table(["labels of", "objects drawn from alpha", *names], rows))
    keep("object_alpha", {"samples": args.samples, "scores": scores}, seeds=[0])


def scores_of(dataset: Dataset, drawn: int, size: int) -> list[float]:
    """The mean recall of labels against each of EDGES, and by how much objects exceed their alpha.

    Args:
        dataset: With scene depth, in the recipe layout.
        drawn: Alpha of 255 from which on objects are drawn.
        size: Side at which labels are drawn and scored [px].
    """
    found: list[list[float | None]] = []
    with patch.object(compositor, "OBJECT_ALPHA", drawn):
        for record in dataset.records(range(len(dataset))):
            fields = dataset.compositor.fields(record, ("depth",), (size, size))
            depth = fields["depth"]
            inverse = inverse_depth(depth, kind=dataset.manifest.depth_kind, size=depth.shape)
            masks = (np.uint8(255) * (fields["mask"] >= edge) for edge in EDGES)
            recalls = [boundary_recall(inverse, mask) for mask in masks]
            area = np.mean(fields["mask"] >= drawn) / np.mean(fields["mask"] / 255) - 1
            found.append([*recalls, float(area)])
    columns = zip(*found, strict=True)
    return [float(np.mean([one for one in column if one is not None])) for column in columns]


if __name__ == "__main__":
    main()
