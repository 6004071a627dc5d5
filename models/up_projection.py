"""The up-projection layer, and `resize_conv2d`, which computes its resize and 5x5 convolution.

An up-projection resizes its input and then convolves it 5x5. In that order most of the work is
repeated: after a resize by s, each block of s x s pixels is interpolated from the same few values.
The order can be swapped. Resizing is linear, separable and the same for all channels; each tap of a
convolution is a product over channels followed by a shift. Hence

    conv5x5(resize(x))[Y, X] = sum over taps (i, j) of resize(w_ij . x)[Y + i - 2, X + j - 2]

`resize_conv2d` computes all products w_ij . x at the *low* resolution. It then applies the resize
and the shift, with zeros outside the picture, as two small constant matrices: one for columns and
one for rows. These matrices are mostly zero where lines are long, so they are applied in bands. A
resize by 2 takes up to 4 times less arithmetic, a resize by 16 up to 250 times less. The result
differs from the plain order by rounding only, at the borders too. Weights and state dict are those
of ordinary convolutions.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

# How much longer a multiply-add takes in the "taps" form than in a convolution. It is the ratio at
# which forward and backward of both forms take equally long over 12 layer shapes, measured on two
# AMD EPYC with torch 2.15. Convolutions gain more from AVX-512 than matrix products do.
HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
SLOWNESS = {torch.float32: 2.4 if HAS_AVX512 else 1.5, torch.bfloat16: 1.35}
MOST_PRODUCTS = 2**26  # values per picture: 256 MiB in float32
BAND_ROWS = 16

Bands = list[tuple[int, int, int, int]]  # see tap_bands


class UpProjection(nn.Module):
    """Bilinear resize to `size`; conv5x5-BN-ReLU-conv3x3-BN plus conv5x5-BN; ReLU. No biases.

    Laina et al. 2016 (arXiv 1606.00373), with bilinear resizing instead of zero-unpooling.

    Input: (N, in_channels, h, w) and the output size (H, W). Output: (N, out_channels, H, W), >= 0.
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
    """Resize bilinearly (align_corners=False), then apply convolutions that keep the size.

    Args:
        x: (N, C, h, w).
        weights: one (D, C, k, k) per convolution. D may differ; k is odd and the same for all.
        size: (H, W) of the results.
        form: "plain" resizes first, "taps" multiplies first, "auto" takes the faster of the two.
            Exported graphs resize first.

    Returns:
        One (N, D, H, W) per weight.
    """
    _, in_channels, taps, _ = weights[0].shape
    widths = [len(weight) for weight in weights]
    if torch.compiler.is_exporting():
        form = "plain"  # operators that every format of graphs has
    if form == "auto":
        cheaper = taps_are_cheaper(
            (x.shape[-2], x.shape[-1]),
            size,
            in_channels,
            sum(widths),
            taps,
            dtype=x.dtype,
            device_type=x.device.type,
        )
        form = "taps" if cheaper else "plain"
    if form == "plain":
        resized = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return [F.conv2d(resized, weight, padding=taps // 2) for weight in weights]

    # In the shapes below, D is the sum of the widths; i and j are the row and column of a tap.
    (n, _, h, w), (height, width) = x.shape, size
    # Under autocast, casting before the permutation copies half the bytes.
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
    """Build the constant matrix that resizes a line bilinearly and shifts it by each tap.

    The result is cached; do not change it.

    Args:
        size_in: pixels of the line.
        size_out: pixels of the resized line.
        taps: taps of the convolution along the line, an odd number.
        dtype: of the matrix.
        device: of the matrix.

    Returns:
        (size_out, size_in * taps). Entry [X, x * taps + t] is the weight of input pixel x in
        resized pixel X + t - taps // 2. It is zero where that pixel lies outside the line, because
        the convolution pads with zeros.
    """
    # Leave inference mode: training steps use the same cached matrix.
    with torch.inference_mode(False), torch.no_grad():
        lines = torch.eye(size_in, dtype=torch.float64).view(1, size_in, 1, size_in)
        resized = F.interpolate(lines, size=(1, size_out), mode="bilinear", align_corners=False)
        padded = F.pad(resized.view(size_in, size_out), (taps // 2, taps // 2))
        shifted = [padded[:, t : t + size_out] for t in range(taps)]
        matrix = torch.stack(shifted, dim=1).view(size_in * taps, size_out).t()
        return matrix.to(device=device, dtype=dtype).contiguous()


def _along_line(products: torch.Tensor, size_out: int, taps: int) -> torch.Tensor:
    """Multiply by `resize_tap_matrix`: (B, size_in * taps, F) -> (B, size_out, F)."""
    size_in = products.shape[1] // taps
    # While torch compiles, tensors are placeholders, which must not get into the cache.
    build = resize_tap_matrix.__wrapped__ if torch.compiler.is_compiling() else resize_tap_matrix
    matrix = build(size_in, size_out, taps, dtype=products.dtype, device=products.device)
    bands = tap_bands(size_in, size_out, taps, device_type=products.device.type)
    if len(bands) == 1 or torch.jit.is_tracing():  # jit cannot trace _BandProduct
        return torch.bmm(matrix.expand(len(products), -1, -1), products)
    return _BandProduct.apply(products, matrix, bands)


class _BandProduct(torch.autograd.Function):
    """Computes matrix @ products by bands, without the zeros; differentiable in `products` alone.

    Autograd would allocate a gradient of the size of `products` for each slice. `backward` here
    writes all of them into one tensor.

    `ctx` is Any, because a Function stores values under attribute names of its own choice.
    """

    @staticmethod
    def forward(
        ctx: Any, products: torch.Tensor, matrix: torch.Tensor, bands: Bands
    ) -> torch.Tensor:
        ctx.save_for_backward(matrix)
        ctx.bands, ctx.shape = bands, products.shape
        parts = [
            torch.bmm(matrix[a:b, low:high].expand(len(products), -1, -1), products[:, low:high])
            for a, b, low, high in bands
        ]
        return torch.cat(parts, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (matrix,) = ctx.saved_tensors
        result = grad.new_zeros(ctx.shape)
        for a, b, low, high in ctx.bands:
            part = matrix[a:b, low:high].t().expand(len(grad), -1, -1)
            result[:, low:high].baddbmm_(part, grad[:, a:b])
        return result, None, None


def tap_bands(size_in: int, size_out: int, taps: int, *, device_type: str = "cpu") -> Bands:
    """Split the rows of `resize_tap_matrix` into bands; find the columns that are not zero in each.

    Args:
        size_in: pixels of the line.
        size_out: pixels of the resized line.
        taps: taps of the convolution along the line, an odd number.
        device_type: torch's name of the device type.

    Returns:
        (first row, end row, first column, end column) of each band. A line of at most BAND_ROWS is
        one band. So is every line on a GPU, where the zeros cost less than further kernels.
    """
    length = BAND_ROWS if device_type == "cpu" else size_out
    bands = []
    for a in range(0, size_out, length):
        b = min(a + length, size_out)
        first, last = max(0, a - taps // 2), min(size_out, b + taps // 2) - 1  # resized pixels
        # Resized pixel P lies at (P + 1/2) size_in / size_out - 1/2, between two input pixels.
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
    """Estimate whether the "taps" form takes less time than the "plain" form.

    The estimate counts multiply-adds and weighs those of the "taps" form by SLOWNESS. It rejects
    the "taps" form if its products need too much memory: they have k * k times the channels of the
    result, at the size of the input.

    Args:
        size_in: (h, w) of the input.
        size_out: (H, W) of the result.
        in_channels: channels of the input.
        out_channels: channels of all results together.
        taps: side k of the kernel, an odd number.
        dtype: of the input.
        device_type: torch's name of the device type.
    """
    (h, w), (height, width) = size_in, size_out
    plain = height * width * taps**2 * in_channels * out_channels
    products = h * w * taps**2 * in_channels * out_channels
    if products // in_channels > MOST_PRODUCTS:
        return False

    def band_entries(size_in: int, size_out: int) -> int:
        bands = tap_bands(size_in, size_out, taps, device_type=device_type)
        return sum((b - a) * (high - low) for a, b, low, high in bands)

    columns = h * band_entries(w, width) * taps * out_channels
    rows = band_entries(h, height) * width * out_channels
    return SLOWNESS.get(dtype, 1.0) * (products + columns + rows) < plain
