"""import-images: sets of image files become complete datasets."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit import SampleDataset, make_loader
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError
from dsetkit.importing.sources import natural
from dsetkit.store import manifest as m
from dsetkit.verbs.info import as_lines, describe
from dsetkit.verbs.show import contact_sheet
from dsetkit.verbs.splits import export_csv, split_by_asset
from dsetkit.verbs.verify import verify
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.image_sets import (
    BACKGROUNDS,
    FAR,
    HEIGHT,
    NEAR,
    OPTIONS,
    PER_BACKGROUND,
    SETS,
    WAYS,
    WIDTH,
    Set,
    as_zip,
    contents,
    encoded,
    every_way,
    set_001,
    set_004,
    set_table,
)
from tests.helpers.importing import import_images
from tests.helpers.worlds import replace_record, tiny_dataset

# ---- what comes out ----------------------------------------------------------------------------


@every_way
def test_an_imported_dataset_is_complete(imported: Callable, system: str, options: dict) -> None:
    path = imported(system, options)
    assert verify(path) == []
    dataset = Dataset(path)
    expected = BACKGROUNDS * PER_BACKGROUND * (2 if system == "003" else 1)
    assert len(dataset) == expected
    assert dataset.manifest.size == [HEIGHT, WIDTH]
    assert dataset.manifest.fields == ["background", "composite", "mask", "depth"]
    assert dataset.manifest.depth_kind == "relative"
    assert len(list(dataset.assets("backgrounds"))) == BACKGROUNDS  # each one once


@every_way
def test_every_sample_has_its_own_background_mask_and_depth(
    imported: Callable, system: str, options: dict
) -> None:
    dataset = Dataset(imported(system, options))
    for index in range(0, len(dataset), 5):
        record = dataset.record(index)
        composite = dataset.image(record, "composite").astype(int)
        mask = dataset.image(record, "mask")
        behind = np.abs(composite - dataset.background(record.background))[mask < 100]
        assert behind.mean() < 3, record.name
        placed = cv2.boundingRect((mask > 127).astype(np.uint8))
        assert placed in ((8, 8, 8, 8), (16, 8, 8, 8))
        share = dataset.depth(record)
        assert share[mask > 200].min() > share[mask < 50].max(), "larger has to be nearer"


@every_way
def test_composites_keep_the_bytes_of_their_files(
    imported: Callable, system: str, options: dict
) -> None:
    path = imported(system, options)
    files = SETS[system]()
    record = Dataset(path).record(7)
    named = [name for name in files if f"/{name}".endswith(f"/{record.name}")]
    assert record.fields["composite"] == files[named[0]]  # sets name the composite first


@every_way
@pytest.mark.parametrize("wrapped", ["zip", "nested zip", "zips by kind"])
def test_folders_and_archives_give_the_same_bytes(
    tmp_path: Path, imported: Callable, system: str, options: dict, wrapped: str
) -> None:
    files = SETS[system]()
    if wrapped == "nested zip":
        roots = [as_zip({f"some/{name}": files[name] for name in files}, tmp_path / "world.zip")]
    elif wrapped == "zip":
        roots = [as_zip(files, tmp_path / "world.zip")]
    else:  # pictures at the top of archives that are named as their folders were
        kinds: dict[str, Set] = {}
        for name, content in files.items():
            folder, _, inner = (
                name.removeprefix("Dataset/").removeprefix("data_all/").partition("/")
            )
            kinds.setdefault(folder if inner else "tables", {})[inner or folder] = content
        roots = [as_zip(kind, tmp_path / f"{name}.zip") for name, kind in kinds.items()]
    import_images(roots, tmp_path / "dataset", system=system, **options, jobs=1)
    assert contents(tmp_path / "dataset") == contents(imported(system, options))


@pytest.mark.parametrize("system", ["001", "003"])
def test_the_number_of_threads_never_changes_a_byte(
    tmp_path: Path, imported: Callable, system: str
) -> None:
    root = as_zip(SETS[system](), tmp_path / "world.zip")
    import_images([root], tmp_path / "many", system=system, **OPTIONS[system], jobs=5)
    assert contents(tmp_path / "many") == contents(imported(system, OPTIONS[system]))


def test_a_continued_import_gives_the_same_bytes(tmp_path: Path, imported: Callable) -> None:
    root, output = as_zip(set_004(), tmp_path / "world.zip"), tmp_path / "cut"
    total = BACKGROUNDS * PER_BACKGROUND

    for stop in (20, 45):
        with pytest.raises(CutOffError):
            import_images([root], output, system="004", progress=stop_at(total + stop))
        with pytest.raises(DatasetError, match=f"is not complete: {stop} of {total} samples"):
            Dataset(output)
    steps = []
    import_images([root], output, system="004", progress=lambda *step: steps.append(step))
    assert steps[total] == (total + 46, 2 * total)  # what was there was not made again
    assert contents(output) == contents(imported("004", {}))


def test_another_set_cannot_go_on_where_one_stopped(tmp_path: Path) -> None:
    files = set_004()
    import_images([as_zip(files, tmp_path / "a.zip")], tmp_path / "dataset", system="004")
    name = "OverlayedImages/0/combined_s3_p1_it0.jpg"
    files[name] = files[name.replace("p1", "p2")]
    other = as_zip(files, tmp_path / "b.zip")
    with pytest.raises(DatasetError, match="holds a dataset with other settings .recipe"):
        import_images([other], tmp_path / "dataset", system="004")


def test_an_archive_is_never_unpacked(tmp_path: Path) -> None:
    root = as_zip(set_004(), tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="004")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "dataset", "shard-00000.lmdb", "world.zip",
    ]  # fmt: skip


def test_foreign_files_are_left_alone(tmp_path: Path, imported: Callable) -> None:
    foreign = {
        "bg/Thumbs.db": b"x",
        "OverlayedImages/.DS_Store.jpg": b"x",
        "OverlayedMasks/0/readme.txt": b"x",
        "__MACOSX/OverlayedImages/0/combined_s1_p1_it0.jpg": b"x",
        "contact_sheet.png": b"x",
    }
    root = as_zip(set_004() | foreign, tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="004")
    assert contents(tmp_path / "dataset") == contents(imported("004", {}))


def test_numbers_in_names_sort_by_value() -> None:
    assert sorted(["b10", "b9", "a2", "b9x", "10", "B9"], key=natural) == [
        "10", "a2", "B9", "b9", "b9x", "b10",
    ]  # fmt: skip


# ---- splits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "options"), [*WAYS[:5], ("table", OPTIONS["table"] | {"split_by": "asset"})]
)
def test_test_backgrounds_are_never_seen_in_training(
    imported: Callable, system: str, options: dict
) -> None:
    dataset = Dataset(imported(system, options))
    of_split = {
        split: {dataset.record(i).background for i in dataset.indices(split).tolist()}
        for split in m.SPLITS
    }
    stored = [asset.split for asset in dataset.assets("backgrounds")]
    assert {stored[b] for b in of_split["train"]} == {"train"}
    assert "test" in stored and len(dataset.indices("test"))
    seen_only = {m.TEST_SEEN, m.TEST_FOREGROUND}
    for index in dataset.indices("test").tolist():
        unseen = dataset.record(index).background not in of_split["train"]
        assert unseen or dataset.cells[index] in seen_only


def test_known_foregrounds_make_the_four_cells(imported: Callable) -> None:
    dataset = Dataset(imported("001", {}))
    assert {m.TEST_BACKGROUND, m.TEST_FOREGROUND} <= set(dataset.cells.tolist())
    trained, tested = (
        {
            dataset.record(int(i)).objects[0].name
            for i in np.flatnonzero(np.isin(dataset.cells, cells))
        }
        for cells in ((m.TRAIN,), (m.TEST_FOREGROUND, m.TEST_BOTH))
    )
    assert trained and tested and not trained & tested


def test_unknown_foregrounds_claim_no_cell(imported: Callable) -> None:
    cells = Dataset(imported(*WAYS[0])).cells
    assert set(cells.tolist()) == {m.TRAIN, m.VAL, m.TEST}


def test_the_tables_own_split_is_honoured(imported: Callable) -> None:
    dataset = Dataset(imported(*WAYS[6]))
    assert [len(dataset.indices(split)) for split in ("train", "val", "test")] == [50, 0, 22]
    assert dataset.manifest.splits == {"by": "csv", "files": ["train.csv", "test.csv"]}
    dataset = Dataset(imported("table", OPTIONS["table"]))
    assert dataset.cells[:4].tolist() == [m.TRAIN, m.VAL, m.TEST, m.TRAIN]


def test_samples_can_be_split_by_chance(tmp_path: Path) -> None:
    root = as_zip(set_004(), tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="004", split_by="sample")
    dataset = Dataset(tmp_path / "dataset")
    assert [len(dataset.indices(split)) for split in ("train", "val", "test")] == [58, 3, 11]


def test_the_seed_decides_on_the_splits(tmp_path: Path, imported: Callable) -> None:
    root = as_zip(set_004(), tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="004", seed=1)
    assert Dataset(tmp_path / "dataset").cells.tolist() != (
        Dataset(imported("004", {})).cells.tolist()
    )


# ---- mask and depth ----------------------------------------------------------------------------


def test_masks_of_001_are_cut_at_150_and_others_stay_soft(tmp_path: Path) -> None:
    soft = np.full((HEIGHT, WIDTH), 149, np.uint8)
    soft[2:9, 3:11] = 150
    for system, stem in (("001", "fg_000_bg_003_000018"), ("002", "bg_4fg_1_1")):
        suffix = "jpg"
        files = SETS[system]()
        name = next(name for name in files if name.endswith(f"fg_bg_mask/{stem}.{suffix}"))
        files[name] = encoded(soft, "png")  # the content decides, not the suffix
        path = tmp_path / system
        import_images([as_zip(files, tmp_path / f"{system}.zip")], path, system=system)
        dataset = Dataset(path)
        names = [dataset.record(i).name for i in range(len(dataset))]
        record = dataset.record(names.index(f"{stem}.jpg"))
        mask = dataset.image(record, "mask")
        if system == "001":
            assert record.objects[0].box == (3, 2, 8, 7)
            assert set(np.unique(mask).tolist()) == {0, 255}
            assert dataset.manifest.recipe["mask_threshold"] == 150
        else:
            assert (mask == soft).all()


def share_of(path: Path) -> np.ndarray:
    dataset = Dataset(path)
    return dataset.depth(dataset.record(0))


@pytest.mark.parametrize(
    ("system", "polarity", "near", "far"),
    [
        ("000", None, (255 - NEAR) / 255, (255 - FAR) / 255),  # stored near-bright: as it is
        ("000", "far-bright", NEAR / 255, FAR / 255),  # its pixels are inverted ones
        ("004", None, 1 - NEAR / 255, 1 - FAR / 255),
        ("004", "near-bright", NEAR / 255, FAR / 255),
        ("002", None, 1 - NEAR / 225, 1 - FAR / 225),
    ],
)
def test_relative_depth_is_nearness(
    tmp_path: Path, system: str, polarity: str | None, near: float, far: float
) -> None:
    root = as_zip(SETS[system](), tmp_path / "world.zip")
    options = OPTIONS[system] | {"depth_polarity": polarity}
    manifest = import_images([root], tmp_path / "dataset", system=system, **options)
    assert manifest.teacher["polarity"] == polarity or polarity is None
    share = share_of(tmp_path / "dataset")
    assert share[12, 12] == pytest.approx(near, abs=0.01)
    assert share[0, 0] == pytest.approx(far, abs=0.01)
    assert (share > 0).all()


def test_a_known_range_makes_depth_metric(tmp_path: Path) -> None:
    root = as_zip(set_001(), tmp_path / "world.zip")
    manifest = import_images([root], tmp_path / "dataset", system="001", max_depth_m=10.0)
    assert (manifest.depth_kind, manifest.max_depth_m) == ("metric", 10.0)
    assert verify(tmp_path / "dataset") == []
    share = share_of(tmp_path / "dataset")
    assert share[12, 12] == pytest.approx(NEAR / 255, abs=1e-4)
    assert share[0, 0] == pytest.approx(FAR / 255, abs=1e-4)


def test_grey_in_three_channels_and_in_16_bits_is_grey(tmp_path: Path) -> None:
    files = set_table()
    grey = np.full((HEIGHT, WIDTH), FAR, np.uint8)
    files["depth/0.png"] = encoded(np.dstack([grey] * 3), "jpg")
    files["depth/1.png"] = encoded(grey.astype(np.uint16) * 257, "png")
    root = as_zip(files, tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="table", **OPTIONS["table"])
    dataset = Dataset(tmp_path / "dataset")
    for index in (0, 1):
        assert dataset.depth(dataset.record(index)) == pytest.approx(1 - FAR / 255, abs=1e-4)


def test_a_table_may_name_composites_and_little_else(tmp_path: Path) -> None:
    files = set_table()
    rows = [f"composite/{n}.png,rooms/{n // PER_BACKGROUND}.png" for n in range(12)]
    files["few.csv"] = "\n".join(["composite,background", *rows]).encode()
    root = as_zip(files, tmp_path / "world.zip")
    manifest = import_images(
        [root], tmp_path / "dataset", system="table", tables=[Path("few.csv")]
    )  # no depth: no polarity is asked for
    assert manifest.fields == ["background", "composite"] and manifest.depth_kind == "none"
    assert manifest.codecs == {"composite": "png"}
    assert verify(tmp_path / "dataset") == []


# ---- the other verbs ---------------------------------------------------------------------------


def test_training_reads_it_like_any_other(imported: Callable) -> None:
    data = SampleDataset(imported("001", {}), split="train", size=16)
    batch = next(iter(make_loader(data, batch_size=4)))
    assert batch["background"].shape == batch["composite"].shape == (4, 3, 16, 16)
    assert batch["mask"].shape == batch["depth"].shape == (4, 1, 16, 16)


def test_info_show_and_split_know_what_it_is(tmp_path: Path, imported: Callable) -> None:
    path = imported("002", {})
    told = "\n".join(as_lines(describe(path)))
    assert "system 002" in told and "polarity far-bright" in told and "inverse depth" in told
    contact_sheet(Dataset(path), [0, 5])
    export_csv(path, tmp_path / "samples.csv")
    first = (tmp_path / "samples.csv").read_text().splitlines()[1].split(",")
    assert first[3:6] == ["bg_1", "fg_1", "0"] and first[-1] == "bg_1fg_1_1.jpg"
    with pytest.raises(DatasetError, match="was imported and has no assets of its own"):
        split_by_asset(path)


def test_verify_still_wants_foregrounds_of_what_was_generated(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path / "world", num_samples=8)
    replace_record(path, 3, replace(Dataset(path).record(3), objects=()))
    assert [problem.reason for problem in verify(path)] == ["it has no placed object with a box"]
