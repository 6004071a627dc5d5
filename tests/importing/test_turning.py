"""EXIF orientation in imports: labels lie over their pictures, or the import names the file."""

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsetkit import SampleDataset
from dsetkit.assets import turn
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError
from dsetkit.importing.turning import fitted
from dsetkit.verbs.export import export
from dsetkit.verbs.verify import verify
from tests.helpers.importing import import_images, import_rgbd
from tests.helpers.worlds import draw_foreground, replace_record

HEIGHT, WIDTH = 24, 32
SQUARE = (24, 24)
TURNED_BY_QUARTERS = (5, 6, 7, 8)
AMBIGUOUS = (2, 3, 4)


def world(size: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, np.ndarray]:
    """An upright scene: a bright box at the top left, over a ramp; mask and depth show the box."""
    ramp = np.linspace(20, 120, size[1]).astype(np.uint8)
    background = np.repeat(np.tile(ramp, (size[0], 1))[..., None], 3, axis=2)
    composite, mask = background.copy(), np.zeros(size, np.uint8)
    depth = np.full(size, 4000, np.uint16)
    box = np.s_[3:11, 2:9]
    composite[box], mask[box], depth[box] = 250, 255, 1000
    depth[-1, 0] = 0
    return {"background": background, "composite": composite, "mask": mask, "depth": depth}


def as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels of a file that are upright once they are turned as `orientation` says."""
    for back in range(1, 9):
        if np.array_equal(turn(turn(upright, back), orientation), upright):
            pixels = turn(upright, back)
            if np.array_equal(turn(pixels, orientation), upright):
                return pixels
    raise AssertionError


def picture(pixels: np.ndarray, orientation: int, kind: str) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    buffer = io.BytesIO()
    options = {"JPEG": {"quality": 97, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(pixels).save(
        buffer, kind, **options, **({"exif": tags.tobytes()} if orientation != 1 else {})
    )
    return buffer.getvalue()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# ---- the rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize("composite", range(1, 9))
@pytest.mark.parametrize("own", range(1, 9))
@pytest.mark.parametrize("size", [(5, 7), (6, 6)])
def test_a_label_is_right_or_refused(own: int, composite: int, size: tuple[int, int]) -> None:
    """Of a label that was stored either way, what comes out is the upright label or an error."""
    upright = np.random.default_rng(0).integers(0, 255, size, np.uint8)
    for way in {own, composite}:
        stored = as_stored(upright, way)
        try:
            found = fitted(stored, own, composite=composite, size=size)
        except AssetError as error:
            assert own != composite and "\n" not in str(error)
            other = turn(stored, own + composite - way)
            assert other.shape == size  # the size does not tell
        else:
            assert np.array_equal(found, upright)


def test_a_label_that_is_the_same_either_way_is_no_question() -> None:
    flat = np.full((6, 6), 9, np.uint8)
    assert np.array_equal(fitted(flat, 1, composite=3, size=(6, 6)), flat)


def test_a_smaller_depth_is_turned_by_its_shape() -> None:
    upright = np.random.default_rng(0).integers(0, 255, (12, 16), np.uint16)
    for stored in (upright, as_stored(upright, 6)):
        found = fitted(stored, 1, composite=6, size=(240, 320), may_be_scaled=True)
        assert np.array_equal(found, upright)
    with pytest.raises(
        AssetError, match="16 x 20 px, but its composite is 320 x 240 px when it is"
    ):
        fitted(np.zeros((20, 16), np.uint16), 1, composite=6, size=(240, 320), may_be_scaled=True)


# ---- import-rgbd -------------------------------------------------------------------------------


def write_pair(
    folder: Path, upright: dict[str, np.ndarray], orientation: int, depth_way: int, kind: str
) -> None:
    suffix = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[kind]
    stored = as_stored(upright["composite"], orientation)
    write(folder / f"a_color.{suffix}", picture(stored, orientation, kind))
    depth = as_stored(upright["depth"], depth_way)
    write(folder / "a_depth.png", cv2.imencode(".png", depth)[1].tobytes())


def assert_upright(path: Path, upright: dict[str, np.ndarray], fields: tuple[str, ...]) -> None:
    """Checks what every reader of a dataset gives: records, verify, training data, export."""
    assert verify(path) == []
    dataset = Dataset(path)
    record = dataset.record(0)
    for name in fields:
        found = dataset.image(record, name).astype(int)
        assert np.abs(found - upright[name].astype(int)).max() <= (8 if name == "composite" else 0)
    data = SampleDataset(path, split=None, size=None, fields=fields)[0]
    shapes = {tuple(data[name].shape[1:]) for name in fields}
    assert shapes == {upright["composite"].shape[:2]}
    files = path.with_name("files")
    export(path, files)
    for name in fields:
        # As other programs see it, which obey EXIF data.
        (file,) = (files / name).iterdir()
        flags = cv2.IMREAD_COLOR_RGB if name == "composite" else cv2.IMREAD_UNCHANGED
        seen = cv2.imread(str(file), flags)
        assert np.abs(seen.astype(int) - upright[name]).max() <= (8 if name == "composite" else 0)


@pytest.mark.parametrize("orientation", [1, *TURNED_BY_QUARTERS])
@pytest.mark.parametrize("is_raw", [True, False], ids=["depth as stored", "depth upright"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pairs_come_out_upright(tmp_path: Path, orientation: int, is_raw: bool, kind: str) -> None:
    upright = world()
    write_pair(tmp_path / "pairs", upright, orientation, orientation if is_raw else 1, kind)
    import_rgbd(tmp_path / "pairs", tmp_path / "d", split="train")
    assert_upright(tmp_path / "d", upright, ("composite", "depth"))


@pytest.mark.parametrize(
    ("orientation", "size"),
    [(o, (HEIGHT, WIDTH)) for o in AMBIGUOUS] + [(o, SQUARE) for o in range(2, 9)],
)
@pytest.mark.parametrize("is_raw", [True, False])
def test_a_pair_that_fits_both_ways_is_refused_in_one_line(
    tmp_path: Path, orientation: int, size: tuple[int, int], is_raw: bool
) -> None:
    write_pair(tmp_path / "pairs", world(size), orientation, orientation if is_raw else 1, "JPEG")
    with pytest.raises(AssetError) as caught:
        import_rgbd(tmp_path / "pairs", tmp_path / "d", split="train")
    (line,) = str(caught.value).splitlines()
    assert f"a_depth.png: it has EXIF orientation 1, its composite {orientation}" in line
    assert not (tmp_path / "d").exists()


def test_pasted_copies_of_turned_pairs_are_upright_too(tmp_path: Path) -> None:
    upright = world((96, 128))
    write_pair(tmp_path / "pairs", upright, 6, 6, "JPEG")
    for number in range(3):
        cut_out = draw_foreground(number, 60, 45)
        write(tmp_path / "f" / f"{number}.png", picture(cut_out, 1, "PNG"))
    options = {"split": "train", "foregrounds": tmp_path / "f", "pastes": 2}
    assert import_rgbd(tmp_path / "pairs", tmp_path / "d", **options) == 3
    dataset = Dataset(tmp_path / "d")
    for index in range(3):
        record = dataset.record(index)
        composite, depth = (dataset.image(record, name) for name in ("composite", "depth"))
        assert composite.shape[:2] == depth.shape == (96, 128)
        far = depth == 4000
        assert np.abs(composite[far].astype(int) - upright["background"][far]).mean() < 5


# ---- import-images -----------------------------------------------------------------------------


def write_set(
    root: Path,
    upright: dict[str, np.ndarray],
    orientations: dict[str, int],
    ways: dict[str, int],
    *,
    kind: str = "PNG",
) -> Path:
    """A set of one sample: files of `ways`, with the EXIF data of `orientations`."""
    for name, pixels in upright.items():
        if name == "depth":
            pixels = (pixels // 16).astype(np.uint8)
        stored = as_stored(pixels, ways.get(name, 1))
        content = picture(stored, orientations.get(name, 1), kind if name == "composite" else "PNG")
        write(root / name / "0.png", content)
    row = "composite/0.png,mask/0.png,depth/0.png,background/0.png,train"
    (root / "t.csv").write_text(f"composite,mask,depth,background,split\n{row}\n")
    return root


def import_set(root: Path, output: Path) -> None:
    import_images(
        [root],
        output,
        system="table",
        tables=[Path("t.csv")],
        depth_polarity="far-bright",
        max_depth_m=4.08,
    )


@pytest.mark.parametrize("orientation", [1, *TURNED_BY_QUARTERS])
@pytest.mark.parametrize("labels_are_raw", [True, False])
@pytest.mark.parametrize("background_is_raw", [True, False])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_sets_come_out_upright(
    tmp_path: Path, orientation: int, labels_are_raw: bool, background_is_raw: bool, kind: str
) -> None:
    upright = world()
    ways = {"composite": orientation}
    ways |= dict.fromkeys(("mask", "depth"), orientation if labels_are_raw else 1)
    ways["background"] = orientation if background_is_raw else 1
    root = write_set(tmp_path / "w", upright, {"composite": orientation}, ways, kind=kind)
    import_set(root, tmp_path / "d")
    dataset = Dataset(tmp_path / "d")
    record = dataset.record(0)
    assert np.abs(dataset.background(0).astype(int) - upright["background"]).max() <= 3
    assert record.objects[0].box == (2, 3, 7, 8)
    near = dataset.image(record, "depth") < 2000
    assert np.array_equal(near[:-1], upright["depth"][:-1] < 2000)
    assert_upright(tmp_path / "d", upright, ("composite", "mask"))


@pytest.mark.parametrize("orientation", AMBIGUOUS)
@pytest.mark.parametrize("labels_are_raw", [True, False])
def test_a_set_that_fits_both_ways_is_refused(
    tmp_path: Path, orientation: int, labels_are_raw: bool
) -> None:
    ways = {"composite": orientation}
    ways |= dict.fromkeys(("mask", "depth"), orientation if labels_are_raw else 1)
    root = write_set(tmp_path / "w", world(), {"composite": orientation}, ways)
    with pytest.raises(AssetError) as caught:
        import_set(root, tmp_path / "d")
    (line,) = str(caught.value).splitlines()
    assert "w/mask/0.png" in line and "w/depth/0.png" in line
    assert f"it has EXIF orientation 1, its composite {orientation}, and its size" in line


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("was_upright", [True, False])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), SQUARE])
def test_a_background_lies_as_its_composite_shows_it(
    tmp_path: Path, orientation: int, was_upright: bool, size: tuple[int, int]
) -> None:
    """Whether or not the program that made the composite obeyed the background's EXIF data."""
    upright = world(size)
    ways = {"background": orientation if was_upright else 1}
    root = write_set(tmp_path / "w", upright, {"background": orientation}, ways)
    import_set(root, tmp_path / "d")
    found = Dataset(tmp_path / "d").background(0).astype(int)
    assert np.abs(found - upright["background"]).max() <= 3


# ---- export ------------------------------------------------------------------------------------


def test_an_export_shows_every_program_what_readers_of_the_dataset_see(tmp_path: Path) -> None:
    """A dataset that another program wrote may hold pictures that are not upright."""
    upright = world()
    write_pair(tmp_path / "pairs", upright, 1, 1, "JPEG")
    import_rgbd(tmp_path / "pairs", tmp_path / "d", split="train")
    record = Dataset(tmp_path / "d").record(0)
    tagged = picture(upright["composite"], 6, "JPEG")
    replace_record(tmp_path / "d", 0, replace(record, fields=record.fields | {"composite": tagged}))
    assert_upright(tmp_path / "d", upright, ("composite", "depth"))
