"""import-images: sets as people have them; archives and tables are not trusted."""

import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsetkit.assets import MAX_FILE_BYTES
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError
from dsetkit.importing.sources import Files, natural, read_member
from dsetkit.importing.tables import MAX_ROW, csv_rows
from dsetkit.verbs.verify import verify
from tests.assets.test_foreign import encoded as foreign
from tests.assets.test_foreign import png_chunk
from tests.helpers.image_sets import (
    OPTIONS,
    SETS,
    Set,
    as_folder,
    as_zip,
    contents,
    encoded,
    set_004,
    set_table,
)
from tests.helpers.importing import import_images
from tests.helpers.mutations import mutations

COMPOSITE = "OverlayedImages/0/combined_s2_p3_it0.jpg"
MASK = "OverlayedMasks/0/combined_s2_p3_it0.jpg"


def refused(root: Path, output: Path, system: str = "004", **options: object) -> str:
    with pytest.raises(AssetError) as caught:
        import_images([root], output, system=system, **(OPTIONS[system] | options))
    assert not output.exists()
    return str(caught.value)


# ---- as people have them -----------------------------------------------------------------------


@pytest.mark.parametrize("system", ["002", "003", "table"])
@pytest.mark.parametrize("wrap", [as_folder, as_zip])
def test_suffixes_count_in_any_case_and_tables_need_not_spell_it(
    tmp_path: Path, imported: Callable, system: str, wrap: Callable
) -> None:
    tables = {"002": ["train.csv", "test.csv"], "003": ["labels.txt"], "table": ["samples.csv"]}
    files = {
        name
        if name in tables[system]
        else f"{Path(name).with_suffix('')}{Path(name).suffix.upper()}": b
        for name, b in SETS[system]().items()
    }
    options = OPTIONS[system] | {"tables": [Path(name) for name in tables[system]]}
    root = wrap(files, tmp_path / f"world{'.zip' if wrap is as_zip else ''}")
    import_images([root], tmp_path / "d", system=system, **options)
    shouted = Dataset(tmp_path / "d")
    quiet = Dataset(imported(system, options))
    assert len(shouted) == len(quiet) and verify(tmp_path / "d") == []
    for index in range(0, len(quiet), 7):
        assert shouted.record(index).fields == quiet.record(index).fields


def test_of_two_files_that_differ_in_case_the_named_one_is_taken(tmp_path: Path) -> None:
    root = as_folder({"a/X.png": b"1", "a/x.png": b"2", "A/x.PNG": b"3"}, tmp_path / "w")
    with Files([root]) as files:
        for name, content in (("a/X.png", b"1"), ("a/x.png", b"2"), ("A/x.PNG", b"3")):
            assert files.find(name).read() == content
        with pytest.raises(AssetError, match="matches w/"):
            files.find("b/../a/X.PNG")


@pytest.mark.parametrize("kind", ["WEBP", "JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L", "P"])
def test_composites_of_every_kind_are_read_as_pillow_reads_them(
    tmp_path: Path, kind: str, mode: str
) -> None:
    if (kind, mode) in {("WEBP", "CMYK"), ("PNG", "CMYK"), ("JPEG", "P")}:
        pytest.skip("there is no such file")
    drawn = Image.fromarray(np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8))
    drawn = drawn.resize((32, 24), Image.Resampling.BICUBIC).convert(mode)
    path = tmp_path / "w" / "composite" / "0.png"
    path.parent.mkdir(parents=True)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    drawn.save(path, kind, **options)
    (tmp_path / "w" / "t.csv").write_text("composite\ncomposite/0.png\n")
    import_images([tmp_path / "w"], tmp_path / "d", system="table", tables=[Path("t.csv")])
    assert verify(tmp_path / "d") == []
    dataset = Dataset(tmp_path / "d")
    assert dataset.manifest.codecs == {"composite": "jpeg95" if kind == "JPEG" else "png"}
    seen = dataset.image(dataset.record(0), "composite").astype(int)
    with Image.open(path) as again:
        expected = np.asarray(again.convert("RGB")).astype(int)
    assert np.abs(seen - expected).max() <= (0 if kind != "JPEG" else 24)


def test_large_metadata_is_not_stored_and_small_metadata_is(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    plain = foreign("PNG")
    small = plain[:33] + png_chunk(b"tEXt", b"note\0x") + plain[33:]
    large = plain[:33] + png_chunk(b"tEXt", b"note\0" + b"x" * 9_000_000) + plain[33:]
    for number, content in enumerate((plain, small, large)):
        root = as_folder(
            {"c/0.png": content, "t.csv": b"composite\nc/0.png\n"}, tmp_path / f"w{number}"
        )
        import_images([root], tmp_path / f"d{number}", system="table", tables=[Path("t.csv")])
    stored = [Dataset(tmp_path / f"d{n}").record(0).fields["composite"] for n in range(3)]
    assert stored == [plain, small, plain]
    capfd.readouterr()
    for content in stored:
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert capfd.readouterr().err == ""  # libpng has nothing to warn of


@pytest.mark.parametrize("name", [COMPOSITE, MASK])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.symlink_to("gone"), "a link to a file that does not exist"),
        (os.mkfifo, "a named pipe, expected a file"),
        (Path.mkdir, "a folder, expected a file"),
        (Path.touch, "empty (0 bytes)"),
    ],
)
def test_what_is_no_file_is_named_and_never_waited_for(
    tmp_path: Path, name: str, make: Callable, text: str
) -> None:
    root = as_folder(set_004(), tmp_path / "world")
    (root / name).unlink()
    make(root / name)
    (root / "bg" / "loop").symlink_to("..")
    line = refused(root, tmp_path / "d")
    assert line == (
        f"1 file cannot be used (--skip-bad leaves out their samples): world/{name}: {text}"
    )


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "ünï🎈"])
def test_odd_names_are_stored_and_told_in_one_line(tmp_path: Path, name: str) -> None:
    files = {
        f"{name}/{name}.png": foreign("PNG"),
        "t.csv": f'composite\n"{name}/{name}.png"'.encode(),
    }
    root = as_folder(files, tmp_path / "w")
    options = {"system": "table", "tables": [Path("t.csv")]}
    import_images([root], tmp_path / "d", **options)
    assert Dataset(tmp_path / "d").record(0).name == f"{name}/{name}.png"
    (root / name / f"{name}.png").write_bytes(b"x")
    assert refused(root, tmp_path / "e", **options).isprintable()
    (root / name / f"{name}.png").unlink()
    (root / "other.png").write_bytes(foreign("PNG"))
    assert refused(root, tmp_path / "e", **options).isprintable()


def test_names_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    root = as_folder(set_004(), tmp_path / "world")
    folder = os.fsencode(root) + b"/caf\xe9"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    os.rename(root / "OverlayedMasks", folder + b"/OverlayedMasks")
    text = refused(root, tmp_path / "d")
    assert "caf\\udce9/OverlayedMasks" in text and "its name is not UTF-8: rename it" in text
    assert text.isprintable()


# ---- archives ----------------------------------------------------------------------------------


def zip_bomb(path: Path, files: Set, name: str, *, promised: int, unpacked: int = 3 << 30) -> Path:
    """An archive with a packed member of zeros that promises a size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    megabyte = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    as_zip(files | {name: b""}, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, megabyte * (unpacked >> 20) + b"\3\0")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2")  # the last one is this member's
    content[entry + 10 : entry + 12] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    content[entry + 24 : entry + 28] = struct.pack("<I", promised)
    path.write_bytes(content)
    return path


IMPORT_AND_TELL_MEMORY = """
import resource, sys
from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.importing import import_images

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
words = ["import-images", "--system", "004", "--root", sys.argv[1], "--output", "d", "--jobs", "2"]
status = run(lambda: main(words))
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("promised", "text"),
    [
        (3 << 30, "3,221,225,472 bytes, expected at most 268,435,456"),
        (4000, "cannot be read from its archive (Bad CRC-32"),
        (50 << 20, "cannot be read from its archive (Bad CRC-32"),
    ],
)
def test_a_member_that_unpacks_to_gigabytes_takes_none(
    tmp_path: Path, promised: int, text: str
) -> None:
    path = zip_bomb(tmp_path / "world.zip", set_004(), MASK, promised=promised)
    assert path.stat().st_size < 5_000_000
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_TELL_MEMORY, path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"world/{MASK}: {text}" in done.stderr.splitlines()[-1]
    status, kibibytes = map(int, done.stdout.split())
    assert status == 2 and kibibytes < 200_000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_read_and_bounded(
    tmp_path: Path, imported: Callable, method: int
) -> None:
    path = tmp_path / "world.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in set_004().items():
            archive.writestr(name, content)
    import_images([path], tmp_path / "d", system="004")
    assert contents(tmp_path / "d") == contents(imported("004", {}))
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("zeros", bytes(8 << 20))
    with (
        zipfile.ZipFile(path) as archive,
        pytest.raises(AssetError, match=r"^8,388,608 bytes, expected at most 1,048,576$"),
    ):
        read_member(archive, "zeros", at_most=1 << 20)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_table_in_an_archive_is_bounded_too(tmp_path: Path) -> None:
    path = zip_bomb(tmp_path / "w.zip", set_table(), "samples.csv", promised=300 << 20)
    line = refused(path, tmp_path / "d", "table")
    assert line == f"samples.csv: {300 << 20:,} bytes, expected at most {MAX_FILE_BYTES:,}"


def test_names_of_thousands_of_digits_end_in_a_line(tmp_path: Path) -> None:
    digits = "9" * 3000
    files = set_004() | {
        f"OverlayedMasks/combined_s{digits}_p1_it0.jpg": b"x",
        f"bg/{digits}.jpg": b"",
    }
    assert "cannot be used" in refused(as_zip(files, tmp_path / "w.zip"), tmp_path / "d")
    files = set_004() | {f"bg/{'9' * 60_000}.jpg": b"x"}
    line = refused(as_zip(files, tmp_path / "v.zip"), tmp_path / "d")
    assert "v.zip has a name of over 4,096 characters" in line
    assert natural("b" + "9" * 4000) < natural("b1" + "0" * 4000)


def test_damaged_archives_end_in_our_own_error(tmp_path: Path, imported: Callable) -> None:
    few = {name: b for name, b in set_table().items() if "/0.png" in name or name == "samples.csv"}
    few["samples.csv"] = b"\n".join(few["samples.csv"].splitlines()[:2])
    sound = [as_zip(few, tmp_path / "sound.zip").read_bytes()]
    refusals = 0
    for number, content in enumerate(mutations(sound, count=300)):
        path = tmp_path / "world.zip"
        path.write_bytes(content)
        try:
            import_images(
                [path], tmp_path / f"d{number}", system="table", **OPTIONS["table"], jobs=1
            )
        except AssetError:
            refusals += 1
    assert refusals > 30


# ---- tables ------------------------------------------------------------------------------------


def test_any_bytes_are_a_table_or_are_refused_in_one_line() -> None:
    rows = b'composite,mask\na/0.png,"b;0\n.png"\n\xc3\xbc.png,\x00\n' + b"x," * 30 + b"\n"
    sound = [rows, rows * 3, b'"' * 9 + rows, "\ufeff1;2\r\n3;4\r".encode(), b"\n" * 9 + rows]
    for content in mutations(sound):
        text = content.decode("utf-8", "replace")
        try:
            for line, values in csv_rows(text, "t.csv", delimiter=","):
                assert line >= 1 and all(isinstance(value, str) for value in values)
        except AssetError as error:
            assert "\n" not in str(error) and str(error).startswith("t.csv, line ")


@pytest.mark.parametrize(
    "text",
    ['"' + "x" * 200_000, "x" * 200_000, "," * 200_000, '"a\n",' * 30_000, '"' + "a\n" * 200_000],
)
def test_a_row_without_end_is_refused(text: str) -> None:
    assert len(text) > MAX_ROW
    with pytest.raises(AssetError, match=r"^t\.csv, line \d+: "):
        list(csv_rows("a,b\n" + text, "t.csv", delimiter=","))


def test_a_palette_that_lacks_a_colour_is_named(tmp_path: Path) -> None:
    grey = np.zeros((24, 32), np.uint8)
    grey[3, 3] = 200
    paletted = encoded(grey, "png")
    header = paletted[:25] + b"\x03" + paletted[26:29]
    bad = (
        paletted[:8]
        + png_chunk(b"IHDR", header[16:29])
        + png_chunk(b"PLTE", bytes(30))
        + paletted[33:]
    )
    text = refused(as_zip(set_004() | {COMPOSITE: bad}, tmp_path / "w.zip"), tmp_path / "d")
    assert f"w/{COMPOSITE}: damaged (a pixel has colour 200, the palette has 10)" in text
