"""The formats of export: what the library of each format reads is what our reader reads."""

import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsetkit.cli.main import main
from dsetkit.console import run
from dsetkit.datasets import Dataset, SampleTable
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.importing import PairSplit, import_rgbd
from dsetkit.store import CODECS, SPLITS, Record
from dsetkit.store.records import PlacedObject
from dsetkit.verbs.export import FORMAT_NAMES, FORMATS, export
from dsetkit.verbs.exporting import common
from dsetkit.verbs.exporting.yolo import data_yaml, one_polygon
from tests.helpers.full_disk import files_of_at_most
from tests.helpers.image_sets import set_001
from tests.helpers.importing import import_images
from tests.helpers.verbs import parsers
from tests.helpers.worlds import replace_record, tiny_dataset, tiny_rgbd

SAMPLES = 80
SHARD = 7


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d", num_samples=SAMPLES)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    return tiny_dataset(folder / "d", num_samples=SAMPLES, layout="recipe")


@pytest.fixture(params=["rendered", "recipe"])
def data(request: pytest.FixtureRequest, shared: Path, recipes: Path) -> Path:
    return shared if request.param == "rendered" else recipes


def write(data: Path, output: Path, output_format: str, **settings) -> Path:
    if FORMATS[output_format].has_shards:
        settings = {"shard_size": SHARD} | settings
    export(data, output, output_format=output_format, **settings)
    return output


def samples(data: Path) -> Iterator[tuple[int, Record, dict]]:
    dataset = Dataset(data)
    table = SampleTable(dataset)
    for index in range(len(dataset)):
        record = dataset.record(index)
        yield index, record, table.row(index, record)


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def assert_same_pictures(dataset: Dataset, record: Record, found: dict[str, np.ndarray]) -> None:
    composite = dataset.image(record, "composite")
    if "composite" not in record.fields:  # of a recipe: it is written as JPEG
        jpeg = CODECS["jpeg95"]
        composite = jpeg.decode(jpeg.encode(composite))
    assert np.abs(found["composite"] - composite.astype(int)).max() <= 3  # two JPEG decoders
    np.testing.assert_array_equal(found["mask"], dataset.image(record, "mask"))
    np.testing.assert_array_equal(found["depth"], dataset.image(record, "depth"))
    assert found["depth"].dtype in (np.uint16, np.int32)
    np.testing.assert_array_equal(found["background"], dataset.background(record.background_id()))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- each format is read back by the library that owns it --------------------------------------


def test_webdataset_reads_its_shards(data: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    output = write(data, tmp_path / "w", "webdataset")
    shards = sorted(str(path) for path in output.glob("*.tar"))
    assert len(shards) == sum(-(-len(Dataset(data).indices(s)) // SHARD) for s in SPLITS)
    read = webdataset.WebDataset(shards, shardshuffle=False)
    found = {int(sample["__key__"]): sample for sample in read}
    assert sorted(found) == list(range(SAMPLES))
    dataset = Dataset(data)
    for index, record, row in samples(data):
        sample = found[index]
        assert json.loads(sample["json"]) == row
        assert row["split"] in sample["__url__"]
        composite = sample.get("composite.jpg", sample.get("composite.png"))
        assert composite == record.fields.get("composite", composite)
        pictures = {name: sample[f"{name}.png"] for name in ("mask", "depth", "background")}
        pictures["composite"] = composite
        assert_same_pictures(dataset, record, {n: picture(c) for n, c in pictures.items()})


def test_a_shard_is_plain_tar_that_always_has_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    one, other = (write(shared, tmp_path / name, "webdataset") for name in "ab")
    assert tree(one) == tree(other)
    with tarfile.open(one / "val-000000.tar") as shard:
        names = shard.getnames()
    keys = [name.partition(".")[0] for name in names]
    assert keys == sorted(keys) and {len(key) for key in keys} == {6}
    assert f"{keys[0]}.depth.png" in names and f"{keys[0]}.json" in names


def test_datasets_loads_the_folder_offline(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    output = write(data, tmp_path / "hf", "hf")
    loaded = datasets.load_dataset(str(output), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {
        {"val": "validation"}.get(split, split): len(Dataset(data).indices(split))
        for split in ("train", "val", "test")
    }
    features = loaded["train"].features
    assert all(isinstance(features[name], datasets.Image) for name in ("composite", "depth"))
    found = {row["index"]: row for part in loaded.values() for row in part}
    dataset = Dataset(data)
    for index, record, row in samples(data):
        assert found[index]["split"] == row["split"]
        assert found[index]["foreground_name"] == row["foreground"]
        assert found[index]["background_name"] == row["background"]
        names = ("composite", "mask", "depth", "background")
        assert_same_pictures(dataset, record, {n: np.asarray(found[index][n]) for n in names})
    files = [str(path) for path in (output / "data").glob("train-*")]
    alone = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert alone["train"].features == features


def test_parquet_has_several_row_groups_and_repeated_backgrounds_once(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("dsetkit.verbs.exporting.hugging_face.ROWS_IN_GROUP", 16)
    output = write(shared, tmp_path / "hf", "hf", split="train", shard_size=1000)
    (file,) = output.glob("data/*.parquet")
    about = parquet.ParquetFile(file).metadata
    assert about.num_row_groups == -(-about.num_rows // 16) > 1


def test_the_card_tells_units_splits_and_that_a_licence_is_missing(
    shared: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    card = (write(shared, tmp_path / "hf", "hf") / "README.md").read_text()
    assert "millimetres, 0 = invalid" in card and "license_name: to-be-chosen" in card
    for split in ("train", "validation", "test"):
        assert f"path: data/{split}-*" in card
    assert f"| all | {SAMPLES} |" in card and "n<1K" in card
    relative = tiny_dataset(tmp_path / "r", num_samples=20, depth_kind="relative")
    assert "inverse depth" in (write(relative, tmp_path / "hf-r", "hf") / "README.md").read_text()


def test_pycocotools_reads_the_annotations(data: Path, tmp_path: Path) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    output = write(data, tmp_path / "c", "coco")
    dataset = Dataset(data)
    seen = 0
    for split in ("train", "val", "test"):
        coco = coco_api.COCO(str(output / "annotations" / f"instances_{split}.json"))
        assert sorted(coco.getImgIds()) == dataset.indices(split).tolist()
        for index in coco.getImgIds():
            record = dataset.record(index)
            (about,) = coco.loadImgs(index)
            content = (output / split / about["file_name"]).read_bytes()
            assert content == record.fields.get("composite", content)
            mask = dataset.image(record, "mask") >= 128
            assert (about["height"], about["width"]) == mask.shape
            (one,) = coco.loadAnns(coco.getAnnIds(index))
            np.testing.assert_array_equal(coco.annToMask(one), mask)
            assert one["area"] == mask.sum()
            assert one["bbox"] == list(cv2.boundingRect(mask.astype(np.uint8)))
            (category,) = coco.loadCats(one["category_id"])
            assert category["name"] == SampleTable(dataset).row(index, record)["foreground"]
            seen += 1
    assert seen == SAMPLES and not (output / ".parts").exists()


def test_names_of_classes_are_yaml_whatever_characters_they_have() -> None:
    yaml = pytest.importorskip("yaml")
    names = ["plain", "a: #'b", 'q"\\', "\x7f\n\x85\u2028\ufeff", "é", "\U0001f600", "foreground"]
    assert yaml.safe_load(data_yaml(names, ["train"]))["names"] == dict(enumerate(names))


def test_yolo_polygons_fill_the_mask(data: Path, tmp_path: Path) -> None:
    output = write(data, tmp_path / "y", "yolo-seg")
    dataset = Dataset(data)
    yaml = (output / "data.yaml").read_text()
    names = dict(re.findall(r'^  (\d+): "(.+)"$', yaml, re.MULTILINE))
    assert "train: images/train\nval: images/val\ntest: images/test\n" in yaml
    for index, record, row in samples(data):
        (label,) = output.glob(f"labels/*/{index:06d}.txt")
        assert len(list(output.glob(f"images/{label.parent.name}/{index:06d}.*"))) == 1
        assert label.parent.name == row["split"]
        category, *corners = label.read_text().split()
        assert names[category] == row["foreground"]
        mask = (dataset.image(record, "mask") >= 128).astype(np.uint8)
        # As Ultralytics does it: to pixels, to whole numbers, fillPoly.
        polygon = np.array(corners, float).reshape(-1, 2) * mask.shape[::-1]
        filled = cv2.fillPoly(np.zeros_like(mask), [polygon.astype(np.int32)], 1)
        np.testing.assert_array_equal(filled, mask)


def test_one_polygon_joins_parts_and_holes() -> None:
    mask = np.zeros((60, 80), np.uint8)
    cv2.circle(mask, (25, 30), 20, 1, -1)
    cv2.circle(mask, (25, 30), 9, 0, -1)  # a hole
    mask[5:12, 60:70] = 1
    mask[40, 70] = 1  # a single pixel
    filled = cv2.fillPoly(np.zeros_like(mask), [one_polygon(mask)], 1)
    missing, added = ((mask > filled).sum(), (filled > mask).sum())
    assert missing == 0
    assert added < 60  # the pixels of two cuts
    assert filled[30, 25] == 0
    for lone in ([[3, 4]], [[3, 4], [4, 4]]):
        small = np.zeros((9, 9), np.uint8)
        for x, y in lone:
            small[y, x] = 1
        assert len(one_polygon(small)) >= 3


def test_folder_pairs_are_imported_again(tmp_path: Path) -> None:
    rgbd = tiny_rgbd(tmp_path / "d")
    output = write(rgbd, tmp_path / "p", "folder-pairs")
    before = Dataset(rgbd)
    for split in ("train", "val"):
        indices = before.indices(split)
        if not len(indices):
            continue
        import_rgbd(output / split, tmp_path / split, split=PairSplit(split=split))
        after = Dataset(tmp_path / split)
        for place, index in enumerate(indices.tolist()):
            old, new = before.record(index), after.record(place)
            assert new.fields["composite"] == old.fields["composite"]
            np.testing.assert_array_equal(before.image(old, "depth"), after.image(new, "depth"))
        assert (after.cells == before.cells[indices]).all()


def test_depth_of_pairs_is_as_large_as_the_colours(shared: Path, tmp_path: Path) -> None:
    output = write(shared, tmp_path / "p", "folder-pairs")
    dataset = Dataset(shared)
    for index, record, row in samples(shared):
        depth = cv2.imread(str(output / row["split"] / f"{index:06d}_depth.png"), -1)
        assert depth.dtype == np.uint16 and list(depth.shape) == dataset.manifest.size
        stored = dataset.image(record, "depth")
        assert abs(float(depth[depth > 0].mean()) - stored[stored > 0].mean()) < 60  # mm


# ---- objects -----------------------------------------------------------------------------------


def test_several_objects_are_one_annotation_each(tmp_path: Path) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    data = tiny_dataset(
        tmp_path / "d", num_samples=20, num_foregrounds=40, placements=1, objects=(1, 2)
    )
    record = Dataset(data).record(0)
    mask, instances = np.zeros((2, 32, 32), np.uint8)
    mask[4:20, 4:20], instances[4:20, 4:20] = 255, 1
    mask[10:28, 10:30], instances[10:28, 10:30] = 200, 2
    fields = record.fields | {name: common.as_png(p) for name, p in [("mask", mask)]}
    fields["instances"] = common.as_png(instances)
    objects = (PlacedObject(foreground=1), PlacedObject(foreground=2))
    replace_record(data, 0, Record(record.background, objects, fields, index=record.index))
    (split,) = (s for s in SPLITS if 0 in Dataset(data).indices(s))
    output = write(data, tmp_path / "c", "coco")
    coco = coco_api.COCO(str(output / "annotations" / f"instances_{split}.json"))
    found = coco.loadAnns(coco.getAnnIds(0))
    assert [coco.loadCats(one["category_id"])[0]["name"] for one in found] == ["ball-1", "ball-2"]
    for number, one in enumerate(found, start=1):
        np.testing.assert_array_equal(coco.annToMask(one), instances == number)
    label = write(data, tmp_path / "y", "yolo-seg") / "labels" / split / "000000.txt"
    assert len(label.read_text().splitlines()) == 2


def test_several_objects_that_cannot_be_told_apart_are_one_of_no_name(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "d", num_samples=20)
    record = Dataset(data).record(0)
    objects = (PlacedObject(foreground=1), PlacedObject(foreground=2))
    replace_record(data, 0, Record(record.background, objects, record.fields, index=record.index))
    output = write(data, tmp_path / "y", "yolo-seg")
    (label,) = output.glob("labels/*/000000.txt")
    (line,) = label.read_text().splitlines()
    assert f'  {line.split()[0]}: "foreground"' in (output / "data.yaml").read_text()


def test_categories_of_an_import_are_the_names_in_its_samples(tmp_path: Path) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    for name, content in set_001().items():
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    import_images([tmp_path / "images"], tmp_path / "d", system="001")
    table = SampleTable(Dataset(tmp_path / "d"))
    output = write(tmp_path / "d", tmp_path / "c", "coco")
    found = {}
    for file in output.glob("annotations/*.json"):
        coco = coco_api.COCO(str(file))
        for one in coco.loadAnns(coco.getAnnIds()):
            found[one["image_id"]] = coco.loadCats(one["category_id"])[0]["name"]
    for index, record, _ in samples(tmp_path / "d"):
        (name,) = table.foregrounds(record) or [""]
        assert found[index] == (name or "foreground")


def test_a_sample_that_shows_no_foreground_has_no_annotation(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "d", num_samples=20)
    record = Dataset(data).record(0)
    empty = record.fields | {"mask": common.as_png(np.full((32, 32), 90, np.uint8))}
    replace_record(data, 0, Record(record.background, record.objects, empty, index=record.index))
    (label,) = write(data, tmp_path / "y", "yolo-seg").glob("labels/*/000000.txt")
    assert label.read_bytes() == b""


def test_a_folder_that_was_only_claimed_can_be_claimed_otherwise(
    shared: Path, tmp_path: Path
) -> None:
    """A flag that was wrong, and was refused later than the folder was claimed."""
    common.claim(tmp_path / "o", {"format": "another"})
    write(shared, tmp_path / "o", "webdataset", split="val")
    with pytest.raises(DsetkitError, match="another dataset, split or format"):
        common.claim(tmp_path / "o", {"format": "another"})


# ---- interrupted, continued, in processes ------------------------------------------------------

LIBRARIES = {"hf": "pyarrow", "coco": "pycocotools"}


@pytest.mark.parametrize("output_format", FORMATS)
def test_an_interrupted_export_goes_on_to_the_same_files(
    output_format: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    for module in ("coco", "yolo", "folder_pairs"):
        monkeypatch.setattr(f"dsetkit.verbs.exporting.{module}.SAMPLES_PER_PACK", SHARD)

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    output = tmp_path / "o"
    with pytest.raises(KeyboardInterrupt):
        write(shared, output, output_format, progress=stop)
    halfway = {path: path.stat().st_mtime_ns for path in output.rglob("*.*") if path.is_file()}
    assert len(halfway) > 1
    write(shared, output, output_format)
    whole = write(shared, tmp_path / "whole", output_format)
    assert tree(output) == tree(whole)
    kept = [path for path in halfway if path.exists()]
    assert all(path.stat().st_mtime_ns == halfway[path] for path in kept)
    finished = {path: path.stat().st_mtime_ns for path in output.rglob("*.jpg")}
    write(shared, output, output_format)
    assert tree(output) == tree(whole)
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())


@pytest.mark.parametrize("output_format", FORMATS)
def test_processes_and_a_failure_leave_no_half_file(
    output_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    data = tiny_dataset(tmp_path / "d", num_samples=40)
    damaged = int(Dataset(data).indices("train")[-1])
    sound = Dataset(data).record(damaged)
    replace_record(data, damaged, b"no record")
    with pytest.raises(DatasetError, match=f"sample {damaged}"):
        write(data, tmp_path / "o", output_format)
    left = [path.name for path in (tmp_path / "o").rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".part")]
    replace_record(data, damaged, sound)
    write(data, tmp_path / "o", output_format)
    assert tree(tmp_path / "o") == tree(write(data, tmp_path / "other", output_format))


@pytest.mark.slow
@pytest.mark.parametrize("output_format", FORMATS)
def test_the_files_do_not_depend_on_the_number_of_processes(
    output_format: str, shared: Path, tmp_path: Path
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    one = write(shared, tmp_path / "1", output_format)
    two = write(shared, tmp_path / "2", output_format, jobs=2)
    assert tree(one) == tree(two)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_split_alone_is_that_part_of_the_whole(
    output_format: str, shared: Path, tmp_path: Path
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    whole = tree(write(shared, tmp_path / "whole", output_format))
    part = tree(write(shared, tmp_path / "part", output_format, split="val"))
    about = {"dataset.json", "README.md", "data.yaml"}
    assert part.keys() - about
    assert all(whole[name] == content for name, content in part.items() if name not in about)


# ---- what cannot be done is one line -----------------------------------------------------------


def fails(*words: object, capsys: pytest.CaptureFixture) -> str:
    status = run(partial(main, ["export", *map(str, words)]))
    shown = capsys.readouterr().err.splitlines()
    errors = [line for line in shown if "error: " in line]
    assert (status, len(errors)) == (2, 1), shown
    return errors[0]


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_folder_that_holds_something_else_is_refused(
    output_format: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("precious")
    words = [shared, "--format", output_format, "--jobs", 1, "--output"]
    assert "is not an export" in fails(*words, tmp_path / "full", capsys=capsys)
    export(shared, tmp_path / "files", split="val")
    line = fails(*words, tmp_path / "files", "--split", "val", capsys=capsys)
    assert "another dataset, split or format" in line
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("room", [0, 2_000, 6_000])
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    output_format: str, room: int, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    words = ["export", shared, "--format", output_format, "--jobs", 1, "--output", tmp_path / "o"]
    command = partial(run, partial(main, list(map(str, words))))
    with files_of_at_most(room):
        status = command()
    shown = capsys.readouterr().err
    errors = [line for line in shown.splitlines() if "error: " in line]
    assert "Traceback" not in shown and "Exception ignored" not in shown
    assert (status, len(errors)) in ((2, 1), (0, 0)), shown
    assert status or room  # nothing has room in 0 bytes
    assert command() == 0
    assert not list((tmp_path / "o").rglob("*.part"))


@pytest.mark.parametrize("output_format", FORMATS)
def test_places_that_cannot_be_written_to(
    output_format: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip(LIBRARIES.get(output_format, "numpy"))
    (tmp_path / "file").write_text("precious")
    words = [shared, "--format", output_format, "--jobs", 1, "--output"]
    assert str(tmp_path / "file") in fails(*words, tmp_path / "file" / "new", capsys=capsys)
    assert "is not an export" in fails(*words, tmp_path / "file", capsys=capsys)
    assert "File name too long" in fails(*words, tmp_path / ("n" * 300) / "new", capsys=capsys)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--depth-format", "npy", "--format", "coco"], "only --format files has a choice"),
        (["--shard-size", "9"], "which has no shards"),
        (["--shard-size", "9", "--format", "yolo-seg"], "which has no shards"),
        (["--push-to-hub", "me/mine"], "expected --format hf"),
    ],
)
def test_settings_that_do_not_go_together(
    words: list[str], expected: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert expected in fails(shared, "--output", tmp_path / "o", *words, capsys=capsys)
    assert not (tmp_path / "o").exists()


def test_a_dataset_that_does_not_suit_the_format(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    no_depth = tiny_dataset(tmp_path / "n", num_samples=20, depth_kind="none")
    relative = tiny_dataset(tmp_path / "r", num_samples=20, depth_kind="relative")
    no_masks = tiny_rgbd(tmp_path / "m")
    for data, output_format, expected in (
        (no_depth, "folder-pairs", "has no depth"),
        (relative, "folder-pairs", "needs metric depth"),
        (no_masks, "coco", "has no masks"),
        (no_masks, "yolo-seg", "has no masks"),
    ):
        words = [data, "--output", tmp_path / "o", "--format", output_format]
        assert expected in fails(*words, capsys=capsys)
        assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("output_format", "missing"), [("hf", "pyarrow"), ("coco", "pycocotools")])
def test_a_missing_package_is_one_line_that_names_the_extra(
    output_format: str,
    missing: str,
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    line = fails(shared, "--output", tmp_path / "o", "--format", output_format, capsys=capsys)
    assert f"needs {missing}, which is not installed: pip install 'dsetkit[exports]'" in line
    assert not (tmp_path / "o").exists()


# ---- the Hub -----------------------------------------------------------------------------------


def test_without_a_token_nothing_is_written(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "get_token", lambda: None)
    words = [shared, "--output", tmp_path / "o", "--format", "hf", "--push-to-hub", "me/mine"]
    assert "no token" in fails(*words, capsys=capsys)
    assert not (tmp_path / "o").exists()


def test_with_a_token_the_folder_is_uploaded_to_a_private_dataset(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    pytest.importorskip("pyarrow")
    calls: dict[str, dict] = {}

    class Address(str):
        __slots__ = ()
        repo_id = "me/mine"

    class Api:
        def create_repo(self, name: str, **settings) -> Address:
            calls["create"] = {"name": name} | settings
            return Address("https://huggingface.co/datasets/me/mine")

        def upload_folder(self, **settings) -> None:
            calls["upload"] = settings
            if refuses:
                raise OSError("no network\nhere")

    monkeypatch.setattr(hub, "get_token", lambda: "a token")
    monkeypatch.setattr(hub, "HfApi", Api)
    words = [shared, "--output", tmp_path / "o", "--format", "hf", "--push-to-hub", "mine"]
    words += ["--jobs", 1]
    refuses = True
    assert "no network here" in fails(*words, capsys=capsys)
    refuses = False
    assert run(partial(main, ["export", *map(str, words)])) == 0
    assert calls["create"]["private"] and calls["create"]["repo_type"] == "dataset"
    assert calls["upload"]["folder_path"] == tmp_path / "o"
    assert calls["upload"]["repo_id"] == "me/mine"


def test_the_command_line_offers_every_format() -> None:
    (action,) = (one for one in parsers()["export"]._actions if one.dest == "format")
    assert tuple(action.choices) == FORMAT_NAMES
