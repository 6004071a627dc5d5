"""merge: gathered shards and merged datasets keep every sample unchanged."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from dsetkit.assets.folders import Asset, decode_asset, encode_asset, fingerprint
from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError
from dsetkit.store import manifest as m
from dsetkit.store.lmdb_store import StoreReader, StoreWriter
from dsetkit.store.records import StoredAsset, pack_asset, unpack_asset
from dsetkit.store.shards import shard_path
from dsetkit.verbs.convert import convert
from dsetkit.verbs.merging.merge import merge
from dsetkit.verbs.splits import split_by_asset, split_by_sample
from dsetkit.verbs.verify import verify
from tests.helpers.generating import generate
from tests.helpers.importing import import_rgbd
from tests.helpers.worlds import tiny_dataset, tiny_rgbd

SAMPLES = 60  # as conftest.options


def entries(path: Path, database: str) -> list[tuple[bytes, bytes]]:
    """All entries of a database, over the shards in turn."""
    stores = [StoreReader(file) for file in sorted(path.glob("shard-*.lmdb"))]
    return [entry for store in stores for entry in store.items(database)]


def put_manifest(path: Path, **changes: object) -> None:
    changed = replace(Dataset(path).manifest, **changes)
    with StoreWriter(shard_path(path)) as store:
        store.put([("manifest", m.MANIFEST_KEY, changed.to_bytes())])


def sample(path: Path, index: int) -> dict:
    """All a reader can ask for of a sample: pixels, cell, names of the assets, recipe."""
    dataset = Dataset(path)
    record = dataset.record(index)
    about = {"cell": int(dataset.cells[index]), "index": record.index, "name": record.name}
    about["objects"] = [structs.replace(one, foreground=None) for one in record.objects]
    foreground = record.objects[0].foreground if record.objects else None
    for kind, number in (("backgrounds", record.background), ("foregrounds", foreground)):
        names = [asset.name for asset in dataset.assets(kind)]
        about[kind] = None if number is None else names[number]
    images = dataset.stored_images(record)
    if record.background is not None:
        images["background"] = dataset.background(record.background)
    return about | {name: image.tobytes() for name, image in images.items()}


def assert_holds(merged: Path, *sources: Path) -> None:
    """The merged dataset is good, and its samples are those of the sources in turn."""
    assert verify(merged) == []
    expected = [sample(path, i) for path in sources for i in range(len(Dataset(path)))]
    assert [sample(merged, i) for i in range(len(Dataset(merged)))] == expected


# ---- parts of one dataset ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(options: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "d"
    generate(**options, output=path, shards=3)
    return path


@pytest.fixture(scope="module")
def machines(options: dict, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One shard each, as each was made in a place of its own."""
    paths = [tmp_path_factory.mktemp("machine") / "d" for _ in range(3)]
    for number, path in enumerate(paths):
        generate(**options, output=path, shards=3, shard_index=number)
    return paths


def test_parts_gathered_equal_the_dataset_made_in_one_go(
    whole: Path, machines: list[Path], tmp_path: Path
) -> None:
    steps = []
    told = merge(machines[::-1], tmp_path / "c", progress=lambda *step: steps.append(step))
    for database in ("manifest", "samples", "backgrounds", "foregrounds"):
        assert entries(tmp_path / "c", database) == entries(whole, database)
    assert told == Dataset(tmp_path / "c").manifest == Dataset(whole).manifest
    assert told.label_quality["samples"] == SAMPLES
    assert verify(tmp_path / "c") == []
    assert steps == sorted(steps) and steps[-1] == (SAMPLES, SAMPLES)
    assert {file.name for file in (tmp_path / "c").iterdir()} == {f.name for f in whole.iterdir()}


def test_continued_gathering_keeps_existing_shards(
    whole: Path, machines: list[Path], tmp_path: Path
) -> None:
    def cut_off(done: int, total: int) -> None:
        raise KeyboardInterrupt

    def files() -> list[int]:
        """Identifies the files of the shards: a shard that is copied again is another file."""
        return [file.stat().st_ino for file in sorted((tmp_path / "c").glob("*.lmdb"))]

    with pytest.raises(KeyboardInterrupt):
        merge(machines, tmp_path / "c", progress=cut_off)
    (first,) = files()
    (tmp_path / "c" / ".shard-00001.lmdb.part").write_bytes(b"half of it")
    merge(machines, tmp_path / "c")
    made = files()
    assert len(made) == 3 and made[0] == first
    merge(machines, tmp_path / "c")  # the first shard has the scores now
    assert files() == made
    assert entries(tmp_path / "c", "manifest") == entries(whole, "manifest")
    assert entries(tmp_path / "c", "samples") == entries(whole, "samples")


def test_a_half_copied_or_different_shard_is_copied_again(
    whole: Path, machines: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "c").mkdir()
    content = shard_path(machines[1], 1).read_bytes()
    shard_path(tmp_path / "c", 1).write_bytes(content)
    shutil.copy(shard_path(machines[2], 2), tmp_path / "c")
    with StoreWriter(shard_path(tmp_path / "c", 2)) as store:
        key, value = entries(machines[2], "samples")[3]
        store.put([("samples", key, value[:-1] + bytes([value[-1] ^ 1]))])
    merge(machines, tmp_path / "c")
    assert entries(tmp_path / "c", "samples") == entries(whole, "samples")


def test_a_new_split_of_what_was_gathered_is_kept(machines: list[Path], tmp_path: Path) -> None:
    merge(machines, tmp_path / "c")
    split_by_sample(tmp_path / "c", shares=(0.5, 0.25, 0.25), seed=1)
    merge(machines, tmp_path / "c")
    assert len(Dataset(tmp_path / "c").indices("train")) == SAMPLES // 2


def test_an_overlap_names_both_places(machines: list[Path], tmp_path: Path) -> None:
    shutil.copytree(machines[0], tmp_path / "b")
    shutil.copy(shard_path(machines[1], 1), tmp_path / "b")
    with pytest.raises(DatasetError) as error:
        merge([machines[0], tmp_path / "b"], tmp_path / "c")
    assert f"shard-00000.lmdb is in {machines[0]} and in {tmp_path / 'b'}" in str(error.value)
    assert not (tmp_path / "c").exists()


def test_a_missing_shard_is_named(machines: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="shard-00001.lmdb of 3 shards not found in .*--shard-index 1"
    ):
        merge([machines[0], machines[2]], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_shards_of_two_datasets_do_not_mix(
    options: dict, machines: list[Path], tmp_path: Path
) -> None:
    generate(**(options | {"seed": 5}), output=tmp_path / "b", shards=3, shard_index=1)
    with pytest.raises(DatasetError, match="b holds shards of another dataset than .*seed"):
        merge([machines[0], tmp_path / "b", machines[2]], tmp_path / "c")
    generate(**options, output=tmp_path / "other", shards=4, shard_index=1)
    with pytest.raises(DatasetError, match=r"other holds shards of another .*\(shards: 4, not 3\)"):
        merge([machines[0], tmp_path / "other"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_part_that_is_not_complete_is_named(
    options: dict, machines: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(machines[1], tmp_path / "b")
    reader = StoreReader(shard_path(tmp_path / "b", 1))
    header = m.Manifest.from_bytes(reader.get("manifest", m.MANIFEST_KEY))
    with StoreWriter(shard_path(tmp_path / "b", 1)) as store:
        cut = replace(header, complete=False).to_bytes()
        store.put([("manifest", m.MANIFEST_KEY, cut)])
    with pytest.raises(DatasetError, match="b/shard-00001.lmdb is not complete"):
        merge([machines[0], tmp_path / "b", machines[2]], tmp_path / "c")


def test_what_lies_in_the_output_is_never_overwritten(machines: list[Path], tmp_path: Path) -> None:
    there = tiny_dataset(tmp_path / "c", num_samples=8)
    before = entries(there, "samples")
    with pytest.raises(DatasetError, match="c holds another dataset"):
        merge(machines, there)
    assert entries(there, "samples") == before
    with pytest.raises(DatasetError, match="is one of the datasets"):
        merge(machines, machines[1])


def test_parts_are_gathered_as_they_are(machines: list[Path], tmp_path: Path) -> None:
    for other in ({"shards": 2}, {"split_by": "sample"}):
        with pytest.raises(DatasetError, match="parts of a dataset of 3 shards"):
            merge(machines, tmp_path / "c", **other)
    merge(machines, tmp_path / "c", shards=3)
    merge([tmp_path / "c"], tmp_path / "two", shards=2)  # as the message advises
    assert entries(tmp_path / "two", "samples") == entries(tmp_path / "c", "samples")
    one, two = Dataset(tmp_path / "c").manifest, Dataset(tmp_path / "two").manifest
    assert (one.fingerprint, one.label_quality) == (two.fingerprint, two.label_quality)


# ---- different datasets ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["rendered", "recipe"])
def test_three_datasets_read_back_as_their_samples_in_turn(tmp_path: Path, layout: str) -> None:
    paths = [
        tiny_dataset(tmp_path / f"d{n}", placements=n, num_samples=20 + n, layout=layout)
        for n in (3, 4, 5)
    ]
    manifest = merge(paths, tmp_path / "c")
    assert_holds(tmp_path / "c", *paths)
    sources = [Dataset(path).manifest for path in paths]
    assert manifest.num_samples == 72 and manifest.complete
    assert manifest.recipe["merged"] == [source.fingerprint for source in sources]
    assert manifest.recipe["samples"] == [23, 24, 25]
    assert manifest.recipe["recipes"] == [source.recipe for source in sources]
    # one set of pictures is kept once
    assert (manifest.num_backgrounds, manifest.num_foregrounds) == (4, 4)
    assert manifest.assets_fingerprint == sources[0].assets_fingerprint
    assert manifest.teacher == sources[0].teacher and manifest.splits == sources[0].splits


def test_asset_ids_are_rewritten_where_the_pictures_differ(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=20, num_backgrounds=2, num_foregrounds=2)
    b = renamed(tiny_dataset(tmp_path / "b", num_samples=30, seed=1), tmp_path / "b2")
    manifest = merge([a, b], tmp_path / "c")
    assert_holds(tmp_path / "c", a, b)
    assert (manifest.num_backgrounds, manifest.num_foregrounds) == (6, 6)
    assert manifest.splits == {
        "by": "asset",
        "merged": [{"by": "asset", "seed": 0}, {"by": "asset", "seed": 1}],
    }
    cells = Dataset(tmp_path / "c").cells.tobytes()
    split_by_sample(tmp_path / "c", shares=(0.8, 0.1, 0.1), seed=0)
    split_by_asset(tmp_path / "c")  # each sample has its own dataset's seed
    assert Dataset(tmp_path / "c").cells.tobytes() == cells
    assert Dataset(tmp_path / "c").manifest == manifest


def renamed(source: Path, output: Path) -> Path:
    """The dataset again, its pictures others: a shade brighter, under other names."""
    dataset = Dataset(source)
    assets = {
        kind: [
            Asset(i, "other " + one.name, one.split, decode_asset(one.image) // 2 * 2 + 1)
            for i, one in enumerate(dataset.assets(kind))
        ]
        for kind in ("backgrounds", "foregrounds")
    }
    manifest = replace(dataset.manifest, assets_fingerprint=fingerprint(*assets.values()))
    stored = {
        kind: [StoredAsset(one.name, one.split, encode_asset(one.pixels)) for one in some]
        for kind, some in assets.items()
    }
    with DatasetWriter(output, manifest, dataset.cells, **stored) as writer:
        writer.add(dataset.records(range(len(dataset))))
        writer.finish()
    return output


def test_a_merged_dataset_merges_again(tmp_path: Path) -> None:
    paths = [tiny_dataset(tmp_path / f"d{n}", placements=n, num_samples=10 + n) for n in (3, 4, 5)]
    merge(paths[:2], tmp_path / "two")
    merge([tmp_path / "two", paths[2]], tmp_path / "c")
    merge(paths, tmp_path / "at once")
    assert entries(tmp_path / "c", "samples") == entries(tmp_path / "at once", "samples")
    manifests = [Dataset(tmp_path / name).manifest for name in ("c", "at once")]
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("shards", [2, 3])
def test_shards_of_a_merged_dataset_equal_one_file(tmp_path: Path, shards: int) -> None:
    paths = [tiny_dataset(tmp_path / f"d{n}", placements=n, num_samples=50 + n) for n in (3, 4)]
    merge(paths, tmp_path / "one")
    merge(paths, tmp_path / "many", shards=shards)
    assert len(list((tmp_path / "many").glob("shard-*.lmdb"))) == shards
    assert entries(tmp_path / "many", "samples") == entries(tmp_path / "one", "samples")
    assert_holds(tmp_path / "many", *paths)
    with pytest.raises(DatasetError, match="9 shards: expected 1 to 4"):
        merge(paths, tmp_path / "too many", shards=9)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_continued_merge_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    paths = [tiny_dataset(tmp_path / f"d{n}", placements=n, num_samples=60 + n) for n in (3, 4)]
    merge(paths, tmp_path / "whole", shards=shards)
    monkeypatch.setattr("dsetkit.verbs.merging.merge.SAMPLES_AT_ONCE", 10)

    def cut_off(done: int, total: int) -> None:
        if done >= 75:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(paths, tmp_path / "cut", shards=shards, progress=cut_off)
    assert 0 < len(Dataset(tmp_path / "cut", allow_incomplete=True)) < 127
    done = []
    merge(paths, tmp_path / "cut", shards=shards, progress=lambda n, total: done.append(n))
    assert done[0] > 63  # the first dataset was not read again
    for database in ("manifest", "samples", "backgrounds", "foregrounds"):
        assert entries(tmp_path / "cut", database) == entries(tmp_path / "whole", database)


def test_labels_that_were_scored_are_scored_together(
    options: dict, pictures: dict, tmp_path: Path
) -> None:
    for name, placements in (("a", 5), ("b", 4)):
        settings = options | {"placements": placements, "num_samples": 24, "layout": "recipe"}
        generate(**settings, output=tmp_path / name)
    manifest = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert manifest.label_quality["samples"] == 48
    assert_holds(tmp_path / "c", tmp_path / "a", tmp_path / "b")
    of_each = [Dataset(tmp_path / name).manifest.label_quality for name in ("a", "b")]
    counts = [scores["placed_images"] for scores in of_each]
    assert manifest.label_quality["placed_images"] == sum(counts)
    expected = np.average([scores["in_front_share"] for scores in of_each], weights=counts)
    assert manifest.label_quality["in_front_share"] == pytest.approx(expected)


def test_imported_pairs_merge_too(tmp_path: Path) -> None:
    a = tiny_rgbd(tmp_path / "a")
    folder = Path(shutil.copytree(tmp_path / "a-pictures", tmp_path / "b-pictures"))
    (folder / "0004_color.png").unlink()
    import_rgbd(folder, tmp_path / "b", split="test")
    manifest = merge([a, tmp_path / "b"], tmp_path / "c")
    assert_holds(tmp_path / "c", a, tmp_path / "b")
    assert manifest.num_samples == 9 and manifest.label_quality == {}
    assert manifest.splits["by"] == "import" and len(manifest.splits["merged"]) == 2
    merge([a, tmp_path / "b"], tmp_path / "anew", split_by="sample")
    assert Dataset(tmp_path / "anew").manifest.splits["by"] == "sample"


def test_imported_images_merge_too(imported: Callable[[str, dict], Path], tmp_path: Path) -> None:
    a = imported("001", {})
    b = tmp_path / "b"
    shutil.copytree(a, b)
    put_manifest(b, recipe=Dataset(b).manifest.recipe | {"content": "of other files"})
    manifest = merge([a, b], tmp_path / "c")
    assert_holds(tmp_path / "c", a, b)
    assert manifest.num_backgrounds == Dataset(a).manifest.num_backgrounds > 0


# ---- splits ------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> list[Path]:
    """The same pictures, split with two seeds."""
    paths = [tiny_dataset(tmp_path / f"s{s}", num_samples=40, seed=s) for s in (0, 3)]
    splits = [[one.split for one in Dataset(p).assets("backgrounds")] for p in paths]
    assert splits[0] != splits[1]
    return paths


def test_a_picture_that_is_train_here_and_test_there_is_refused(
    mixed: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="ground .* is .* in .*s3 but .* in .*s0: .*--split-by"):
        merge(mixed, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_split_by_asset_lets_the_first_dataset_say_the_splits(
    mixed: list[Path], tmp_path: Path
) -> None:
    manifest = merge(mixed, tmp_path / "c", split_by="asset")
    assert verify(tmp_path / "c") == []
    merged, first = Dataset(tmp_path / "c"), Dataset(mixed[0])
    for kind in ("backgrounds", "foregrounds"):
        assert list(merged.assets(kind)) == list(first.assets(kind))
    assert np.array_equal(merged.cells[:40], first.cells)
    splits = {
        kind: [one.split for one in merged.assets(kind)] for kind in ("backgrounds", "foregrounds")
    }
    for index in merged.indices("train"):
        record = merged.record(index)
        assert splits["backgrounds"][record.background] == "train"
        assert splits["foregrounds"][record.objects[0].foreground] == "train"
    assert manifest.splits["by"] == "asset"
    cells = merged.cells.tobytes()
    split_by_asset(tmp_path / "c")
    assert Dataset(tmp_path / "c").cells.tobytes() == cells


def test_one_picture_at_two_sizes_is_one_picture_for_the_splits(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=20)
    b = renamed(tiny_dataset(tmp_path / "b", num_samples=20, seed=1), tmp_path / "b2")
    other = tmp_path / "b3"
    shutil.copytree(b, other)
    rename_assets(other)
    with pytest.raises(DatasetError, match="--split-by asset"):
        merge([a, other], tmp_path / "c")
    merge([a, other], tmp_path / "c", split_by="asset")
    split_of = {}
    for kind in ("backgrounds", "foregrounds"):
        for one in Dataset(tmp_path / "c").assets(kind):
            assert split_of.setdefault(one.name, one.split) == one.split


def rename_assets(path: Path) -> None:
    """Takes the `other ` out of the names of the assets."""
    found, groups = [], []
    for kind in ("backgrounds", "foregrounds"):
        groups.append([])
        for number, (key, packed) in enumerate(entries(path, kind)):
            one = unpack_asset(packed, database=kind, key=key)
            one = structs.replace(one, name=one.name.removeprefix("other "))
            found.append((kind, key, pack_asset(one, database=kind, key=key)))
            pixels = decode_asset(one.image)
            groups[-1].append(Asset(number, one.name, one.split, pixels))
    with StoreWriter(shard_path(path)) as store:
        store.put(found)
    put_manifest(path, assets_fingerprint=fingerprint(*groups))


def test_pictures_under_other_rules_of_splitting_are_refused(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=20, placements=3)
    b = tiny_dataset(tmp_path / "b", num_samples=20, placements=4)
    split_by_sample(b, shares=(0.8, 0.1, 0.1), seed=0)
    with pytest.raises(DatasetError, match="b, split by sample, and in .*a, split by asset"):
        merge([a, b], tmp_path / "c")
    split_by_sample(a, shares=(0.8, 0.1, 0.1), seed=0)
    merge([a, b], tmp_path / "c")  # both by chance; the manifest records it
    assert Dataset(tmp_path / "c").manifest.splits["by"] == "sample"


def test_imported_pictures_with_different_splits_are_refused(tmp_path: Path) -> None:
    a = tiny_rgbd(tmp_path / "a")
    import_rgbd(tmp_path / "a-pictures", tmp_path / "b", split="test")
    with pytest.raises(DatasetError, match="hold the same pictures with different splits"):
        merge([a, tmp_path / "b"], tmp_path / "c")


# ---- what does not fit -------------------------------------------------------------------------


def without_depth(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4, depth_kind="none")


def relative(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4, depth_kind="relative")


def larger(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4, size=48)


def as_recipes(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4, layout="recipe")


def other_codec(path: Path) -> None:
    source = tiny_dataset(path.with_name("source"), num_samples=8, placements=4)
    convert(source, path, layout="rendered", codecs={"mask": "zstd8"})


def deeper(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4)
    put_manifest(path, max_depth_m=20.0)


def other_teacher(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4)
    teacher = Dataset(path).manifest.teacher
    put_manifest(path, teacher=teacher | {"name": "sharp", "hash": "11"})


def without_foregrounds(path: Path) -> None:
    tiny_dataset(path, num_samples=8, placements=4)
    put_manifest(path, num_foregrounds=0)


MISFITS = {
    without_depth: "b has fields .*`relabel` adds depth",
    relative: "b has depth_kind relative, .*a has metric: `relabel`",
    larger: r"b has size \[48, 48\], .*a has \[32, 32\]: generate",
    as_recipes: "b has layout recipe, .*a has rendered: `convert --layout`",
    other_codec: "b has codecs .*zstd8.*a has .*png8.*: `convert --codec`",
    deeper: "b has max_depth_m 20.0, .*a has 10.0: `relabel`",
    other_teacher: r"b has labels of teacher sharp, .*a of smooth .*--allow-mixed-teachers",
    without_foregrounds: "b has 0 foregrounds, .*a has 4: expected only imported datasets",
}


@pytest.mark.parametrize("make", MISFITS, ids=lambda make: make.__name__)
def test_what_does_not_fit_is_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture, make: Callable[[Path], None]
) -> None:
    tiny_dataset(tmp_path / "a", num_samples=8, placements=3)
    make(tmp_path / "b")
    with pytest.raises(DatasetError, match=MISFITS[make]):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    arguments = ["merge", str(tmp_path / "a"), str(tmp_path / "b")]
    capsys.readouterr()
    assert run(lambda: main([*arguments, "--output", str(tmp_path / "c")])) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "c").exists()


def test_another_compositing_version_is_refused(tmp_path: Path) -> None:
    paths = [
        tiny_dataset(tmp_path / f"d{n}", num_samples=8, placements=n, layout="recipe")
        for n in (3, 4)
    ]
    put_manifest(paths[1], compositing="of another version")
    with pytest.raises(DatasetError, match="has compositing .*convert --layout rendered"):
        merge(paths, tmp_path / "c")


def test_allowed_labels_of_two_teachers_are_recorded(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=8, placements=3)
    other_teacher(tmp_path / "b")
    manifest = merge([a, tmp_path / "b"], tmp_path / "c", allow_mixed_teachers=True)
    assert_holds(tmp_path / "c", a, tmp_path / "b")
    assert manifest.teacher["name"] == "mixed"
    assert [one["name"] for one in manifest.teacher["teachers"]] == ["smooth", "sharp"]
    with pytest.raises(DatasetError, match="labels of teacher"):
        merge([tmp_path / "c", tiny_dataset(tmp_path / "e", placements=2)], tmp_path / "f")


def test_what_relabelling_and_batches_leave_behind_is_no_other_teacher(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=8, placements=3)
    b = tiny_dataset(tmp_path / "b", num_samples=8, placements=4)
    teacher = Dataset(b).manifest.teacher
    put_manifest(b, teacher=teacher | {"batch_size": 4, "relabelled": "b before"})
    manifest = merge([a, b], tmp_path / "c")
    assert manifest.teacher == teacher | {"batch_size": 1}


def test_a_dataset_does_not_merge_with_itself(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=8)
    shutil.copytree(a, tmp_path / "b")
    with pytest.raises(
        DatasetError, match="are the same dataset: each sample would be there twice"
    ):
        merge([a, tmp_path / "b"], tmp_path / "c")


def test_two_choices_of_one_full_set_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tiny_dataset(tmp_path / f"d{n}", num_samples=n) for n in (8, 12)]
    merge(paths, tmp_path / "c")
    assert "choose samples from the same full set" in caplog.text


def test_an_incomplete_dataset_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    a = tiny_dataset(tmp_path / "a", num_samples=8)
    b = tiny_dataset(tmp_path / "b", num_samples=9, stop_after=3)
    with pytest.raises(DatasetError, match="b is not complete: 3 of 9 samples"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_the_verb_prints_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    paths = [tiny_dataset(tmp_path / f"d{n}", num_samples=8, placements=n) for n in (3, 4)]
    arguments = ["merge", *map(str, paths), "--output", str(tmp_path / "c"), "--split-by", "sample"]
    assert run(lambda: main(arguments)) == 0
    assert "c: 16 samples, complete" in capsys.readouterr().out
    assert run(lambda: main(["info", str(tmp_path / "c")])) == 0
    assert Dataset(paths[0]).manifest.fingerprint in capsys.readouterr().out
