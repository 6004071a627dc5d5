"""tools/average_models.py: one network of the weights of several."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models import MODELS, ModelError, average_models, create_model, load_model, save_model
from tests.helpers.networks import NEED_TWO
from tools import average_models as script

METADATA = {"inputs": ["composite"], "img_size": [64, 96]}
SMALL = "depth_lite"


def trained(
    path: Path, seed: int, *, arch: str = SMALL, options: dict | None = None, **changes: object
) -> Path:
    """Write a weights file like that of a training, with weights that depend on the seed."""
    torch.manual_seed(seed)
    net = create_model(arch, **(options or {}))
    save_model(path, net, METADATA | {"epoch": seed, "metrics": {"rmse": seed}} | changes)
    return path


LARGE = ("resnet50_upproj", "fcrn", "mask_autoencoder")


@pytest.mark.parametrize(
    "arch", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in MODELS]
)
def test_every_weight_is_the_mean_of_the_files(arch: str, tmp_path: Path) -> None:
    net = create_model(arch, in_channels=6 if arch in NEED_TWO else 3)
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for path, factor in zip(paths, (0.5, 2), strict=True):
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.25).mul_(factor)
        save_model(path, net, {"img_size": [64, 96]})
    mean = average_models(paths)[0].state_dict()
    first, second = map(load_file, paths)
    for name, tensor in mean.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (first[name] + second[name]) / 2)


def test_the_mean_of_a_network_with_itself_is_the_network(tmp_path: Path) -> None:
    path, output = trained(tmp_path / "a.safetensors", 0), tmp_path / "mean.safetensors"
    script.main([str(path), str(path), "--output", str(output)])
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(load_model(output)[0](x), load_model(path)[0](x))


def test_shared_metadata_is_kept_and_that_of_one_training_is_dropped(tmp_path: Path) -> None:
    paths = [trained(tmp_path / f"{seed}.safetensors", seed) for seed in range(2)]
    output = tmp_path / "mean.safetensors"
    script.main([*map(str, paths), "--output", str(output)])
    assert load_model(output)[1] == METADATA | {"averaged": 2}


def test_a_mean_can_be_averaged_with_a_training(tmp_path: Path) -> None:
    mean = trained(tmp_path / "a.safetensors", 0, averaged=3)
    plain = trained(tmp_path / "b.safetensors", 1)
    assert average_models([mean, plain])[1] == METADATA | {"averaged": 2}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"arch": "mask_lite"}, "has arch 'mask_lite', .* has 'depth_lite'"),
        ({"options": {"encoder": "lite2"}}, "has options .*lite2"),
        ({"inputs": ["background"]}, "has inputs .'background'., .* has .'composite'."),
        ({"max_depth_m": 10.0}, "has max_depth_m 10.0, .* has None"),
    ],
)
def test_files_of_different_networks_or_data_cannot_be_averaged(
    changes: dict, complaint: str, tmp_path: Path
) -> None:
    first = trained(tmp_path / "a.safetensors", 0)
    second = trained(tmp_path / "b.safetensors", 1, **changes)
    with pytest.raises(ModelError, match=complaint):
        average_models([first, second])


def test_one_file_cannot_be_averaged(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="1 weights files; expected two or more"):
        average_models([trained(tmp_path / "a.safetensors", 0)])
