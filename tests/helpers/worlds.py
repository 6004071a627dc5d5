"""Tiny datasets that tests make for themselves, in milliseconds and without a network."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dsetkit.assets.folders import Asset, assign_splits, encode_asset, fingerprint
from dsetkit.compositing.batches import BatchCompositor
from dsetkit.compositing.compositor import with_compositing
from dsetkit.compositing.planes import Nearness, PlaneRule
from dsetkit.compositing.recipe import Canvas, FullSet
from dsetkit.compositing.selection import select, split_cells
from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.importing.rgbd import import_rgbd
from dsetkit.labels.labelling import label_batches
from dsetkit.store import manifest as m
from dsetkit.store.codecs import BACKGROUND_DEPTH_CODEC, CODECS, LAYOUT_CODECS, stored_fields
from dsetkit.store.environments import ENGINE_VERSION
from dsetkit.store.lmdb_store import StoreWriter, u64_key
from dsetkit.store.records import (
    Record,
    StoredAsset,
    pack_record,
    quantise_metric,
    quantise_relative,
)
from dsetkit.store.shards import shard_path


class SmoothDepth:
    """A teacher that sees a floor: near below, far above; a few pixels are invalid.

    Args:
        kind: `metric` (1 to 5 m of at most 10) or `relative`.
    """

    name, weights_hash = "smooth", "00"

    def __init__(self, kind: str = "metric") -> None:
        self.kind = kind
        self.max_depth_m = 10.0 if kind == "metric" else 0.0

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """uint8 (N,H,W,3) -> float32 (N,H/2,W/2), a little different for each composite."""
        small = composites[:, ::2, ::2].mean(axis=3) / 255
        height = small.shape[1]
        far = np.linspace(1, 0, height)[None, :, None] + 0.1 * small
        if self.kind == "relative":
            return np.clip(1 - far, 0.01, 1).astype(np.float32)
        depth = 1 + 4 * far
        depth[:, 0, :2] = 0
        return depth.astype(np.float32)


def draw_background(number: int, size: int) -> np.ndarray:
    """A ramp with a wall of its own colour: uint8 (size,size,3) RGB."""
    rng = np.random.default_rng(number)
    ramp = np.linspace(40, 200, size, dtype=np.uint8)
    image = np.repeat(np.repeat(ramp[:, None, None], size, axis=1), 3, axis=2)
    left, right = np.sort(rng.integers(0, size, 2))
    image[: size // 2, left : right + 1] = rng.integers(0, 256, 3)
    return image


def draw_foreground(number: int, height: int = 24, width: int = 18) -> np.ndarray:
    """An ellipse with a soft edge: straight RGBA uint8 (height,width,4)."""
    rng = np.random.default_rng(1000 + number)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    alpha = np.clip((1.05 - np.hypot(x, y)) * 5, 0, 1) * 255
    colour = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    return np.dstack([colour, alpha.astype(np.uint8)])


def tiny_dataset(
    path: Path,
    *,
    num_samples: int | None = None,
    depth_kind: str = "metric",
    size: int = 32,
    num_backgrounds: int = 4,
    num_foregrounds: int = 4,
    placements: int = 5,
    seed: int = 0,
    layout: str = "rendered",
    shards: int = 1,
    stop_after: int | None = None,
    scene: bool = False,
    objects: tuple[int, int] = (1, 1),
) -> Path:
    """Writes a dataset as `generate` would, of drawn assets.

    Args:
        path: Directory to write.
        num_samples: A selection; None makes the full set (160 samples by default).
        depth_kind: `metric`, `relative` or `none`.
        size: Side of the canvas [px].
        num_backgrounds: From 3 on each split has one; foregrounds too.
        num_foregrounds: As above.
        placements: Of each pair and flip.
        seed: Key of every choice.
        layout: `rendered` or `recipe`.
        shards: Files, of 32 samples at least.
        stop_after: Samples after which it is left incomplete.
        scene: Whether depth is that of the backgrounds and of planes.
        objects: Range of the number of objects.

    Returns:
        The directory.
    """
    backgrounds = _as_assets(
        "room", [draw_background(i, size) for i in range(num_backgrounds)], seed
    )
    foregrounds = _as_assets("ball", [draw_foreground(i) for i in range(num_foregrounds)], seed)
    full_set = FullSet(
        num_backgrounds=num_backgrounds,
        foreground_shapes=tuple(asset.pixels.shape[:2] for asset in foregrounds),
        canvas=Canvas(size=size, placements=placements, objects=objects),
        seed=seed,
        foreground_splits=tuple(asset.split for asset in foregrounds),
    )
    all_cells = split_cells(
        full_set, [asset.split for asset in backgrounds], [asset.split for asset in foregrounds]
    )
    chosen = select(all_cells, num_samples or len(full_set), seed=seed)
    teacher = None if depth_kind == "none" else SmoothDepth(depth_kind)
    assets_hash = fingerprint(backgrounds, foregrounds)
    manifest = _manifest(full_set, len(chosen), teacher, assets_hash, layout, scene=scene)
    manifest = replace(manifest, shard=m.ONLY_SHARD | {"shards": shards})
    assets = {
        "backgrounds": [asset.pixels for asset in backgrounds],
        "foregrounds": [asset.pixels for asset in foregrounds],
        "depths": [_smooth_depth(asset.pixels, depth_kind) for asset in backgrounds],
    }
    encode_depth = CODECS[BACKGROUND_DEPTH_CODEC].encode
    depths = [encode_depth(depth) if scene else None for depth in assets["depths"]]
    compositor = BatchCompositor(
        full_set,
        lambda kind, number: assets[kind][number],
        manifest.codecs,
        keep_composites=not scene,
        planes=PlaneRule(kind=depth_kind) if scene else None,
    )
    if scene:
        teacher = None
    with DatasetWriter(
        path,
        manifest,
        all_cells[chosen],
        backgrounds=[
            StoredAsset(a.name, a.split, encode_asset(a.pixels), depth)
            for a, depth in zip(backgrounds, depths, strict=True)
        ],
        foregrounds=[StoredAsset(a.name, a.split, encode_asset(a.pixels)) for a in foregrounds],
    ) as writer:
        batch = compositor.composite(chosen[:stop_after])
        for records in label_batches([batch], teacher, manifest, first=0):
            writer.add(records)
        if stop_after is None:
            writer.finish()
    return path


def _smooth_depth(background: np.ndarray, kind: str) -> np.ndarray:
    """Stored depth of a background as `SmoothDepth` answers: uint16 (S,S)."""
    if kind == "none":
        return np.ones(background.shape[:2], np.uint16)
    depth = SmoothDepth(kind)(background[None])[0].repeat(2, 0).repeat(2, 1)
    return quantise_metric(depth, 10.0) if kind == "metric" else quantise_relative(depth)


def _as_assets(name: str, pictures: list[np.ndarray], seed: int) -> list[Asset]:
    names = [f"{name}-{number}" for number in range(len(pictures))]
    splits = assign_splits(names, seed=seed)
    return [Asset(i, names[i], splits[i], pixels) for i, pixels in enumerate(pictures)]


def _manifest(
    full_set: FullSet,
    num_samples: int,
    teacher: SmoothDepth | None,
    assets_hash: str,
    layout: str,
    *,
    scene: bool,
) -> m.Manifest:
    fields = ["background", "composite", "mask"] + (["depth"] if teacher else [])
    recipe = {"seed": full_set.seed, "placements": full_set.canvas.placements}
    if scene:
        recipe |= {"depth_of": "scene", **Nearness().describe()}
    if full_set.canvas.objects != (1, 1):
        fields += ["instances"]
        recipe |= {"objects": list(full_set.canvas.objects)}
    codecs = LAYOUT_CODECS[layout]
    stored = stored_fields(fields, layout=layout, has_scene_depth=scene)
    manifest = m.Manifest(
        num_samples=num_samples,
        complete=False,
        size=[full_set.canvas.size] * 2,
        fields=fields,
        codecs={name: codecs[name] for name in stored},
        layout=layout,
        depth_kind=teacher.kind if teacher else "none",
        max_depth_m=teacher.max_depth_m if teacher else 0.0,
        teacher={"name": teacher.name if teacher else "none", "hash": "", "batch_size": 32},
        recipe=recipe,
        splits={"by": "asset", "seed": full_set.seed},
        assets_fingerprint=assets_hash,
        num_backgrounds=full_set.num_backgrounds,
        num_foregrounds=len(full_set.foreground_shapes),
        engine=ENGINE_VERSION,
    )
    return with_compositing(manifest)


def tiny_rgbd(path: Path, *, num_samples: int = 5) -> Path:
    """Writes an imported dataset of colour and depth, 40 x 30 px, pictures beside it."""
    folder = path.with_name(f"{path.name}-pictures")
    folder.mkdir()
    for number in range(num_samples):
        colour = cv2.resize(draw_background(number, 32), (40, 30))
        depth = np.tile(np.linspace(500, 9000, 40, dtype=np.uint16), (30, 1))
        depth[:3, : 5 + number] = 0
        cv2.imwrite(str(folder / f"{number:04d}_color.png"), colour[..., ::-1])
        cv2.imwrite(str(folder / f"{number:04d}_depth.png"), depth)
    import_rgbd(folder, path)
    return path


def replace_record(path: Path, index: int, record: Record | bytes) -> None:
    """Overwrites a sample: with a record, or with any bytes."""
    packed = record if isinstance(record, bytes) else pack_record(record, u64_key(index))
    with StoreWriter(shard_path(path)) as store:
        store.put([("samples", u64_key(index), packed)])


def stored_bytes(path: Path, index: int) -> bytes:
    """A sample as it lies in the store."""
    return pack_record(Dataset(path).record(index), u64_key(index))
