"""FCRN: the published parts, and the equality of the two forms of its up-projection."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import ModelError, create_model
from models.fcrn import UnpoolProjection, unpool_conv2d

SIZES = [(1, 1), (1, 4), (5, 3), (2, 2), (7, 10)]


def shapes_of(**options: bool | str) -> nn.Module:
    """Create the network without memory for its weights, for counts and shapes."""
    with torch.device("meta"):
        return create_model("fcrn", **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_parts_and_their_count() -> None:
    net = shapes_of()
    parts = [count(part) for part in (net.encoder, net.reduce, net.decoder, net.head)]
    assert parts == [23_508_032, 2_100_224, 37_958_080, 577]
    assert count(net) == 63_566_913  # "63.6 M"


def test_depth_is_half_size_or_full_size() -> None:
    x = torch.rand(1, 3, 64, 96, device="meta")
    assert shapes_of()(x).shape == (1, 1, 32, 48)
    assert shapes_of(full_size=True)(x).shape == (1, 1, 64, 96)


@pytest.mark.parametrize("size", SIZES)
def test_both_forms_of_unpooling_and_convolution_are_equal(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    inputs = [x, weight, bias]
    height, width = size
    unpooled = torch.zeros(2, 3, 2 * height, 2 * width, dtype=torch.float64)
    unpooled[..., ::2, ::2] = x
    expected = F.conv2d(unpooled, weight, bias, padding=2)
    grad_output = torch.randn_like(expected)  # differs everywhere
    expected_grads = torch.autograd.grad(expected, inputs, grad_output)
    for form in ("plain", "fast"):
        found = unpool_conv2d(*inputs, form=form)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        grads = torch.autograd.grad(found, inputs, grad_output)
        torch.testing.assert_close(grads, expected_grads, rtol=1e-12, atol=1e-12)


def test_both_forms_train_alike_in_float32() -> None:
    torch.manual_seed(0)
    fast, plain = UnpoolProjection(6, 4, "fast"), UnpoolProjection(6, 4, "plain")
    for part in (fast, plain):
        part.to(memory_format=torch.channels_last)
    plain.load_state_dict(fast.state_dict())
    x = torch.randn(2, 6, 5, 3)
    grad_output = torch.randn(2, 4, 10, 6)
    for part in (fast, plain):
        part(x).backward(grad_output)
    for (name, a), b in zip(fast.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4, msg=name)
    torch.testing.assert_close(fast.state_dict(), plain.state_dict())  # batch norm's statistics


def test_the_form_changes_neither_weights_nor_output() -> None:
    torch.manual_seed(0)
    fast = create_model("fcrn").eval()
    plain = create_model("fcrn", form="plain").eval()
    assert plain.options == {"in_channels": 3, "form": "plain"}
    plain.load_state_dict(fast.state_dict())
    x = torch.rand(1, 3, 32, 96)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-4, atol=1e-5)


def test_the_fast_form_omits_three_of_four_products() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    x, weight, bias = torch.rand(1, 2, 8, 8), torch.rand(3, 2, 5, 5), torch.rand(3)
    flops = {}
    for form in ("plain", "fast"):
        with FlopCounterMode(display=False) as counter:
            unpool_conv2d(x, weight, bias, form=form)
        flops[form] = counter.get_total_flops()
    assert flops["plain"] == 4 * flops["fast"]


def test_the_error_for_an_unknown_form_lists_the_known() -> None:
    with pytest.raises(ModelError, match="form='quick'; expected one of fast, plain"):
        shapes_of(form="quick")
