"""import-rgbd: registered colour + depth pairs become a dataset without backgrounds and masks.

If cut-outs are given, each pair is followed by copies with a cut-out pasted in front: see
`paste`.

A pair is `NAME_color.jpg` (or .png) and `NAME_depth.png` (uint16 millimetres, 0 = invalid). Many
RGB-D collections are distributed in this form.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import xxhash

from dsetkit.arguments import DEPTH_M, SEED
from dsetkit.assets import Asset, fingerprint, load_foregrounds, raise_if_bad
from dsetkit.compositing import Stream, uniform
from dsetkit.datasets import DatasetWriter
from dsetkit.errors import AssetError
from dsetkit.importing.paste import Paster
from dsetkit.importing.settings import PairSplit, Pasting
from dsetkit.store import CODECS, ENGINE_VERSION, Record
from dsetkit.store import manifest as m

COLOUR_SUFFIXES = ("_color.jpg", "_color.jpeg", "_color.png")
DEPTH_SUFFIX = "_depth.png"
LARGEST_PASTED = 512  # longer side of a cut-out that is pasted [px]

SPLIT_OF_CELL = {cells[0]: split for split, cells in m.SPLITS.items()}


@dataclass(frozen=True)
class Pair:
    """The two files of a sample."""

    colour: Path
    depth: Path


def import_rgbd(
    root: Path,
    output: Path,
    *,
    split: PairSplit | None = None,
    max_depth_m: float = 10.0,
    pasting: Pasting | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes the pairs below `root`, sub-folders included, as a dataset.

    Args:
        root: Folder of pairs.
        output: Dataset directory to create or continue.
        split: How pairs are split; None is the default, `auto`.
        max_depth_m: Larger depths count as invalid; a training target of 1 stands for it [m].
        pasting: Cut-outs to paste in front; None pastes nothing.
        seed: Key of the choice under `auto`, and of what is pasted where.
        progress: Called with (samples done, samples in all).

    Returns:
        Number of samples.

    Raises:
        AssetError: No pairs, a colour picture without depth, pictures that do not fit together, or
            a value out of its range.
        DatasetError: The output cannot be written.
    """
    split = split or PairSplit()
    DEPTH_M.check(max_depth_m, "--max-depth", AssetError)
    SEED.check(seed, "--seed", AssetError)
    pairs = _find_pairs(Path(root))
    cut_outs = _load_cut_outs(pasting, seed=seed)
    paster = Paster(cut_outs, seed=seed) if pasting else None
    samples_per_pair = 1 + (pasting.copies if pasting else 0)
    cells = np.repeat(_cells(len(pairs), split, seed), samples_per_pair)
    colour_codec = "png" if all(pair.colour.suffix == ".png" for pair in pairs) else "jpeg95"
    manifest = m.Manifest(
        num_samples=len(cells),
        complete=False,
        size=[0, 0],
        fields=["composite", "depth"],
        codecs={"composite": colour_codec, "depth": "png16"},
        depth_kind="metric",
        max_depth_m=max_depth_m,
        teacher={"name": "sensor", "hash": "", "batch_size": 1},
        recipe=_recipe_entry(pasting, len(cut_outs), seed),
        splits={"by": "import", "split": split.split, "val_share": split.val_share, "seed": seed},
        assets_fingerprint=_fingerprint(pairs) + (fingerprint(cut_outs) if pasting else ""),
        engine=ENGINE_VERSION,
    )
    with DatasetWriter(output, manifest, cells) as writer:
        plain: Record | None = None  # the record of the current pair
        for index in range(writer.count, len(cells)):
            number, copy = divmod(index, samples_per_pair)
            if plain is None or copy == 0:
                plain = _record(pairs[number], max_depth_m=max_depth_m)
            record = plain
            if paster is not None and copy > 0:
                split_name = SPLIT_OF_CELL[int(cells[index])]
                record = _with_paste(plain, paster, colour_codec, split=split_name, index=index)
            writer.add([record])
            progress(index + 1, len(cells))
        writer.finish()
    return len(cells)


def _load_cut_outs(pasting: Pasting | None, *, seed: int) -> list[Asset]:
    if pasting is None:
        return []
    found = load_foregrounds(Path(pasting.foregrounds), max_side=LARGEST_PASTED, seed=seed)
    raise_if_bad(found)
    return found.assets


def _recipe_entry(pasting: Pasting | None, num_cut_outs: int, seed: int) -> dict[str, int]:
    if pasting is None:
        return {}
    return {"seed": seed, "pastes": pasting.copies, "foregrounds": num_cut_outs}


def _find_pairs(root: Path) -> list[Pair]:
    """The pairs below a folder, in the order of their names."""
    if not root.is_dir():
        raise AssetError(
            f"{root} is not a folder: expected one with NAME_color.jpg, NAME_depth.png"
        )
    pairs = list(_pairs(root))
    if not pairs:
        raise AssetError(f"no pairs in {root}: expected NAME_color.jpg (or .png), NAME_depth.png")
    without_depth = [pair.colour.name for pair in pairs if not pair.depth.exists()]
    if without_depth:
        raise AssetError(
            f"{len(without_depth)} colour pictures have no depth picture beside them: "
            f"{', '.join(without_depth[:5])}"
        )
    return pairs


def _pairs(root: Path) -> Iterator[Pair]:
    for path in sorted(root.rglob("*_color.*")):
        for suffix in COLOUR_SUFFIXES:
            if path.name.lower().endswith(suffix):
                yield Pair(path, path.with_name(path.name[: -len(suffix)] + DEPTH_SUFFIX))


def _cells(count: int, split: PairSplit, seed: int) -> np.ndarray:
    """The split cell of every pair: uint8 (count,)."""
    if split.split != "auto":
        return np.full(count, m.SPLITS[split.split][0], np.uint8)
    order = np.argsort(uniform(seed, Stream.HOLD_OUT, np.arange(count)))
    cells = np.full(count, m.TRAIN, np.uint8)
    cells[order[: round(split.val_share * count)]] = m.VAL
    return cells


def _record(pair: Pair, *, max_depth_m: float) -> Record:
    """A pair as a record: the colour file's own bytes, and depth without values out of range."""
    colour = pair.colour.read_bytes()
    image = cv2.imdecode(np.frombuffer(colour, np.uint8), cv2.IMREAD_COLOR)
    depth = cv2.imread(str(pair.depth), cv2.IMREAD_UNCHANGED)
    if image is None or depth is None:
        bad = pair.colour if image is None else pair.depth
        raise AssetError(f"{bad} cannot be decoded: replace it or remove the pair")
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise AssetError(
            f"{pair.depth} is {depth.dtype} {depth.shape}: expected 16-bit grey in millimetres"
        )
    if depth.shape != image.shape[:2]:
        raise AssetError(
            f"{pair.colour.name} is {image.shape[:2]} but its depth is {depth.shape}: "
            "expected registered pairs of one size"
        )
    depth[depth > max_depth_m * 1000] = 0
    return Record(
        background=None,
        foreground=None,
        recipe={"name": pair.colour.name},
        fields={"composite": colour, "depth": CODECS["png16"].encode(depth)},
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
    return replace(record, recipe=record.recipe | pasted.recipe, fields=fields)


def _fingerprint(pairs: Sequence[Pair]) -> str:
    """Hash of the names and contents of all files."""
    digest = xxhash.xxh3_128()
    for pair in pairs:
        for path in (pair.colour, pair.depth):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
