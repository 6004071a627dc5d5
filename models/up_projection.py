"""Up-projection: resize, then two branches of convolutions added; computed without waste.

An up-projection resizes its input and convolves the result 5x5. Done in that order, most of the
work repeats itself: after a resize by s, each s x s pixels interpolate the same few values.
Resizing is linear, separable and the same for all channels, and each tap of a convolution is a
product over channels followed by a shift; so they can change places and the function stays:

    conv5x5(resize(x))[Y, X] = sum over taps (i, j) of resize(w_ij . x)[Y + i - 2, X + j - 2]

`resize_conv2d` computes all products w_ij . x at the *low* resolution, then applies "resize and
shift, zero outside" as two small constant matrices, one for columns and one for rows. Those are
mostly zeros where lines are long, so they are applied in bands. At a resize by 2 that is up to 4
times less arithmetic, at a resize by 16 up to 250 times less. The result differs from the plain
order by rounding only, borders included; weights and state dict are those of ordinary convolutions.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

# How much longer a multiply-add takes in the "taps" form than in a convolution: the ratio at which
# forward and backward break even over 12 layer shapes, on two AMD EPYC, torch 2.15. Convolutions
# gain more from AVX-512 than matrix products do.
HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
SLOWNESS = {torch.float32: 2.4 if HAS_AVX512 else 1.5, torch.bfloat16: 1.35}
MOST_PRODUCTS = 2**26  # of one picture: 256 MiB in float32
BAND_ROWS = 16

Bands = list[tuple[int, int, int, int]]


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
        cheaper = taps_are_cheaper(*shapes, dtype=x.dtype, device_type=x.device.type)
        form = "taps" if cheaper else "plain"
    if form == "plain":
        resized = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return [F.conv2d(resized, weight, padding=taps // 2) for weight in weights]

    # D below is the sum of the widths, i and j the tap's row and column.
    (n, _, h, w), (height, width) = x.shape, size
    # Under autocast: casting before reordering moves half the bytes.
    kernel = torch.cat([weight.to(x.dtype) for weight in weights])
    kernel = kernel.permute(3, 2, 0, 1).reshape(-1, in_channels)  # (jiD, C)
    products = x.permute(0, 2, 3, 1).reshape(-1, in_channels) @ kernel.t()  # (Nhw, jiD)

    products = _along_line(products.view(n * h, w * taps, -1), width, taps)  # (Nh, W, iD)
    products = products.view(n, h, width, taps, -1).transpose(2, 3)  # (N, h, i, W, D)
    results = []
    for part in products.split(widths, dim=-1):
        result = _along_line(part.reshape(n, h * taps, -1), height, taps)  # (N, H, WD)
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


def _along_line(products: torch.Tensor, size_out: int, taps: int) -> torch.Tensor:
    """(B, size_in * taps, F) -> (B, size_out, F): the product with `resize_tap_matrix`."""
    size_in = products.shape[1] // taps
    # While a graph is traced, tensors are placeholders that must not stay in the cache.
    build = resize_tap_matrix.__wrapped__ if torch.compiler.is_compiling() else resize_tap_matrix
    matrix = build(size_in, size_out, taps, dtype=products.dtype, device=products.device)
    bands = tap_bands(size_in, size_out, taps, device_type=products.device.type)
    if len(bands) == 1 or torch.jit.is_tracing():  # a trace cannot hold functions of Python
        return torch.bmm(matrix.expand(len(products), -1, -1), products)
    return _BandProduct.apply(products, matrix, bands)


class _BandProduct(torch.autograd.Function):
    """matrix @ products, leaving out what is zero; differentiable in `products` alone.

    A function of its own because the gradient of a slice is as large as what was sliced.
    """

    @staticmethod
    def forward(ctx, products: torch.Tensor, matrix: torch.Tensor, bands: Bands) -> torch.Tensor:
        ctx.save_for_backward(matrix)
        ctx.bands, ctx.shape = bands, products.shape
        parts = [
            torch.bmm(matrix[a:b, low:high].expand(len(products), -1, -1), products[:, low:high])
            for a, b, low, high in bands
        ]
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (matrix,) = ctx.saved_tensors
        result = grad.new_zeros(ctx.shape)
        for a, b, low, high in ctx.bands:
            part = matrix[a:b, low:high].t().expand(len(grad), -1, -1)
            result[:, low:high].baddbmm_(part, grad[:, a:b])
        return result, None, None


def tap_bands(size_in: int, size_out: int, taps: int, *, device_type: str = "cpu") -> Bands:
    """Blocks of rows of `resize_tap_matrix`, each with the columns that are not all zero there.

    Returns:
        (first row, end, first column, end) of each; one block for all of a short line, and on a
        GPU, where the zeros cost less than more kernels do.
    """
    length = BAND_ROWS if device_type == "cpu" else size_out
    bands = []
    for a in range(0, size_out, length):
        b = min(a + length, size_out)
        first, last = max(0, a - taps // 2), min(size_out, b + taps // 2) - 1  # resized pixels
        # Resized pixel P looks at (P + 1/2) size_in / size_out - 1/2, between two input pixels.
        low, high = (((2 * p + 1) * size_in - size_out) // (2 * size_out) for p in (first, last))
        bands.append((a, b, max(0, low) * taps, min(high + 2, size_in) * taps))
    return bands


def taps_are_cheaper(
    size_in: tuple[int, int],
    size_out: tuple[int, int],
    in_channels: int,
    out_channels: int,
    taps: int,
    *,
    dtype: torch.dtype = torch.float32,
    device_type: str = "cpu",
) -> bool:
    """Whether multiplying before resizing takes less time than the plain order.

    Judged by the number of multiply-adds, weighed by how much longer one takes in this form, and
    by the memory that the products take: 25 times the channels of the result, before the resize.
    """
    (h, w), (height, width) = size_in, size_out
    plain = height * width * taps**2 * in_channels * out_channels
    products = h * w * taps**2 * in_channels * out_channels
    if products // in_channels > MOST_PRODUCTS:
        return False

    def entries(size_in: int, size_out: int) -> int:
        bands = tap_bands(size_in, size_out, taps, device_type=device_type)
        return sum((b - a) * (high - low) for a, b, low, high in bands)

    columns = h * entries(w, width) * taps * out_channels
    rows = entries(h, height) * width * out_channels
    return SLOWNESS.get(dtype, 1.0) * (products + columns + rows) < plain
