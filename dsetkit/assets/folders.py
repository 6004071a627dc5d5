"""Loading a folder of pictures: each is checked and gets an id and a split.

It decodes all pictures of a folder before any other work starts. One error can then list all
unusable files with their reasons. It tries every file whose name ends in one of SUFFIXES. It
ignores hidden files, other files and sub-folders. `pictures` reads the single files.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from dsetkit.assets.foreign import NOT_UTF_8, is_utf8, pillow_warnings_ignored
from dsetkit.assets.pictures import read_background, read_foreground
from dsetkit.errors import AssetError, DatasetError, printable
from dsetkit.processes import in_order
from dsetkit.store import decode_with_opencv

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".jpe")  # upper case or lower case

MAX_JOBS = 8  # limits the memory, because each thread may hold a picture of 100 megapixels
NAMED_IN_AN_ERROR = 5  # files; an error is one line

VAL_SHARE, TEST_SHARE = 0.04, 0.08  # of the assets of a folder; the others are train

Progress = Callable[[int, int], None]  # (files done, files in all)


@dataclass(frozen=True)
class Asset:
    """A prepared picture.

    Attributes:
        id: Its place among the usable pictures of its folder, which are sorted by file name.
        name: File name without suffix; unique in its folder.
        split: `train`, `val` or `test`.
        pixels: A foreground is uint8 (h,w,4) straight RGBA, a background uint8 (S,S,3) RGB.
    """

    id: int
    name: str
    split: str
    pixels: np.ndarray


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used.

    Attributes:
        name: Its name in the folder.
        reason: Why it cannot be used.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class LoadedAssets:
    """The pictures of a folder.

    Attributes:
        kind: `foregrounds` or `backgrounds`.
        folder: The folder.
        assets: The usable pictures, sorted by file name.
        bad: The files that cannot be used, sorted by file name.
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
    """Loads foregrounds. Each is cropped to its visible part and shrunk if it is too large.

    Args:
        folder: The folder of the foregrounds.
        max_side: Limit of the longer side [px].
        seed: Seed of the splits.
        jobs: Threads; None means one for each core, at most MAX_JOBS.
        progress: Called with (files done, files in all).

    Raises:
        AssetError: The folder itself cannot be used. For unusable files see `raise_if_bad`.
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
    """Loads backgrounds. The central square of each is resized to size x size [px].

    Args:
        folder: The folder of the backgrounds.
        size: Side of the square [px].
        seed: Seed of the splits.
        jobs: Threads; None means one for each core, at most MAX_JOBS.
        progress: Called with (files done, files in all).

    Raises:
        AssetError: The folder itself cannot be used. For unusable files see `raise_if_bad`.
    """
    read = partial(read_background, size=size)
    return _load(Path(folder), "backgrounds", read, seed=seed, jobs=jobs, progress=progress)


def picture_files(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without suffix.

    Raises:
        AssetError: The folder cannot be used.
    """
    return {path.stem: path for path in _find(folder, "pictures")}


def read_backgrounds(folder: Path, names: Sequence[str], *, size: int) -> Iterator[np.ndarray]:
    """Reads backgrounds that were loaded before, at another size.

    Args:
        folder: The folder of the backgrounds.
        names: Their names without suffix.
        size: Side of the square [px].

    Yields:
        uint8 (size,size,3) RGB, in the order of the names; a few are read ahead.

    Raises:
        AssetError: A file cannot be used any more.
    """
    files, jobs = picture_files(folder), min(MAX_JOBS, os.cpu_count() or 1)
    with pillow_warnings_ignored(), ThreadPoolExecutor(jobs) as pool:
        paths = [files[name] for name in names if name in files]
        if len(paths) < len(names):
            raise AssetError(f"pictures of {printable(folder)} were removed during the run")
        yield from in_order(pool, partial(read_background, size=size), paths, ahead=2 * jobs)


def raise_if_bad(*loaded: LoadedAssets, skip_bad: bool = False) -> None:
    """Raises one error for the unusable files of all folders.

    Args:
        loaded: The folders.
        skip_bad: Whether to accept unusable files in folders that also have usable ones.

    Raises:
        AssetError: It names the first of them, in one line.
    """
    has_empty = any(not folder.assets for folder in loaded)
    if has_empty or (not skip_bad and any(folder.bad for folder in loaded)):
        summary, reasons = _summary_and_reasons(loaded)
        more = len(reasons) - NAMED_IN_AN_ERROR
        named = reasons[:NAMED_IN_AN_ERROR] + ([f"and {more:,} more"] if more > 0 else [])
        raise AssetError(f"{summary} {'; '.join(named)}")


def describe_bad(*loaded: LoadedAssets) -> str:
    """Lists the unusable files: a summary line, then a line with the reason for each file.

    The reason against a single file stands in the summary line.
    """
    summary, reasons = _summary_and_reasons(loaded)
    return (" " if len(reasons) == 1 else "\n  ").join([summary, *reasons])


def _summary_and_reasons(loaded: Sequence[LoadedAssets]) -> tuple[str, list[str]]:
    """How many files cannot be used, and why each of them cannot."""
    counts = " and ".join(
        f"{len(folder.bad)} of {len(folder.bad) + len(folder.assets)} {folder.kind}"
        for folder in loaded
        if folder.bad
    )
    if all(folder.assets for folder in loaded):
        advice = " (--skip-bad goes on without them)"
    else:
        advice = ", and at least one of each kind is needed"
    reasons = [
        f"{printable(folder.folder / bad.name)}: {bad.reason}"
        for folder in loaded
        for bad in folder.bad
    ]
    return f"{counts} cannot be used{advice}:", reasons


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
        pillow_warnings_ignored(),
        ThreadPoolExecutor(jobs or min(MAX_JOBS, os.cpu_count() or 1)) as pool,
    ):
        outcomes = pool.map(partial(_pixels_or_reason, read=read), paths)
        for done, (path, outcome) in enumerate(zip(paths, outcomes, strict=True), start=1):
            if isinstance(outcome, np.ndarray):
                usable.append((path.stem, outcome))
            else:
                bad.append(BadFile(printable(path.name), outcome))
            progress(done, len(paths))
    splits = assign_splits([name for name, _ in usable], seed=seed)
    assets = [
        Asset(number, name, split, pixels)
        for number, ((name, pixels), split) in enumerate(zip(usable, splits, strict=True))
    ]
    return LoadedAssets(kind, folder, assets, bad)


def _find(folder: Path, kind: str) -> list[Path]:
    """The files to try, sorted by name."""
    try:
        paths = sorted(path for path in folder.iterdir() if _is_candidate(path))
    except OSError as error:
        raise AssetError(
            f"cannot open {printable(folder)} ({error.strerror}): expected the folder of the {kind}"
        ) from None
    if not paths:
        raise AssetError(
            f"no {kind} in {printable(folder)}: expected files ending in {', '.join(SUFFIXES)} in "
            "the folder itself (sub-folders are not searched)"
        )
    _check_names(paths)
    return paths


def _is_candidate(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not hidden and not path.is_dir()


def _check_names(paths: Iterable[Path]) -> None:
    """Refuses two files with the same stem, because the stem becomes the name of the asset."""
    groups = (list(same) for _, same in groupby(sorted(paths, key=_stem), key=_stem))
    clashes = [group for group in groups if len(group) > 1]
    if clashes:
        others = f" (and {len(clashes) - 1} more)" if len(clashes) > 1 else ""
        raise AssetError(
            f"{' and '.join(printable(path.name) for path in clashes[0])} in "
            f"{printable(clashes[0][0].parent)} differ "
            f"only in their suffix{others}: rename or remove all but one"
        )


def _stem(path: Path) -> str:
    return path.stem


def _pixels_or_reason(path: Path, *, read: Callable[[Path], np.ndarray]) -> np.ndarray | str:
    if not is_utf8(path.name):
        return NOT_UTF_8
    try:
        return read(path)
    except AssetError as error:
        return str(error)


# ---- splits ------------------------------------------------------------------------------------


def assign_splits(names: Sequence[str], *, seed: int) -> list[str]:
    """The split of each asset: 0.88 train, 0.04 val, 0.08 test.

    With three or more assets, each split has at least one. Of two assets, one is train and one is
    test. A single asset is train. The splits depend only on the seed and the names. If a picture is
    added or removed, few of the others change their split.

    Args:
        names: Unique names of the assets, in any order.
        seed: Seed of the choice.

    Returns:
        `train`, `val` or `test` for each name.
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
    """SHA-256, 64 hex digits, over names and prepared pixels of several groups of assets."""
    digest = hashlib.sha256()
    for group in groups:
        for asset in group:
            digest.update(f"{asset.name}\0{asset.pixels.shape}\0".encode())
            digest.update(np.ascontiguousarray(asset.pixels).data)
        digest.update(b"\0end of group\0")
    return digest.hexdigest()


def encode_asset(pixels: np.ndarray) -> bytes:
    """Encodes RGB uint8 (h,w,3) or RGBA uint8 (h,w,4) as PNG, losslessly even where alpha is 0."""
    done, encoded = cv2.imencode(".png", _swap_red_and_blue(pixels))
    if not done:
        raise ValueError(f"OpenCV cannot encode {pixels.shape} {pixels.dtype} as PNG")
    return encoded.tobytes()


def decode_asset(encoded: bytes) -> np.ndarray:
    """Decodes what `encode_asset` encoded: uint8 (h,w,3) RGB or (h,w,4) RGBA.

    Raises:
        DatasetError: The bytes are not such a picture.
    """
    pixels = decode_with_opencv(encoded, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] < 3:
        raise DatasetError("an encoded asset cannot be decoded")
    return _swap_red_and_blue(pixels)


def _swap_red_and_blue(pixels: np.ndarray) -> np.ndarray:
    """Converts RGB or RGBA to OpenCV's order of channels, or back."""
    has_alpha = pixels.shape[2] == 4
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if has_alpha else cv2.COLOR_BGR2RGB)
