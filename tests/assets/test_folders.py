"""Tests of folders of pictures: files found and refused, ids, splits, fingerprint."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsetkit.assets.folders import (
    assign_splits,
    decode_asset,
    describe_bad,
    encode_asset,
    fingerprint,
    load_backgrounds,
    load_foregrounds,
    raise_if_bad,
)
from dsetkit.errors import AssetError, DatasetError

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def cut_out(red: int = 200) -> np.ndarray:
    """An opaque square in one colour: uint8 (12,12,4)."""
    return np.full((12, 12, 4), (red, 100, 50, 255), np.uint8)


def photograph() -> np.ndarray:
    """A flat colour: uint8 (20,20,3)."""
    return np.full((20, 20, 3), 90, np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> None:
    Image.fromarray(pixels).save(path, **options)


# ---- a folder ----------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Foregrounds: one good, two bad. Backgrounds: one good, one bad."""
    front, behind = tmp_path / "front", tmp_path / "behind"
    front.mkdir()
    behind.mkdir()
    save(front / "good.png", cut_out())
    save(front / "opaque.jpg", photograph())
    (front / "text.png").write_text("text")
    save(behind / "good.jpg", photograph())
    (behind / "text.jpg").write_text("text")
    return front, behind


def test_one_error_lists_the_bad_files_of_both_folders(folders):
    front, behind = folders
    found = load_foregrounds(front, max_side=64), load_backgrounds(behind, size=16)
    with pytest.raises(AssetError) as caught:
        raise_if_bad(*found)
    assert str(caught.value) == (
        "2 of 3 foregrounds and 1 of 2 backgrounds cannot be used "
        "(--skip-bad goes on without them): "
        f"{front}/opaque.jpg: no alpha: expected a cut-out, PNG or WebP with transparency "
        "(`dsetkit cut-outs` makes some from pictures and their masks); "
        f"{front}/text.png: not a PNG, JPEG or WebP picture; "
        f"{behind}/text.jpg: not a PNG, JPEG or WebP picture"
    )
    assert len(describe_bad(*found).splitlines()) == 4, "a line for each, where there is room"
    raise_if_bad(*found, skip_bad=True)


def test_an_error_names_a_few_of_many_bad_pictures(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02}.png").write_text("no picture")
    with pytest.raises(AssetError) as caught:
        raise_if_bad(load_foregrounds(tmp_path, max_side=64))
    message = str(caught.value)
    assert "30 of 30" in message and "00.png" in message and "29.png" not in message
    assert message.endswith("; and 25 more") and "\n" not in message


def test_skip_bad_needs_at_least_one_usable_picture(folders):
    front, behind = folders
    (front / "good.png").unlink()
    found = load_foregrounds(front, max_side=64), load_backgrounds(behind, size=16)
    with pytest.raises(AssetError, match="^2 of 2 fore.* cannot be used, and at least one of each"):
        raise_if_bad(*found, skip_bad=True)


def test_pillow_warnings_about_handled_problems_are_hidden(tmp_path):
    save(tmp_path / "broken_exif.png", cut_out(), exif=b"II*\0\x08\0\0\0\x05\0\x12\x01")
    Image.new("1", (95_000, 1_000)).save(tmp_path / "large.png")
    os.truncate(tmp_path / "large.png", 99)  # the header is enough for Pillow to warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load_foregrounds(tmp_path, max_side=64)
    assert [asset.name for asset in found.assets] == ["broken_exif"]
    assert [bad.reason for bad in found.bad] == ["damaged or cut off (image file is truncated)"]


def test_a_file_name_that_is_not_utf_8_gives_a_reason_in_utf_8(tmp_path):
    save(tmp_path / "a.png", cut_out())
    try:
        os.rename(os.fsencode(tmp_path / "a.png"), os.fsencode(tmp_path) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (bad,) = load_foregrounds(tmp_path, max_side=64).bad
    assert (bad.name, bad.reason) == ("caf\\udce9.png", "its name is not UTF-8: rename it")


def test_only_pictures_of_the_folder_itself_are_tried(tmp_path):
    (tmp_path / "sub.png").mkdir()
    save(tmp_path / "sub.png" / "other.png", cut_out())
    for name in (".hidden.png", "Thumbs.db", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_text("no picture")
    save(tmp_path / "good.png", cut_out())
    found = load_foregrounds(tmp_path, max_side=64)
    assert [asset.name for asset in found.assets] == ["good"]
    assert not found.bad


def test_a_folder_that_cannot_be_used_says_why(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, text in {
        "nowhere": r"cannot open .*nowhere \(No such file.*\): expected the folder of the fore",
        "file": r"cannot open .*file \(Not a directory\): expected the folder of the foregrounds",
        "empty": r"no foregrounds in .*empty: expected files ending in \.png, .*sub-folders",
    }.items():
        with pytest.raises(AssetError, match=text):
            load_foregrounds(tmp_path / name, max_side=64)


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("a.png", "a.webp", "b.png", "c.PNG", "c.webp"):
        save(tmp_path / name, cut_out())
    with pytest.raises(
        AssetError,
        match=r"^a\.png and a\.webp in .* differ only in their suffix \(and 1 more\): "
        "rename or remove all but one$",
    ):
        load_foregrounds(tmp_path, max_side=64)


def test_the_number_of_threads_changes_nothing(tmp_path):
    for number in range(12):
        save(tmp_path / f"{11 - number:02}.png", cut_out(red=number))
    seen = []
    one, four = (
        load_foregrounds(tmp_path, max_side=64, jobs=jobs, progress=lambda *at: seen.append(at))
        for jobs in (1, 4)
    )
    assert [asset.name for asset in one.assets] == [f"{number:02}" for number in range(12)]
    assert [asset.id for asset in one.assets] == list(range(12))
    assert fingerprint(one.assets) == fingerprint(four.assets)
    assert seen == 2 * [(done, 12) for done in range(1, 13)]


# ---- splits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count, expected",
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (100, (88, 4, 8))],
)
def test_splits_have_their_shares_and_at_least_one_each(count, expected):
    splits = assign_splits([f"asset {number}" for number in range(count)], seed=0)
    assert tuple(splits.count(split) for split in ("train", "val", "test")) == expected


def test_splits_depend_on_seed_and_names_alone():
    names = [f"asset {number}" for number in range(50)]
    splits = dict(zip(names, assign_splits(names, seed=3), strict=True))
    backwards = names[::-1]
    assert splits == dict(zip(backwards, assign_splits(backwards, seed=3), strict=True))
    assert list(splits.values()) != assign_splits(names, seed=4)


def test_splits_stay_the_same_from_version_to_version():
    splits = assign_splits(["cat", "dog", "plant", "table", "tree"], seed=0)
    assert splits == ["train", "train", "test", "val", "train"]


def test_one_more_picture_moves_few_others():
    names = [f"asset {number}" for number in range(100)]
    before, after = (assign_splits(some, seed=0) for some in (names[:99], names))
    assert sum(one != other for one, other in zip(before, after, strict=False)) <= 2


# ---- for the dataset ---------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
def test_encoding_is_lossless_colours_under_alpha_0_too(channels):
    pixels = np.random.default_rng(0).integers(0, 255, (9, 11, channels), np.uint8)
    pixels[:5, ..., 3:] = 0
    assert np.array_equal(decode_asset(encode_asset(pixels)), pixels)


def test_encoded_assets_are_plain_png(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_asset(cut_out()))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), cut_out())


def test_bytes_that_are_not_a_picture_raise_a_dataset_error():
    with pytest.raises(DatasetError, match="an encoded asset cannot be decoded"):
        decode_asset(b"no picture")


def test_the_fingerprint_sees_names_pixels_and_groups(tmp_path):
    for name in "ab":
        save(tmp_path / f"{name}.png", cut_out())
    a, b = load_foregrounds(tmp_path, max_side=64).assets
    darker = replace(a, pixels=a.pixels // 2)
    prints = [
        fingerprint([a, b]),
        fingerprint([a], [b]),
        fingerprint([b, a]),
        fingerprint([replace(a, name="c"), b]),
        fingerprint([darker, b]),
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == fingerprint(load_foregrounds(tmp_path, max_side=64).assets)


# ---- real pictures -----------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"no pictures at {SHARED_DATA}")
def test_all_real_pictures_load():
    front = load_foregrounds(SHARED_DATA / "foregrounds", max_side=157)
    behind = load_backgrounds(SHARED_DATA / "backgrounds", size=224)
    raise_if_bad(front, behind)
    assert (len(front.assets), len(behind.assets)) == (104, 102)
    assert all(max(asset.pixels.shape) <= 157 for asset in front.assets)
    assert {asset.pixels.shape for asset in behind.assets} == {(224, 224, 3)}
