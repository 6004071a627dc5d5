"""The look of a cut-out: colour, blur and noise of its surroundings, and a shadow at its foot.

What is done stands in the sample as whole numbers (`store.Look`); `harmonising` finds them. Here
they are applied, with whole numbers alone, so every machine makes the same pixels. Colours stay
premultiplied, and never exceed alpha. At another size than the canvas's, blur and noise are those
that a canvas with them would show when it is resized: their spreads shrink with it.
"""

import numpy as np

from dsetkit.compositing.placing import Box
from dsetkit.compositing.randomness import Stream, bits
from dsetkit.store import Colour, Look, Shadow

Size = tuple[int, int]  # (height, width) [px]

PLAIN_GAIN = 256
BLUR_STEPS = 128  # a blur's variance is told in parts of a square pixel
MOST_OF_A_PASS = 64  # of the variance: the kernel [1/4, 1/2, 1/4], the widest of three
NOISE_STEPS = 16  # noise is told in parts of a level
BYTES_MEAN, BYTES_DEVIATION = 1020, 209  # of the sum of eight random bytes
# Depths that are still the floor around a foot, in hundredths of the plane's.
FLOOR_SHARES = (85, 118)


def with_look(
    premultiplied: np.ndarray, look: Look, *, box: Box, size: Size, canvas: Size
) -> np.ndarray:
    """A cut-out with a look, without its shadow.

    Args:
        premultiplied: The cut-out, uint8 (h,w,4).
        look: What to do.
        box: Where it lies: x, y, width, height [px].
        size: (height, width) of the composite [px].
        canvas: Those of the canvas, to which the look refers [px].

    Returns:
        uint8 (h,w,4), premultiplied.
    """
    result = premultiplied
    if look.colour is not None:
        result = _recoloured(result, look.colour)
    if look.blur:
        down, across = (look.blur * size[i] ** 2 // canvas[i] ** 2 for i in (0, 1))
        result = np.ascontiguousarray(blurred(result.astype(np.int32), (down, across)), np.uint8)
    if look.noise is not None:
        deviation = look.noise.deviation * min(size[0], canvas[0]) // canvas[0]
        result = _noisy(result, deviation, look.noise.key, box)
    return result


def shade(
    image: np.ndarray, shadow: Shadow, *, depth: np.ndarray, plane: int, canvas: Size
) -> None:
    """Darkens the floor under an object, in place.

    The shade falls off from the middle of an ellipse to its edge, where it ends. What is much
    nearer than the object's foot, or much farther, is not the floor and stays as it is.

    Args:
        image: The background, uint8 (H,W,3) RGB; becomes the shaded one.
        shadow: The ellipse, on the canvas.
        depth: Stored metric depth of the background, uint16 (H,W) [mm], 0 = invalid.
        plane: Depth of the object's plane [mm].
        canvas: (height, width) of the canvas [px].
    """
    height, width = depth.shape
    # twice the pixels, so that the middles of pixels are whole numbers; in pixels of the canvas
    rows = (2 * np.arange(height, dtype=np.int64) + 1) * canvas[0] // height - 2 * shadow.y - 1
    columns = (2 * np.arange(width, dtype=np.int64) + 1) * canvas[1] // width - 2 * shadow.x - 1
    across, down = 4 * shadow.across**2, 4 * shadow.down**2
    distance = rows[:, None] ** 2 * across + columns[None] ** 2 * down
    inside = distance < across * down
    is_floor = (depth * np.int64(100) >= FLOOR_SHARES[0] * plane) & (
        depth * np.int64(100) <= FLOOR_SHARES[1] * plane
    )
    here = np.nonzero(inside & is_floor)
    near = 256 - 256 * distance[here] // (across * down)
    dark = shadow.strength * near * near >> 16
    image[here] = (image[here] * (256 - dark)[:, None] + 128 >> 8).astype(np.uint8)


def _recoloured(premultiplied: np.ndarray, colour: Colour) -> np.ndarray:
    alpha = premultiplied[..., 3:].astype(np.int64)
    colours = premultiplied[..., :3] * np.int64(colour.gain * 255)
    colours += np.array(colour.shift) * PLAIN_GAIN * alpha
    full = 255 * PLAIN_GAIN
    colours = ((colours + full // 2) // full).clip(0, alpha)
    return np.dstack([colours.astype(np.uint8), premultiplied[..., 3]])


def blurred(values: np.ndarray, variances: tuple[int, int]) -> np.ndarray:
    """A blurred cut-out; outside of it there is nothing.

    Args:
        values: Its premultiplied colours and alpha, or its brightness: int32 (h,w,4) or (h,w) of
            0..255.
        variances: Down and across, in BLUR_STEPS parts of a square pixel.

    Returns:
        int32 of the same shape.
    """
    for variance in variances:
        while variance > 0:
            side = min(variance, MOST_OF_A_PASS)  # weight of a neighbour, in 256 parts
            neighbours = np.zeros_like(values)
            neighbours[1:] += values[:-1]
            neighbours[:-1] += values[1:]
            values = (side * neighbours + (256 - 2 * side) * values + 128) >> 8
            variance -= side
        values = values.swapaxes(0, 1)
    return values


def _noisy(premultiplied: np.ndarray, deviation: int, key: int, box: Box) -> np.ndarray:
    x, y, width, height = box
    places = (np.arange(y, y + height) << 16)[:, None] + np.arange(x, x + width)
    noise = random_levels(key, places) * deviation
    alpha = premultiplied[..., 3].astype(np.int64)
    full = BYTES_DEVIATION * NOISE_STEPS * 255
    grey = (noise * alpha + full // 2) // full
    colours = (premultiplied[..., :3] + grey[..., None]).clip(0, alpha[..., None])
    return np.dstack([colours.astype(np.uint8), premultiplied[..., 3]])


def random_levels(key: int, places: np.ndarray) -> np.ndarray:
    """Nearly normal noise: int64 of the shape of `places`, of deviation BYTES_DEVIATION.

    It is the sum of the eight bytes of a random number, less its mean.
    """
    sums = np.zeros(places.shape, np.int64)
    numbers = bits(key, Stream.NOISE, places)
    for shift in range(0, 64, 8):
        sums += ((numbers >> np.uint64(shift)) & np.uint64(255)).astype(np.int64)
    return sums - BYTES_MEAN
