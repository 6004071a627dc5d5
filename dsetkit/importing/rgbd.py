"""import-rgbd: registered colour + depth pairs become a dataset without backgrounds and masks.

If cut-outs are given, each pair is followed by copies with a cut-out pasted in front: see
`paste`. `pairs` tells which files make a pair, `depth_files` what depth files hold, `turning` which
way up they belong.

Every file is decoded once before anything is written, so that all bad files are reported at once,
and wrong units of depth are told before the work is done.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from dsetkit.arguments import SEED
from dsetkit.assets import (
    MAX_JOBS,
    Asset,
    BadFile,
    fingerprint,
    load_foregrounds,
    pillow_warnings_ignored,
    raise_if_bad,
)
from dsetkit.compositing import Stream, uniform
from dsetkit.datasets import DatasetWriter
from dsetkit.errors import AssetError, printable
from dsetkit.importing import plan
from dsetkit.importing.decoding import Composite, decode_composite
from dsetkit.importing.depth_files import UNITS_PER_M, MeasuredDepth, read_depth
from dsetkit.importing.pairs import Pair, find_pairs
from dsetkit.importing.paste import Paster
from dsetkit.importing.settings import DepthUnits, PairNaming, PairSplit, Pasting
from dsetkit.importing.turning import fitted
from dsetkit.processes import in_order
from dsetkit.store import CODECS, ENGINE_VERSION, Record
from dsetkit.store import manifest as m

LARGEST_PASTED = 512  # longer side of a cut-out that is pasted [px]
AHEAD = 16  # pairs that threads may work ahead; each may hold a picture of many megapixels
# From here on the measured depths look wrong, and a warning asks for their units.
FAR_SHARE, INVALID_SHARE, NEAR_MEDIAN_M = 0.5, 0.5, 0.4

SPLIT_OF_CELL = {cells[0]: split for split, cells in m.SPLITS.items()}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedPair:
    """A pair whose files can be used.

    Attributes:
        pair: The files.
        codec: Name of the codec that encodes such colour pictures as this one is stored.
        digest: Hash of the name and the bytes of both files.
    """

    pair: Pair
    codec: str
    digest: bytes


class DepthTally:
    """What the depths of many pairs are, in a memory that does not grow with them."""

    def __init__(self) -> None:
        self._num_pixels = self._num_far = 0
        self._histogram = np.zeros(2**16, np.int64)  # of the valid depths [mm]

    def add(self, depth: np.ndarray, num_far: int) -> None:
        """Counts a map.

        Args:
            depth: uint16 (H,W) [mm], 0 = invalid.
            num_far: Pixels beyond the largest depth.
        """
        self._num_pixels += depth.size
        self._num_far += num_far
        self._histogram += np.bincount(depth.ravel(), minlength=2**16)

    def tell(self, units: DepthUnits) -> None:
        """Logs how much of the depth is valid, and its median; warns where the units look wrong."""
        num_far, num_valid = self._num_far, int(self._histogram[1:].sum())
        cumulated = self._histogram[1:].cumsum()
        median_m = (1 + int(np.searchsorted(cumulated, (num_valid + 1) // 2))) / 1000
        invalid = 1 - num_valid / self._num_pixels
        log.log(
            logging.WARNING if invalid > INVALID_SHARE else logging.INFO,
            "depth: %.1f %% of all pixels are invalid; the median of the others is %.3g m",
            100 * invalid,
            median_m,
        )
        counted = f"{units.units_per_m or UNITS_PER_M:g} units per metre"
        if num_far > FAR_SHARE * (num_far + num_valid):
            log.warning(
                "most pixels with depth (%.0f %%) lie beyond the largest depth (--max-depth %g m) "
                "at %s: if the files count otherwise, say so with --depth-scale (5000 in TUM's "
                "files, 256 in KITTI's, 100 for centimetres)",
                100 * num_far / (num_far + num_valid),
                units.max_depth_m,
                counted,
            )
        elif median_m < NEAR_MEDIAN_M:
            log.warning(
                "the median depth of %.3g m is very near at %s: if the files count otherwise, say "
                "so with --depth-scale (100 for centimetres)",
                median_m,
                counted,
            )


def import_rgbd(
    root: Path,
    output: Path,
    *,
    naming: PairNaming | None = None,
    units: DepthUnits | None = None,
    split: PairSplit | None = None,
    pasting: Pasting | None = None,
    seed: int = 0,
    jobs: int | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes the pairs below `root`, sub-folders included, as a dataset.

    Args:
        root: Folder of pairs.
        output: Dataset directory to create or continue.
        naming: How pairs are found; None goes by the suffixes of their names.
        units: What the numbers in depth files mean; None is the default.
        split: How pairs are split; None is the default, `auto`.
        pasting: Cut-outs to paste in front; None pastes nothing.
        seed: Key of the choice under `auto`, and of what is pasted where.
        jobs: Threads; None = one for each core, at most 8. The result does not depend on it.
        skip_bad: Leave out pairs that cannot be used.
        progress: Called with (steps done, steps in all); each pair is checked, each sample written.

    Returns:
        Number of samples.

    Raises:
        AssetError: No pairs, files that cannot be used, that do not fit together, or without any
            valid depth, or a value out of its range.
        DatasetError: The output cannot be written.
    """
    split, units = split or PairSplit(), units or DepthUnits()
    SEED.check(seed, "--seed", AssetError)
    pairs, bad = find_pairs(Path(root), naming or PairNaming())
    with (
        pillow_warnings_ignored(),
        ThreadPoolExecutor(jobs or min(MAX_JOBS, os.cpu_count() or 1)) as pool,
    ):
        # Check every file.
        checked: list[CheckedPair] = []
        tally = DepthTally()
        outcomes = in_order(pool, partial(_check, units=units), pairs, ahead=AHEAD)
        for done, outcome in enumerate(outcomes, start=1):
            if isinstance(outcome, list):
                bad += outcome
            else:
                checked.append(outcome[0])
                tally.add(*outcome[1:])
            progress(done, 2 * len(pairs))
        plan.raise_if_bad(bad, num_usable=len(checked), skip_bad=skip_bad)
        tally.tell(units)
        cut_outs = _load_cut_outs(pasting, seed=seed)

        # Describe the dataset.
        paster = Paster(cut_outs, seed=seed) if pasting else None
        per_pair = 1 + (pasting.copies if pasting else 0)
        cells = np.repeat(_cells(len(checked), split, seed), per_pair)
        colour_codec = "png" if all(pair.codec == "png" for pair in checked) else "jpeg95"
        manifest = m.Manifest(
            num_samples=len(cells),
            complete=False,
            size=[0, 0],
            fields=["composite", "depth"],
            codecs={"composite": colour_codec, "depth": "png16"},
            depth_kind="metric",
            max_depth_m=units.max_depth_m,
            teacher={"name": "sensor", "hash": "", "batch_size": 1},
            recipe=_recipe_entry(pasting, len(cut_outs), seed, units),
            splits={
                "by": "import",
                "split": split.split,
                "val_share": split.val_share,
                "seed": seed,
            },
            assets_fingerprint=_fingerprint(checked) + (fingerprint(cut_outs) if pasting else ""),
            skipped=[[file.name, file.reason] for file in bad],
            engine=ENGINE_VERSION,
        )

        # Write it.
        with DatasetWriter(output, manifest, cells) as writer:
            first, copies_there = divmod(writer.count, per_pair)
            rest = [one.pair for one in checked[first:]]
            for number, plain in enumerate(
                in_order(pool, partial(_record, units=units), rest, ahead=AHEAD), start=first
            ):
                for copy in range(copies_there if number == first else 0, per_pair):
                    index = number * per_pair + copy
                    record = plain
                    if paster is not None and copy > 0:
                        split_name = SPLIT_OF_CELL[int(cells[index])]
                        record = _with_paste(
                            plain, paster, colour_codec, split=split_name, index=index
                        )
                    writer.add([record])
                    progress(len(pairs) + index + 1, len(pairs) + len(cells))
            writer.finish()
    return len(cells)


def _load_cut_outs(pasting: Pasting | None, *, seed: int) -> list[Asset]:
    if pasting is None:
        return []
    found = load_foregrounds(Path(pasting.foregrounds), max_side=LARGEST_PASTED, seed=seed)
    raise_if_bad(found)
    return found.assets


def _recipe_entry(
    pasting: Pasting | None, num_cut_outs: int, seed: int, units: DepthUnits
) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if pasting is not None:
        entry |= {"seed": seed, "pastes": pasting.copies, "foregrounds": num_cut_outs}
    if units.units_per_m is not None:
        entry["units_per_m"] = units.units_per_m
    return entry


def _cells(count: int, split: PairSplit, seed: int) -> np.ndarray:
    """The split cell of every pair: uint8 (count,)."""
    if split.split != "auto":
        return np.full(count, m.SPLITS[split.split][0], np.uint8)
    order = np.argsort(uniform(seed, Stream.HOLD_OUT, np.arange(count)))
    cells = np.full(count, m.TRAIN, np.uint8)
    cells[order[: round(split.val_share * count)]] = m.VAL
    return cells


# ---- a pair ------------------------------------------------------------------------------------


def _check(pair: Pair, *, units: DepthUnits) -> tuple[CheckedPair, np.ndarray, int] | list[BadFile]:
    """Decodes both files of a pair.

    Returns:
        The pair and what `DepthTally.add` takes; or the bad files, if there are any.
    """
    bad: list[BadFile] = []
    digest = xxhash.xxh3_64(pair.colour.encode(errors="surrogateescape"))
    colour: Composite | None = None
    measured: MeasuredDepth | None = None
    try:
        content = pair.read(pair.colour)
        digest.update(content)
        colour = decode_composite(content)
    except AssetError as error:
        bad.append(BadFile(printable(pair.colour), str(error)))
    try:
        content = pair.read(pair.depth)
        digest.update(content)
        measured = _measured(content, units)
        depth = _fitted(measured, colour) if colour else measured.label.pixels
    except AssetError as error:
        bad.append(BadFile(printable(pair.depth), str(error)))
    if bad or colour is None or measured is None:
        return bad
    return CheckedPair(pair, colour.codec, digest.digest()), depth, measured.num_far


def _measured(content: bytes, units: DepthUnits) -> MeasuredDepth:
    measured = read_depth(content, units_per_m=units.units_per_m, max_depth_m=units.max_depth_m)
    if measured.num_valid == 0:
        advice = ""
        if measured.num_far:
            advice = (
                f"; {measured.num_far / measured.label.pixels.size:.0%} of its pixels lie beyond: "
                "is --depth-scale or --max-depth missing?"
            )
        raise AssetError(
            f"no pixel has a valid depth, more than 0 and at most {units.max_depth_m:g} m{advice}"
        )
    return measured


def _fitted(measured: MeasuredDepth, colour: Composite) -> np.ndarray:
    """The depth of a pair, the same way up as its colour picture: uint16 (H,W) [mm].

    Raises:
        AssetError: They do not fit together.
    """
    pixels, orientation = measured.label
    depth = fitted(pixels, orientation, composite=colour.orientation, size=colour.size)
    if depth.shape != colour.size:
        height, width = depth.shape
        raise AssetError(
            f"{width} x {height} px, but its colour picture is {colour.size[1]} x "
            f"{colour.size[0]} px: expected registered pairs of one size"
        )
    return depth


def _record(pair: Pair, *, units: DepthUnits) -> Record:
    """A pair as a record.

    Raises:
        AssetError: A file can no longer be used, though it could when it was checked.
    """
    name = pair.colour
    try:
        colour = decode_composite(pair.read(name))
        name = pair.depth
        depth = _fitted(_measured(pair.read(name), units), colour)
    except AssetError as error:
        raise AssetError(f"{printable(name)}: {error}") from None
    return Record(
        background=None,
        objects=(),
        name=pair.colour,
        fields={"composite": colour.encoded, "depth": CODECS["png16"].encode(depth)},
    )


def _with_paste(
    record: Record, paster: Paster, colour_codec: str, *, split: str, index: int
) -> Record:
    """A pair's record with a cut-out pasted in front."""
    codecs = {"composite": CODECS[colour_codec], "depth": CODECS["png16"]}
    images = {name: codecs[name].decode(record.fields[name]) for name in codecs}
    pasted = paster.paste(images["composite"], images["depth"], split=split, index=index)
    fields = {
        "composite": codecs["composite"].encode(pasted.image),
        "depth": codecs["depth"].encode(pasted.depth),
    }
    return replace(record, objects=(pasted.placed,), fields=fields)


# ---- all pairs ---------------------------------------------------------------------------------


def _fingerprint(pairs: Sequence[CheckedPair]) -> str:
    """Hash of the names and contents of all files."""
    digest = xxhash.xxh3_128()
    for pair in pairs:
        digest.update(pair.digest)
    return digest.hexdigest()
