"""Tests of layouts and caches: equal pixels in both layouts, and conversion without loss."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dsetkit import SampleDataset, make_loader
from dsetkit.compositing.batches import stores_same_pixels
from dsetkit.compositing.compositor import COMPOSITED
from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.loading.plane_cache import cache_path, open_cache
from dsetkit.store import png
from dsetkit.store.codecs import CODECS
from dsetkit.store.lmdb_store import StoreReader, StoreWriter
from dsetkit.store.manifest import manifest_entry
from dsetkit.store.shards import shard_path
from dsetkit.verbs.convert import convert
from dsetkit.verbs.export import export
from dsetkit.verbs.stats import measure
from dsetkit.verbs.verify import verify
from tests.helpers.generating import relabel
from tests.helpers.worlds import replace_record, tiny_dataset, tiny_rgbd

FIELDS = ("background", "composite", "mask", "depth")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 2,000 samples in both layouts, each written as `generate` would."""
    root = tmp_path_factory.mktemp("layouts")
    settings = {"num_samples": 2000, "placements": 63}
    return {
        layout: tiny_dataset(root / layout, layout=layout, **settings)
        for layout in ("rendered", "recipe")
    }


def contents(dataset: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    store = StoreReader(shard_path(dataset))
    databases = ("manifest", "backgrounds", "foregrounds", "samples")
    return {name: list(store.items(name)) for name in databases}


# ---- the recipe layout -------------------------------------------------------------------------


def test_the_recipe_layout_composites_the_stored_pixels(worlds: dict[str, Path]) -> None:
    rendered, recipe = (Dataset(path) for path in worlds.values())
    for index in range(len(rendered)):
        stored, kept = rendered.record(index), recipe.record(index)
        assert (stored.objects, stored.background) == (kept.objects, kept.background)
        composited = recipe.compositor.fields(kept, COMPOSITED)
        assert stores_same_pixels(rendered.manifest, stored, composited)


def test_both_layouts_hold_the_same_depth(worlds: dict[str, Path]) -> None:
    rendered, recipe = (Dataset(path) for path in worlds.values())
    for index in range(0, 2000, 50):
        one, other = (data.image(data.record(index), "depth") for data in (rendered, recipe))
        assert np.array_equal(one, other)


def test_the_recipe_layout_is_several_times_smaller(worlds: dict[str, Path]) -> None:
    sizes = {
        name: sum(len(value) for _, value in contents(path)["samples"])
        for name, path in worlds.items()
    }
    assert sizes["recipe"] < sizes["rendered"] / 3


@pytest.mark.slow
def test_every_verb_takes_the_recipe_layout(worlds: dict[str, Path], tmp_path: Path) -> None:
    assert verify(worlds["recipe"]) == []
    one, other = (measure(path, split="val") for path in worlds.values())
    assert one["mask"] == other["mask"] and one["depth"] == other["depth"]
    assert one["labels"] == other["labels"]
    assert one["composite"].keys() == other["composite"].keys()
    for name, path in worlds.items():
        export(path, tmp_path / name, split="val")
    files = sorted(path.relative_to(tmp_path / "recipe") for path in tmp_path.glob("recipe/*/*"))
    assert files
    for file in files:
        assert (tmp_path / "recipe" / file).read_bytes() == (
            tmp_path / "rendered" / file
        ).read_bytes()


def test_at_a_small_size_the_foreground_keeps_its_place(worlds: dict[str, Path]) -> None:
    large, small = (SampleDataset(worlds["recipe"], None, size) for size in (None, 16))
    for position in range(0, 2000, 40):
        big, drawn = large[position], small[position]
        shrunk = cv2.resize(big["mask"][0].numpy(), (16, 16), interpolation=cv2.INTER_AREA)
        # the edges of a box move by at most half a pixel of the small size
        difference = np.abs(shrunk.astype(int) - drawn["mask"][0].numpy())
        assert difference.mean() < 25 and np.quantile(difference, 0.5) < 5
        outside = drawn["mask"][0] == 0
        assert (drawn["composite"] == drawn["background"])[:, outside].all()


def test_verify_names_a_sample_whose_pixels_differ(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path / "d", num_samples=40, layout="recipe")
    record = Dataset(path).record(7)
    replace_record(path, 7, replace(record, pixels=b"\0" * 8))
    (problem,) = verify(path)
    assert (problem.where, problem.number) == ("sample", 7)
    assert problem.reason == "compositing it gives other pixels than the teacher saw"


def test_recipes_of_a_version_that_composites_other_pixels_are_refused(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path / "d", num_samples=40, layout="recipe")
    manifest = replace(Dataset(path).manifest, compositing="another")
    with StoreWriter(shard_path(path)) as writer:
        writer.put([manifest_entry(manifest)])
    text = "would composite other pixels: convert it with that version"
    with pytest.raises(DatasetError, match=text):
        SampleDataset(path, split=None, size=16)[0]


# ---- conversion --------------------------------------------------------------------------------


@pytest.mark.parametrize("there, wanted", [("rendered", "recipe"), ("recipe", "rendered")])
def test_a_converted_dataset_equals_one_made_so(
    worlds: dict[str, Path], tmp_path: Path, there: str, wanted: str
) -> None:
    convert(worlds[there], tmp_path / "new", layout=wanted)
    assert contents(tmp_path / "new") == contents(worlds[wanted])


def test_an_interrupted_conversion_is_continued(worlds: dict[str, Path], tmp_path: Path) -> None:
    new, expected = tmp_path / "new", Dataset(worlds["recipe"])
    with (
        pytest.raises(KeyboardInterrupt),
        DatasetWriter(
            new,
            expected.manifest,
            expected.cells,
            backgrounds=expected.assets("backgrounds"),
            foregrounds=expected.assets("foregrounds"),
        ) as writer,
    ):
        writer.add(expected.records(range(640)))
        raise KeyboardInterrupt
    assert len(Dataset(new, allow_incomplete=True)) == 640
    done = []
    convert(worlds["rendered"], new, layout="recipe", progress=lambda *step: done.append(step[0]))
    assert min(done) > 640
    assert contents(new) == contents(worlds["recipe"])


def test_other_codecs_keep_every_value(worlds: dict[str, Path], tmp_path: Path) -> None:
    wanted = {"mask": "zstd8", "depth": "zstd16"}
    manifest = convert(worlds["rendered"], tmp_path / "new", layout="rendered", codecs=wanted)
    assert manifest.codecs == {"composite": "jpeg95"} | wanted
    assert verify(tmp_path / "new") == []
    old, new = Dataset(worlds["rendered"]), Dataset(tmp_path / "new")
    for index in range(0, 2000, 100):
        records = old.record(index), new.record(index)
        assert records[0].fields["composite"] == records[1].fields["composite"]
        for name in wanted:
            assert np.array_equal(old.image(records[0], name), new.image(records[1], name))


def test_a_jpeg_with_a_smaller_one_is_the_same_jpeg(
    worlds: dict[str, Path], tmp_path: Path
) -> None:
    paths = {name: tmp_path / name for name in ("of recipes", "of pictures", "back")}
    wanted = {"composite": "jpeg95+half"}
    convert(worlds["recipe"], paths["of recipes"], layout="rendered", codecs=wanted)
    convert(worlds["rendered"], paths["of pictures"], layout="rendered", codecs=wanted)
    assert contents(paths["of recipes"]) == contents(paths["of pictures"])
    assert verify(paths["of pictures"]) == []
    plain = {"composite": "jpeg95"}
    convert(paths["of pictures"], paths["back"], layout="rendered", codecs=plain)
    assert contents(paths["back"]) == contents(worlds["rendered"])
    old, new = (Dataset(path) for path in (worlds["rendered"], paths["of pictures"]))
    for index in range(0, 2000, 100):
        records = old.record(index), new.record(index)
        size = old.manifest.size
        for at_least, most in ((None, 0), (size, 0), ((size[0] // 2, size[1] // 2), 3)):
            images = [
                data.image(one, "composite", at_least=at_least).astype(int)
                for data, one in zip((old, new), records, strict=True)
            ]
            assert images[0].shape == images[1].shape
            assert np.abs(images[0] - images[1]).mean() <= most


@pytest.mark.slow
def test_relabelling_recipes_equals_relabelling_pictures(
    worlds: dict[str, Path], tmp_path: Path
) -> None:
    for layout in ("rendered", "recipe"):
        few = tiny_dataset(tmp_path / layout, num_samples=40, layout=layout)
        relabel(few, tmp_path / f"{layout}-new", teacher="bundled")
    one, other = (Dataset(tmp_path / f"{layout}-new") for layout in ("rendered", "recipe"))
    for index in range(40):
        depths = [data.image(data.record(index), "depth") for data in (one, other)]
        assert np.array_equal(*depths)
    assert verify(tmp_path / "recipe-new") == []


def test_conversions_that_are_impossible_raise_an_error(
    worlds: dict[str, Path], tmp_path: Path
) -> None:
    for path, settings, text in (
        (tiny_rgbd(tmp_path / "rgbd"), {"layout": "recipe"}, "sample 0 was imported, not comp"),
        (worlds["rendered"], {"layout": "zip"}, "--layout zip: expected rendered or recipe"),
        (
            worlds["rendered"],
            {"layout": "recipe", "codecs": {"mask": "png8"}},
            "--codec mask=png8: layout recipe stores depth only",
        ),
        (
            worlds["rendered"],
            {"layout": "rendered", "codecs": {"mask": "jpeg95"}},
            "--codec mask=jpeg95: expected mask=png8 or zstd8",
        ),
    ):
        with pytest.raises(DatasetError, match=text):
            convert(path, tmp_path / "new", **settings)
    with pytest.raises(DatasetError, match="is the dataset itself"):
        convert(worlds["recipe"], worlds["recipe"], layout="rendered")


def test_a_composite_that_its_recipe_does_not_give_is_kept(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path / "d", num_samples=40)
    dataset = Dataset(path)
    first, second = dataset.record(0), dataset.record(1)
    fields = first.fields | {"composite": second.fields["composite"]}
    replace_record(path, 0, replace(first, fields=fields))
    with pytest.raises(DatasetError, match="sample 0: compositing it again gives other pixels"):
        convert(path, tmp_path / "new", layout="recipe")


# ---- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["rendered", "recipe"])
@pytest.mark.parametrize("size", [None, 16, (16, 24)])
def test_a_batch_is_its_samples(worlds: dict[str, Path], layout: str, size) -> None:
    data = SampleDataset(worlds[layout], "train", size)
    positions = [5, len(data) - 1, 5, 33]
    batch = data.read_batch(positions)
    for row, position in enumerate(positions):
        for name, values in data[position].items():
            assert torch.equal(batch[name][row], values)


@pytest.mark.parametrize("layout", ["rendered", "recipe"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"threads": 0}, {"threads": 3}, pytest.param({"workers": 2}, marks=pytest.mark.slow)],
)
def test_neither_threads_nor_workers_change_a_batch(
    worlds: dict[str, Path], layout: str, settings: dict
) -> None:
    data = SampleDataset(worlds[layout], "val", 16)
    loader = make_loader(data, 8, seed=3, **settings)
    plain = list(loader.batch_sampler)
    for batch, positions in zip(loader, plain, strict=True):
        expected = data.read_batch(positions)
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_damage_found_by_a_thread_reaches_the_caller(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path / "d", num_samples=40, layout="recipe")
    replace_record(path, 30, b"damaged")
    data = SampleDataset(path, None, 16)
    with pytest.raises(DatasetError, match="sample 30: its checksum differs"):
        list(make_loader(data, 8, shuffle=False))


def test_a_loader_that_is_left_early_stops_its_threads(worlds: dict[str, Path]) -> None:
    import threading

    for _ in make_loader(SampleDataset(worlds["recipe"], "train", 16), 8):
        break
    assert not [one for one in threading.enumerate() if one.name.startswith("dsetkit-reader")]


# ---- the cache of resized pixels ---------------------------------------------------------------


@pytest.mark.parametrize("layout", ["rendered", "recipe"])
def test_a_cache_gives_what_the_dataset_gives(
    worlds: dict[str, Path], layout: str, tmp_path: Path
) -> None:
    plain = SampleDataset(worlds[layout], "test", 16)
    cached = SampleDataset(worlds[layout], "test", 16, cache=tmp_path)
    copy = pickle.loads(pickle.dumps(cached))
    positions = list(range(0, len(plain), 3))
    for data in (cached, copy):
        ours, expected = data.read_batch(positions), plain.read_batch(positions)
        assert all(torch.equal(ours[name], expected[name]) for name in FIELDS[:3])
        assert (ours["depth"] - expected["depth"]).abs().max() <= 0.5 / 65535 + 1e-7
        assert ours["depth"].dtype == torch.float32
        assert ((ours["depth"] == 0) == (expected["depth"] == 0)).all()


@pytest.mark.parametrize("layout", ["rendered", "recipe"])
def test_processes_never_change_a_byte_of_a_cache(
    worlds: dict[str, Path], layout: str, tmp_path: Path
) -> None:
    dataset, files = Dataset(worlds[layout]), []
    for jobs in (1, 2):
        open_cache(tmp_path / str(jobs), dataset, (16, 16), jobs=jobs, samples_per_task=7)
        files.append(cache_path(tmp_path / str(jobs), dataset, (16, 16)).read_bytes())
    assert files[0] == files[1]


def test_a_cache_is_made_once(worlds: dict[str, Path], tmp_path: Path) -> None:
    dataset = Dataset(worlds["recipe"])
    path = cache_path(tmp_path, dataset, (16, 16))
    made = []
    for _ in range(2):
        open_cache(tmp_path, dataset, (16, 16))
        made.append(path.stat().st_mtime_ns)
    assert made[0] == made[1]
    assert list(tmp_path.glob("*.planes")) == [path]


def test_a_cache_that_is_not_whole_is_refused(worlds: dict[str, Path], tmp_path: Path) -> None:
    dataset = Dataset(worlds["recipe"])
    open_cache(tmp_path, dataset, (16, 16))
    path = cache_path(tmp_path, dataset, (16, 16))
    with path.open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(
        DatasetError, match="not a complete cache .* delete it, it will be made again"
    ):
        open_cache(tmp_path, dataset, (16, 16))


def test_a_full_disk_leaves_no_cache_behind(
    worlds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(DsetkitError, match="the disk is full; the cache takes [0-9,]+ bytes"):
        open_cache(tmp_path, Dataset(worlds["recipe"]), (16, 16))
    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]


def test_a_cache_takes_a_size(worlds: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="without a size: a cache holds resized pixels"):
        SampleDataset(worlds["recipe"], cache=tmp_path)


# ---- the PNG codec -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 9), (37, 53)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_any_program_reads_our_png(shape: tuple[int, int], dtype: type) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    encoded = png.encode(image)
    theirs = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(theirs, image) and theirs.dtype == dtype
    assert np.array_equal(png.decode(encoded, most_pixels=1 << 26), image)


@pytest.mark.parametrize("name", ["png8", "png16"])
def test_png_of_other_programs_is_decoded(name: str) -> None:
    dtype = {"png8": np.uint8, "png16": np.uint16}[name]
    image = np.arange(40 * 30).reshape(40, 30).astype(dtype) * 7
    encoded = cv2.imencode(".png", image)[1].tobytes()
    assert np.array_equal(CODECS[name].decode(encoded), image)


@pytest.mark.parametrize("name", ["png8", "png16", "zstd8", "zstd16", "pco16"])
def test_damaged_fields_are_an_error(name: str) -> None:
    dtype = np.uint8 if name.endswith("d8") or name == "png8" else np.uint16
    encoded = CODECS[name].encode(np.arange(40 * 30).reshape(40, 30).astype(dtype))
    for damaged in (b"", b"no picture", encoded[: len(encoded) // 2]):
        with pytest.raises(DatasetError, match="cannot be decoded"):
            CODECS[name].decode(damaged)
