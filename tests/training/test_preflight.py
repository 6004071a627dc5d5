"""What stops a training is found before its first step, for every network."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dsetkit.errors import RunError
from models import MODELS, create_model
from training.preflight import check_batch_norm, check_has_depth
from training.run_dir import make_stages

LARGE = {"resnet50_upproj", "fcrn"}
MARKED = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in MODELS]
ALONE = {"samples": 1, "batch_size": 8, "accumulate": 1, "sync_bn": False}


def seeded(name: str) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, in_channels=6)


@pytest.mark.parametrize("name", MARKED)
def test_batch_norm_is_refused_before_a_step_exactly_where_torch_refuses_it(name: str) -> None:
    net = seeded(name)
    stride = net.stride
    for sides in ((1, 1), (1, 2), (2, 2)):
        size = [side * stride for side in sides]
        stages = make_stages([size], [1], stride=stride)
        try:
            net.train()(torch.rand(1, 6, *size))
            trains = True
        except ValueError as error:
            assert "more than 1 value per channel" in str(error)
            trains = False
        if trains:
            check_batch_norm(net, stages, channels=6, **ALONE)
        else:
            with pytest.raises(RunError, match=f"1x1 at --img-sizes {size[0]}x{size[1]}; give"):
                check_batch_norm(net, stages, channels=6, **ALONE)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, "1 train sample"),
        ({"samples": 9, "batch_size": 1}, "--batch-size"),
        ({"samples": 9, "accumulate": 8}, "--accumulate"),
        ({"samples": 5, "accumulate": 3}, "--accumulate"),
    ],
)
def test_a_single_value_is_found_whatever_makes_the_batch_small(changed: dict, reason: str) -> None:
    stages = make_stages([[64, 64], [32, 32]], [1], stride=32)
    with pytest.raises(RunError, match=rf"one sample \(.*{reason}.*\) .* --img-sizes 32x32; give"):
        check_batch_norm(seeded("depth_lite"), stages, channels=6, **ALONE | changed)


@pytest.mark.parametrize("changed", [{"samples": 2}, {"samples": 9, "accumulate": 4}])
def test_two_samples_are_enough(changed: dict) -> None:
    stages = make_stages([[32, 32]], [1], stride=32)
    check_batch_norm(seeded("depth_lite"), stages, channels=6, **ALONE | changed)


def test_looking_for_single_values_changes_nothing() -> None:
    net = seeded("depth_lite")
    net.train()
    net.encoder.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    drawn = torch.get_rng_state()
    stages = make_stages([[64, 64]], [1], stride=32)
    check_batch_norm(net, stages, channels=6, **ALONE)
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert modes == [module.training for module in net.modules()]
    assert torch.equal(drawn, torch.get_rng_state())


def test_samples_are_read_until_one_has_depth() -> None:
    read = []

    class Samples(SimpleNamespace):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            read.append(index)
            return {"depth": torch.full((1, 2, 2), 0.5 if index == self.valid else 0.0)}

    check_has_depth(Samples(valid=1), "train", name="rooms")
    assert read == [0, 1]
    with pytest.raises(RunError, match="rooms: none of the 5 val samples has a valid depth"):
        check_has_depth(Samples(valid=None), "val", name="rooms")
