"""import-images: errors for files, tables and arguments that cannot be used."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError
from dsetkit.importing.sources import natural
from dsetkit.verbs.verify import verify
from tests.helpers.image_sets import (
    BACKGROUNDS,
    HEIGHT,
    OPTIONS,
    PER_BACKGROUND,
    SETS,
    WIDTH,
    Set,
    as_folder,
    as_zip,
    colour_of,
    encoded,
    set_001,
    set_002,
    set_003,
    set_004,
    set_table,
)
from tests.helpers.importing import import_images


def refused(tmp_path: Path, system: str, files: Set, **options: object) -> str:
    """The error of an import."""
    root = as_zip(files, tmp_path / "world.zip")
    with pytest.raises(AssetError) as error:
        import_images([root], tmp_path / "dataset", system=system, **(OPTIONS[system] | options))
    assert not (tmp_path / "dataset").exists(), "nothing is written before all is checked"
    return str(error.value)


def grey(value: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> bytes:
    return encoded(np.full(size, value, np.uint8), "png")


COMPOSITE = "OverlayedImages/0/combined_s2_p3_it0.jpg"
MASK, DEPTH = "OverlayedMasks/0/combined_s2_p3_it0.jpg", "DepthImage/0/combined_s2_p3_it0.jpg"
COLOUR_MAP = cv2.applyColorMap(np.tile(np.arange(WIDTH, dtype=np.uint8) * 7, (HEIGHT, 1)), 2)
BAD_PICTURES = {
    "cut off": (COMPOSITE, set_004()[COMPOSITE][:-40], "damaged or cut off"),
    "no picture": (DEPTH, b"GIF89a", "not a PNG, JPEG or WebP picture"),
    "empty": (MASK, b"", "empty (0 bytes)"),
    "colour map": (DEPTH, encoded(COLOUR_MAP, "png"), "the depth is a colour map: expected grey"),
    "coloured mask": (MASK, encoded(COLOUR_MAP, "png"), "the mask is coloured: expected grey"),
    "empty mask": (MASK, grey(0), "the mask's largest value is 0: expected a foreground"),
    "mask of 0 and 1": (MASK, grey(1), "the mask's largest value is 1"),
    "size of mask": (
        MASK,
        grey(9, (8, 9)),
        "9 x 8 px, but its composite is 32 x 24 px: expected the",
    ),
    "size of depth": (
        DEPTH,
        grey(9, (8, 9)),
        "9 x 8 px, but most are 32 x 24 px: expected one size",
    ),
    "background": ("bg/Shelves_2.jpg", b"x", "not a PNG, JPEG or WebP picture"),
}


@pytest.mark.parametrize(("name", "content", "text"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_picture_that_cannot_be_used_is_named_and_can_be_left_out(
    tmp_path: Path, imported: Callable, name: str, content: bytes, text: str
) -> None:
    files = set_004() | {name: content}
    (line,) = refused(tmp_path, "004", files).splitlines()
    told = f"1 file cannot be used (--skip-bad leaves out their samples): world/{name}: {text}"
    assert line.startswith(told)

    path = tmp_path / "skipped"
    root = as_zip(files, tmp_path / "world.zip")
    manifest = import_images([root], path, system="004", skip_bad=True)
    (skipped, reason), *others = manifest.skipped
    assert skipped == f"world/{name}" and text in reason and not others
    lost = PER_BACKGROUND if name.startswith("bg/") else 1
    assert manifest.num_samples == BACKGROUNDS * PER_BACKGROUND - lost
    assert verify(path) == []
    whole = Dataset(imported("004", {}))
    kept = {whole.record(i).name: whole.record(i).fields for i in range(len(whole))}
    dataset = Dataset(path)
    for index in range(len(dataset)):
        record = dataset.record(index)
        assert record.fields == kept[record.name]


def test_a_composite_of_another_size_is_named(tmp_path: Path) -> None:
    files = set_004()
    for name in (COMPOSITE, MASK):
        files[name] = encoded(np.full((HEIGHT, 40, 3), 90, np.uint8), "jpg")
    text = refused(tmp_path, "004", files)
    assert f"world/{COMPOSITE}: 40 x 24 px, but most are 32 x 24 px: expected one size" in text


def without(files: Set, *names: str) -> Set:
    return {name: content for name, content in files.items() if name not in names}


def test_missing_files_and_unexpected_names_are_reported_at_once(tmp_path: Path) -> None:
    other_name = "OverlayedMasks/0/copy of combined.jpg"
    twice = "OverlayedMasks/other/combined_s1_p1_it0.jpg"
    lonely = "DepthImage/0/combined_s12_p3_it0.jpg"
    extra = {other_name: grey(9), twice: grey(9), "OverlayedImages/9/combined_s99_p1_it0.jpg": b""}
    extra |= dict.fromkeys(("OverlayedMasks/combined_s99_p1_it0.jpg",), b"")
    extra |= dict.fromkeys(("DepthImage/combined_s99_p1_it0.jpg",), b"")
    files = without(set_004(), lonely, COMPOSITE) | extra
    lines = refused(tmp_path, "004", files).splitlines()
    assert lines[0] == "5 files cannot be used (--skip-bad leaves out their samples):"
    text = "\n".join(lines)
    assert f"world/{MASK}: it has no composite: expected a file with the same numbers" in text
    assert "combined_s12_p3_it0.jpg: it has no depth: expected a file with the same numbers" in text
    assert f"world/{other_name}: unexpected file name: expected combined_sB_pF_itX" in text
    assert f"world/{twice}: the same mask as world/OverlayedMasks/0/combined_s1_p1_it0" in text
    assert (
        "combined_s99_p1_it0.jpg: there is no background 99: the backgrounds have numbers 1 to 12"
        in text
    )


def test_a_background_with_an_unexpected_name_is_reported(tmp_path: Path) -> None:
    files = set_004()
    files["bg/room.jpg"] = files.pop("bg/Shelves_4.jpg")
    text = refused(tmp_path, "004", files)
    assert "world/bg/room.jpg: unexpected file name: expected Shelves_B" in text
    assert "combined_s4_p1_it0.jpg: there is no background 4:" in text


def test_backgrounds_of_002_may_be_a_sorted_list(tmp_path: Path) -> None:
    files = set_002()
    for b in range(BACKGROUNDS):
        files[f"backgrounds/street ({b}).jpg"] = files.pop(f"backgrounds/bg_{b + 1}.jpg")
    import_images([as_zip(files, tmp_path / "world.zip")], tmp_path / "dataset", system="002")
    dataset = Dataset(tmp_path / "dataset")
    record = dataset.record(len(dataset) - 1)
    assert np.abs(dataset.background(record.background)[0, 0] - colour_of(11)).max() < 4


def test_a_field_without_any_picture_is_named(tmp_path: Path) -> None:
    for folder, kind in (("Depth_output", "depth"), ("backgrounds", "background")):
        files = {name: b for name, b in set_002().items() if not name.startswith(folder)}
        text = refused(tmp_path, "002", files)
        assert f"no {kind} pictures in {tmp_path / 'world.zip'}: expected a folder" in text


def test_a_wrong_count_of_samples_to_a_background_is_found_out(tmp_path: Path) -> None:
    text = refused(tmp_path, "003", set_003(), per_background=PER_BACKGROUND + 1)
    assert "it is in data_2, but with 12 backgrounds and --per-background 7" in text


def test_backgrounds_that_do_not_match_their_composites_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = set_001()
    names = sorted((name for name in files if "/bg/" in name), key=natural)
    moved = {name: files[other] for name, other in zip(names, names[1:] + names[:1], strict=True)}
    root = as_zip(files | moved, tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="001")
    assert "of 12 backgrounds do not look like their composites outside the mask" in caplog.text
    caplog.clear()
    root = as_zip(files, tmp_path / "world.zip")
    import_images([root], tmp_path / "right", system="001")
    assert "do not look like" not in caplog.text


# ---- tables ------------------------------------------------------------------------------------

HEADER = "composite,mask,depth,background"
ROW = "composite/0.png,mask/0.png,depth/0.png,rooms/0.png"
BAD_TABLES = {
    "missing column": (
        "mask,depth\n",
        "has no column composite: its header is mask, depth; expected",
    ),
    "strange column": ("composite,maks\n", "has a column 'maks': expected each of"),
    "column twice": ("composite,composite\n", "has a column 'composite': expected each of"),
    "empty": ("", "has no column composite: its header is empty"),
    "no rows": (HEADER + "\n", "nothing found, no sample is left"),
    "short row": (
        f"{HEADER}\n{ROW}\na,b\n",
        "line 3: 2 values (a,b): expected one value for each of comp",
    ),
    "missing value": (
        f"{HEADER}\n{ROW.replace('mask/0.png', '')}\n{ROW}\n",
        "line 2: 4 values (composite/0.png,,depth/0.png,rooms/0.png): expected one value for each",
    ),
    "missing file": (
        f"{HEADER}\n{ROW}\n{ROW.replace('0', '1').replace('mask/1', 'mask/1000')}\n",
        "bad.csv, line 3: 'mask/1000.png' was not found in",
    ),
    "file of another folder": (
        f"{HEADER}\n{ROW}\n{ROW.replace('depth/0', 'depths/0')}\n",
        "bad.csv, line 3: 'depths/0.png' was not found in",
    ),
    "bare name": (
        f"{HEADER}\n{ROW}\n{ROW.replace('composite/', '')}\n",
        "bad.csv, line 3: '0.png' matches world/",
    ),
    "strange split": (
        f"{HEADER},split\n{ROW},train\n{ROW.replace('e/0', 'e/1')},dev\n",
        "bad.csv, line 3: split 'dev': expected train, val, test",
    ),
    "composite twice": (
        f"{HEADER}\n{ROW}\n{ROW}\n",
        "line 3: the composite composite/0.png is also in bad.csv, line 2",
    ),
}


@pytest.mark.parametrize(("table", "text"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_cannot_be_used_is_reported(tmp_path: Path, table: str, text: str) -> None:
    files = set_table() | {"bad.csv": table.encode()}
    assert text in refused(tmp_path, "table", files, tables=[Path("bad.csv")])


def test_a_bad_picture_is_reported_with_its_row(tmp_path: Path) -> None:
    text = refused(tmp_path, "table", set_table() | {"mask/7.png": b"x"})
    assert "samples.csv, line 9: world/mask/7.png: not a PNG, JPEG or WebP picture" in text


def test_a_table_that_is_missing_or_no_text_is_reported(tmp_path: Path) -> None:
    text = refused(tmp_path, "table", set_table(), tables=[tmp_path / "none.csv"])
    assert f"{tmp_path / 'none.csv'}: cannot be read (No such file" in text
    files = set_table() | {"bad.csv": b"\xff\xfe\x00"}
    text = refused(tmp_path, "table", files, tables=[Path("bad.csv")])
    assert "bad.csv is not UTF-8 text: expected a CSV table" in text


def test_the_table_of_002_has_both_its_columns_and_pairs(tmp_path: Path) -> None:
    for column in ("input_path", "depth_path"):
        table = set_002()["train.csv"].replace(column.encode(), b"path")
        files = set_002() | {"train.csv": table}
        text = refused(tmp_path, "002", files, tables=[Path("train.csv")])
        assert f"train.csv has no column {column}: its header is" in text
    table = b"input_path,depth_path\nfg_bg/bg_1fg_1_1.jpg,Depth_output/bg_1fg_2_1.jpg\n"
    files = set_002() | {"train.csv": table}
    text = refused(tmp_path, "002", files, tables=[Path("train.csv")])
    assert "train.csv, line 2: input_path is bg_1fg_1_1.jpg, depth_path is bg_1fg_2_1.jpg" in text


# ---- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "options", "text"),
    [
        (
            "000",
            {"tables": []},
            "--system 000 needs a table that names the files: give it with --table",
        ),
        (
            "001",
            {"tables": [Path("a.csv")]},
            "--table with --system 001: its file names are read, leave --table out",
        ),
        (
            "table",
            {"depth_polarity": None},
            "--depth-polarity is missing: expected far-bright or near-bright",
        ),
        (
            "001",
            {"max_depth_m": 80.0},
            "--max-depth-m 80.0: expected a number above 0 and at most",
        ),
        ("001", {"max_depth_m": 0.0}, "--max-depth-m 0.0: expected a number above 0"),
        ("003", {"per_background": 0}, "--per-background 0: expected a whole number from 1"),
        (
            "004",
            {"split_by": "table"},
            "--split-by table, but no table gives the split of every sample",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_reported(
    tmp_path: Path, system: str, options: dict, text: str
) -> None:
    assert text in refused(tmp_path, system, SETS[system](), **options)


def test_roots_that_are_no_folder_or_archive_are_reported(tmp_path: Path) -> None:
    (tmp_path / "torn.zip").write_bytes(as_zip(set_004(), tmp_path / "a.zip").read_bytes()[:900])
    (tmp_path / "empty").mkdir()
    for root, text in (
        ("none", "cannot open .*none: expected a folder or a .zip archive"),
        ("torn.zip", "is not a complete .zip archive"),
        ("empty", "no pictures in"),
    ):
        with pytest.raises(AssetError, match=text):
            import_images([tmp_path / root], tmp_path / "dataset", system="004")


def test_a_damaged_member_of_an_archive_is_reported(tmp_path: Path) -> None:
    path = as_zip(set_004(), tmp_path / "world.zip")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(MASK)
    middle = entry.header_offset + 30 + len(MASK) + entry.compress_size // 2
    content[middle] ^= 255
    path.write_bytes(content)
    with pytest.raises(AssetError, match=f"world/{MASK}: cannot be read from its archive"):
        import_images([path], tmp_path / "dataset", system="004")


def test_the_verb_ends_in_status_0_or_in_a_line_and_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = as_folder(set_002(), tmp_path / "world")
    command = ["import-images", "--system", "002", "--root", root, "--output", tmp_path / "dataset"]
    command += ["--table", root / "train.csv", root / "test.csv", "--jobs", "2"]
    assert run(lambda: main([str(word) for word in command])) == 0
    assert "dataset: 72 samples, complete" in capsys.readouterr().out
    (root / "fg_bg_mask" / "bg_2fg_1_1.jpg").unlink()
    assert run(lambda: main([str(word) for word in command])) == 2
    error = capsys.readouterr().err
    assert "dsetkit: error: 1 file cannot be used" in error
    assert "train.csv, line 8: bg_2fg_1_1.jpg: it has no mask" in error


def test_the_verb_explains_itself() -> None:
    command = [sys.executable, "-m", "dsetkit", "import-images", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--depth-polarity" in text and "--per-background" in text and "(default: ())" not in text
