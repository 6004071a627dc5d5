"""The pictures that go in: finds and checks whole folders, gives each picture an id and a split.

All pictures of a folder are decoded before any other work starts, so that everything unusable is
known, with its reason, in one go. Tried is every file of the folder itself whose name ends in one
of SUFFIXES; hidden files, other files and sub-folders are left alone. `pictures` reads the files.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from dsetkit.assets.pictures import read_background, read_foreground
from dsetkit.errors import AssetError, DatasetError

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".jpe")  # in any case

MAX_JOBS = 8  # bounds the memory: each may hold a picture of 100 megapixels

VAL_SHARE, TEST_SHARE = 0.04, 0.08  # of the assets of a folder; the rest is train

Progress = Callable[[int, int], None]  # (files done, files in all)


@dataclass(frozen=True)
class Asset:
    """A prepared picture.

    Attributes:
        id: Place among the usable pictures of its folder, in order of file names.
        name: File name without suffix; no two in a folder are the same.
        split: "train", "val" or "test".
        pixels: uint8; foreground (h,w,4) straight RGBA, background (S,S,3) RGB.
    """

    id: int
    name: str
    split: str
    pixels: np.ndarray


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used: its name in the folder, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class LoadedAssets:
    """What became of a folder.

    Attributes:
        kind: "foregrounds" or "backgrounds".
        folder: Where they are.
        assets: Usable pictures, in order of file names.
        bad: Files that cannot be used, in order of file names.
    """

    kind: str
    folder: Path
    assets: list[Asset]
    bad: list[BadFile]


# ---- a folder ----------------------------------------------------------------------------------


def load_foregrounds(
    folder: Path,
    *,
    max_side: int,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress = lambda done, total: None,
) -> LoadedAssets:
    """Loads cut-outs: cropped to what is visible, then shrunk (never enlarged).

    Args:
        folder: Where the cut-outs are.
        max_side: Longest the longer side may be [px].
        seed: Key of the splits.
        jobs: Threads; None = one for each core, up to 8.
        progress: Called with (files done, files in all).

    Raises:
        AssetError: The folder itself cannot be used; for single files see `raise_if_bad`.
    """
    read = partial(read_foreground, max_side=max_side)
    return _load(Path(folder), "foregrounds", read, seed=seed, jobs=jobs, progress=progress)


def load_backgrounds(
    folder: Path,
    *,
    size: int,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress = lambda done, total: None,
) -> LoadedAssets:
    """Loads photographs: the square in the middle, resized to size x size [px].

    The other arguments and the error are those of `load_foregrounds`.
    """
    read = partial(read_background, size=size)
    return _load(Path(folder), "backgrounds", read, seed=seed, jobs=jobs, progress=progress)


def raise_if_bad(*found: LoadedAssets, skip_bad: bool = False) -> None:
    """Raises one error for the unusable files of all folders.

    Args:
        found: The folders.
        skip_bad: Let them pass, unless a folder has nothing else.

    Raises:
        AssetError: Its message is `describe_bad`.
    """
    nothing_left = any(not one.assets for one in found)
    if nothing_left or (not skip_bad and any(one.bad for one in found)):
        raise AssetError(describe_bad(*found))


def describe_bad(*found: LoadedAssets) -> str:
    """A summary line, then one line for each unusable file with its reason."""
    counts = " and ".join(
        f"{len(one.bad)} of {len(one.bad) + len(one.assets)} {one.kind}" for one in found if one.bad
    )
    if all(one.assets for one in found):
        advice = " (--skip-bad goes on without them)"
    else:
        advice = ", and at least one of each kind is needed"
    lines = [f"  {one.folder / bad.name}: {bad.reason}" for one in found for bad in one.bad]
    return "\n".join([f"{counts} cannot be used{advice}:", *lines])


def _load(
    folder: Path,
    kind: str,
    read: Callable[[Path], np.ndarray],
    *,
    seed: int,
    jobs: int | None,
    progress: Progress,
) -> LoadedAssets:
    paths = _find(folder, kind)
    usable: list[tuple[str, np.ndarray]] = []
    bad: list[BadFile] = []
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(jobs or min(MAX_JOBS, os.cpu_count() or 1)) as pool,
    ):
        # Pillow warns of large pictures and of odd EXIF data; `pictures` deals with both.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        outcomes = pool.map(partial(_pixels_or_reason, read=read), paths)
        for done, (path, outcome) in enumerate(zip(paths, outcomes, strict=True), start=1):
            if isinstance(outcome, np.ndarray):
                usable.append((path.stem, outcome))
            else:
                bad.append(BadFile(_as_utf8(path.name), outcome))
            progress(done, len(paths))
    splits = assign_splits([name for name, _ in usable], seed=seed)
    assets = [
        Asset(number, name, split, pixels)
        for number, ((name, pixels), split) in enumerate(zip(usable, splits, strict=True))
    ]
    return LoadedAssets(kind, folder, assets, bad)


def _find(folder: Path, kind: str) -> list[Path]:
    """The files to try, in order of their names."""
    try:
        paths = sorted(path for path in folder.iterdir() if _is_candidate(path))
    except OSError as error:
        raise AssetError(
            f"cannot open {folder} ({error.strerror}): expected the folder that the {kind} are in"
        ) from None
    if not paths:
        raise AssetError(
            f"no {kind} in {folder}: expected files ending in {', '.join(SUFFIXES)} in the folder "
            "itself (sub-folders are not searched)"
        )
    _check_names(paths)
    return paths


def _is_candidate(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not hidden and not path.is_dir()


def _check_names(paths: Iterable[Path]) -> None:
    """A picture is known by its stem from here on, so each stem may come once."""
    groups = (list(same) for _, same in groupby(sorted(paths, key=_stem), key=_stem))
    clashes = [group for group in groups if len(group) > 1]
    if clashes:
        others = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
        raise AssetError(
            f"{' and '.join(path.name for path in clashes[0])} in {clashes[0][0].parent} differ "
            f"only in their suffix{others}: rename or remove all but one"
        )


def _stem(path: Path) -> str:
    return path.stem


def _pixels_or_reason(path: Path, *, read: Callable[[Path], np.ndarray]) -> np.ndarray | str:
    if _as_utf8(path.name) != path.name:
        return "its name is not UTF-8: rename it"
    try:
        return read(path)
    except AssetError as error:
        return str(error)


def _as_utf8(name: str) -> str:
    """The name with undecodable bytes spelt out as \\udcXX, fit for messages and the manifest."""
    return name.encode("utf-8", "backslashreplace").decode()


# ---- splits ------------------------------------------------------------------------------------


def assign_splits(names: Sequence[str], *, seed: int) -> list[str]:
    """The split of each asset: 0.88 train, 0.04 val, 0.08 test.

    From three assets on each split has at least one; two are train and test, one is train. The
    choice depends on seed and names alone, and a picture more or less moves few of the others.

    Args:
        names: Names of the assets, all different, in any order.
        seed: Another seed, another choice.
    """
    num_test = max(1, round(TEST_SHARE * len(names))) if len(names) > 1 else 0
    num_val = max(1, round(VAL_SHARE * len(names))) if len(names) > 2 else 0
    ranked = sorted(names, key=lambda name: _keyed_hash(seed, name))
    test, val = set(ranked[:num_test]), set(ranked[num_test : num_test + num_val])
    return ["test" if name in test else "val" if name in val else "train" for name in names]


def _keyed_hash(seed: int, name: str) -> bytes:
    return hashlib.blake2b(name.encode(), key=str(seed).encode()).digest()


# ---- for the dataset ---------------------------------------------------------------------------


def fingerprint(*groups: Iterable[Asset]) -> str:
    """SHA-256 over names and prepared pixels of several groups of assets, as hexadecimal digits."""
    digest = hashlib.sha256()
    for group in groups:
        for asset in group:
            digest.update(f"{asset.name}\0{asset.pixels.shape}\0".encode())
            digest.update(np.ascontiguousarray(asset.pixels))
        digest.update(b"\0end of group\0")
    return digest.hexdigest()


def encode_asset(pixels: np.ndarray) -> bytes:
    """RGB or RGBA, uint8 (h,w,3 or 4), as PNG; colours under alpha 0 are kept."""
    done, encoded = cv2.imencode(".png", _swap_red_and_blue(pixels))
    if not done:
        raise ValueError(f"OpenCV cannot encode {pixels.shape} {pixels.dtype} as PNG")
    return encoded.tobytes()


def decode_asset(encoded: bytes) -> np.ndarray:
    """What `encode_asset` was given.

    Raises:
        DatasetError: The bytes, which come from a dataset, are no picture.
    """
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DatasetError("an encoded asset cannot be decoded")
    return _swap_red_and_blue(pixels)


def _swap_red_and_blue(pixels: np.ndarray) -> np.ndarray:
    """RGB(A) to OpenCV's BGR(A), and back."""
    has_alpha = pixels.shape[2] == 4
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if has_alpha else cv2.COLOR_BGR2RGB)
