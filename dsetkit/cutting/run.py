"""cut-outs: pictures and masks in, a folder of RGBA PNG files out.

    DIR/NAME.png                 of a mask or a model: the name of the picture
    DIR/NAME_CATEGORY_ID.png     of a COCO file: one file for each instance
    DIR/SPLIT-ROW.png            of a dataset of Hugging Face
    DIR/.cut-outs.json           what they were made of

A file with its final name is complete and is kept, so an interrupted run goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2

from dsetkit.arguments import CUT_OUT_PX, FEATHER_PX, JOBS, MARGIN_PX
from dsetkit.assets import encode_asset
from dsetkit.cutting.edges import check_installed, cut_out
from dsetkit.cutting.sources import MaskSource, Shot, unique
from dsetkit.errors import AssetError, printable
from dsetkit.files import check_apart, claim_folder, write_whole
from dsetkit.processes import in_jobs

MARKER = ".cut-outs.json"


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """How cut-outs are made.

    Attributes:
        margin_px: Transparent border around the visible part [px].
        min_side_px: Cut-outs with a visible part smaller than this either way are left out [px].
        feather_px: Standard deviation of the blur of hard edges [px].

    Raises:
        AssetError: A value out of its range.
    """

    margin_px: int = 2
    min_side_px: int = 32
    feather_px: float = 0.7

    def __post_init__(self) -> None:
        MARGIN_PX.check(self.margin_px, "--margin", AssetError)
        CUT_OUT_PX.check(self.min_side_px, "--min-side", AssetError)
        FEATHER_PX.check(self.feather_px, "--feather", AssetError)


@dataclass
class CutOuts:
    """What a run has made.

    Attributes:
        written: Cut-outs of this run.
        kept: Cut-outs that were there already.
        small: Instances that are left out because they are smaller than `min_side_px`, or hidden.
        crowds: Annotations of crowds, which are left out.
        bad: Reasons, with the file, for each picture that cannot be used.
    """

    written: int = 0
    kept: int = 0
    small: int = 0
    crowds: int = 0
    bad: list[str] = field(default_factory=list)


def cut_outs(
    output: Path,
    images: Path,
    source: MaskSource,
    *,
    cutting: Cutting | None = None,
    jobs: int = 1,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CutOuts:
    """Cuts the foregrounds out of pictures.

    Args:
        output: Folder to write, or to continue.
        images: Folder of pictures; of `HuggingFaceMasks`, the folder of a dataset or its name.
        source: Their masks: a COCO file, a folder of masks, a model, or a column of the dataset.
        cutting: How; None takes the defaults.
        jobs: Processes, unless the source takes all cores itself.
        skip_bad: Leave out pictures that cannot be used.
        progress: Called with (pictures done, pictures in all).

    Raises:
        DsetkitError: A picture, a mask or the model cannot be used; the output holds other files,
            or cannot be written; pymatting is missing.
    """
    cutting = cutting or Cutting()
    JOBS.check(jobs, "--jobs", AssetError)
    check_installed()
    check_apart(output, images, *source.folders)
    found = source.find(images)
    if found.bad and not skip_bad:
        more = f" (and {len(found.bad) - 1:,} more)" if len(found.bad) > 1 else ""
        raise AssetError(f"{found.bad[0]}{more}; --skip-bad leaves it out")
    shots = list(unique(found.shots))
    if not shots:
        raise AssetError(f"nothing to cut out of {printable(images)}: no picture has a mask")
    place = images.absolute() if images.exists() else images  # a name on the Hub
    claim_folder(
        output,
        marker=MARKER,
        description={"images": str(place)} | source.describe() | vars(cutting),
        what="a folder of cut-outs",
        other="cut-outs of other pictures, or with other settings",
    )
    total = CutOuts(crowds=found.crowds, bad=list(found.bad))
    work = partial(_cut, output, source, cutting, skip_bad)
    parts = in_jobs(work, shots, jobs=1 if source.runs_alone else jobs)
    for done, part in enumerate(parts, start=1):
        total.written += part.written
        total.kept += part.kept
        total.small += part.small
        total.bad += part.bad
        progress(done, len(shots))
    return total


def _cut(output: Path, source: MaskSource, cutting: Cutting, skip_bad: bool, shot: Shot) -> CutOuts:
    """Writes the cut-outs of one picture."""
    done = CutOuts()
    missing = [mask for mask in shot.masks if not (output / f"{mask.name}.png").exists()]
    done.kept = len(shot.masks) - len(missing)
    if not missing:
        return done
    try:
        picture = source.read(shot)
        colours = picture.upright("RGB")
        for mask in missing:
            values = source.decode(picture, colours, mask)
            if min(cv2.boundingRect(values)[2:]) < cutting.min_side_px:
                done.small += 1
                continue
            rgba = cut_out(
                colours, values, margin_px=cutting.margin_px, feather_px=cutting.feather_px
            )
            write_whole(output / f"{mask.name}.png", encode_asset(rgba))
            done.written += 1
    except AssetError as error:
        reason = f"{printable(shot.path)}: {error}"
        if not skip_bad:
            raise AssetError(f"{reason}; --skip-bad leaves it out") from None
        done.bad.append(reason)
    return done
