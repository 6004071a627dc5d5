"""`import_images` and `import_rgbd` with flat keywords, as the command line gives them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dsetkit import importing
from dsetkit.importing import (
    DepthMeaning,
    DepthUnits,
    FileNaming,
    PairNaming,
    PairSplit,
    Pasting,
    SplitRule,
)
from dsetkit.store import Manifest


def import_images(roots: Sequence[Path], output: Path, **flat: Any) -> Manifest:
    """Calls `dsetkit.importing.import_images` with settings objects made of flat keywords."""
    return importing.import_images(
        roots,
        output,
        naming=FileNaming(**_taken(flat, "system", "tables", "per_background")),
        depth=DepthMeaning(**_taken(flat, "max_depth_m", polarity="depth_polarity")),
        splits=SplitRule(**_taken(flat, "seed", by="split_by")),
        **flat,
    )


def import_rgbd(root: Path, output: Path, **flat: Any) -> int:
    """Calls `dsetkit.importing.import_rgbd` likewise."""
    pasting = _taken(flat, "foregrounds", copies="pastes")
    return importing.import_rgbd(
        root,
        output,
        naming=PairNaming(**_taken(flat, "color_glob", "depth_glob", "table")),
        units=DepthUnits(**_taken(flat, "max_depth_m", units_per_m="depth_scale")),
        split=PairSplit(**_taken(flat, "split", "val_share")),
        pasting=Pasting(**pasting) if pasting else None,
        **flat,
    )


def _taken(flat: dict[str, Any], *names: str, **renamed: str) -> dict[str, Any]:
    """Removes keywords from `flat`; returns them under the names of a settings object."""
    of_setting = {name: name for name in names} | renamed
    return {name: flat.pop(key) for name, key in of_setting.items() if key in flat}
