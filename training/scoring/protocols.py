"""Evaluation protocols by the names that the field uses: which pixels count, and their unit.

| `--protocol` | crop                  | valid depth             | used by                         |
|--------------|-----------------------|-------------------------|---------------------------------|
| `full`       | none                  | 1 mm .. dataset's limit | FCRN (Laina et al. 2016)        |
| `nyu`        | NYU toolbox, `toolbox`| 1 mm .. 10 m            | BTS, AdaBins and who came after |
| `eigen`      | Eigen, `eigen`        | 1 mm .. 10 m            | Eigen et al. 2014, DORN         |

BTS and AdaBins call the toolbox's crop "eigen_crop"; it is not that of Eigen et al. Both crops are
defined for whole 480x640 frames. Many copies of NYU have the white border cut off (rows 12:468 and
columns 16:624 remain), so each crop has two names. A program cannot see which frames a dataset has:
choose with `--crop`.
"""

import argparse
from dataclasses import dataclass
from typing import Any, TypedDict

from training.scoring.flags import add_average_arguments, describe_averages

MIN_DEPTH_M = 1e-3

ALIGNMENTS = ("none", "median", "scale-shift")  # see training/scoring/alignment.py

# name: (height, width) of the frame it was written for, rows from:to, columns from:to
CROPS: dict[str, tuple[int, int, int, int, int, int] | None] = {
    "none": None,
    # NYU toolbox crop [45:471, 41:601] on frames whose white border (12:468, 16:624) was cut off
    "toolbox": (240, 320, 17, 240, 13, 307),
    # the same crop on whole 640x480 frames
    "toolbox-uncut": (480, 640, 45, 471, 41, 601),
    # Eigen's crop [20:460, 24:616] on cut frames: 4.2 pixels of 240x320 on each side
    "eigen": (240, 320, 4, 236, 4, 316),
    "eigen-uncut": (480, 640, 20, 460, 24, 616),
}


# name: crop, and the depth from which targets do not count [m]; None: the dataset's largest depth
PROTOCOLS: dict[str, tuple[str, float | None]] = {
    "full": ("none", None),
    "nyu": ("toolbox", 10.0),
    "eigen": ("eigen", 10.0),
}


class Scale(TypedDict):
    """What a depth of 0..1 means: arguments of `DepthMetrics` and of prediction grids.

    Attributes:
        max_depth_m: what a metric depth of 1 means [m].
        depth_kind: "metric", or "relative" for inverse depth of unknown scale.
    """

    max_depth_m: float
    depth_kind: str


def add_protocol_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --protocol, --crop, --align, --tta and --average."""
    # fmt: off
    add = parser.add_argument_group("protocol").add_argument
    add("--protocol", choices=PROTOCOLS, default="full",
        help="crop and valid range as the field scores; nyu, eigen: up to 10 m (default: full)")
    add("--crop", choices=CROPS,
        help="another crop than the protocol's; -uncut: frames that have their white border")
    add("--align", choices=ALIGNMENTS, default="none",
        help="each prediction to its target: scale by medians, or scale and shift by least squares")
    # fmt: on
    add_average_arguments(add)


def read_protocol(args: argparse.Namespace, scale: Scale, *, prediction_kind: str) -> "Protocol":
    """The protocol that the flags of `add_protocol_arguments` ask for.

    Args:
        args: parsed arguments.
        scale: of the targets.
        prediction_kind: "metric" or "relative", of the network.
    """
    return Protocol(
        name=args.protocol,
        **scale,
        prediction_kind=prediction_kind,
        other_crop=args.crop,
        align=args.align,
        tta=args.tta,
    )


def crop_window(crop: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that a named crop keeps of a (height, width) map, scaled by shares."""
    if (frame := CROPS[crop]) is None:
        return slice(0, height), slice(0, width)
    frame_height, frame_width, top, bottom, left, right = frame
    rows = slice(top * height // frame_height, bottom * height // frame_height)
    columns = slice(left * width // frame_width, right * width // frame_width)
    return rows, columns


def describe_crop(crop: str, height: int, width: int) -> str:
    """ "toolbox: rows 17:240, columns 13:307 of 240x320 px", or "none"."""
    if CROPS[crop] is None:
        return crop
    rows, columns = crop_window(crop, height, width)
    window = f"rows {rows.start}:{rows.stop}, columns {columns.start}:{columns.stop}"
    return f"{crop}: {window} of {height}x{width} px"


def describe_alignment(how: str, *, prediction_kind: str, target_kind: str) -> str:
    """The line about the alignment in a protocol, for people."""
    if how == "none":
        return "none"
    if how == "median":
        return "median: each prediction times median(target) / median(prediction)"
    space = "inverse depth" if "relative" in (prediction_kind, target_kind) else "depth"
    return f"scale-shift: scale and shift of each image's {space} by least squares"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How predictions are compared with targets.

    Attributes:
        name: One of PROTOCOLS, for its crop and valid range.
        depth_kind: "metric" or "relative", of the targets.
        max_depth_m: What a target of 1 means [m]; without meaning for relative depth.
        prediction_kind: As depth_kind, of the network.
        other_crop: A name in CROPS that takes the place of the protocol's own.
        align: A name in ALIGNMENTS.
        tta: "none" or "flip".
    """

    name: str
    depth_kind: str
    max_depth_m: float
    prediction_kind: str
    other_crop: str | None = None
    align: str = "none"
    tta: str = "none"

    @property
    def crop(self) -> str:
        """A name in CROPS."""
        return self.other_crop or PROTOCOLS[self.name][0]

    @property
    def valid_to_m(self) -> float:
        """Targets from here on do not count, and predictions are clipped to it [m]."""
        return min(PROTOCOLS[self.name][1] or self.max_depth_m, self.max_depth_m)

    def options(self) -> dict[str, Any]:
        """The arguments of `metrics.DepthMetrics`, for predictions of the targets' kind."""
        names = ("depth_kind", "max_depth_m", "valid_to_m", "crop", "align")
        return {name: getattr(self, name) for name in names}

    def headline(self) -> str:
        """The line above the scores: "protocol nyu: crop toolbox, align none, ..."."""
        metric = self.depth_kind == "metric"
        depth = f"{MIN_DEPTH_M:g} m < target < {self.valid_to_m:g} m, " if metric else ""
        return f"protocol {self.name}: crop {self.crop}, {depth}align {self.align}, tta {self.tta}"

    def lines(self, frame: tuple[int, int]) -> dict[str, str]:
        """The protocol by topic, for people.

        Args:
            frame: height and width of the targets [px].
        """
        if self.depth_kind == "relative":
            unit = "inverse depth as a share of its range, 0..1, larger is nearer"
            valid = "target > 0; predictions are clipped to 0..1"
        else:
            lo, hi = f"{MIN_DEPTH_M:g} m", f"{self.valid_to_m:g} m"
            unit = f"depth as a share of {self.max_depth_m:g} m, 0..1; and metres"
            valid = f"{lo} < target < {hi}; predictions are clipped to {lo} .. {hi}"
        kinds = {"prediction_kind": self.prediction_kind, "target_kind": self.depth_kind}
        return {
            "protocol": self.name,
            "unit": unit,
            "valid": valid,
            "crop": describe_crop(self.crop, *frame),
            "alignment": describe_alignment(self.align, **kinds),
            **describe_averages(self.tta),
        }
