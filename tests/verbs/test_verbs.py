"""The verbs info, verify, stats, split, show and export."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from dsetkit.assets.folders import encode_asset
from dsetkit.cli import main
from dsetkit.cli.main import build_parser
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError
from dsetkit.labels.scoring import measure_labels
from dsetkit.store import manifest as m
from dsetkit.store.codecs import CODECS
from dsetkit.store.lmdb_store import StoreWriter, u32_key
from dsetkit.store.records import Record, pack_asset
from dsetkit.store.shards import shard_path
from dsetkit.verbs.export import export
from dsetkit.verbs.info import describe
from dsetkit.verbs.show import choose, contact_sheet
from dsetkit.verbs.splits import export_csv, import_csv, split_by_asset, split_by_sample
from dsetkit.verbs.stats import MOST_SAMPLES, measure
from dsetkit.verbs.verify import verify
from tests.helpers.worlds import replace_record, stored_bytes, tiny_dataset, tiny_rgbd


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that no test changes."""
    return tiny_dataset(tmp_path_factory.mktemp("shared") / "world", num_samples=60)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A dataset to change."""
    return tiny_dataset(tmp_path / "world", num_samples=40)


def dsetkit(*arguments: object) -> int:
    """The exit status of a command."""
    return run(lambda: main([str(argument) for argument in arguments]))


# ---- errors are one line -----------------------------------------------------------------------


def nothing(path: Path) -> None: ...


def folder_of_pictures(path: Path) -> None:
    path.mkdir()
    (path / "picture.jpg").write_bytes(b"picture")


def foreign_lmdb(path: Path) -> None:
    path.mkdir()
    with lmdb.open(str(shard_path(path)), subdir=False, lock=False) as env:
        with env.begin(write=True) as transaction:
            transaction.put(b"key", b"value")


def killed_before_its_first_samples(path: Path) -> None:
    path.mkdir()
    with lmdb.open(str(shard_path(path)), subdir=False, lock=False):
        pass


def newer_format(path: Path) -> None:
    tiny_dataset(path, num_samples=4)
    put_manifest(path, format_version=m.FORMAT_VERSION + 1)


def incomplete(path: Path) -> None:
    tiny_dataset(path, num_samples=8, stop_after=3)


def put_manifest(path: Path, **changes: object) -> None:
    changed = replace(Dataset(path).manifest, **changes)
    with StoreWriter(shard_path(path)) as store:
        store.put([("manifest", m.MANIFEST_KEY, changed.to_bytes())])


VERBS = ("info", "verify", "stats", "split", "show", "export")
NO_DATASETS = {
    nothing: "no dataset at",
    folder_of_pictures: "is not a dataset",
    foreign_lmdb: "LMDB file of another program",
    killed_before_its_first_samples: "holds nothing yet: run the command that makes it again",
    newer_format: "install a newer dsetkit",
    incomplete: "is not complete: 3 of 8 samples",
}


@pytest.mark.parametrize(
    ("verb", "make"),
    [
        (verb, make)
        for verb in VERBS
        for make in NO_DATASETS
        if (verb, make) != ("info", incomplete)  # which it is there for
    ],
)
def test_what_is_not_a_complete_dataset_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture, verb: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "world")
    output = ["--output", tmp_path / "output"] if verb in ("show", "export") else []
    assert dsetkit(verb, tmp_path / "world", *output) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert NO_DATASETS[make] in lines[0]
    assert not (tmp_path / "output").exists()


# ---- info --------------------------------------------------------------------------------------


def test_info_shows_how_many_samples_an_incomplete_dataset_has(tmp_path: Path, capsys) -> None:
    tiny_dataset(tmp_path / "world", num_samples=30, stop_after=12)
    assert dsetkit("info", tmp_path / "world") == 0
    assert "12 of 30: incomplete" in capsys.readouterr().out
    about = describe(tmp_path / "world")
    assert (about["samples"], about["num_samples"], about["complete"]) == (12, 30, False)
    assert sum(sum(cells.values()) for cells in about["splits"]["counts"].values()) == 12


def test_info_json_describes_the_dataset(shared: Path, capsys) -> None:
    assert dsetkit("info", shared, "--json") == 0
    about = json.loads(capsys.readouterr().out)
    dataset = Dataset(shared)
    counts = about["splits"]["counts"]
    for split in m.SPLITS:
        assert sum(counts[split].values()) == len(dataset.indices(split))
    assert counts["test"]["test: both unseen"] == np.count_nonzero(dataset.cells == m.TEST_BOTH)
    assert about["depth"]["unit"].startswith("millimetres")
    assert about["bytes_per_sample"] * 60 == shard_path(shared).stat().st_size


def test_info_shows_the_scores_of_the_labels(world: Path, capsys) -> None:
    dataset = Dataset(world)
    scores = measure_labels(dataset)
    assert describe(world)["label_quality"] == {}
    put_manifest(world, label_quality=scores)
    assert describe(world)["label_quality"] == scores
    assert dsetkit("info", world) == 0
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("labels")]
    assert f"SI boundary recall {scores['boundary_recall']:.1%}, foreground in front" in line
    assert line.endswith("of 40 samples")
    put_manifest(world, label_quality=scores | {"boundary_recall": None})
    assert dsetkit("info", world) == 0
    assert "boundary recall" not in capsys.readouterr().out
    split_by_sample(world, shares=[0.5, 0.2, 0.3], seed=0)
    assert "boundary_images" in Dataset(world).manifest.label_quality  # splits change no label


# ---- verify ------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth_kind", ["metric", "relative", "none"])
def test_a_dataset_as_written_is_good(tmp_path: Path, depth_kind: str) -> None:
    assert verify(tiny_dataset(tmp_path / "w", num_samples=20, depth_kind=depth_kind)) == []


def test_an_imported_dataset_is_good(tmp_path: Path) -> None:
    assert verify(tiny_rgbd(tmp_path / "w")) == []


def with_field(record: Record, name: str, image: np.ndarray, codec: str) -> Record:
    return replace(record, fields=record.fields | {name: CODECS[codec].encode(image)})


def with_object(record: Record, **changes: object) -> Record:
    return replace(record, objects=(structs.replace(record.objects[0], **changes),))


def with_box(record: Record, *box: int) -> Record:
    return with_object(record, box=box)


def without(record: Record, name: str) -> Record:
    return replace(record, fields={k: v for k, v in record.fields.items() if k != name})


BAD_RECORDS = {  # each with a good checksum: written badly, not damaged later
    "mask cannot be decoded": lambda r: replace(r, fields=r.fields | {"mask": b"no picture"}),
    "composite is 16 x 16 px, expected": lambda r: with_field(
        r, "composite", np.zeros((16, 16, 3), np.uint8), "jpeg95"
    ),
    "mask is (16, 16), but composite is (32, 32)": lambda r: with_field(
        r, "mask", np.full((16, 16), 255, np.uint8), "png8"
    ),
    "an image is uint16": lambda r: with_field(r, "mask", np.ones((32, 32), np.uint16), "png16"),
    "the mask's largest value is 1": lambda r: with_field(
        r, "mask", np.ones((32, 32), np.uint8), "png8"
    ),
    "mask reaches outside its box": lambda r: with_field(
        r, "mask", np.full((32, 32), 255, np.uint8), "png8"
    ),
    "mask reaches outside its box [0, 31": lambda r: with_box(r, 0, 31, 32, 1),
    "mask reaches outside its box [31, 0": lambda r: with_box(r, 31, 0, 1, 32),
    "depth reaches 10001 mm": lambda r: with_field(
        r, "depth", np.full((16, 16), 10_001, np.uint16), "png16"
    ),
    "background 4: expected 0 to 3": lambda r: replace(r, background=4),
    "foreground None": lambda r: with_object(r, foreground=None),
    "is outside the canvas": lambda r: with_box(r, 32, 0, 5, 5),
    "it is not as dsetkit writes it": lambda r: with_box(r, 3, 3, 0, 5),
    "it has composite, mask; expected": lambda r: without(r, "depth"),
    "it has no placed object with a box": lambda r: replace(r, objects=()),
}


def test_every_bad_sample_is_named_with_its_reason(world: Path) -> None:
    reasons = dict(enumerate(BAD_RECORDS))
    for index, reason in reasons.items():
        replace_record(world, index, BAD_RECORDS[reason](Dataset(world).record(index)))
    flipped = bytearray(stored_bytes(world, 20))
    flipped[len(flipped) // 2] ^= 1
    replace_record(world, 20, bytes(flipped))
    replace_record(world, 39, b"not a record")
    reasons |= {20: "checksum differs", 39: "checksum differs"}

    problems = verify(world, jobs=2)
    assert {problem.where for problem in problems} == {"sample"}
    assert [problem.number for problem in problems] == list(reasons)
    for problem in problems:
        assert reasons[problem.number] in problem.reason


def test_samples_that_are_missing_or_too_many_are_named(world: Path) -> None:
    put_manifest(world, num_samples=42)
    found = [str(problem) for problem in verify(world)]
    assert "there are 40 for 42 samples" in found[0]
    assert found[1:] == ["sample 40: missing", "sample 41: missing"]
    put_manifest(world, num_samples=39)
    assert "it has 40 samples, the manifest says 39" in str(verify(world)[0])


def test_unknown_split_cells_are_named(world: Path) -> None:
    with StoreWriter(shard_path(world)) as store:
        store.put([m.cells_entry(np.full(40, 9))])
    (problem,) = verify(world)
    assert "the split cells" in str(problem) and "cell 9: expected 0 to 6" in str(problem)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"image": b"no picture"}, "background 1: an encoded asset cannot be decoded"),
        (
            {"image": encode_asset(np.zeros((8, 8, 3), np.uint8))},
            "background 1: its picture has sha",
        ),
        ({"image": encode_asset(np.zeros((32, 32, 3), np.uint8))}, "dataset: the assets are not"),
        ({"name": "another"}, "dataset: the assets are not those it was made from"),
        ({"split": "holiday"}, "background 1: it is not as dsetkit writes it"),
    ],
)
def test_a_changed_asset_is_found(world: Path, changes: dict, found: str) -> None:
    asset = structs.replace(list(Dataset(world).assets("backgrounds"))[1], **changes)
    packed = pack_asset(asset, database="backgrounds", key=u32_key(1))
    with StoreWriter(shard_path(world)) as store:
        store.put([("backgrounds", u32_key(1), packed)])
    (problem,) = verify(world)
    assert str(problem).startswith(found)


def test_a_damaged_page_is_found_not_a_crash(world: Path) -> None:
    """Breaks the headers of all pages except the two meta pages, one after another."""
    file = shard_path(world)
    whole = file.read_bytes()
    found = 0
    for page in range(2, len(whole) // 4096, 4):
        broken = bytearray(whole)
        broken[page * 4096 + 10] ^= 0xFF  # the page's kind
        file.with_suffix(".new").write_bytes(broken)
        file.with_suffix(".new").replace(file)
        try:
            found += len(verify(world)) > 0
        except DatasetError as error:
            assert "damaged" in str(error) or "cannot open" in str(error)
            found += 1
    assert found > 5


def test_verify_shows_some_and_writes_all_with_status_2(tmp_path: Path, capsys) -> None:
    world = tiny_dataset(tmp_path / "world", num_samples=40)
    for index in range(5, 35):
        replace_record(world, index, b"gone")
    assert dsetkit("verify", world, "--output", tmp_path / "bad.json", "--jobs", 1) == 2
    printed = capsys.readouterr()
    shown = re.findall(r"^sample (\d+): ", printed.out, re.MULTILINE)
    assert shown == [str(index) for index in range(5, 25)]
    assert "... and 10 more" in printed.out
    assert "30 problems, 30 of them in samples" in printed.err.splitlines()[-1]
    problems = json.loads((tmp_path / "bad.json").read_text())["problems"]
    assert [problem["number"] for problem in problems] == list(range(5, 35))


def test_verify_of_a_good_dataset_ends_with_status_0(shared: Path, capsys) -> None:
    assert dsetkit("verify", shared) == 0
    assert "no problems found" in capsys.readouterr().out


# ---- stats -------------------------------------------------------------------------------------


def decoded(path: Path, name: str, split: str | None = None) -> np.ndarray:
    """A field of all samples of a split, stacked."""
    dataset = Dataset(path)
    return np.stack([dataset.image(dataset.record(i), name) for i in dataset.indices(split)])


def both_ways(images: list[np.ndarray]) -> list[float]:
    """Pooled mean and std, then the means of the images' means and stds, in plain numpy."""
    pooled = np.concatenate([image.ravel() for image in images])
    per_image = np.mean([(image.mean(), image.std()) for image in images], axis=0)
    return [pooled.mean(), pooled.std(), *per_image]


def as_list(moments: dict) -> list[float]:
    return [moments[way][name] for way in ("pooled", "per_image") for name in ("mean", "std")]


@pytest.mark.parametrize("split", [None, "test"])
def test_stats_of_composite_and_mask_equal_plain_numpy(shared: Path, split: str | None) -> None:
    measured = measure(shared, split=split)
    composites = decoded(shared, "composite", split) / 255
    assert measured["samples"] == len(composites)
    for channel, name in enumerate(("red", "green", "blue")):
        expected = both_ways(list(composites[..., channel]))
        assert as_list(measured["composite"][name]) == pytest.approx(expected, abs=1e-12)
    masks = decoded(shared, "mask", split)
    assert as_list(measured["mask"]) == pytest.approx(both_ways(list(masks / 255)), abs=1e-12)
    coverage = (masks >= 128).mean(axis=(1, 2))
    expected = [coverage.min(), np.median(coverage), coverage.max()]
    assert list(measured["mask"]["coverage"].values()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("depth_kind", "full_scale"), [("metric", 10_000), ("relative", 65_535)])
def test_stats_of_depth_equal_plain_numpy(tmp_path: Path, depth_kind: str, full_scale: int) -> None:
    world = tiny_dataset(tmp_path / "w", num_samples=30, depth_kind=depth_kind)
    stored = decoded(world, "depth")
    shares = [image[image > 0] / full_scale for image in stored]
    measured = measure(world)["depth"]
    assert as_list(measured["share"]) == pytest.approx(both_ways(shares), abs=1e-12)
    assert measured["invalid_share"] == np.mean(stored == 0)
    end = 10.0 if depth_kind == "metric" else 1.0
    counts, edges = np.histogram(np.concatenate(shares) * end, bins=16, range=(0, end))
    assert measured["histogram"]["counts"] == counts.tolist()
    assert measured["histogram"]["edges"] == pytest.approx(edges.tolist())
    if depth_kind == "metric":
        metres = [share * 10 for share in shares]
        assert as_list(measured["metres"]) == pytest.approx(both_ways(metres), abs=1e-11)
    else:
        assert measured["metres"] is None


def test_stats_leave_invalid_images_out_of_the_means(tmp_path: Path) -> None:
    world = tiny_dataset(tmp_path / "w", num_samples=10)
    before = measure(world)["depth"]["share"]["per_image"]["mean"]
    holes = with_field(Dataset(world).record(3), "depth", np.zeros((16, 16), np.uint16), "png16")
    replace_record(world, 3, holes)
    after = measure(world)["depth"]
    assert after["share"]["per_image"]["mean"] == pytest.approx(before, rel=0.05)
    assert after["invalid_share"] > 0.1


@pytest.mark.parametrize("split", [None, "train"])
def test_the_number_of_processes_changes_no_digit_of_stats(
    shared: Path, monkeypatch: pytest.MonkeyPatch, split: str | None
) -> None:
    whole = measure(shared, split=split)
    monkeypatch.setattr("dsetkit.verbs.stats.SAMPLES_PER_CHUNK", 7)
    steps = []
    here = measure(shared, split=split, progress=lambda *step: steps.append(step))
    assert here == measure(shared, split=split, jobs=3)
    assert steps == sorted(steps) and steps[-1] == (here["samples"],) * 2
    for name in ("composite", "mask", "depth", "labels"):  # chunks add up to the whole
        assert flat(here[name]) == pytest.approx(flat(whole[name]), rel=1e-12)


def flat(measured: object) -> list[float]:
    """The numbers of nested JSON values, in order."""
    if isinstance(measured, dict | list):
        inner = measured.values() if isinstance(measured, dict) else measured
        return [number for one in inner for number in flat(one)]
    return [measured] if isinstance(measured, int | float) else []


def test_stats_prints_a_table_and_writes_json(shared: Path, tmp_path: Path, capsys) -> None:
    assert dsetkit("stats", shared, "--split", "train", "--output", tmp_path / "s.json") == 0
    written = json.loads((tmp_path / "s.json").read_text())
    assert written == measure(shared, split="train")
    printed = capsys.readouterr().out
    assert f"{written['composite']['red']['pooled']['mean']:.5f}" in printed
    assert "####" in printed


def test_stats_of_some_samples_are_near_those_of_all_and_say_how_near(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    whole, some = measure(shared), measure(shared, at_most=40)
    assert (some["samples"], some["of_samples"]) == (40, whole["samples"])
    assert some == measure(shared, at_most=40, jobs=2) and whole == measure(shared, at_most=10**6)
    for name in ("red", "green", "blue"):
        found, true = (one["composite"][name]["per_image"] for one in (some, whole))
        assert 0 < found["standard_error"] < true["std"]
        assert abs(found["mean"] - true["mean"]) < 4 * found["standard_error"]
    monkeypatch.setattr("dsetkit.verbs.stats.MOST_SAMPLES", 40)
    assert dsetkit("stats", shared) == 0
    sampled = capsys.readouterr().out
    assert "read 40 of them" in sampled and "standard error" in sampled
    assert f"{some['mask']['per_image']['standard_error']:.5f}" in sampled
    assert dsetkit("stats", shared, "--all") == 0
    assert "standard error" not in capsys.readouterr().out


def test_the_help_of_stats_says_how_many_are_read(capsys) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["stats", "--help"])
    assert f"more than {MOST_SAMPLES:,}" in " ".join(capsys.readouterr().out.split())


def test_the_standard_error_is_that_of_the_images_means(shared: Path) -> None:
    means = decoded(shared, "mask").mean(axis=(1, 2)) / 255
    expected = means.std(ddof=1) / np.sqrt(len(means))
    assert measure(shared)["mask"]["per_image"]["standard_error"] == pytest.approx(expected)


def test_stats_of_an_imported_dataset_and_of_an_empty_split(tmp_path: Path, capsys) -> None:
    world = tiny_rgbd(tmp_path / "w")
    assert dsetkit("stats", world) == 0
    assert "mask" not in capsys.readouterr().out
    assert dsetkit("stats", world, "--split", "test") == 2
    assert "has no test samples" in capsys.readouterr().err


# ---- split -------------------------------------------------------------------------------------


def test_splitting_by_sample_and_back_restores_every_byte(world: Path) -> None:
    before, cells = Dataset(world).manifest, Dataset(world).cells.tobytes()
    samples = [stored_bytes(world, index) for index in range(40)]
    split_by_sample(world, shares=(0.8, 0.05, 0.15), seed=0)
    assert set(Dataset(world).cells) == {m.TRAIN, m.VAL, m.TEST}
    assert Dataset(world).manifest.splits["by"] == "sample"
    split_by_asset(world)
    assert Dataset(world).cells.tobytes() == cells
    assert Dataset(world).manifest == before
    assert [stored_bytes(world, index) for index in range(40)] == samples


def test_the_asset_split_of_a_full_set_comes_back_too(tmp_path: Path) -> None:
    world = tiny_dataset(tmp_path / "w", seed=3)
    cells = Dataset(world).cells.tobytes()
    assert m.TEST_SEEN in cells
    split_by_sample(world, shares=(1, 0, 0), seed=0)
    split_by_asset(world)
    assert Dataset(world).cells.tobytes() == cells


def test_shares_are_kept_and_the_seed_chooses(world: Path) -> None:
    chosen = []
    for seed in (0, 0, 1):
        split_by_sample(world, shares=(0.5, 0.2, 0.3), seed=seed)
        assert np.bincount(Dataset(world).cells).tolist() == [20, 8, 12]
        chosen.append(Dataset(world).cells.tobytes())
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_dataset_that_is_open_can_be_split_and_read_further(world: Path) -> None:
    open_before = Dataset(world)
    record = open_before.record(7)
    split_by_sample(world, shares=(0.8, 0.1, 0.1), seed=0)
    assert open_before.record(7) == record


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.2), (0.5, 0.4, 0)])
def test_shares_that_do_not_add_up_are_refused(world: Path, shares: tuple) -> None:
    with pytest.raises(DatasetError, match=r"--shares .*: expected shares of train, val and test"):
        split_by_sample(world, shares=shares, seed=0)


def test_an_exported_csv_restores_the_cells(world: Path, tmp_path: Path) -> None:
    cells = Dataset(world).cells.tobytes()
    export_csv(world, tmp_path / "splits.csv")
    split_by_sample(world, shares=(1, 0, 0), seed=0)
    import_csv(world, tmp_path / "splits.csv")
    assert Dataset(world).cells.tobytes() == cells
    assert Dataset(world).manifest.splits == {"by": "csv", "file": "splits.csv"}


def test_the_csv_names_the_assets_of_each_sample(shared: Path, tmp_path: Path) -> None:
    export_csv(shared, tmp_path / "splits.csv")
    rows = list(csv.DictReader((tmp_path / "splits.csv").open()))
    dataset = Dataset(shared)
    splits = {
        kind: {asset.name: asset.split for asset in dataset.assets(f"{kind}s")}
        for kind in ("background", "foreground")
    }
    assert [int(row["index"]) for row in rows] == list(range(60))
    for row in rows:
        unseen = [kind for kind in splits if splits[kind][row[kind]] != "train"]
        if row["cell"] == "test: both unseen":
            assert len(unseen) == 2
        if row["cell"] in ("train", "test: seen background, seen foreground"):
            assert unseen == []
    record = dataset.record(11)
    assert rows[11]["box"] == " ".join(map(str, record.objects[0].box))
    assert rows[11]["flip"] == str(int(record.objects[0].flip))


def test_a_csv_of_a_spreadsheet_without_cells_is_read(world: Path, tmp_path: Path) -> None:
    rows = [f"{i},{'val' if i % 2 else 'test'}" for i in reversed(range(40))]
    file = tmp_path / "splits.csv"
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["index,split", *rows, ""]).encode())
    assert dsetkit("split", world, "--import-csv", file) == 0
    assert Dataset(world).cells.tolist() == [m.TEST, m.VAL] * 20


GOOD_ROWS = [f"{index},train" for index in range(40)]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (
            ["index,split", *GOOD_ROWS[:-1], "39,holiday"],
            "line 41: split 'holiday', expected train",
        ),
        (["index,split", *GOOD_ROWS, "40,train"], "line 42: index '40', expected 0 to 39"),
        (["index,split", *GOOD_ROWS, "-1,train"], "line 42: index '-1'"),
        (["index,split", *GOOD_ROWS[:-1], "x,train"], "line 41: index 'x'"),
        (["index,split", *GOOD_ROWS, "3,val"], "line 42: index 3 is there a second time"),
        (["index,split", *GOOD_ROWS[:-2]], "no row for 2 of 40 samples (the first is index 38)"),
        (["index,split", *GOOD_ROWS[:-1], "39"], "line 41: split None"),
        (["index,split,cell", "0,train,val"], "line 2: cell 'val', expected for train: train"),
        (["name,split", "a,train"], "has the columns name, split: expected index, split"),
        ([], "has the columns none"),
    ],
)
def test_a_bad_csv_is_one_line_and_changes_nothing(
    world: Path, tmp_path: Path, capsys, lines: list[str], complaint: str
) -> None:
    cells = Dataset(world).cells.tobytes()
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    assert dsetkit("split", world, "--import-csv", tmp_path / "bad.csv") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
    assert Dataset(world).cells.tobytes() == cells


def test_a_file_that_is_not_a_csv(world: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    for name, complaint in (("picture.png", "is not UTF-8"), ("none.csv", "No such file")):
        assert dsetkit("split", world, "--import-csv", tmp_path / name) == 2
        assert complaint in capsys.readouterr().err


def test_an_imported_dataset_splits_by_sample_only(tmp_path: Path, capsys) -> None:
    world = tiny_rgbd(tmp_path / "w", num_samples=10)
    assert dsetkit("split", world, "--split-by", "asset") == 2
    assert "was imported and has no assets" in capsys.readouterr().err
    table = tmp_path / "splits.csv"
    assert dsetkit("split", world, "--split-by", "sample", "--export", table) == 0
    rows = list(csv.DictReader(table.open()))
    assert [row["name"] for row in rows] == [f"{number:04d}_color.png" for number in range(10)]
    assert [row["split"] for row in rows].count("test") == 2


# ---- show --------------------------------------------------------------------------------------


def test_the_contact_sheet_shows_the_stored_pictures(shared: Path) -> None:
    dataset = Dataset(shared)
    last = 59
    sheet = np.asarray(contact_sheet(dataset, [0, last]))
    for field in ("background", "composite", "mask"):
        record = dataset.record(last)
        picture = (
            dataset.background(record.background)
            if field == "background"
            else dataset.image(record, field)
        )
        if picture.ndim == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        tile = cv2.resize(picture, (208, 208), interpolation=cv2.INTER_LINEAR)
        score = cv2.matchTemplate(sheet[sheet.shape[0] // 2 :], tile, cv2.TM_SQDIFF)
        assert score.min() == pytest.approx(0, abs=tile.size), f"{field} is not on the sheet"


@pytest.mark.parametrize("depth_kind", ["metric", "relative"])
def test_near_is_brighter_than_far(tmp_path: Path, depth_kind: str) -> None:
    world = tiny_dataset(tmp_path / "w", num_samples=4, depth_kind=depth_kind)
    sheet = np.asarray(contact_sheet(Dataset(world), [0]).convert("L")).astype(float)
    depth = sheet[120:310, -200:-40]  # far above, near below
    assert depth[-10:].mean() > depth[:10].mean() + 60


@pytest.mark.parametrize("fields", ["all", "no depth", "imported"])
def test_show_shows_the_fields_of_the_dataset(tmp_path: Path, fields: str) -> None:
    if fields == "imported":
        world = tiny_rgbd(tmp_path / "w")
    else:
        kind = "metric" if fields == "all" else "none"
        world = tiny_dataset(tmp_path / "w", num_samples=6, depth_kind=kind)
    file = tmp_path / "new folder" / "sheet.png"
    assert dsetkit("show", world, "--output", file, "--num", 3) == 0
    width, height = Image.open(file).size
    columns = {"all": 4, "no depth": 3, "imported": 2}[fields]
    assert columns * 160 < width < columns * 320
    assert height > 3 * 160


def test_show_chooses_by_split_and_seed(shared: Path) -> None:
    dataset = Dataset(shared)
    first = choose(dataset, split="train", count=8, seed=0)
    assert first == choose(dataset, split="train", count=8, seed=0) == sorted(set(first))
    assert first != choose(dataset, split="train", count=8, seed=1)
    assert set(first) <= set(dataset.indices("train"))
    assert choose(dataset, split=None, count=1000, seed=0) == list(range(60))


def test_show_refuses_an_index_that_is_not_there(shared: Path, tmp_path: Path, capsys) -> None:
    sheet = tmp_path / "sheet.png"
    assert dsetkit("show", shared, "--indices", 3, 60, "--output", sheet) == 2
    assert "no sample 60" in capsys.readouterr().err
    assert not sheet.exists()


# ---- export ------------------------------------------------------------------------------------


def test_exported_files_are_the_stored_bytes(shared: Path, tmp_path: Path) -> None:
    assert export(shared, tmp_path / "files") == 60
    dataset = Dataset(shared)
    rows = list(csv.DictReader((tmp_path / "files/index.csv").open()))
    for index, row in enumerate(rows):
        record = dataset.record(index)
        for field in ("composite", "mask", "depth"):
            assert (tmp_path / "files" / row[f"{field}_file"]).read_bytes() == record.fields[field]
        background = cv2.imread(str(tmp_path / "files" / row["background_file"]))
        assert (background[..., ::-1] == dataset.background(record.background)).all()
    about = json.loads((tmp_path / "files/dataset.json").read_text())
    assert about["manifest"]["depth_kind"] == "metric"


@pytest.mark.parametrize("depth_kind", ["metric", "relative"])
def test_depth_as_npy_is_in_metres_or_in_0_to_1(tmp_path: Path, depth_kind: str) -> None:
    world = tiny_dataset(tmp_path / "w", num_samples=6, depth_kind=depth_kind)
    export(world, tmp_path / "files", depth_format="npy")
    depth = np.load(tmp_path / "files/depth/000004.npy")
    stored = decoded(world, "depth")[4]
    unit = 1000 if depth_kind == "metric" else 65535
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, stored / unit, rtol=1e-6)


def test_an_interrupted_export_can_be_continued(shared: Path, tmp_path: Path) -> None:
    def stop_at_20(done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    files = tmp_path / "files"
    with pytest.raises(KeyboardInterrupt):
        export(shared, files, split="train", progress=stop_at_20)
    assert not (files / "index.csv").exists()
    written = {path: path.stat().st_mtime_ns for path in files.rglob("*.*")}
    next(iter(files.glob("mask/*"))).unlink()
    count = export(shared, files, split="train")
    assert count == len(Dataset(shared).indices("train")) == len(list(files.glob("mask/*")))
    rewritten = [path for path, time in written.items() if path.stat().st_mtime_ns != time]
    assert len(rewritten) == 1
    assert not list(files.rglob("*.part"))


def test_an_export_does_not_mix_with_other_files(shared: Path, tmp_path: Path, capsys) -> None:
    files = tmp_path / "files"
    export(shared, files, split="val")
    for arguments in ((), ("--split", "val", "--depth-format", "npy")):
        assert dsetkit("export", shared, "--output", files, *arguments) == 2
        assert "the export of another dataset" in capsys.readouterr().err
    assert dsetkit("export", shared, "--output", tmp_path) == 2
    assert "exists and is not an export" in capsys.readouterr().err


def test_an_imported_dataset_is_exported_under_its_own_suffix(tmp_path: Path) -> None:
    export(tiny_rgbd(tmp_path / "w"), tmp_path / "files")
    colour = (tmp_path / "files/composite/000002.png").read_bytes()
    assert colour == (tmp_path / "w-pictures/0002_color.png").read_bytes()
    assert not (tmp_path / "files/background").exists()
