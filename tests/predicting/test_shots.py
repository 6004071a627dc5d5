"""Which pictures are found, what they are called, and which background belongs to each."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsetkit.errors import AssetError
from dsetkit.importing import FileNaming
from dsetkit.predicting import Shot, find_shots
from tests.helpers.image_sets import OPTIONS, SETS, as_folder, combinations


def write(path: Path, grey: int = 0, size: tuple[int, int] = (8, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), grey, np.uint8))
    return path


def never(reason: str) -> None:
    raise AssertionError(reason)


def read(*args: object, **kwargs: object) -> list[Shot]:
    return list(find_shots(*args, **kwargs).read(never))


def test_a_folder_gives_all_pictures_below_it_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("p10.png", "p2.png", "inner/p1.JPG", ".hidden.png", "__MACOSX/p3.png", "t.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(path, "PNG") if name != "t.txt" else path.write_text("x")
    assert [shot.name for shot in read([tmp_path])] == ["inner/p1", "p2", "p10"]


def test_a_pattern_gives_the_files_that_match(tmp_path: Path) -> None:
    for name in ("a1.png", "b1.png", "deep/er/a2.png"):
        write(tmp_path / name)
    assert [shot.name for shot in read([tmp_path / "a*.png"])] == ["a1"]
    assert [shot.name for shot in read([tmp_path / "**" / "a*.png"])] == ["a1", "a2"]


def test_results_of_different_pictures_never_have_one_name(tmp_path: Path) -> None:
    given = [
        write(tmp_path / name)
        for name in ("x/a.png", "y/a.png", "y/a.jpg", "y/A.png", "b.png", "y/b-1.png")
    ]
    names = [shot.name for shot in read(given)]
    assert len({name.lower() for name in names}) == len(given)


def test_a_name_that_ends_in_a_suffix_is_not_taken_for_one_with_it(tmp_path: Path) -> None:
    names = ("a.png", "a.jpg", "a.jpg.png", "a.jpg-1.png", "b.png", "x/b.png", "b.png-1.png")
    given = [write(tmp_path / name) for name in names]
    assert len({shot.name.lower() for shot in read(given)}) == len(given)


def test_a_path_that_no_file_can_have_is_told_and_the_others_follow(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "t.csv").write_bytes(b"composite\na\0b.png\na.png\n")
    reasons: list[str] = []
    shots = list(find_shots(table=tmp_path / "t.csv").read(reasons.append))
    assert [shot.name for shot in shots] == ["a"]
    assert len(reasons) == 1 and "null character" in reasons[0] and "\0" not in reasons[0]


def test_a_damaged_video_is_told_of_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x1cftypisom" + b"\0" * 100)
    with pytest.raises(AssetError, match="cannot be read as a video"):
        find_shots([tmp_path / "cut.mp4"])
    assert capfd.readouterr().err == ""


def test_one_background_is_that_of_all_pictures(tmp_path: Path) -> None:
    composites = [write(tmp_path / f"c{i}.png", i) for i in range(3)]
    behind = write(tmp_path / "empty.png", 77)
    shots = read(composites, backgrounds=[behind])
    assert [shot.composite[0, 0, 0] for shot in shots] == [0, 1, 2]
    assert [shot.background[0, 0, 0] for shot in shots] == [77] * 3  # type: ignore[index]


def test_several_backgrounds_pair_by_name_whatever_suffix_and_case(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "a" / f"Shot{i}.png", i)
        write(tmp_path / "b" / f"shot{i}.bmp.png".replace(".bmp", ""), 10 + i)
    shots = read([tmp_path / "a"], backgrounds=[tmp_path / "b"])
    assert [shot.background[0, 0, 0] for shot in shots] == [10, 11, 12]  # type: ignore[index]


def test_a_table_pairs_what_it_names_relative_to_itself(tmp_path: Path) -> None:
    for name in ("in/x.png", "in/y.png", "out/z.png"):
        write(tmp_path / name, ord(name[-5]))
    table = tmp_path / "pairs.csv"
    table.write_text("background,composite\nout/z.png,in/x.png\nout/z.png,in/y.png\n")
    shots = read(table=table)
    assert [shot.name for shot in shots] == ["x", "y"]
    assert {shot.background[0, 0, 0] for shot in shots} == {ord("z")}  # type: ignore[index]
    table.write_text("composite\nin/x.png\n")
    assert read(table=table)[0].background is None


@pytest.mark.parametrize(
    ("system", "composites", "backgrounds"),
    [
        ("001", ["data_all/fg_bg"], "data_all/bg"),
        ("002", ["fg_bg"], "backgrounds"),
        ("003", ["data_1/Fg-Bg", "data_2/Fg-Bg"], "Background"),
        ("004", ["OverlayedImages"], "bg"),
    ],
)
def test_names_of_a_reference_system_tell_the_background(
    system: str, composites: list[str], backgrounds: str, tmp_path: Path
) -> None:
    as_folder(SETS[system](), tmp_path)
    shots = read(
        [tmp_path / folder for folder in composites],
        backgrounds=[tmp_path / backgrounds],
        naming=FileNaming(system=system, **OPTIONS[system]),
    )
    assert len(shots) == len(combinations()) * len(composites)
    for shot in shots:
        assert shot.background is not None
        corner = shot.composite[0, 0].astype(int)  # the background shows there
        assert np.abs(corner - shot.background[0, 0]).max() < 12


@pytest.mark.parametrize(
    ("composite", "backgrounds", "options", "complaint"),
    [
        ("x.png", ["bg_1.png"], {}, "x.png: unexpected file name: expected bg_Bfg_F_K"),
        ("bg_3fg_1_1.png", ["bg_1.png"], {}, "no background 3: the backgrounds have numbers 1 to"),
        ("bg_1fg_1_1.png", ["bg_1.png", "x.png"], {}, "x.png: unexpected file name: expected bg_B"),
        ("bg_1fg_1_1.png", ["bg_1.png", "i/bg_1.png"], {}, "the same background as "),
        ("bg_1fg_1_1.png", [], {}, "--system 002 finds the background of each picture by its name"),
        ("bg_1fg_1_1.mp4", ["bg_1.png"], {}, "is a video: expected it alone"),
        ("data_2/fg-bg1.png", ["b.png"], {"system": "003"}, "it belongs in data_1"),
        ("bg_1fg_1_1.png", ["bg_1.png"], {"system": "000", "tables": [Path("t")]}, "system 000"),
    ],
)
def test_names_that_no_system_has_are_one_line(
    composite: str, backgrounds: list[str], options: dict, complaint: str, tmp_path: Path
) -> None:
    naming = FileNaming(**{"system": "002", **options})
    behind = [write(tmp_path / "behind" / name) for name in backgrounds]
    given = tmp_path / composite
    if given.suffix == ".png":
        write(given)
    with pytest.raises(AssetError) as error:
        find_shots([given], backgrounds=behind, naming=naming)
    assert complaint in str(error.value) and "\n" not in str(error.value)


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read([tmp_path / "turned.jpg"])[0].composite.shape == (20, 10, 3)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_video_gives_each_nth_frame(video: Path, every: int) -> None:
    shots = find_shots([video], every=every)
    found = list(shots.read(never))
    expected = list(range(0, 10, every))
    assert shots.count == len(found) == len(expected)
    assert [shot.name for shot in found] == [f"film-{number:06d}" for number in expected]
    greys = [float(shot.composite.mean()) for shot in found]
    assert greys == pytest.approx([20.0 * number for number in expected], abs=4)


def test_a_video_that_is_cut_off_is_told_with_both_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    noise = np.random.default_rng(0)
    for _ in range(20):
        writer.write(noise.integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    shots = find_shots([path], every=2)
    found = list(shots.read(never))
    (line,) = caplog.messages
    assert 0 < len(found) < shots.count == 10
    assert line.startswith(f"{path}: its header promises 20 frames, but only ")
    frames = int(line.split("but only ")[1].split()[0])
    assert (frames + 1) // 2 == len(found)


def test_a_whole_video_is_read_without_a_word(
    video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    list(find_shots([video], every=3).read(never))
    assert not caplog.messages


def test_a_picture_that_cannot_be_used_is_told_and_the_others_follow(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    write(tmp_path / "c.png")
    reasons: list[str] = []
    shots = list(find_shots([tmp_path]).read(reasons.append))
    assert [shot.name for shot in shots] == ["a", "c"]
    assert len(reasons) == 1 and "b.png" in reasons[0] and "not a PNG" in reasons[0]


def bad(name: str, root: Path) -> dict:
    """Arguments of `find_shots` that cannot be used."""
    one, two = write(root / "a" / "one.png"), write(root / "a" / "two.png")
    (root / "empty").mkdir()
    (root / "bad.mp4").write_bytes(b"\0" * 100)
    (root / "v\udcff.mp4").write_bytes(b"\0" * 100)
    os.mkfifo(root / "pipe.mp4")
    tables = {
        "columns": "left,right\na,b\n",
        "no rows": "composite,background\n",
        "empty": "",
        "short": "composite,background\na.png\n",
        "root": "composite\n/\n",
        "not text": "\xff\xfe\0",
        "open": '"' + "x" * 10**6,
    }
    for key, text in tables.items():
        (root / f"{key}.csv").write_text(text, encoding="latin-1")
    return {
        "nothing": {},
        "no pictures": {"composites": [root / "empty"]},
        "no match": {"composites": [root / "a" / "*.webp"]},
        "no background": {"composites": [one, two], "backgrounds": [one, write(root / "x.png")]},
        "one name": {"composites": [one, two], "backgrounds": [two, write(root / "two.jpg")]},
        "two videos": {"composites": [root / "bad.mp4", one]},
        "no video": {"composites": [root / "bad.mp4"]},
        "missing video": {"composites": [root / "none.mp4"]},
        "video not UTF-8": {"composites": [root / "v\udcff.mp4"]},
        "pipe": {"composites": [root / "pipe.mp4"]},
        "both": {"composites": [one], "table": root / "columns.csv"},
        "missing table": {"table": root / "none.csv"},
        **{f"table {key}": {"table": root / f"{key}.csv"} for key in tables},
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        *("nothing", "no pictures", "no match", "no background", "one name", "two videos"),
        *("no video", "missing video", "pipe", "both", "missing table", "table columns"),
        *("table no rows", "table empty", "table short", "table not text", "table open"),
        *("table root", "video not UTF-8"),
    ],
)
def test_what_cannot_be_used_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(AssetError) as error:
        find_shots(**bad(name, tmp_path))
    assert str(error.value) and "\n" not in str(error.value)
