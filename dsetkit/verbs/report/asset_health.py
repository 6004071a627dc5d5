"""The assets of a dataset looked over: dark, bright, blurred, odd shapes, copies of each other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import xxhash

from dsetkit.datasets import Dataset
from dsetkit.numbers import evenly_spread
from dsetkit.processes import in_jobs
from dsetkit.verbs.report.likeness import Likeness, likeness

MOST_ASSETS = 4000  # of each kind that are looked at, evenly spread
ASSETS_PER_CHUNK = 128
KINDS = ("backgrounds", "foregrounds")

DARK, BRIGHT = 0.12, 0.88  # mean brightness, in 0..1
SHARPNESS_SIDE = 256  # longer side at which sharpness is measured [px]
BLURRED = 10.0  # strongest edges, in percent of the full scale; see `_sharpness`
ODD_ASPECT = 3.0  # longer side over shorter side
EMPTY, FULL = 0.08, 0.985  # share of its own box that a cut-out covers

PROBLEMS = {
    "dark": f"mean brightness below {DARK:g}",
    "bright": f"mean brightness above {BRIGHT:g}",
    "blurred": "no sharp edge anywhere",
    "odd shape": f"one side more than {ODD_ASPECT:g} times the other",
    "nearly empty": f"covers less than {EMPTY:.0%} of its own box",
    "no outline": f"covers more than {FULL:.1%} of its own box: perhaps no cut-out",
}


@dataclass(frozen=True)
class AssetFacts:
    """What is told of an asset.

    Attributes:
        kind: `backgrounds` or `foregrounds`.
        number: Its id.
        name: Its name.
        split: `train`, `val` or `test`.
        size: Height and width [px].
        brightness: Mean over what is visible, in 0..1.
        sharpness: Its strongest edges, in percent of the full scale.
        coverage: Share of its box that a foreground covers; 1 for backgrounds.
        pixels: Size and checksum of its pixels.
        likeness: What is compared with others.
        mirrored: The same of its mirror image.
    """

    kind: str
    number: int
    name: str
    split: str
    size: tuple[int, int]
    brightness: float
    sharpness: float
    coverage: float
    pixels: str
    likeness: Likeness
    mirrored: Likeness

    @property
    def problems(self) -> list[str]:
        """Which of PROBLEMS it has."""
        found = {
            "dark": self.brightness < DARK,
            "bright": self.brightness > BRIGHT,
            "blurred": self.sharpness < BLURRED,
            "odd shape": max(self.size) > ODD_ASPECT * min(self.size),
            "nearly empty": self.coverage < EMPTY,
            "no outline": self.kind == "foregrounds" and self.coverage > FULL,
        }
        return [name for name, is_so in found.items() if is_so]


def look_over(
    dataset: Dataset, *, jobs: int, progress: Callable[[int], None]
) -> dict[str, list[AssetFacts]]:
    """Facts of the assets of each kind, at most MOST_ASSETS of them.

    Raises:
        DatasetError: An asset is damaged.
    """
    found: dict[str, list[AssetFacts]] = {}
    for kind in KINDS:
        names = [(asset.name, asset.split) for asset in dataset.assets(kind)]
        chosen = [(n, *names[n]) for n in evenly_spread(len(names), MOST_ASSETS)] if names else []
        starts = range(0, len(chosen), ASSETS_PER_CHUNK)
        chunks = [chosen[start : start + ASSETS_PER_CHUNK] for start in starts]
        found[kind] = []
        for facts in in_jobs(partial(_look_at, dataset, kind), chunks, jobs=jobs):
            found[kind] += facts
            progress(len(facts))
    return found


def count_assets(dataset: Dataset) -> int:
    """How many assets `look_over` looks at."""
    manifest = dataset.manifest
    return sum(min(n, MOST_ASSETS) for n in (manifest.num_backgrounds, manifest.num_foregrounds))


def _look_at(
    dataset: Dataset, kind: str, assets: Sequence[tuple[int, str, str]]
) -> list[AssetFacts]:
    return [
        _facts(dataset.asset(kind, number), kind, number, name, split)
        for number, name, split in assets
    ]


def _facts(pixels: np.ndarray, kind: str, number: int, name: str, split: str) -> AssetFacts:
    height, width = pixels.shape[:2]
    alpha = pixels[..., 3] if kind == "foregrounds" else np.full((height, width), 255, np.uint8)
    seen = alpha >= 128
    grey = cv2.cvtColor(pixels[..., :3], cv2.COLOR_RGB2GRAY)
    like = likeness(on_grey(pixels))
    return AssetFacts(
        kind=kind,
        number=number,
        name=name,
        split=split,
        size=(height, width),
        brightness=float(grey[seen].mean() / 255) if seen.any() else 0.0,
        sharpness=_sharpness(grey, seen),
        coverage=float(seen.mean()),
        pixels=f"{height}x{width} {xxhash.xxh3_128_hexdigest(pixels.tobytes())}",
        likeness=like,
        mirrored=like.mirrored(),
    )


def on_grey(pixels: np.ndarray) -> np.ndarray:
    """An asset on grey: uint8 (h,w,3 or 4) -> uint8 (h,w,3) RGB."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * alpha + 128 * (1 - alpha)).astype(np.uint8)


def _sharpness(grey: np.ndarray, seen: np.ndarray) -> float:
    """The 99th percentile of the Laplacian inside what is visible, in percent of the full scale."""
    zoom = min(1.0, SHARPNESS_SIDE / max(grey.shape))
    size = tuple(max(1, round(side * zoom)) for side in grey.shape[::-1])
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.resize(seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    # A border of two pixels keeps the outline of a cut-out from counting as sharpness.
    inside = cv2.erode(inside, np.ones((5, 5), np.uint8), borderValue=0)
    edges = np.abs(cv2.Laplacian(small, cv2.CV_32F))[inside > 0]
    return float(np.percentile(edges, 99) / 255 * 100) if len(edges) else 100.0
