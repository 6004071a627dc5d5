"""Makes more backgrounds for trainings of depth: photographs with NYU frames, and pieces of both.

    python -m benchmarks.more_scenes --foregrounds DIR --backgrounds DIR --frames nyu/train \
        --output DIR

    train-foregrounds   the cut-outs of the train split
    scenes              the photographs of the train split and the frames
    crops               pieces of them at random places, 0.45 to 1 of the sides, up to 16 % wider or
                        higher: a piece of a scene is another scene to learn from

The splits are those that `generate` gives with its default seed. Where a photograph is an NYU frame
(`nyu_NNNN.jpg`) of another split, the frames within 8 numbers of it show the same room; they are
left out. So no training on these folders sees a test background or a test foreground.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import link_into
from dsetkit.arguments import COUNT, Parser
from dsetkit.assets import assign_splits, picture_files

SEED = 0
SAME_ROOM = 8  # frame numbers
SIDES = (0.45, 1.0)  # of a piece, as a share of the picture's
LONGEST_SIDE = 480  # of a piece [px]; the teacher sees less
STRETCH = 1.16
FRAME = re.compile(r"nyu_(\d+)")


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR")
    add("--backgrounds", type=Path, required=True, metavar="DIR")
    add("--frames", type=Path, required=True, metavar="DIR", help="with files NNNN_color.jpg")
    add("--output", type=Path, required=True, metavar="DIR", help="for the three folders")
    add("--pieces", type=COUNT, nargs=2, default=(14, 3), metavar=("N", "M"),
        help="of each photograph and of each frame (default: 14 3)")  # fmt: skip
    args = parser.parse_args()

    cut_outs = list(picture_files(args.foregrounds).values())
    photographs = list(picture_files(args.backgrounds).values())
    frames = frames_of_other_rooms(args.frames, photographs)
    photographs = of_split(photographs, "train")
    link_into(args.output / "train-foregrounds", of_split(cut_outs, "train"))
    link_into(args.output / "scenes", [*photographs, *frames])
    folder = args.output / "crops"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(SEED)
    for files, pieces in zip((photographs, frames), args.pieces, strict=True):
        for file in files:
            cut_pieces(file, folder, pieces, rng)
    for name in ("train-foregrounds", "scenes", "crops"):
        print(f"{name}: {len(list((args.output / name).iterdir())):,} pictures")


def of_split(files: Iterable[Path], split: str) -> list[Path]:
    """Return the files that `generate` puts into a split."""
    files = list(files)
    splits = assign_splits([file.stem for file in files], seed=SEED)
    return [file for file, own in zip(files, splits, strict=True) if own == split]


def frames_of_other_rooms(folder: Path, photographs: Iterable[Path]) -> list[Path]:
    """Return the frames of a folder that show no room of a photograph outside of train."""
    photographs = list(photographs)
    held_out = set(photographs) - set(of_split(photographs, "train"))
    numbers = [int(found[1]) for file in held_out if (found := FRAME.fullmatch(file.stem))]
    return [
        frame
        for frame in sorted(folder.glob("*_color.jpg"))
        if all(abs(int(frame.stem.split("_")[0]) - number) > SAME_ROOM for number in numbers)
    ]


def cut_pieces(file: Path, folder: Path, pieces: int, rng: np.random.Generator) -> None:
    """Write pieces of a picture as JPEG."""
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    for number in range(pieces):
        shares = rng.uniform(*SIDES) * np.array([1, rng.uniform(1 / STRETCH, STRETCH)])
        height, width = (
            round(side * min(share, 1))
            for side, share in zip(picture.shape[:2], shares, strict=True)
        )
        top, left = (
            int(rng.integers(0, side - length + 1))
            for side, length in zip(picture.shape[:2], (height, width), strict=True)
        )
        piece = picture[top : top + height, left : left + width]
        scale = LONGEST_SIDE / max(height, width)
        if scale < 1:
            piece = cv2.resize(piece, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        path = folder / f"{file.stem}-{number}.jpg"
        cv2.imwrite(str(path), piece, [cv2.IMWRITE_JPEG_QUALITY, 95])


if __name__ == "__main__":
    main()
