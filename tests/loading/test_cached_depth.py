"""Depth of caches: uint16 until it lies on the device, and the same float32 as ever there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from dsetkit import SampleDataset, make_loader
from dsetkit.loading.loader import CacheToDevice, EpochBatches, SampleLoader, _moved, is_cached
from dsetkit.loading.plane_cache import cached_share
from tests.helpers.worlds import tiny_dataset

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device here"))]  # fmt: skip


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("cached")
    return [
        tiny_dataset(root / "a", num_samples=40, seed=1),
        tiny_dataset(root / "b", num_samples=30, seed=2, layout="recipe"),
    ]


@pytest.mark.parametrize("device", DEVICES)
def test_every_stored_depth_becomes_the_same_number_everywhere(device: str) -> None:
    stored = np.arange(2**16, dtype=np.uint16).reshape(4, 128, 128)
    expected = stored * (1 / np.float32(65535))
    assert expected.dtype == np.float32 and expected.max() == 1
    assert cached_share(stored).tobytes() == expected.tobytes()
    moved = _moved({"depth": torch.from_numpy(stored)}, torch.device(device))["depth"]
    assert moved.device.type == device
    assert moved.cpu().numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("parts", [1, 2])
def test_batches_on_a_device_are_those_of_a_plain_loader(
    worlds: list[Path], device: str, parts: int, tmp_path: Path
) -> None:
    data = SampleDataset(worlds[:parts], None, 16, cache=tmp_path)
    few = Subset(data, range(3, len(data)))
    plain = make_loader(few, 8, seed=5)
    batches = EpochBatches(len(few), batch_size=8, seed=5, shuffle=True, drop_last=False)
    moving = CacheToDevice(few, batches, device=device, threads=0)
    for epoch in (0, 1):
        plain.set_position(epoch, 1)
        moving.set_position(epoch, 1)
        for expected, batch in zip(plain, moving, strict=True):
            assert batch.keys() == expected.keys()
            for name, values in batch.items():
                assert values.device.type == device and values.dtype == expected[name].dtype
                assert values.stride() == expected[name].stride()
                assert torch.equal(values.cpu(), expected[name])


def test_depth_leaves_the_cache_as_it_is_stored(worlds: list[Path], tmp_path: Path) -> None:
    data = SampleDataset(worlds[0], None, 16, cache=tmp_path)
    as_stored, batch = data.read_cached([3, 1]), data.read_batch([3, 1])
    assert as_stored["depth"].dtype == torch.uint16
    assert torch.equal(_moved(as_stored, torch.device("cpu"))["depth"], batch["depth"])
    assert all(torch.equal(as_stored[name], batch[name]) for name in batch if name != "depth")


def test_batches_stay_on_the_cpu_unless_the_network_is_elsewhere(
    worlds: list[Path], tmp_path: Path
) -> None:
    plain, cached = (SampleDataset(worlds[0], None, 16, cache=at) for at in (None, tmp_path))
    assert not is_cached(plain) and is_cached(cached) and is_cached(Subset(cached, [0]))
    assert type(make_loader(cached, 8)) is type(make_loader(cached, 8, device="cpu"))
    assert type(make_loader(cached, 8)) is SampleLoader
    assert type(make_loader(cached, 8, device="cuda")) is CacheToDevice
    with pytest.raises(ValueError, match="expected a cache"):
        plain.read_cached([0])
