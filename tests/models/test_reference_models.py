"""The networks of reference systems 000 to 004: published counts, wiring, options."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import ModelError, answer, create_model
from models.drn import drn_d_22
from models.lite_dual import depthwise
from models.up_projection import (
    UpProjection,
    resize_conv2d,
    resize_tap_matrix,
    tap_bands,
    taps_are_cheaper,
)
from tests.helpers.networks import NEED_TWO

JOINT = ("dual_unet", "res_unet", "shared_unet", "lite_dual")


def shapes_of(name: str, **options: int | str) -> nn.Module:
    """Create the network without memory for its weights, for counts."""
    with torch.device("meta"):
        return create_model(name, **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# --- parameter counts ---------------------------------------------------------------------------

COUNTS = [  # name, input channels, parameters
    ("dual_unet", 6, 5_403_938),  # system 000
    ("unet", 3, 17_267_393),  # 001, its parameter table
    ("unet", 6, 17_269_121),
    ("res_unet", 6, 15_855_712),  # 001, the definition it cites
    ("resnet50_upproj", 3, 67_569_473),  # 002
    ("mask_autoencoder", 3, 25_259_761),
    ("shared_unet", 6, 8_678_274),  # 003
    ("mask_unet", 6, 4_321_473),
    ("depth_unet", 6, 4_367_937),
    ("lite_dual", 6, 3_630_688),  # 004
    ("mask_slim", 6, 1_343_513),  # of no system
    ("mask_slim_pair", 6, 2_686_594),
]


@pytest.mark.parametrize(("name", "in_channels", "parameters"), COUNTS)
def test_the_published_parameter_count(name: str, in_channels: int, parameters: int) -> None:
    assert count(shapes_of(name, in_channels=in_channels)) == parameters


def test_dual_unet_is_two_networks() -> None:
    net = shapes_of("dual_unet", in_channels=6)
    assert (count(net.mask_branch), count(net.depth_branch)) == (1_082_465, 4_321_473)
    alone = shapes_of("dual_unet").depth_branch  # the author also tried it with one picture
    assert count(alone) == 4_320_609


def test_res_unet_has_the_published_layers() -> None:
    net = shapes_of("res_unet", in_channels=6)
    assert count(net.encoder.first) == 4_800
    assert [count(down) for down in net.encoder.downs] == [57_664, 230_016, 918_784, 3_672_576]
    assert count(net.encoder.bridge) == 4_720_640
    depth_ups = [count(up) for up in net.depth_decoder.ups]
    assert depth_ups == [3_213_312, 803_840, 201_216, 33_216]
    mask_ups = [count(up) for up in net.mask_decoder.ups]
    assert mask_ups == [1_807_616, 119_168, 58_624, 14_208]
    assert (count(net.depth_head), count(net.mask_head)) == (16, 16)


def test_shared_unet_has_the_published_layers() -> None:
    net = shapes_of("shared_unet", in_channels=6)
    assert count(net.first) == 11_136
    up = [1_475_712, 369_216, 92_448, 27_840]
    mask, depth = net.mask_branch, net.depth_branch
    assert [count(down) for down in mask.downs] == [55_680, 221_952, 886_272, 1_181_184]
    assert [count(down) for down in depth.downs] == [18_624, 55_680, 221_952, 886_272, 1_181_184]
    assert [count(part) for part in mask.ups] == up
    assert [count(part) for part in depth.ups] == [*up, 27_840]
    assert (count(mask.head), count(depth.head)) == (33, 33)


def test_the_reported_count_of_lite_dual_is_explained() -> None:
    net = shapes_of("lite_dual", in_channels=6)
    shared, unused = count(net.shared), count(depthwise(64))
    assert (shared, unused) == (928, 704)
    assert count(net) + shared == 3_631_616  # the shared convolution counted twice
    assert count(net) + unused == 3_631_392  # with the block that is never called


def test_depth_network_has_the_published_parts() -> None:
    net = shapes_of("resnet50_upproj")
    parts = [count(part) for part in (net.encoder, net.decoder, net.fusion, net.head)]
    assert parts == [23_508_032, 40_054_400, 3_184_128, 822_913]


def test_mask_network_has_the_published_parts() -> None:
    net = shapes_of("mask_autoencoder")
    assert [count(part) for part in net.decoder] == [7_144_960, 1_786_624, 446_848]
    assert count(net.encoder) == 15_880_752


def test_drn_classifier_has_the_published_parameter_count() -> None:
    net = drn_d_22(num_classes=1000).eval()
    assert count(net) == 16_393_752
    assert net(torch.rand(1, 3, 16, 16)).shape == (1, 1000)


# --- wiring -------------------------------------------------------------------------------------

PARTS = {  # (network, map) -> the parts that a loss on the map trains
    ("dual_unet", "mask"): {"mask_branch"},
    ("dual_unet", "depth"): {"depth_branch"},
    ("res_unet", "mask"): {"encoder", "depth_decoder", "mask_decoder", "mask_head"},
    ("res_unet", "depth"): {"encoder", "depth_decoder", "depth_head"},
    ("shared_unet", "mask"): {"first", "mask_branch"},
    ("shared_unet", "depth"): {"first", "depth_branch"},
    ("lite_dual", "mask"): {"shared", "trunk", "mask_branch"},
    ("lite_dual", "depth"): {"shared", "trunk", "depth_branch"},
}


@pytest.mark.parametrize("name", JOINT)
def test_a_loss_on_one_map_trains_the_published_parts(name: str) -> None:
    net = create_model(name, in_channels=6)
    side = max(net.stride, 8)
    for map_name in ("mask", "depth"):
        net.zero_grad()
        net(torch.rand(2, 6, side, 2 * side))[map_name].square().mean().backward()
        trained = {
            part
            for part, module in net.named_children()
            if any(parameter.grad is not None for parameter in module.parameters())
        }
        assert trained == PARTS[name, map_name]


@pytest.mark.parametrize(("map_name", "radius"), [("mask", 6), ("depth", 12)])
def test_the_receptive_field_of_lite_dual(map_name: str, radius: int) -> None:
    torch.manual_seed(0)
    net = create_model("lite_dual", in_channels=6).eval().double()
    middle = radius + 2
    x = torch.rand(1, 6, 2 * middle + 1, 2 * middle + 1, dtype=torch.float64, requires_grad=True)
    output = net(x)[map_name]
    (seen,) = torch.autograd.grad(output[0, 0, middle, middle], x)
    rows = seen.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    columns = seen.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    for pixels in (rows, columns):
        assert (pixels.min(), pixels.max()) == (middle - radius, middle + radius)


def test_lite_dual_applies_the_same_convolution_to_both_pictures() -> None:
    net = create_model("lite_dual", in_channels=6).eval()
    seen = []
    net.shared.register_forward_hook(lambda module, inputs, output: seen.append(output))
    picture = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        net(torch.cat((picture, picture), dim=1))
    assert len(seen) == 2 and torch.equal(*seen)


# --- options ------------------------------------------------------------------------------------


HEADS = [  # name, options, heads
    ("dual_unet", {}, {"mask": "linear", "depth": "linear"}),
    ("res_unet", {}, {"mask": "linear", "depth": "linear"}),
    ("lite_dual", {}, {"mask": "linear", "depth": "linear"}),
    ("shared_unet", {}, {"mask": "logits", "depth": "logits"}),
    ("dual_unet", {"mask_head": "logits"}, {"mask": "logits", "depth": "linear"}),
    ("res_unet", {"mask_head": "logits"}, {"mask": "logits", "depth": "linear"}),
    ("lite_dual", {"mask_head": "logits"}, {"mask": "logits", "depth": "linear"}),
    ("shared_unet", {"mask_head": "linear"}, {"mask": "linear", "depth": "logits"}),
    ("mask_unet", {}, {"mask": "logits"}),
    ("mask_slim", {}, {"mask": "logits"}),
    ("mask_slim_pair", {}, {"mask": "logits"}),
    ("depth_unet", {}, {"depth": "logits"}),
    ("unet", {}, {"mask": "logits"}),
    ("unet", {"task": "mask"}, {"mask": "logits"}),
    ("unet", {"task": "depth"}, {"depth": "linear"}),
    ("resnet50_upproj", {}, {"depth": "linear"}),
    ("mask_autoencoder", {}, {"mask": "logits"}),
]


@pytest.mark.parametrize(("name", "options", "heads"), HEADS)
def test_heads_name_the_maps_and_their_kinds(name: str, options: dict, heads: dict) -> None:
    net = shapes_of(name, in_channels=6, **options)
    assert list(net.heads.items()) == list(heads.items())
    assert net.options == {"in_channels": 6, **options}


def test_mask_head_changes_no_layer() -> None:
    linear = create_model("lite_dual", in_channels=6).eval()
    logits = create_model("lite_dual", in_channels=6, mask_head="logits").eval()
    logits.load_state_dict(linear.state_dict())
    x = torch.rand(1, 6, 8, 8)
    with torch.no_grad():
        logits_out, linear_out = logits(x), linear(x)
    torch.testing.assert_close(logits_out, linear_out)
    assert torch.equal(answer(linear, linear_out, "mask"), linear_out["mask"].clamp(0, 1))
    assert torch.equal(answer(logits, logits_out, "mask"), logits_out["mask"].sigmoid())


@pytest.mark.parametrize("name", JOINT)
def test_the_error_for_an_unknown_mask_head_lists_the_known(name: str) -> None:
    with pytest.raises(ModelError, match="mask_head='sigmoid'; expected one of linear, logits"):
        shapes_of(name, in_channels=6, mask_head="sigmoid")


def test_unet_rejects_a_joint_task() -> None:
    with pytest.raises(ModelError, match="task='joint'; expected mask or depth"):
        shapes_of("unet", task="joint")


@pytest.mark.parametrize("name", NEED_TWO)
def test_some_need_both_pictures(name: str) -> None:
    with pytest.raises(ModelError, match="in_channels=3: give it both, composite and background"):
        shapes_of(name, in_channels=3)


def test_a_pair_answers_as_the_one_that_never_saw_a_background_where_there_is_none() -> None:
    pair = create_model("mask_slim_pair", in_channels=6).eval()
    pictures = torch.rand(3, 6, 64, 96)
    pictures[1, 3:] = 0
    with torch.no_grad():
        answers = pair(pictures)
        assert torch.equal(answers[1:2], pair.alone(pictures[:, :3])[1:2])
        assert torch.equal(answers[::2], pair.comparing(pictures)[::2])
        assert not torch.equal(answers[1:2], pair.comparing(pictures)[1:2])


def test_each_sample_teaches_the_half_of_a_pair_that_answers_for_it() -> None:
    pair = create_model("mask_slim_pair", in_channels=6)
    pictures = torch.rand(2, 6, 32, 32)
    pictures[:, 3:] = 0
    pair(pictures).sum().backward()
    taught = {
        name: any(parameter.grad.any() for parameter in half.parameters())
        for name, half in pair.named_children()
    }
    assert taught == {"comparing": False, "alone": True}


# --- resize and convolution ---------------------------------------------------------------------

RESIZES = [  # size in, size out, taps
    ((2, 2), (16, 16), 5),
    ((7, 5), (13, 10), 5),
    ((8, 4), (16, 8), 5),
    ((1, 3), (4, 3), 5),
    ((9, 6), (5, 6), 3),
    ((20, 7), (41, 33), 5),  # in bands
    ((2, 40), (40, 17), 3),
]


@pytest.mark.parametrize(("size_in", "size_out", "taps"), RESIZES)
def test_both_forms_of_resize_and_convolution_are_equal(
    size_in: tuple[int, int], size_out: tuple[int, int], taps: int
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size_in, dtype=torch.float64, requires_grad=True)
    weights = [
        torch.randn(n, 3, taps, taps, dtype=torch.float64, requires_grad=True) for n in (4, 2)
    ]
    resized = F.interpolate(x, size=size_out, mode="bilinear", align_corners=False)
    expected = [F.conv2d(resized, weight, padding=taps // 2) for weight in weights]
    grad_outputs = [torch.randn_like(y) for y in expected]  # differ everywhere
    expected_grads = torch.autograd.grad(expected, [x, *weights], grad_outputs)
    for form in ("plain", "taps"):
        found = resize_conv2d(x, weights, size_out, form=form)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        grads = torch.autograd.grad(found, [x, *weights], grad_outputs)
        torch.testing.assert_close(grads, expected_grads, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("size_in", "size_out"), [(20, 41), (2, 50), (70, 33), (112, 224), (5, 5)])
@pytest.mark.parametrize("taps", [1, 3, 5])
def test_bands_cover_all_non_zero_entries(size_in: int, size_out: int, taps: int) -> None:
    outside = resize_tap_matrix(size_in, size_out, taps).clone()
    bands = tap_bands(size_in, size_out, taps)
    assert [a for a, *_ in bands] == [0, *(b for _, b, *_ in bands[:-1])]
    assert bands[-1][1] == size_out
    for a, b, low, high in bands:
        outside[a:b, low:high] = 0
    assert not outside.any()


def test_bands_train_under_autocast() -> None:
    layer, x = UpProjection(2, 1), torch.rand(2, 2, 3, 20)
    with torch.autocast("cpu", torch.bfloat16):
        wide = resize_conv2d(x, [layer.conv1.weight], (6, 40), form="taps")[0]
    wide.float().square().mean().backward()
    assert wide.dtype == torch.bfloat16 and layer.conv1.weight.grad.any()


def test_taps_are_cheaper_at_training_sizes_but_not_at_large_ones() -> None:
    assert taps_are_cheaper((2, 2), (32, 32), 2048, 32, 5)
    assert taps_are_cheaper((32, 32), (64, 64), 128, 128, 5, dtype=torch.bfloat16)
    assert taps_are_cheaper((112, 112), (224, 224), 128, 128, 5)  # thanks to the bands
    assert not taps_are_cheaper((480, 640), (960, 1280), 128, 128, 5)


def test_training_works_after_inference_and_after_export_filled_the_cache() -> None:
    layer = UpProjection(2, 1)
    x, size = torch.rand(2, 2, 3, 11), (6, 22)  # sizes that no other test has put into the cache
    torch.export.export(layer.eval(), (x, size))
    with torch.inference_mode():
        layer(x, size)
    layer.train()(x, size).mean().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
