"""SampleDataset and make_loader: tensors, orders, threads, workers."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dsetkit import SampleDataset, make_loader
from dsetkit.compositing.resizing import resize_depth, resize_image
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError
from dsetkit.loading.loader import WINDOW_BLOCKS, EpochBatches, epoch_order
from dsetkit.store.manifest import SPLITS
from tests.helpers.worlds import tiny_dataset

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d", num_samples=100)


def test_a_sample_has_the_promised_tensors(dataset: Path) -> None:
    sample = SampleDataset(dataset, split="train", size=(24, 48))[0]
    assert {name: (tuple(x.shape), x.dtype) for name, x in sample.items()} == {
        "background": ((3, 24, 48), torch.uint8),
        "composite": ((3, 24, 48), torch.uint8),
        "mask": ((1, 24, 48), torch.uint8),
        "depth": ((1, 24, 48), torch.float32),
    }
    assert sample["depth"].min() >= 0 and sample["depth"].max() <= 1


def test_without_a_size_fields_come_as_they_are_stored(dataset: Path) -> None:
    data, stored = SampleDataset(dataset, split=None, size=None), Dataset(dataset)
    record = stored.record(5)
    for name in ("composite", "mask"):
        image = stored.image(record, name)
        expected = torch.from_numpy(image[..., None] if image.ndim == 2 else image).permute(2, 0, 1)
        assert torch.equal(data[5][name], expected)
    assert torch.equal(data[5]["depth"][0], torch.from_numpy(stored.depth(record)))


def test_splits_are_disjoint_and_complete(dataset: Path) -> None:
    parts = [SampleDataset(dataset, split=split).indices for split in SPLITS]
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert len(SampleDataset(dataset, split=None)) == 100


def test_the_background_is_the_composites_own(dataset: Path) -> None:
    data = SampleDataset(dataset, split=None, size=None)
    for sample in (data[i] for i in range(0, 100, 9)):
        untouched = (sample["mask"] == 0).expand(3, -1, -1)
        difference = (sample["background"].int() - sample["composite"].int()).abs()
        assert difference[untouched].float().mean() < 4  # JPEG noise


def images_of(loader, epoch: int = 0, batch: int = 0) -> list[torch.Tensor]:
    loader.set_position(epoch, batch)
    return [batch["composite"] for batch in loader]


def test_the_order_depends_on_seed_and_epoch_alone(dataset: Path) -> None:
    data = SampleDataset(dataset, size=16, fields=("composite",))
    first, again, other_seed = (make_loader(data, 8, seed=seed) for seed in (0, 0, 1))
    assert all(map(torch.equal, images_of(first), images_of(again)))
    assert not torch.equal(images_of(first)[0], images_of(first, epoch=1)[0])
    assert not torch.equal(images_of(first)[0], images_of(other_seed)[0])


def test_an_epoch_can_start_anywhere(dataset: Path) -> None:
    loader = make_loader(SampleDataset(dataset, size=16, fields=("composite",)), 8)
    whole, rest = images_of(loader, epoch=3), images_of(loader, epoch=3, batch=4)
    assert len(loader) == len(whole) == 4 + len(rest)
    assert all(map(torch.equal, whole[4:], rest))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_whole_iteration_is_the_next_epoch(dataset: Path, workers: int) -> None:
    data = SampleDataset(dataset, size=16, fields=("composite",))
    loader, other = (make_loader(data, 8, workers=workers) for _ in range(2))
    for epoch in (0, 1, 2):
        for _ in range(2):  # one that is left early is repeated
            left_early = next(iter(loader))["composite"]
            assert torch.equal(left_early, images_of(other, epoch)[0])
        found = [batch["composite"] for batch in loader]
        assert all(map(torch.equal, found, images_of(other, epoch)))
    loader.set_position(1, 3)
    assert len(list(loader)) == len(loader) - 3 and len(list(loader)) == len(loader)
    assert torch.equal(next(iter(loader))["composite"], images_of(other, 3)[0])


@pytest.mark.slow
def test_workers_that_stay_read_what_each_epoch_asks_for(dataset: Path) -> None:
    data = SampleDataset(dataset, size=16, fields=("composite",))
    alone, many = (make_loader(data, 8, workers=workers) for workers in (0, 2))
    for epoch, batch in ((0, 0), (1, 3), (7, 0)):
        left_early = iter(many)
        next(left_early)
        del left_early
        assert all(map(torch.equal, images_of(alone, epoch, batch), images_of(many, epoch, batch)))


@pytest.mark.parametrize("drop_last", [False, True])
def test_every_sample_comes_once(dataset: Path, drop_last: bool) -> None:
    data = SampleDataset(dataset, size=8, fields=("composite",))
    loader = make_loader(data, 7, drop_last=drop_last)
    sizes = [len(batch) for batch in images_of(loader)]
    assert len(sizes) == len(loader)
    assert sum(sizes) == (len(data) - len(data) % 7 if drop_last else len(data))


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_each_batch_and_together_have_every_sample_once(world: int) -> None:
    settings = {"batch_size": 6, "seed": 3, "shuffle": True, "drop_last": False}
    whole = list(EpochBatches(31, **settings))
    shares = [list(EpochBatches(31, **settings, place=(rank, world))) for rank in range(world)]
    for number, batch in enumerate(whole):
        together = [share[number] for share in shares if number < len(share)]
        assert sum(together, []) == batch
    assert [len(share) for share in shares] == [6] + [5] * (world - 1)  # the last batch has one


@pytest.mark.parametrize(("count", "block"), [(1000, 10), (1003, 10), (95, 7), (5, 8), (50, 1)])
def test_a_shuffle_by_blocks_has_every_sample_once_and_keeps_blocks_in_a_window(
    count: int, block: int
) -> None:
    order = epoch_order(4, 2, count, block=block)
    assert sorted(order) == list(range(count))
    places = np.argsort(order)
    for first in range(0, count, block):
        assert np.ptp(places[first : first + block]) < WINDOW_BLOCKS * block


def test_a_shuffle_by_blocks_depends_on_seed_and_epoch_alone() -> None:
    orders = {
        tuple(epoch_order(seed, epoch, 200, block=4)) for seed in range(3) for epoch in range(3)
    }
    assert len(orders) == 9
    assert (epoch_order(1, 1, 200, block=4) == epoch_order(1, 1, 200, block=4)).all()
    assert np.ptp(epoch_order(0, 0, 200, block=1)[:16]) > 32  # blocks come in random order


def test_a_loader_shuffles_by_blocks(dataset: Path) -> None:
    data = SampleDataset(dataset, size=8, fields=("composite",))
    loader = make_loader(data, 8, seed=1, shuffle_block=2)
    order = epoch_order(1, 0, len(data), block=2)
    assert torch.equal(images_of(loader)[0], torch.stack([data[i]["composite"] for i in order[:8]]))


@pytest.mark.slow
def test_workers_give_the_same_batches(dataset: Path) -> None:
    data = SampleDataset(dataset, size=16, fields=("background", "composite"))
    alone, shared = make_loader(data, 16), make_loader(data, 16, workers=2)
    assert all(map(torch.equal, images_of(alone, epoch=2), images_of(shared, epoch=2)))


def test_a_dataset_can_be_pickled_after_use(dataset: Path) -> None:
    data = SampleDataset(dataset, size=16)
    first = data[0]
    copy = pickle.loads(pickle.dumps(data))
    assert all(torch.equal(first[name], copy[0][name]) for name in first)


def test_train_and_val_share_one_file(dataset: Path) -> None:
    train, val = SampleDataset(dataset, "train"), SampleDataset(dataset, "val")
    assert train[0]["composite"].shape == val[0]["composite"].shape


def test_shrinking_leaves_invalid_depth_out() -> None:
    depth = np.full((8, 8), 0.5, np.float32)
    depth[:, 1::2] = 0  # half of each 2x2 block
    assert np.allclose(resize_depth(depth, (4, 4)), 0.5)
    depth[::2] = 0  # now three quarters
    assert (resize_depth(depth, (4, 4)) == 0).all()


@pytest.mark.parametrize("size", [(64, 64), (50, 95), (48, 48), (47, 47), (95, 95), (33, 20)])
def test_every_pixel_of_a_depth_map_counts_when_it_shrinks(size: tuple[int, int]) -> None:
    depth = np.full((96, 96), 0.5, np.float32)
    before = resize_depth(depth, size)
    for row, column in np.random.default_rng(0).integers(0, 96, (60, 2)).tolist() + [[0, 95]]:
        depth[row, column] = 0.75
        assert (resize_depth(depth, size) != before).any(), (row, column)
        depth[row, column] = 0.5


@pytest.mark.parametrize("size", [(64, 64), (48, 48), (70, 90), (20, 30), (224, 224)])
def test_a_plane_of_depth_stays_that_plane_at_any_size(size: tuple[int, int]) -> None:
    def plane(height: int, width: int) -> np.ndarray:
        y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        return (0.2 + 0.3 * y[:, None] + 0.4 * x).astype(np.float32)

    inner = np.s_[3:-3, 3:-3]  # the filters have but half their pixels at the border
    resized = resize_depth(plane(96, 96), size)
    assert np.allclose(resized[inner], plane(*size)[inner], atol=1e-3)


def test_shrinking_an_image_averages_areas() -> None:
    image = np.zeros((8, 8), np.uint8)
    image[:, 1::2] = 200
    assert (resize_image(image, (4, 4)) == 100).all()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"split": "validation"}, "no split 'validation': expected one of train, val, test"),
        ({"fields": ("composite", "normals")}, "has no normals: it has background, composite"),
    ],
)
def test_bad_requests_are_clear(dataset: Path, options: dict, complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        SampleDataset(dataset, **options)


def test_a_missing_or_foreign_dataset_is_clear(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset at .*: expected a directory"):
        SampleDataset(tmp_path / "nothing")
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(DatasetError, match="is not a dataset: expected a directory with shard-"):
        SampleDataset(tmp_path)


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_plain_script_may_ask_for_workers(
    dataset: Path, tmp_path: Path, is_guarded: bool
) -> None:
    """Without a guard processes cannot be started; then threads read, and it says so."""
    work = (
        f"data = SampleDataset({str(dataset)!r}, size=16)\n"
        "print(sum(len(batch['mask']) for batch in make_loader(data, 8, workers=2)), len(data))\n"
    )
    script = tmp_path / "script.py"
    guard = "if __name__ == '__main__':\n    " if is_guarded else ""
    body = work.replace("\n", "\n    ") if is_guarded else work
    script.write_text(f"from dsetkit import SampleDataset, make_loader\n{guard}{body}")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    read, there = done.stdout.split()
    assert read == there
    assert ("threads read in their place" in done.stderr) != is_guarded


def test_recipes_are_read_by_one_thread_at_most(tmp_path: Path) -> None:
    plain = SampleDataset(tiny_dataset(tmp_path / "recipe", layout="recipe"), split=None, size=16)
    rendered = SampleDataset(tiny_dataset(tmp_path / "rendered"), split=None, size=16)
    assert [make_loader(plain, 4, threads=asked).threads for asked in (None, 0, 1, 3)] == [
        1,
        0,
        1,
        1,
    ]
    assert [make_loader(rendered, 4, threads=asked).threads for asked in (None, 0, 3)] == [2, 0, 3]
