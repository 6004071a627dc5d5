"""Files and folders that cannot be used: every command names them in one line, with status 2.

A table of kinds of bad files for each kind of input, tried with every command that takes it.
"""

import json
import os
import re
import shutil
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import lmdb
import msgpack
import numpy as np
import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.files import real_path
from dsetkit.store import manifest as m
from dsetkit.store.environments import close_environments
from dsetkit.store.lmdb_store import StoreWriter, u32_key, u64_key
from dsetkit.store.records import pack_record
from dsetkit.store.sealed import seal
from dsetkit.store.shards import shard_path
from tests.helpers.verbs import IN_PLACE, ONLY_PRINTS, OUTPUTS, World, run_command
from tests.helpers.worlds import tiny_dataset

LONGEST_S = 120  # a guard against hanging, far beyond what any case takes

Make = Callable[[Path, World], object]  # puts something bad at a path


# ---- datasets ----------------------------------------------------------------------------------


def _copied(path: Path, world: World) -> Path:
    shutil.copytree(world.places["data"], path)
    return shard_path(path)


def _entry(database: str, key: bytes, value: bytes) -> Make:
    def make(path: Path, world: World) -> None:
        with StoreWriter(_copied(path, world)) as store:
            store.put([(database, key, value)])

    return make


def _manifest(**changes: object) -> Make:
    def make(path: Path, world: World) -> None:
        manifest = replace(Dataset(world.places["data"]).manifest, **changes)
        _entry("manifest", m.MANIFEST_KEY, manifest.to_bytes())(path, world)

    return make


def _with_file(content: bytes) -> Make:
    def make(path: Path, world: World) -> None:
        path.mkdir()
        shard_path(path).write_bytes(content)

    return make


def _changed_file(change: Callable[[bytearray], object]) -> Make:
    def make(path: Path, world: World) -> None:
        file = _copied(path, world)
        content = bytearray(file.read_bytes())
        change(content)
        file.write_bytes(content)

    return make


def _flip(database: str, key: bytes) -> Make:
    """Flips a bit in the middle of a value."""

    def make(path: Path, world: World) -> None:
        file = _copied(path, world)
        with lmdb.open(str(file), subdir=False, lock=False, max_dbs=4, readonly=True) as env:
            with env.begin() as txn:
                value = txn.get(key, db=env.open_db(database.encode(), txn=txn, create=False))
        content = file.read_bytes()
        damaged = bytearray(value)
        damaged[len(value) // 2] ^= 4
        file.write_bytes(content.replace(value, damaged))

    return make


def _foreign(path: Path, world: World) -> None:
    path.mkdir()
    with lmdb.open(str(shard_path(path)), subdir=False, lock=False) as env:
        with env.begin(write=True) as txn:
            txn.put(b"key", b"value")


def _link(target: str) -> Make:
    def make(path: Path, world: World) -> None:
        path.mkdir()
        shard_path(path).symlink_to(target)

    return make


def _fifo(path: Path, world: World) -> None:
    path.mkdir()
    os.mkfifo(shard_path(path))


def _folder(path: Path, world: World) -> None:
    shard_path(path).mkdir(parents=True)


def _no_record(path: Path, world: World) -> None:
    """A sample with a right checksum, but without its picture."""
    record = Dataset(world.places["data"]).record(3)
    packed = pack_record(replace(record, fields={}), u64_key(3))
    _entry("samples", u64_key(3), packed)(path, world)


def _other_record(path: Path, world: World) -> None:
    packed = pack_record(Dataset(world.places["data"]).record(4), u64_key(4))
    _entry("samples", u64_key(3), packed)(path, world)


def _bad_cells(path: Path, world: World) -> None:
    with StoreWriter(_copied(path, world)) as store:
        store.put([m.cells_entry(np.full(80, 9))])


def _clear_pages(content: bytearray) -> None:
    content[8192:] = bytes(len(content) - 8192)


DATASETS: dict[str, Make] = {
    "nothing": lambda path, world: None,
    "an empty folder": lambda path, world: path.mkdir(),
    "a text file": lambda path, world: path.write_text("notes"),
    "an empty file in its place": lambda path, world: path.write_bytes(b""),
    "an empty shard": _with_file(b""),
    "a shard of text": _with_file(b"notes"),
    "a shard of zeros": _with_file(bytes(20_000)),
    "a shard of random bytes": _with_file(np.random.default_rng(0).bytes(20_000)),
    "a picture as shard": _with_file(b"\x89PNG\r\n\x1a\n" + bytes(9000)),
    "a cut shard": _changed_file(lambda content: content.__delitem__(slice(40_000, None))),
    "a shard without its first page": _changed_file(lambda c: c.__setitem__(slice(0, 4096), b"")),
    "a damaged meta page": _changed_file(lambda c: c.__setitem__(16, c[16] ^ 8)),
    "pages of zeros": _changed_file(_clear_pages),
    "an LMDB of another program": _foreign,
    "a dangling link": _link("nowhere"),
    "a link to itself": _link("shard-00000.lmdb"),
    "a device": _link("/dev/zero"),
    "a pipe": _fifo,
    "a folder as shard": _folder,
    "an older format": _entry(
        "manifest", m.MANIFEST_KEY, msgpack.packb({"format_version": 1, "num_samples": 80})
    ),
    "a newer format": _manifest(format_version=3),
    "a manifest that is no map": _entry("manifest", m.MANIFEST_KEY, msgpack.packb([1, 2])),
    "a manifest of other entries": _entry(
        "manifest", m.MANIFEST_KEY, seal({"a": 1}, database="manifest", key=m.MANIFEST_KEY)
    ),
    "a flipped manifest": _flip("manifest", m.MANIFEST_KEY),
    "samples beyond counting": _manifest(num_samples=2**62),
    "a billion shards": _manifest(shard={"number": 0, "shards": 10**9}),
    "no batch size": _manifest(teacher={"name": "t", "batch_size": 0}),
    "a size of nothing": _manifest(size=[0, 32]),
    "an unknown codec": _manifest(codecs={"composite": "nosuch", "mask": "png8", "depth": "png16"}),
    "an unknown depth": _manifest(depth_kind="nosuch"),
    "no largest depth": _manifest(max_depth_m=0.0),
}
# Damage that only those notice who read that part.
DAMAGED_PARTS: dict[str, Make] = {
    "flipped cells": _flip("manifest", m.CELLS_KEY),
    "unknown cells": _bad_cells,
    "a flipped sample": _flip("samples", u64_key(3)),
    "a sample without picture": _no_record,
    "the sample of another number": _other_record,
    "no record": _entry("samples", u64_key(3), b"no record"),
    "a flipped background": _flip("backgrounds", u32_key(0)),
    "a flipped foreground": _flip("foregrounds", u32_key(0)),
    "an unfinished dataset": lambda path, world: tiny_dataset(path, num_samples=80, stop_after=9),
}

# ---- checkpoints -------------------------------------------------------------------------------


def _checkpoint(change: Callable[[bytes], bytes]) -> Make:
    def make(path: Path, world: World) -> None:
        path.write_bytes(change(world.places["depth"].read_bytes()))

    return make


def _with_metadata(**changes: str) -> Make:
    """The sound checkpoint with other metadata; the length of the header is right."""

    def change(content: bytes) -> bytes:
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + size])
        about = header["__metadata__"]
        known = json.loads(about[next(iter(about))]) if len(about) == 1 else None
        if known is None:
            about.update(changes)
        else:
            about[next(iter(about))] = json.dumps(known | changes)
        packed = json.dumps(header).encode()
        return struct.pack("<Q", len(packed)) + packed + content[8 + size :]

    return _checkpoint(change)


CHECKPOINTS: dict[str, Make] = {
    "nothing": lambda path, world: None,
    "a folder": lambda path, world: path.mkdir(),
    "an empty file": lambda path, world: path.write_bytes(b""),
    "text": lambda path, world: path.write_text("weights"),
    "a pipe": lambda path, world: os.mkfifo(path),
    "a dangling link": lambda path, world: path.symlink_to("nowhere"),
    "a pickle": lambda path, world: path.write_bytes(b"\x80\x04cos\nsystem\n."),
    "a cut file": _checkpoint(lambda content: content[: len(content) // 2]),
    "a cut header": _checkpoint(lambda content: content[:20]),
    "a header of exabytes": _checkpoint(lambda content: b"\xff" * 8 + content[8:]),
    "a header of nothing": _checkpoint(lambda content: bytes(8) + content[8:]),
    "a header that is no JSON": _checkpoint(
        lambda content: content[:8] + b"x" * 99 + content[107:]
    ),
    "an unknown network": _with_metadata(arch="nosuch"),
}

# ---- folders of pictures -----------------------------------------------------------------------


def _picture(mode: int, size: tuple[int, int] = (40, 40), suffix: str = ".png") -> bytes:
    pixels = np.full((*size, mode) if mode > 1 else size, 90, np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _huge_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")
    )


BAD_PICTURES: dict[str, bytes] = {
    "empty": b"",
    "text": b"a picture",
    "zeros": bytes(5000),
    "a cut PNG": _picture(3)[:60],
    "a cut JPEG": _picture(3, suffix=".jpg")[:200],
    "a signature": b"\x89PNG\r\n\x1a\n",
    "a PNG of 60,000 px": _huge_png(60_000, 60_000),
    "a PNG of no width": _huge_png(0, 8),
    "a PNG of 2 billion px": _huge_png(2**31 - 1, 1),
    "a GIF": b"GIF89a" + bytes(50),
    "a BMP": _picture(3, suffix=".bmp"),
    "a TIFF": _picture(3, suffix=".tiff"),
    "a web page": b"<!doctype html><html></html>",
    "a zip": b"PK\x03\x04" + bytes(40),
}


def _folder_with(name: str, content: bytes) -> Make:
    def make(path: Path, world: World) -> None:
        path.mkdir()
        (path / name).write_bytes(content)

    return make


def _folder_of(name: str, make_file: Callable[[Path], object]) -> Make:
    def make(path: Path, world: World) -> None:
        path.mkdir()
        make_file(path / name)

    return make


NO_FOLDERS: dict[str, Make] = {
    "nothing": lambda path, world: None,
    "an empty folder": lambda path, world: path.mkdir(),
    "a file": lambda path, world: path.write_text("x"),
    "a pipe in its place": lambda path, world: os.mkfifo(path),
    "hidden files alone": _folder_with(".a.png", _picture(4)),
    "other files alone": _folder_with("notes.txt", b"notes"),
}


def _odd_files(name: str) -> dict[str, Make]:
    return {
        "a pipe": _folder_of(name, os.mkfifo),
        "a folder": _folder_of(name, Path.mkdir),
        "a dangling link": _folder_of(name, lambda path: path.symlink_to("nowhere")),
        "a link to itself": _folder_of(name, lambda path: path.symlink_to(path.name)),
        "a device": _folder_of(name, lambda path: path.symlink_to("/dev/zero")),
    }


def _folders(name: str) -> dict[str, Make]:
    bad = {what: _folder_with(name, content) for what, content in BAD_PICTURES.items()}
    return NO_FOLDERS | bad | _odd_files(name)


FOREGROUNDS = _folders("f.png") | {
    "no alpha": _folder_with("f.png", _picture(3)),
    "grey": _folder_with("f.png", _picture(1)),
    "a clear picture": _folder_with(
        "f.png", cv2.imencode(".png", np.zeros((20, 20, 4), np.uint8))[1].tobytes()
    ),
}


def _pair(colour: bytes | None, depth: bytes | None) -> Make:
    def make(path: Path, world: World) -> None:
        path.mkdir()
        if colour is not None:
            (path / "a_color.png").write_bytes(colour)
        if depth is not None:
            (path / "a_depth.png").write_bytes(depth)

    return make


def _depth(value: int, shape: tuple[int, int] = (40, 40), dtype: type = np.uint16) -> bytes:
    return cv2.imencode(".png", np.full(shape, value, dtype))[1].tobytes()


PAIRS = (
    NO_FOLDERS
    | {f"colour: {what}": _pair(bad, _depth(900)) for what, bad in BAD_PICTURES.items()}
    | {f"depth: {what}": _pair(_picture(3), bad) for what, bad in BAD_PICTURES.items()}
    | _odd_files("a_color.png")
    | {
        "no depth": _pair(_picture(3), None),
        "depth alone": _pair(None, _depth(900)),
        "another size": _pair(_picture(3), _depth(900, (30, 40))),
        "all invalid": _pair(_picture(3), _depth(0)),
        "all beyond": _pair(_picture(3), _depth(60_000)),
        "8 bits": _pair(_picture(3), _depth(90, dtype=np.uint8)),
        "a colour map": _pair(_picture(3), _picture(3)),
    }
)

IMAGES = NO_FOLDERS | {
    f"composite: {what}": _folder_with("bg_1fg_1_1.jpg", bad) for what, bad in BAD_PICTURES.items()
}

KINDS = {
    "data": DATASETS,
    "depth": CHECKPOINTS,
    "mask": CHECKPOINTS,
    "foregrounds": FOREGROUNDS,
    "backgrounds": _folders("b.jpg"),
    "masks": _folders("b0.png"),
    "pairs": PAIRS,
    "images": IMAGES,
}


def cases() -> Iterator[tuple[str, str, str]]:
    """(command, input, kind) of the table."""
    templates = {command: next(iter(flags.items())) for command, flags in OUTPUTS.items()}
    for command, (_, words) in templates.items():
        for place in re.findall(r"{(\w+)}", words):
            for kind in KINDS.get(place, ()):
                yield command, place, kind
    for command in (*IN_PLACE, *ONLY_PRINTS):
        for kind in DATASETS:
            yield command, "data", kind
    # These read all parts of a dataset.
    for kind in DAMAGED_PARTS:
        yield "verify", "data", kind


CASES = list(dict.fromkeys(cases()))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.draw(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _guard() -> Iterator[None]:
    signal.alarm(LONGEST_S)
    yield
    signal.alarm(0)


def test_the_table_is_long() -> None:
    assert len(CASES) >= 300


def _marked(case: tuple[str, str, str]) -> object:
    """Each kind of input with one command in the fast tests, all others in the slow ones."""
    is_fast = case[0] in ("verify", "generate", "export-model", "import-rgbd", "import-images")
    return pytest.param(case, marks=() if is_fast else pytest.mark.slow, id=": ".join(case))


@pytest.mark.parametrize("case", map(_marked, CASES))
def test_what_cannot_be_used_is_one_line_and_status_2(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture, case: tuple[str, str, str]
) -> None:
    command, place, kind = case
    bad = tmp_path / (f"{place}.safetensors" if place in ("depth", "mask") else place)
    (KINDS | {"data": DATASETS | DAMAGED_PARTS})[place][kind](bad, world)
    places = replace(world, places=world.places | {place: bad, "new": tmp_path / "new"})
    if command in ONLY_PRINTS or command in IN_PLACE:
        arguments = [str(bad), *IN_PLACE.get(command, "").split()]
    else:
        flag = next(iter(OUTPUTS[command]))
        output = tmp_path / "output.safetensors"
        arguments = places.arguments(command, flag, output)
    status = run_command(command, arguments)
    for file in bad.glob("shard-*.lmdb") if bad.is_dir() else ():
        close_environments(real_path(file))
    told = capfd.readouterr().err.splitlines()
    errors = [line for line in told if ": error: " in line]
    assert (status, len(errors)) == (2, 1), told
    assert not any("Traceback" in line for line in told)
    assert "\n" not in errors[0] and len(errors[0]) < 2000
