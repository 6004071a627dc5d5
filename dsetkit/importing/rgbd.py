"""import-rgbd: registered colour + depth pairs become a dataset (no background, no mask).

With cut-outs given, each pair is followed by copies with one pasted in front, see `paste`.

A pair is `NAME_color.jpg` (or .png) and `NAME_depth.png` (uint16 millimetres, 0 = invalid), the
layout in which RGB-D collections are often passed on.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import xxhash

from dsetkit.assets import fingerprint, load_foregrounds, raise_if_bad
from dsetkit.compositing import Stream, uniform
from dsetkit.datasets import DatasetWriter
from dsetkit.errors import AssetError
from dsetkit.importing.paste import Paster
from dsetkit.store import CODECS, ENGINE_VERSION, Record
from dsetkit.store import manifest as m

COLOUR_SUFFIXES = ("_color.jpg", "_color.jpeg", "_color.png")
DEPTH_SUFFIX = "_depth.png"
LARGEST_PASTED = 512  # longer side of a cut-out that is pasted [px]


def import_rgbd(
    root: Path,
    output: Path,
    *,
    split: str = "auto",
    val_share: float = 0.05,
    max_depth_m: float = 10.0,
    seed: int = 0,
    foregrounds: Path | None = None,
    pastes: int = 3,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes the pairs below `root` (sub-folders too) as a dataset.

    Args:
        root: Folder of pairs.
        output: Dataset directory to create or continue.
        split: `train`, `val` or `test` for all pairs; `auto` keeps a `val_share` of them for val
            and gives the rest to train.
        val_share: Share of val under `auto`.
        max_depth_m: Depth beyond it counts as invalid; 1.0 in training targets stands for it.
        seed: Key of the choice under `auto`, and of what is pasted where.
        foregrounds: Folder of cut-outs to paste in front, each of the split of its picture; None
            pastes nothing.
        pastes: Copies of each pair with something pasted in.
        progress: Called with (done, total).

    Returns:
        Number of samples.

    Raises:
        AssetError: No pairs, a colour picture without depth, or pictures that do not fit together.
        DatasetError: The output cannot be written.
    """
    pairs = _find_pairs(Path(root))
    paster, copies, assets = None, 1, []
    if foregrounds is not None:
        found = load_foregrounds(Path(foregrounds), max_side=LARGEST_PASTED, seed=seed)
        raise_if_bad(found)
        paster, copies, assets = Paster(found.assets, seed=seed), 1 + pastes, found.assets
    cells = np.repeat(_cells(len(pairs), split, val_share, seed), copies)
    colour_codec = "png" if all(c.suffix == ".png" for c, _ in pairs) else "jpeg95"
    manifest = m.Manifest(
        num_samples=len(cells),
        complete=False,
        size=[0, 0],
        fields=["composite", "depth"],
        codecs={"composite": colour_codec, "depth": "png16"},
        depth_kind="metric",
        max_depth_m=max_depth_m,
        teacher={"name": "sensor", "hash": "", "batch_size": 1},
        recipe={"seed": seed, "pastes": pastes, "foregrounds": len(assets)} if assets else {},
        splits={"by": "import", "split": split, "val_share": val_share, "seed": seed},
        assets_fingerprint=_fingerprint(pairs) + (fingerprint(assets) if assets else ""),
        engine=ENGINE_VERSION,
    )
    with DatasetWriter(output, manifest, cells) as writer:
        plain = None
        for index in range(writer.count, len(cells)):
            if plain is None or index % copies == 0:
                plain = _record(*pairs[index // copies], max_depth_m=max_depth_m)
            record = plain
            if index % copies:
                split_name = next(name for name in m.SPLITS if cells[index] in m.SPLITS[name])
                record = _with_paste(plain, paster, colour_codec, split=split_name, index=index)
            writer.add([record])
            progress(index + 1, len(cells))
        writer.finish()
    return len(cells)


def _find_pairs(root: Path) -> list[tuple[Path, Path]]:
    """(colour, depth) paths in name order."""
    if not root.is_dir():
        raise AssetError(
            f"{root} is not a folder: expected one with NAME_color.jpg, NAME_depth.png"
        )
    pairs = list(_pairs(root))
    if not pairs:
        raise AssetError(f"no pairs in {root}: expected NAME_color.jpg (or .png), NAME_depth.png")
    lonely = [colour.name for colour, depth in pairs if not depth.exists()]
    if lonely:
        raise AssetError(f"{len(lonely)} colour pictures have no depth beside them: {lonely[:5]}")
    return pairs


def _pairs(root: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(root.rglob("*_color.*")):
        for suffix in COLOUR_SUFFIXES:
            if path.name.lower().endswith(suffix):
                yield path, path.with_name(path.name[: -len(suffix)] + DEPTH_SUFFIX)


def _cells(count: int, split: str, val_share: float, seed: int) -> np.ndarray:
    if split != "auto":
        return np.full(count, m.SPLITS[split][0], np.uint8)
    order = np.argsort(uniform(seed, Stream.HOLD_OUT, np.arange(count)))
    cells = np.full(count, m.TRAIN, np.uint8)
    cells[order[: round(val_share * count)]] = m.VAL
    return cells


def _record(colour_path: Path, depth_path: Path, *, max_depth_m: float) -> Record:
    """A pair as a record: the colour file's own bytes, the depth cleaned of what is no depth."""
    colour = colour_path.read_bytes()
    colour_image = cv2.imdecode(np.frombuffer(colour, np.uint8), cv2.IMREAD_COLOR)
    depth = cv2.imread(str(depth_path), cv2.IMREAD_UNCHANGED)
    if colour_image is None or depth is None:
        bad = colour_path if colour_image is None else depth_path
        raise AssetError(f"{bad} cannot be decoded: replace it or take the pair away")
    if depth.dtype != np.uint16 or depth.ndim != 2:
        raise AssetError(f"{depth_path} is {depth.dtype} {depth.shape}: expected 16-bit grey in mm")
    if depth.shape != colour_image.shape[:2]:
        raise AssetError(
            f"{colour_path.name} is {colour_image.shape[:2]} but its depth {depth.shape}: "
            "expected registered pairs of one size"
        )
    depth[depth > max_depth_m * 1000] = 0
    return Record(
        background=None,
        foreground=None,
        recipe={"name": colour_path.name},
        fields={"composite": colour, "depth": CODECS["png16"].encode(depth)},
    )


def _with_paste(
    record: Record, paster: Paster, colour_codec: str, *, split: str, index: int
) -> Record:
    """A pair with a cut-out pasted in front."""
    codecs = {"composite": CODECS[colour_codec], "depth": CODECS["png16"]}
    images = {name: codecs[name].decode(record.fields[name]) for name in codecs}
    pasted = paster.paste(images["composite"], images["depth"], split=split, index=index)
    fields = {
        "composite": codecs["composite"].encode(pasted.image),
        "depth": codecs["depth"].encode(pasted.depth),
    }
    return replace(record, recipe=record.recipe | pasted.recipe, fields=fields)


def _fingerprint(pairs: list[tuple[Path, Path]]) -> str:
    digest = xxhash.xxh3_128()
    for pair in pairs:
        for path in pair:
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
