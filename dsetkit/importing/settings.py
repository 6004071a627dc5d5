"""Settings of an import: how files are named, what depth means, how samples are split."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsetkit.arguments import COPIES, COUNT, DEPTH_M, SEED, SHARE, UNITS_PER_M
from dsetkit.errors import AssetError, printable
from dsetkit.importing.decoding import POLARITIES, DepthScale
from dsetkit.importing.systems import PER_BACKGROUND, SYSTEMS
from dsetkit.store import SPLITS

# Wildcards of a pattern of paths: folders, any text but slashes, one character, one of several.
# A choice of one is that character, so that [*] is a star.
WILDCARDS = re.compile(r"(\*\*/)|(\*+)|(\?)|(\[[^\]/]{2,}\])")
LITERALS = re.compile(r"\[([^\]/])\]")

SPLITS_BY = ("asset", "sample", "table")


@dataclass(frozen=True, kw_only=True)
class FileNaming:
    """Which files make which sample.

    Attributes:
        system: Whose naming rules hold: a key of SYSTEMS.
        tables: CSV files that name the samples. Systems `000` and `table` need them, `002` and
            `003` accept them.
        per_background: Samples of each background in a set of system `003` without a table.

    Raises:
        AssetError: An unknown system, or a value that does not suit it.
    """

    system: str
    tables: Sequence[Path] = ()
    per_background: int = PER_BACKGROUND

    def __post_init__(self) -> None:
        if self.system not in SYSTEMS:
            raise AssetError(f"--system {self.system}: expected one of {', '.join(SYSTEMS)}")
        COUNT.check(self.per_background, "--per-background", AssetError)
        if self.tables and SYSTEMS[self.system].table is None:
            raise AssetError(
                f"--table with --system {self.system}: its file names are read, leave --table out"
            )
        if not self.tables and SYSTEMS[self.system].naming is None:
            raise AssetError(
                f"--system {self.system} needs a table that names the files: give it with --table"
            )


@dataclass(frozen=True, kw_only=True)
class DepthMeaning:
    """What the grey of the depth pictures means, where the user knows better than the system.

    Attributes:
        polarity: `far-bright` or `near-bright`; None takes the system's own.
        max_depth_m: Depth of the whole grey range [m]; None keeps depth relative.

    Raises:
        AssetError: A value out of its range.
    """

    polarity: str | None = None
    max_depth_m: float | None = None

    def __post_init__(self) -> None:
        if self.polarity is not None and self.polarity not in POLARITIES:
            raise AssetError(f"--depth-polarity {self.polarity}: expected {_either(POLARITIES)}")
        if self.max_depth_m is not None:
            DEPTH_M.check(self.max_depth_m, "--max-depth-m", AssetError)

    def scale(self, system: str) -> DepthScale:
        """How depth pictures of a system become stored depth.

        Raises:
            AssetError: Neither the user nor the system says what bright grey means.
        """
        polarity = self.polarity or SYSTEMS[system].polarity
        if polarity is None:
            raise AssetError(
                f"--depth-polarity is missing: expected {_either(POLARITIES)}, depending on what "
                "is bright in the depth pictures"
            )
        return DepthScale(polarity, SYSTEMS[system].full_scale, self.max_depth_m or 0.0)


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How imported samples are split into train, val and test.

    Attributes:
        by: `asset`, `sample` or `table`. None takes the table's split if it gives one; otherwise
            splits by asset if backgrounds or foregrounds are known, else by sample.
        seed: Key of every random choice.

    Raises:
        AssetError: An unknown rule.
    """

    by: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by is not None and self.by not in SPLITS_BY:
            raise AssetError(f"--split-by {self.by}: expected {_either(SPLITS_BY)}")
        SEED.check(self.seed, "--seed", AssetError)


@dataclass(frozen=True, kw_only=True)
class PairNaming:
    """How the two files of a colour + depth pair are found; see `pairs`.

    Attributes:
        color_glob: Pattern of the paths of colour pictures below the root; None goes by suffixes.
        depth_glob: Pattern of the paths of depth files, with as many wildcards.
        table: CSV table that names the files.

    Raises:
        AssetError: Values that do not go together.
    """

    color_glob: str | None = None
    depth_glob: str | None = None
    table: Path | None = None

    def __post_init__(self) -> None:
        globs = (self.color_glob, self.depth_glob)
        if self.table and any(globs):
            raise AssetError("--table with --color-glob or --depth-glob: expected one way, not two")
        if (self.color_glob is None) != (self.depth_glob is None):
            raise AssetError("--color-glob and --depth-glob: expected both of them, or neither")
        counts = {len(WILDCARDS.findall(glob)) for glob in globs if glob is not None}
        if 0 in counts or len(counts) > 1:
            raise AssetError(
                f"--color-glob {printable(self.color_glob)} --depth-glob "
                f"{printable(self.depth_glob)}: expected patterns with equally many wildcards, at "
                "least one, as in 'rgb/*.jpg' and 'depth/*.png'"
            )


@dataclass(frozen=True, kw_only=True)
class DepthUnits:
    """What the numbers in the depth files of colour + depth pairs mean.

    Attributes:
        units_per_m: How much a metre counts: 5000 in TUM's files, 256 in KITTI's, 100 for
            centimetres. None: 1000 in files of whole numbers, 1 in files of floating point.
        max_depth_m: Larger depths are invalid; a training target of 1 stands for it [m].

    Raises:
        AssetError: A value out of its range.
    """

    units_per_m: float | None = None
    max_depth_m: float = 10.0

    def __post_init__(self) -> None:
        if self.units_per_m is not None:
            UNITS_PER_M.check(self.units_per_m, "--depth-scale", AssetError)
        DEPTH_M.check(self.max_depth_m, "--max-depth", AssetError)


@dataclass(frozen=True, kw_only=True)
class PairSplit:
    """How colour + depth pairs are split.

    Attributes:
        split: `train`, `val` or `test` for all pairs; `auto` puts a share of them into val and the
            others into train.
        val_share: Share of val under `auto`, 0 to 1.

    Raises:
        AssetError: A value out of its range.
    """

    split: str = "auto"
    val_share: float = 0.05

    def __post_init__(self) -> None:
        if self.split not in ("auto", *SPLITS):
            raise AssetError(f"--split {self.split}: expected {_either(('auto', *SPLITS))}")
        SHARE.check(self.val_share, "--val-share", AssetError)


@dataclass(frozen=True, kw_only=True)
class Pasting:
    """Cut-outs to paste in front of colour + depth pairs.

    Attributes:
        foregrounds: Folder of the cut-outs. Each is pasted only on pictures of its own split.
        copies: Copies of each pair that get a cut-out, beside the pair itself.

    Raises:
        AssetError: No copies.
    """

    foregrounds: Path
    copies: int = 3

    def __post_init__(self) -> None:
        COPIES.check(self.copies, "--pastes", AssetError)


def _either(values: Sequence[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"
