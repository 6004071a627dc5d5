"""What import-images promises: sets of image files as they were kept become whole datasets."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dsetkit import manifest as m
from dsetkit.__main__ import main
from dsetkit.console import run
from dsetkit.dataset import Dataset, shard_path
from dsetkit.errors import AssetError, DatasetError
from dsetkit.import_images import import_images
from dsetkit.info import as_lines, describe
from dsetkit.lmdb_store import StoreReader
from dsetkit.picture_sources import natural
from dsetkit.show import contact_sheet
from dsetkit.splits import export_csv, split_by_asset
from dsetkit.torch_dataset import SampleDataset, make_loader
from dsetkit.verify import verify
from tests.worlds import replace_record, tiny_dataset

HEIGHT, WIDTH = 24, 32  # not square: axes cannot be mixed up unseen
BACKGROUNDS, FOREGROUNDS, PLACEMENTS = 12, 3, 2  # 12: file names with 2 and 10 in them
PER_BACKGROUND = FOREGROUNDS * PLACEMENTS
NEAR = 40  # grey of what is near in a far-bright depth; the far wall is brighter
FAR = 200

Set = dict[str, bytes]  # path below the root -> content


# ---- tiny worlds, one for each system ----------------------------------------------------------


def colour_of(background: int) -> np.ndarray:
    """A colour no other background has."""
    return np.array([20 + 18 * background, 230 - 15 * background, (97 * background) % 256])


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    """A picture file, RGB or grey."""
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    Image.fromarray(pixels).save(buffer, {"jpg": "JPEG", "png": "PNG"}[suffix], **options)
    return buffer.getvalue()


def background(number: int, size: tuple[int, int] = (2 * HEIGHT, 2 * WIDTH)) -> bytes:
    return encoded(np.full((*size, 3), colour_of(number), np.uint8), "jpg")


def layers(number: int, foreground: int, placement: int) -> dict[str, np.ndarray]:
    """Composite, mask and far-bright depth; the foreground is a bright box."""
    composite = np.full((HEIGHT, WIDTH, 3), colour_of(number), np.uint8)
    mask, depth = np.zeros((HEIGHT, WIDTH), np.uint8), np.full((HEIGHT, WIDTH), FAR, np.uint8)
    box = np.s_[8:16, 8 + 8 * placement : 16 + 8 * placement]
    composite[box], mask[box], depth[box] = 255 - 9 * foreground, 255, NEAR
    return {"composite": composite, "mask": mask, "depth": depth}


def combinations() -> list[tuple[int, int, int]]:
    """(background, foreground, placement), backgrounds slowest; numbers from 0."""
    return [
        (b, f, k) for b in range(BACKGROUNDS) for f in range(FOREGROUNDS) for k in range(PLACEMENTS)
    ]


def set_000() -> Set:
    files = {f"Dataset/bg/room{b}.jpg": background(b) for b in range(BACKGROUNDS)}
    lines = []
    for n, (b, f, k) in enumerate(combinations()):
        drawn = layers(b, f, k)
        files[f"Dataset/fgbg/img{n}.jpg"] = encoded(drawn["composite"], "jpg")
        files[f"Dataset/mask/img{n}.jpg"] = encoded(drawn["mask"], "jpg")
        files[f"Dataset/depth/img{n}.jpg"] = encoded(255 - drawn["depth"], "jpg")
        lines.append(f'"bg/room{b}.jpg"; fgbg/img{n}.jpg;mask/img{n}.jpg ;"depth/img{n}.jpg"')
    return files | {"Dataset/label_data.csv": "\n".join(lines).encode()}


def set_001() -> Set:
    files = {f"data_all/bg/img_{b}.jpg": background(b) for b in range(BACKGROUNDS)}
    for n, (b, f, k) in enumerate(combinations()):
        drawn, stem = layers(b, f, k), f"fg_{f:03d}_bg_{b:03d}_{n:06d}"
        files[f"data_all/fg_bg/{stem}.jpg"] = encoded(drawn["composite"], "jpg")
        files[f"data_all/fg_bg_mask/{stem}.jpg"] = encoded(drawn["mask"], "jpg")
        files[f"data_all/fg_bg_depth/mask_{stem}.png"] = encoded(drawn["depth"], "png")
    return files


def set_002() -> Set:
    files = {f"backgrounds/bg_{b + 1}.jpg": background(b) for b in range(BACKGROUNDS)}
    pairs = []
    for b, f, k in combinations():
        drawn, flip = layers(b, f, k), "flip_" if k else ""
        name = f"bg_{b + 1}fg_{f + 1}_{flip}1.jpg"
        files[f"fg_bg/{name}"] = encoded(drawn["composite"], "jpg")
        files[f"fg_bg_mask/{name}"] = encoded(drawn["mask"], "jpg")
        files[f"Depth_output/{name}"] = encoded(drawn["depth"], "jpg")
        pairs.append(f"/content/fg_bg/{name},/content/Depth_output/{name}")
    for name, rows in (("train", pairs[:50]), ("test", pairs[50:])):
        files[f"{name}.csv"] = "\n".join(["input_path,depth_path", *rows]).encode()
    return files


def set_003() -> Set:
    """Two sets, each with all backgrounds and foregrounds of its own."""
    files = {f"Background/bg{b + 1}.jpg": background(b) for b in range(BACKGROUNDS)}
    lines = ["\t".join(("Background", "Foreground", "fg-bg", "mask", "depth"))]
    for n, (b, f, k) in enumerate(combinations() * 2, start=1):
        drawn, part = layers(b, f, k), 1 + (n - 1) // (BACKGROUNDS * PER_BACKGROUND)
        files[f"data_{part}/Fg-Bg/fg-bg{n}.jpg"] = encoded(drawn["composite"], "jpg")
        files[f"data_{part}/Fg-Bg-Mask/fg-bg-mask{n}.jpg"] = encoded(drawn["mask"], "jpg")
        files[f"data_{part}/Depth/depth{n}.jpg"] = encoded(drawn["depth"], "jpg")
        names = (f"bg{b + 1}.jpg", f"fg{part}-{f}.png", f"fg-bg{n}.jpg", f"fg-bg-mask{n}.jpg")
        lines.append("\t".join((*names, f"depth{n}.jpg")))
    return files | {"labels.txt": "\n".join(lines).encode()}


def set_004() -> Set:
    files = {f"bg/Shelves_{b + 1}.jpg": background(b) for b in range(BACKGROUNDS)}
    for b, f, k in combinations():
        drawn, x = layers(b, f, k), 20 * k
        name = f"{x}/combined_s{b + 1}_p{f + 1}_it{x}.jpg"
        files[f"OverlayedImages/{name}"] = encoded(drawn["composite"], "jpg")
        files[f"OverlayedMasks/{name}"] = encoded(drawn["mask"], "jpg")
        files[f"DepthImage/{name}"] = encoded(drawn["depth"], "jpg")
    return files


def set_table() -> Set:
    files, lines = {}, ["composite,mask,depth,background,foreground,split"]
    for n, (b, f, k) in enumerate(combinations()):
        drawn = layers(b, f, k)
        files[f"rooms/{b}.png"] = encoded(np.full((6, 8, 3), colour_of(b), np.uint8), "png")
        for name, pixels in drawn.items():
            files[f"{name}/{n}.png"] = encoded(pixels, "png")
        split = ("train", "val", "test")[n % 3]
        lines.append(f"composite/{n}.png,mask/{n}.png,depth/{n}.png,rooms/{b}.png,ball{f},{split}")
    return files | {"samples.csv": "\n".join(lines).encode()}


SETS: dict[str, Callable[[], Set]] = {
    "000": set_000,
    "001": set_001,
    "002": set_002,
    "003": set_003,
    "004": set_004,
    "table": set_table,
}
OPTIONS = {
    "000": {"tables": [Path("label_data.csv")]},
    "001": {},
    "002": {},
    "003": {"per_background": PER_BACKGROUND},
    "004": {},
    "table": {"tables": [Path("samples.csv")], "depth_polarity": "far-bright"},
}
WAYS = [(system, OPTIONS[system]) for system in SETS] + [
    ("002", {"tables": [Path("train.csv"), Path("test.csv")]}),
    ("003", {"tables": [Path("labels.txt")]}),
]
IDS = [f"{system}{'-by-table' if n >= len(SETS) else ''}" for n, (system, _) in enumerate(WAYS)]
every_way = pytest.mark.parametrize(("system", "options"), WAYS, ids=IDS)


def as_folder(files: Set, path: Path) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def as_zip(files: Set, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(dataset: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    store = StoreReader(shard_path(dataset))
    databases = ("manifest", "backgrounds", "foregrounds", "samples")
    return {name: list(store.items(name)) for name in databases}


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A dataset that no test changes, of (system, options)."""
    made: dict[str, Path] = {}

    def make(system: str, options: dict) -> Path:
        key = f"{system} {options}"
        if key not in made:
            root = tmp_path_factory.mktemp(system)
            folder = as_folder(SETS[system](), root / "world")
            made[key] = root / "dataset"
            import_images([folder], made[key], system=system, **options, jobs=1)
        return made[key]

    return make


# ---- what comes out ----------------------------------------------------------------------------


@every_way
def test_an_imported_dataset_is_whole(imported: Callable, system: str, options: dict) -> None:
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
        assert behind.mean() < 3, record.recipe["name"]
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
    named = [name for name in files if f"/{name}".endswith(f"/{record.recipe['name']}")]
    assert record.fields["composite"] == files[named[0]]  # of each sample it is drawn first


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


def test_an_interrupted_import_goes_on_to_the_same_bytes(
    tmp_path: Path, imported: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsetkit.dataset_writer.SECONDS_BETWEEN_COMMITS", 0)
    root, output = as_zip(set_004(), tmp_path / "world.zip"), tmp_path / "cut"
    total = BACKGROUNDS * PER_BACKGROUND

    class CutOffError(Exception):
        pass

    for stop in (20, 45):

        def cut_off(done: int, of: int, stop: int = stop) -> None:
            if done >= total + stop:
                raise CutOffError

        with pytest.raises(CutOffError):
            import_images([root], output, system="004", progress=cut_off)
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
    with pytest.raises(DatasetError, match="holds a dataset made otherwise .recipe"):
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
    stored = [asset["split"] for asset in dataset.assets("backgrounds")]
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
            dataset.record(int(i)).recipe["foreground"]
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
        files[name] = encoded(soft, "png")  # told by its content
        path = tmp_path / system
        import_images([as_zip(files, tmp_path / f"{system}.zip")], path, system=system)
        dataset = Dataset(path)
        names = [dataset.record(i).recipe["name"] for i in range(len(dataset))]
        record = dataset.record(names.index(f"{stem}.jpg"))
        mask = dataset.image(record, "mask")
        if system == "001":
            assert record.recipe["box"] == [3, 2, 8, 7]
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
    replace_record(path, 3, replace(Dataset(path).record(3), foreground=None))
    assert ["foreground None: there are 4"] == [problem.reason for problem in verify(path)]


# ---- what cannot be used -----------------------------------------------------------------------


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
    "no picture": (DEPTH, b"GIF89a", "not a PNG or JPEG picture"),
    "empty": (MASK, b"", "not a PNG or JPEG picture"),
    "colour map": (DEPTH, encoded(COLOUR_MAP, "png"), "depth is a colour map; expected grey"),
    "coloured mask": (MASK, encoded(COLOUR_MAP, "png"), "mask is coloured; expected grey"),
    "empty mask": (MASK, grey(0), "mask reaches only 0: expected something seen"),
    "mask of 0 and 1": (MASK, grey(1), "mask reaches only 1"),
    "size of mask": (MASK, grey(9, (8, 9)), "9 x 8 px, its composite 32 x 24 px: expected one"),
    "size of depth": (DEPTH, grey(9, (8, 9)), "9 x 8 px, most are 32 x 24 px: expected one size"),
    "background": ("bg/Shelves_2.jpg", b"x", "not a PNG or JPEG picture"),
}


@pytest.mark.parametrize(("name", "content", "text"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_a_picture_that_cannot_be_used_is_named_and_can_be_left_out(
    tmp_path: Path, imported: Callable, name: str, content: bytes, text: str
) -> None:
    files = set_004() | {name: content}
    lines = refused(tmp_path, "004", files).splitlines()
    assert lines[0] == "1 file cannot be used (--skip-bad leaves their samples out):"
    assert lines[1].startswith(f"  world/{name}: {text}") and len(lines) == 2

    path = tmp_path / "skipped"
    root = as_zip(files, tmp_path / "world.zip")
    manifest = import_images([root], path, system="004", skip_bad=True)
    (skipped, reason), *others = manifest.skipped
    assert skipped == f"world/{name}" and text in reason and not others
    lost = PER_BACKGROUND if name.startswith("bg/") else 1
    assert manifest.num_samples == BACKGROUNDS * PER_BACKGROUND - lost
    assert verify(path) == []
    whole = Dataset(imported("004", {}))
    kept = {whole.record(i).recipe["name"]: whole.record(i).fields for i in range(len(whole))}
    dataset = Dataset(path)
    for index in range(len(dataset)):
        record = dataset.record(index)
        assert record.fields == kept[record.recipe["name"]]


def test_a_composite_of_another_size_is_named(tmp_path: Path) -> None:
    files = set_004()
    for name in (COMPOSITE, MASK):
        files[name] = encoded(np.full((HEIGHT, 40, 3), 90, np.uint8), "jpg")
    text = refused(tmp_path, "004", files)
    assert f"world/{COMPOSITE}: 40 x 24 px, most are 32 x 24 px: expected one size in one" in text


def without(files: Set, *names: str) -> Set:
    return {name: content for name, content in files.items() if name not in names}


def test_missing_files_and_strange_names_are_told_all_at_once(tmp_path: Path) -> None:
    other_name = "OverlayedMasks/0/copy of combined.jpg"
    twice = "OverlayedMasks/other/combined_s1_p1_it0.jpg"
    lonely = "DepthImage/0/combined_s12_p3_it0.jpg"
    extra = {other_name: grey(9), twice: grey(9), "OverlayedImages/9/combined_s99_p1_it0.jpg": b""}
    extra |= {name: b"" for name in ("OverlayedMasks/combined_s99_p1_it0.jpg",)}
    extra |= {name: b"" for name in ("DepthImage/combined_s99_p1_it0.jpg",)}
    files = without(set_004(), lonely, COMPOSITE) | extra
    lines = refused(tmp_path, "004", files).splitlines()
    assert lines[0] == "5 files cannot be used (--skip-bad leaves their samples out):"
    text = "\n".join(lines)
    assert f"world/{MASK}: no composite goes with it: expected one of these numbers in" in text
    assert "combined_s12_p3_it0.jpg: no depth goes with it: expected one of these numbers" in text
    assert f"world/{other_name}: the name is not as expected: combined_sB_pF_itX" in text
    assert f"world/{twice}: the same mask as world/OverlayedMasks/0/combined_s1_p1_it0" in text
    assert "combined_s99_p1_it0.jpg: no background 99: there are 1 to 12" in text


def test_a_background_of_another_name_is_told(tmp_path: Path) -> None:
    files = set_004()
    files["bg/room.jpg"] = files.pop("bg/Shelves_4.jpg")
    text = refused(tmp_path, "004", files)
    assert "world/bg/room.jpg: the name is not as expected: Shelves_B" in text
    assert "combined_s4_p1_it0.jpg: no background 4" in text


def test_backgrounds_of_002_may_be_a_sorted_list(tmp_path: Path) -> None:
    files = set_002()
    for b in range(BACKGROUNDS):
        files[f"backgrounds/street ({b}).jpg"] = files.pop(f"backgrounds/bg_{b + 1}.jpg")
    import_images([as_zip(files, tmp_path / "world.zip")], tmp_path / "dataset", system="002")
    dataset = Dataset(tmp_path / "dataset")
    record = dataset.record(len(dataset) - 1)
    assert np.abs(dataset.background(record.background)[0, 0] - colour_of(11)).max() < 4


def test_a_whole_kind_that_is_missing_is_named(tmp_path: Path) -> None:
    for folder, kind in (("Depth_output", "depth"), ("backgrounds", "background")):
        files = {name: b for name, b in set_002().items() if not name.startswith(folder)}
        text = refused(tmp_path, "002", files)
        assert f"no {kind} pictures in {tmp_path / 'world.zip'}: expected a folder" in text


def test_a_wrong_count_of_samples_to_a_background_is_found_out(tmp_path: Path) -> None:
    text = refused(tmp_path, "003", set_003(), per_background=PER_BACKGROUND + 1)
    assert "it lies in data_2; with 12 backgrounds and --per-background 7" in text


def test_backgrounds_that_are_not_behind_their_composites_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = set_001()
    names = sorted((name for name in files if "/bg/" in name), key=natural)
    moved = {name: files[other] for name, other in zip(names, names[1:] + names[:1], strict=True)}
    root = as_zip(files | moved, tmp_path / "world.zip")
    import_images([root], tmp_path / "dataset", system="001")
    assert "of 12 backgrounds do not look like what is behind their composites" in caplog.text
    caplog.clear()
    root = as_zip(files, tmp_path / "world.zip")
    import_images([root], tmp_path / "right", system="001")
    assert "do not look like" not in caplog.text


# ---- tables ------------------------------------------------------------------------------------

HEADER = "composite,mask,depth,background"
ROW = "composite/0.png,mask/0.png,depth/0.png,rooms/0.png"
BAD_TABLES = {
    "missing column": ("mask,depth\n", "has no column composite: its header is mask, depth"),
    "strange column": ("composite,maks\n", "has a column 'maks': expected, once each, of"),
    "column twice": ("composite,composite\n", "has a column 'composite': expected, once each"),
    "empty": ("", "has no column composite: its header is nothing"),
    "no rows": (HEADER + "\n", "nothing is there, and no sample is left"),
    "short row": (f"{HEADER}\n{ROW}\na,b\n", "line 3: 2 values (a,b): expected one each of comp"),
    "missing value": (
        f"{HEADER}\n{ROW.replace('mask/0.png', '')}\n{ROW}\n",
        "line 2: 4 values (composite/0.png,,depth/0.png,rooms/0.png): expected one each",
    ),
    "missing file": (
        f"{HEADER}\n{ROW}\n{ROW.replace('0', '1').replace('mask/1', 'mask/1000')}\n",
        "bad.csv, line 3: 'mask/1000.png' is not there: expected it in",
    ),
    "file of another folder": (
        f"{HEADER}\n{ROW}\n{ROW.replace('depth/0', 'depths/0')}\n",
        "bad.csv, line 3: 'depths/0.png' is not there",
    ),
    "bare name": (
        f"{HEADER}\n{ROW}\n{ROW.replace('composite/', '')}\n",
        "bad.csv, line 3: '0.png' may be world/",
    ),
    "strange split": (
        f"{HEADER},split\n{ROW},train\n{ROW.replace('e/0', 'e/1')},dev\n",
        "bad.csv, line 3: split 'dev': expected train, val, test",
    ),
    "composite twice": (
        f"{HEADER}\n{ROW}\n{ROW}\n",
        "line 3: the composite composite/0.png is that of bad.csv, line 2",
    ),
}


@pytest.mark.parametrize(("table", "text"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_cannot_be_used_is_told(tmp_path: Path, table: str, text: str) -> None:
    files = set_table() | {"bad.csv": table.encode()}
    assert text in refused(tmp_path, "table", files, tables=[Path("bad.csv")])


def test_a_bad_picture_is_told_with_its_row(tmp_path: Path) -> None:
    text = refused(tmp_path, "table", set_table() | {"mask/7.png": b"x"})
    assert "samples.csv, line 9: world/mask/7.png: not a PNG or JPEG picture" in text


def test_a_table_that_is_missing_or_no_text_is_told(tmp_path: Path) -> None:
    text = refused(tmp_path, "table", set_table(), tables=[tmp_path / "none.csv"])
    assert f"cannot read {tmp_path / 'none.csv'}: No such file" in text
    files = set_table() | {"bad.csv": b"\xff\xfe\x00"}
    text = refused(tmp_path, "table", files, tables=[Path("bad.csv")])
    assert "bad.csv is not UTF-8 text: expected a table" in text


def test_the_table_of_002_has_both_its_columns_and_pairs(tmp_path: Path) -> None:
    for column in ("input_path", "depth_path"):
        table = set_002()["train.csv"].replace(column.encode(), b"path")
        files = set_002() | {"train.csv": table}
        text = refused(tmp_path, "002", files, tables=[Path("train.csv")])
        assert f"train.csv has no column {column}: its header is" in text
    table = b"input_path,depth_path\nfg_bg/bg_1fg_1_1.jpg,Depth_output/bg_1fg_2_1.jpg\n"
    files = set_002() | {"train.csv": table}
    text = refused(tmp_path, "002", files, tables=[Path("train.csv")])
    assert "train.csv, line 2: input_path is bg_1fg_1_1.jpg, depth_path bg_1fg_2_1.jpg" in text


# ---- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "options", "text"),
    [
        ("000", {"tables": []}, "system 000 goes by a table: give its file with --table"),
        ("001", {"tables": [Path("a.csv")]}, "system 001 goes by file names: leave --table out"),
        ("table", {"depth_polarity": None}, "--depth-polarity is not given: expected far-bright"),
        ("001", {"max_depth_m": 80.0}, "--max-depth-m 80: expected more than 0 and at most 65.535"),
        ("001", {"max_depth_m": 0.0}, "--max-depth-m 0: expected more than 0"),
        ("003", {"per_background": 0}, "--per-background 0: expected at least 1"),
        ("004", {"split_by": "table"}, "--split-by table, but no table tells the split"),
    ],
)
def test_arguments_that_do_not_fit_are_told(
    tmp_path: Path, system: str, options: dict, text: str
) -> None:
    assert text in refused(tmp_path, system, SETS[system](), **options)


def test_roots_that_are_no_folder_or_archive_are_told(tmp_path: Path) -> None:
    (tmp_path / "torn.zip").write_bytes(as_zip(set_004(), tmp_path / "a.zip").read_bytes()[:900])
    (tmp_path / "empty").mkdir()
    for root, text in (
        ("none", "is not there: expected a folder or a .zip archive"),
        ("torn.zip", "is no whole .zip archive"),
        ("empty", "no pictures in"),
    ):
        with pytest.raises(AssetError, match=text):
            import_images([tmp_path / root], tmp_path / "dataset", system="004")


def test_a_member_that_is_damaged_inside_its_archive_is_told(tmp_path: Path) -> None:
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
    assert "train.csv, line 8: bg_2fg_1_1.jpg: no mask goes with it" in error


def test_the_verb_explains_itself() -> None:
    command = [sys.executable, "-m", "dsetkit", "import-images", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--depth-polarity" in text and "--per-background" in text and "(default: ())" not in text
