"""Compositing on the device: batches equal samples composited one by one, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from dsetkit import SampleDataset, make_loader
from dsetkit.compositing import COMPOSITED
from dsetkit.datasets.reader import Dataset
from dsetkit.loading import device_compositing
from dsetkit.loading.device_compositing import DeviceCompositor
from dsetkit.loading.loader import DeviceLoader, EpochBatches, can_composite_on_device
from tests.helpers.worlds import tiny_dataset

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device here"))]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("device") / "recipe"
    return Dataset(tiny_dataset(path, layout="recipe", size=96, num_samples=160))


@pytest.fixture(scope="module", params=["metric", "relative"])
def scenes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Scene depth, one to three objects."""
    path = tmp_path_factory.mktemp("scenes") / "recipe"
    return Dataset(
        tiny_dataset(
            path,
            layout="recipe",
            size=96,
            num_samples=100,
            num_foregrounds=80,
            placements=2,
            scene=True,
            objects=(1, 3),
            depth_kind=request.param,
        )
    )


def compositor_of(dataset: Dataset, size: tuple[int, int], device: str) -> DeviceCompositor:
    manifest = dataset.manifest
    return DeviceCompositor(
        dataset.asset,
        num_backgrounds=manifest.num_backgrounds,
        num_foregrounds=manifest.num_foregrounds,
        canvas=tuple(manifest.size),
        size=size,
        device=device,
        depth=dataset.depth_share if "depth" in manifest.composited else None,
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(96, 96), (32, 32), (24, 40)])
def test_a_batch_equals_its_samples_bit_for_bit(
    dataset: Dataset, size: tuple[int, int], device: str
) -> None:
    records = dataset.records(range(160))
    compositor = compositor_of(dataset, size, device)
    fields = compositor.composite(compositor.place(records), COMPOSITED)
    images, masks = (fields[name].cpu() for name in COMPOSITED)
    assert images.shape == (160, 3, *size) and masks.shape == (160, 1, *size)
    assert images.dtype == masks.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    for record, image, mask in zip(records, images, masks, strict=True):
        expected_image, expected_mask = dataset.compositor.composite(record, size)
        assert np.array_equal(mask[0].numpy(), expected_mask)
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected_image)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(96, 96), (24, 40)])
def test_scenes_of_several_objects_equal_their_samples_bit_for_bit(
    scenes: Dataset, size: tuple[int, int], device: str
) -> None:
    names = ("composite", "mask", "depth", "instances")
    records = scenes.records(range(100))
    assert {len(record.objects) for record in records} == {1, 2, 3}
    compositor = compositor_of(scenes, size, device)
    fields = compositor.composite(compositor.place(records), names)
    for i, record in enumerate(records):
        for name, expected in scenes.images(record, names, size).items():
            values = fields[name][i].cpu().numpy()
            assert values.dtype == expected.dtype
            assert np.array_equal(values.transpose(1, 2, 0).squeeze(), expected), name


@pytest.mark.parametrize("device", DEVICES)
def test_how_many_are_composited_at_a_time_changes_nothing(
    dataset: Dataset, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compositor = compositor_of(dataset, (32, 32), device)
    batch = compositor.place(dataset.records(range(20)))
    whole = compositor.composite(batch, COMPOSITED)
    monkeypatch.setattr(device_compositing, "PIXELS_AT_ONCE", 3 * 32 * 32)
    again = compositor.composite(batch, COMPOSITED)
    assert all(torch.equal(whole[name], again[name]) for name in COMPOSITED)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cached", [False, True])
def test_a_loader_that_composites_gives_what_one_that_reads_does(
    dataset: Dataset, device: str, cached: bool, tmp_path: Path
) -> None:
    data = SampleDataset(dataset.path, "train", 32, cache=tmp_path if cached else None)
    few = Subset(data, range(3, len(data)))
    plain = make_loader(few, 16, seed=5)
    batches = EpochBatches(len(few), batch_size=16, seed=5, shuffle=True, drop_last=False)
    compositing = DeviceLoader(few, batches, device=device, threads=1)
    for epoch in (0, 1):
        plain.set_position(epoch, 1)
        compositing.set_position(epoch, 1)
        for expected, batch in zip(plain, compositing, strict=True):
            assert batch.keys() == expected.keys()
            for name, values in batch.items():
                assert values.device.type == device and values.dtype == expected[name].dtype
                assert torch.equal(values.cpu(), expected[name])


def test_only_recipes_are_composited_on_a_device(tmp_path: Path) -> None:
    rendered = SampleDataset(tiny_dataset(tmp_path / "d", num_samples=40), "train", 16)
    assert not can_composite_on_device(rendered) and not can_composite_on_device(
        Subset(rendered, [0])
    )
    recipe = tiny_dataset(tmp_path / "r", num_samples=40, layout="recipe")
    assert can_composite_on_device(SampleDataset(recipe, "train", 16))
    assert not can_composite_on_device(SampleDataset(recipe, "train", None))
