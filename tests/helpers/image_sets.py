"""Tiny sets of image files in the form of each reference system: path -> content."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsetkit.store.lmdb_store import StoreReader
from dsetkit.store.shards import shard_path
from tests.helpers.importing import import_images

HEIGHT, WIDTH = 24, 32  # not square: axes cannot be mixed up unseen
BACKGROUNDS, FOREGROUNDS, PLACEMENTS = 12, 3, 2  # 12: file names with 2 and 10 in them
PER_BACKGROUND = FOREGROUNDS * PLACEMENTS
NEAR = 40  # grey of what is near in a far-bright depth; the far wall is brighter
FAR = 200

Set = dict[str, bytes]  # path below the root -> content


def colour_of(background: int) -> np.ndarray:
    """A colour no other background has."""
    return np.array([20 + 18 * background, 230 - 15 * background, (97 * background) % 256])


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    """A picture file, RGB or grey."""
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(pixels).save(buffer, {"jpg": "JPEG", "png": "PNG"}[suffix], **options)
    return buffer.getvalue()


def background(number: int, size: tuple[int, int] = (2 * HEIGHT, 2 * WIDTH)) -> bytes:
    return encoded(np.full((*size, 3), colour_of(number), np.uint8), "jpg")


def layers(number: int, foreground: int, placement: int) -> dict[str, np.ndarray]:
    """Composite, mask and far-bright depth; the foreground is a bright box."""
    composite = np.full((HEIGHT, WIDTH, 3), colour_of(number), np.uint8)
    mask, depth = np.zeros((HEIGHT, WIDTH), np.uint8), np.full((HEIGHT, WIDTH), FAR, np.uint8)
    box = np.s_[8:16, 8 + 8 * placement : 16 + 8 * placement]
    composite[box], mask[box], depth[box] = 255 - 9 * foreground, 255, NEAR
    return {"composite": composite, "mask": mask, "depth": depth}


def combinations() -> list[tuple[int, int, int]]:
    """(background, foreground, placement), backgrounds slowest; numbers from 0."""
    return [
        (b, f, k) for b in range(BACKGROUNDS) for f in range(FOREGROUNDS) for k in range(PLACEMENTS)
    ]


def set_000() -> Set:
    files = {f"Dataset/bg/room{b}.jpg": background(b) for b in range(BACKGROUNDS)}
    lines = []
    for n, (b, f, k) in enumerate(combinations()):
        drawn = layers(b, f, k)
        files[f"Dataset/fgbg/img{n}.jpg"] = encoded(drawn["composite"], "jpg")
        files[f"Dataset/mask/img{n}.jpg"] = encoded(drawn["mask"], "jpg")
        files[f"Dataset/depth/img{n}.jpg"] = encoded(255 - drawn["depth"], "jpg")
        lines.append(f'"bg/room{b}.jpg"; fgbg/img{n}.jpg;mask/img{n}.jpg ;"depth/img{n}.jpg"')
    return files | {"Dataset/label_data.csv": "\n".join(lines).encode()}


def set_001() -> Set:
    files = {f"data_all/bg/img_{b}.jpg": background(b) for b in range(BACKGROUNDS)}
    for n, (b, f, k) in enumerate(combinations()):
        drawn, stem = layers(b, f, k), f"fg_{f:03d}_bg_{b:03d}_{n:06d}"
        files[f"data_all/fg_bg/{stem}.jpg"] = encoded(drawn["composite"], "jpg")
        files[f"data_all/fg_bg_mask/{stem}.jpg"] = encoded(drawn["mask"], "jpg")
        files[f"data_all/fg_bg_depth/mask_{stem}.png"] = encoded(drawn["depth"], "png")
    return files


def set_002() -> Set:
    files = {f"backgrounds/bg_{b + 1}.jpg": background(b) for b in range(BACKGROUNDS)}
    pairs = []
    for b, f, k in combinations():
        drawn, flip = layers(b, f, k), "flip_" if k else ""
        name = f"bg_{b + 1}fg_{f + 1}_{flip}1.jpg"
        files[f"fg_bg/{name}"] = encoded(drawn["composite"], "jpg")
        files[f"fg_bg_mask/{name}"] = encoded(drawn["mask"], "jpg")
        files[f"Depth_output/{name}"] = encoded(drawn["depth"], "jpg")
        pairs.append(f"/content/fg_bg/{name},/content/Depth_output/{name}")
    for name, rows in (("train", pairs[:50]), ("test", pairs[50:])):
        files[f"{name}.csv"] = "\n".join(["input_path,depth_path", *rows]).encode()
    return files


def set_003() -> Set:
    """Two sets, each with all backgrounds and foregrounds of its own."""
    files = {f"Background/bg{b + 1}.jpg": background(b) for b in range(BACKGROUNDS)}
    lines = ["Background\tForeground\tfg-bg\tmask\tdepth"]
    for n, (b, f, k) in enumerate(combinations() * 2, start=1):
        drawn, part = layers(b, f, k), 1 + (n - 1) // (BACKGROUNDS * PER_BACKGROUND)
        files[f"data_{part}/Fg-Bg/fg-bg{n}.jpg"] = encoded(drawn["composite"], "jpg")
        files[f"data_{part}/Fg-Bg-Mask/fg-bg-mask{n}.jpg"] = encoded(drawn["mask"], "jpg")
        files[f"data_{part}/Depth/depth{n}.jpg"] = encoded(drawn["depth"], "jpg")
        names = (f"bg{b + 1}.jpg", f"fg{part}-{f}.png", f"fg-bg{n}.jpg", f"fg-bg-mask{n}.jpg")
        lines.append("\t".join((*names, f"depth{n}.jpg")))
    return files | {"labels.txt": "\n".join(lines).encode()}


def set_004() -> Set:
    files = {f"bg/Shelves_{b + 1}.jpg": background(b) for b in range(BACKGROUNDS)}
    for b, f, k in combinations():
        drawn, x = layers(b, f, k), 20 * k
        name = f"{x}/combined_s{b + 1}_p{f + 1}_it{x}.jpg"
        files[f"OverlayedImages/{name}"] = encoded(drawn["composite"], "jpg")
        files[f"OverlayedMasks/{name}"] = encoded(drawn["mask"], "jpg")
        files[f"DepthImage/{name}"] = encoded(drawn["depth"], "jpg")
    return files


def set_table() -> Set:
    files, lines = {}, ["composite,mask,depth,background,foreground,split"]
    for n, (b, f, k) in enumerate(combinations()):
        drawn = layers(b, f, k)
        files[f"rooms/{b}.png"] = encoded(np.full((6, 8, 3), colour_of(b), np.uint8), "png")
        for name, pixels in drawn.items():
            files[f"{name}/{n}.png"] = encoded(pixels, "png")
        split = ("train", "val", "test")[n % 3]
        lines.append(f"composite/{n}.png,mask/{n}.png,depth/{n}.png,rooms/{b}.png,ball{f},{split}")
    return files | {"samples.csv": "\n".join(lines).encode()}


SETS: dict[str, Callable[[], Set]] = {
    "000": set_000,
    "001": set_001,
    "002": set_002,
    "003": set_003,
    "004": set_004,
    "table": set_table,
}
OPTIONS = {
    "000": {"tables": [Path("label_data.csv")]},
    "001": {},
    "002": {},
    "003": {"per_background": PER_BACKGROUND},
    "004": {},
    "table": {"tables": [Path("samples.csv")], "depth_polarity": "far-bright"},
}
WAYS = [(system, OPTIONS[system]) for system in SETS] + [
    ("002", {"tables": [Path("train.csv"), Path("test.csv")]}),
    ("003", {"tables": [Path("labels.txt")]}),
]
IDS = [f"{system}{'-by-table' if n >= len(SETS) else ''}" for n, (system, _) in enumerate(WAYS)]
every_way = pytest.mark.parametrize(("system", "options"), WAYS, ids=IDS)


def as_folder(files: Set, path: Path) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_zip(files: Set, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(dataset: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    store = StoreReader(shard_path(dataset))
    databases = ("manifest", "backgrounds", "foregrounds", "samples")
    return {name: list(store.items(name)) for name in databases}


def import_once(root: Path, system: str, options: dict) -> Path:
    """Writes a system's set below `root` as a folder and imports it; gives the dataset's path."""
    folder = as_folder(SETS[system](), root / "world")
    import_images([folder], root / "dataset", system=system, **options, jobs=1)
    return root / "dataset"


class ImportedSets:
    """Imported datasets that no test changes, each made when it is first asked for."""

    def __init__(self, make_folder: Callable[[str], Path]) -> None:
        self._make_folder = make_folder
        self._made: dict[str, Path] = {}

    def __call__(self, system: str, options: dict) -> Path:
        key = f"{system} {options}"
        if key not in self._made:
            self._made[key] = import_once(self._make_folder(system), system, options)
        return self._made[key]
