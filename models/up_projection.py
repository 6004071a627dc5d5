"""Up-projection: resize, then two branches of convolutions added; computed without waste.

An up-projection resizes its input and convolves the result 5x5. Done in that order, most of the
work repeats itself: after a resize by s, each s x s pixels interpolate the same few values.
Resizing is linear, separable and the same for all channels, and each tap of a convolution is a
product over channels followed by a shift; so they can change places and the function stays:

    conv5x5(resize(x))[Y, X] = sum over taps (i, j) of resize(w_ij . x)[Y + i - 2, X + j - 2]

`resize_conv2d` computes all products w_ij . x at the *low* resolution, then applies "resize and
shift, zero outside" as two small constant matrices, one for columns and one for rows. At a resize
by 2 that is up to 4 times less arithmetic, at a resize by 16 up to 250 times less. The result
differs from the plain order by rounding only, borders included; weights and state dict are those
of ordinary convolutions.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

# How much longer a multiply-add takes in the "taps" form than in a convolution: the ratio at which
# forward and backward break even over 12 layer shapes, on two AMD EPYC, torch 2.15. Convolutions
# gain more from AVX-512 than matrix products do.
HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
SLOWNESS = {torch.float32: 2.4 if HAS_AVX512 else 1.5, torch.bfloat16: 1.35}


class UpProjection(nn.Module):
    """Bilinear resize to `size`; conv5x5-BN-ReLU-conv3x3-BN plus conv5x5-BN; ReLU. No biases.

    Laina et al. 2016 (arXiv 1606.00373), with bilinear resizing in place of zero-filling.

    Input: (N, in_channels, h, w) and the wanted (H, W). Output: (N, out_channels, H, W), >= 0.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut_conv = nn.Conv2d(in_channels, out_channels, 5, padding=2, bias=False)
        self.shortcut_bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        weights = (self.conv1.weight, self.shortcut_conv.weight)
        branch, shortcut = resize_conv2d(x, weights, size)
        branch = self.bn2(self.conv2(F.relu(self.bn1(branch))))
        return F.relu(branch + self.shortcut_bn(shortcut))


def resize_conv2d(
    x: torch.Tensor,
    weights: Sequence[torch.Tensor],
    size: tuple[int, int],
    *,
    form: str = "auto",
) -> list[torch.Tensor]:
    """Bilinear resize (align_corners=False), then convolutions that keep the size.

    Args:
        x: (N, C, h, w).
        weights: of several convolutions of the same input, each (D, C, k, k), one odd k for all.
        size: (H, W) of the results.
        form: "plain" resizes first, "taps" multiplies first, "auto" takes the cheaper.

    Returns:
        One (N, D, H, W) for each of the weights.
    """
    _, in_channels, taps, _ = weights[0].shape
    widths = [len(weight) for weight in weights]
    if form == "auto":
        shapes = (tuple(x.shape[-2:]), size, in_channels, sum(widths), taps)
        form = "taps" if taps_are_cheaper(*shapes, dtype=x.dtype) else "plain"
    if form == "plain":
        resized = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return [F.conv2d(resized, weight, padding=taps // 2) for weight in weights]

    # D below is the sum of the widths, i and j the tap's row and column.
    (n, _, h, w), (height, width) = x.shape, size
    # Under autocast: casting before reordering moves half the bytes.
    kernel = torch.cat([weight.to(x.dtype) for weight in weights])
    kernel = kernel.permute(3, 2, 0, 1).reshape(-1, in_channels)  # (jiD, C)
    products = x.permute(0, 2, 3, 1).reshape(-1, in_channels) @ kernel.t()  # (Nhw, jiD)

    columns = _constant(w, width, taps, like=x).expand(n * h, -1, -1)
    products = torch.bmm(columns, products.view(n * h, w * taps, -1))  # (Nh, W, iD)
    products = products.view(n, h, width, taps, -1).transpose(2, 3)  # (N, h, i, W, D)

    rows = _constant(h, height, taps, like=x).expand(n, -1, -1)
    results = []
    for part in products.split(widths, dim=-1):
        result = torch.bmm(rows, part.reshape(n, h * taps, -1))  # (N, H, WD)
        results.append(result.view(n, height, width, -1).permute(0, 3, 1, 2))  # channels-last
    return results


@lru_cache(maxsize=256)
def resize_tap_matrix(
    size_in: int,
    size_out: int,
    taps: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Bilinear resize of a line, shifted by each tap, as one constant matrix.

    Returns:
        (size_out, size_in * taps): entry [X, x * taps + t] is the share of input pixel x in resized
        pixel X + t - taps // 2, and zero where that lies outside, as the convolution pads.
    """
    # Made outside inference mode: the cached constant must serve training steps as well.
    with torch.inference_mode(False), torch.no_grad():
        lines = torch.eye(size_in, dtype=torch.float64).view(1, size_in, 1, size_in)
        resized = F.interpolate(lines, size=(1, size_out), mode="bilinear", align_corners=False)
        padded = F.pad(resized.view(size_in, size_out), (taps // 2, taps // 2))
        shifted = [padded[:, t : t + size_out] for t in range(taps)]
        matrix = torch.stack(shifted, dim=1).view(size_in * taps, size_out).t()
        return matrix.to(device=device, dtype=dtype).contiguous()


def _constant(size_in: int, size_out: int, taps: int, *, like: torch.Tensor) -> torch.Tensor:
    # While a graph is traced, tensors are placeholders that must not stay in the cache.
    build = resize_tap_matrix.__wrapped__ if torch.compiler.is_compiling() else resize_tap_matrix
    return build(size_in, size_out, taps, dtype=like.dtype, device=like.device)


def taps_are_cheaper(
    size_in: tuple[int, int],
    size_out: tuple[int, int],
    in_channels: int,
    out_channels: int,
    taps: int,
    *,
    dtype: torch.dtype = torch.float32,
) -> bool:
    """Whether multiplying before resizing takes less time than the plain order.

    Judged by the number of multiply-adds, weighed by how much longer one takes in this form. The
    matrices grow with the square of the size, so large maps turn the scale.
    """
    (h, w), (height, width) = size_in, size_out
    plain = height * width * taps**2 * in_channels * out_channels
    products = h * w * taps**2 * in_channels * out_channels
    columns = h * (w * taps) * width * taps * out_channels
    rows = (h * taps) * height * width * out_channels
    return SLOWNESS.get(dtype, 1.0) * (products + columns + rows) < plain
