"""Finds the look that makes a cut-out match its surroundings; `looks` applies it.

The surroundings are the background in the cut-out's box, grown by half of its size on each side.

- **colour.** Mean brightness goes half of the way to that of the surroundings, by SHIFT levels at
  most; its spread likewise, by a factor of at most 5/4; the cast of the three channels a quarter of
  the way.
- **blur.** Where edges are soft, neighbours differ less than next neighbours do. The ratio of both,
  squared, does not depend on contrast. The cut-out gets the least blur that brings it to the ratio
  of the surroundings.
- **noise.** The lower quartile of a filter that answers neither to planes nor to ramps (Immerkaer
  1996, "Fast noise variance estimation") gives the noise of both; the cut-out gets what it lacks.
- **shadow.** An ellipse on the floor about the foot, as wide as the lowest eighth of the cut-out.

All statistics are whole numbers, of the composite at the size of the canvas.
"""

from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import cv2
import numpy as np

from dsetkit.compositing.looks import BLUR_STEPS, NOISE_STEPS, PLAIN_GAIN, blurred
from dsetkit.compositing.placing import Box, ForegroundPyramid
from dsetkit.compositing.randomness import STREAMS_OF_AN_OBJECT, Stream, bits, uniform
from dsetkit.store import MOST_SHADOW, Colour, Look, Noise, PlacedObject, Shadow

OPAQUE = 255
LEAST_PIXELS = 64  # opaque ones of a cut-out; of fewer nothing is told

SHIFT, CAST = 24, 12  # most that brightness and cast are moved by [levels]
GAINS = (205, 320)  # least and greatest gain, in 256 parts: 4/5 and 5/4

BLUR_STEP, MOST_BLUR = BLUR_STEPS // 8, 3 * BLUR_STEPS // 4  # variances that are tried
LEAST_CONTRAST = 16  # mean square of the differences between next neighbours; less has no edges

NOISE_GAIN = 837  # hundredths: 16 / (6 * 0.3186), from the filter's lower quartile to NOISE_STEPS
MOST_NOISE = 6 * NOISE_STEPS

FOOT_ROWS = 8  # the lowest 1/8 of a cut-out throws the shadow
ROUND = 3  # an ellipse on the floor is seen that many times as wide as high
STRENGTHS = (96, 176)  # least and greatest darkness of a shadow, in 256 parts


class Harmoniser:
    """Finds looks of objects before the backgrounds of a dataset.

    Args:
        names: What to match, of `store.HARMONISED`.
        seed: The dataset's seed.
        background: Gives a background by its id, uint8 (H,W,3) RGB.
        pyramid: Gives a foreground by its id.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        seed: int,
        background: Callable[[int], np.ndarray],
        pyramid: Callable[[int], ForegroundPyramid],
    ) -> None:
        self._names, self._seed = names, seed
        self._background, self._pyramid = background, pyramid

    def look(self, placed: PlacedObject, background: int, *, index: int, order: int) -> Look:
        """The look of a placed object.

        Args:
            placed: The object, in its place.
            background: Id of the background.
            index: Index of the sample, for what is drawn.
            order: Which of the sample's objects it is.
        """
        assert placed.foreground is not None and placed.box is not None  # of a recipe
        width, height = placed.box[2:]
        cut_out = self._pyramid(placed.foreground).at(width, height)
        if placed.flip:
            cut_out = cv2.flip(cut_out, 1)
        scene = self._background(background)
        mine = _Patch(cut_out[..., :3], cut_out[..., 3] == OPAQUE)
        theirs = _Patch.around(scene, placed.box)
        stream = STREAMS_OF_AN_OBJECT * order
        look: dict[str, Any] = {}
        if mine.num_pixels >= LEAST_PIXELS:
            if "colour" in self._names:
                look["colour"] = _colour(mine, theirs)
            if "blur" in self._names:
                look["blur"] = _blur(mine, theirs)
            if "noise" in self._names:
                deviation = _missing_noise(mine, theirs, blur=look.get("blur", 0))
                key = int(bits(self._seed, Stream.NOISE + stream, index)) >> 32
                look["noise"] = Noise(deviation=deviation, key=key) if deviation else None
        if "shadow" in self._names and placed.box[1] + height < len(scene):
            share = float(uniform(self._seed, Stream.SHADOW + stream, index))
            look["shadow"] = _shadow(cut_out[..., 3], placed.box, share)
        return Look(**look)


class _Patch:
    """Pixels whose statistics are taken.

    Args:
        colours: uint8 (h,w,3) RGB.
        inside: Which of them count, bool (h,w).

    Attributes:
        colours: As given.
        inside: As given.
        grey: Their brightness, int32 (h,w) in 0..255.
    """

    def __init__(self, colours: np.ndarray, inside: np.ndarray) -> None:
        self.colours, self.inside = colours, inside
        red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
        self.grey = (77 * red + 150 * green + 29 * blue) >> 8

    @classmethod
    def around(cls, scene: np.ndarray, box: Box) -> "_Patch":
        """The surroundings of a box in a background, uint8 (H,W,3) RGB."""
        x, y, width, height = box
        rows = slice(max(0, y - height // 2), y + height + height // 2)
        part = scene[rows, max(0, x - width // 2) : x + width + width // 2]
        return cls(part, np.ones(part.shape[:2], bool))

    @property
    def num_pixels(self) -> int:
        """How many pixels count."""
        return int(np.count_nonzero(self.inside))

    def means(self) -> list[int]:
        """Of R, G and B."""
        channels = (self.colours[..., channel][self.inside] for channel in range(3))
        return [int(levels.sum(dtype=np.int64)) // len(levels) for levels in channels]

    def brightness(self) -> tuple[int, int]:
        """Mean, and standard deviation in 16 parts of a level."""
        levels = self.grey[self.inside].astype(np.int64)
        count, total, squares = len(levels), int(levels.sum()), int((levels * levels).sum())
        return total // count, isqrt(256 * (count * squares - total * total)) // count


def _limited(value: int, most: int) -> int:
    return max(-most, min(most, value))


def _colour(mine: _Patch, theirs: _Patch) -> Colour:
    """`colour` of a look."""
    (mean, spread), (wanted_mean, wanted_spread) = mine.brightness(), theirs.brightness()
    gain = PLAIN_GAIN
    if spread:
        gain = (spread + wanted_spread) * PLAIN_GAIN // (2 * spread)
        gain = max(GAINS[0], min(GAINS[1], gain))
    turned = mean * (PLAIN_GAIN - gain) // PLAIN_GAIN  # contrast turns about the mean
    brighter = _limited((wanted_mean - mean) // 2, SHIFT)
    red, green, blue = (
        turned + brighter + _limited(((wanted - wanted_mean) - (own - mean)) // 4, CAST)
        for own, wanted in zip(mine.means(), theirs.means(), strict=True)
    )
    return Colour(gain=gain, shift=(red, green, blue))


def _blur(mine: _Patch, theirs: _Patch) -> int:
    """`blur` of a look."""
    near, far, count = _differences(theirs.grey, theirs.inside)
    if far < LEAST_CONTRAST * count:
        return 0
    grey, variance = mine.grey, 0
    while variance < MOST_BLUR:
        my_near, my_far, my_count = _differences(grey, mine.inside)
        if my_near * far <= near * my_far or my_far < LEAST_CONTRAST * my_count:
            break
        grey, variance = blurred(grey, (BLUR_STEP, BLUR_STEP)), variance + BLUR_STEP
    return variance


def _differences(grey: np.ndarray, inside: np.ndarray) -> tuple[int, int, int]:
    """Squared differences of neighbours and of next neighbours, along both axes.

    Args:
        grey: int32 (h,w).
        inside: Which pixels count, bool (h,w).

    Returns:
        The sum over the two pairs of neighbours in each run of three pixels, the sum over the pair
        of its ends, and the number of such runs.
    """
    near = far = count = 0
    for values, counts in ((grey, inside), (grey.T, inside.T)):
        runs = counts[2:] & counts[1:-1] & counts[:-2]
        steps = np.diff(values, axis=0) ** 2
        near += int((steps[1:] + steps[:-1])[runs].sum(dtype=np.int64))
        far += int(((values[2:] - values[:-2]) ** 2)[runs].sum(dtype=np.int64))
        count += int(np.count_nonzero(runs))
    return near, far, count


def _missing_noise(mine: _Patch, theirs: _Patch, *, blur: int) -> int:
    """Deviation of the noise that the surroundings have and the cut-out lacks after its blur."""
    own = _noise(blurred(mine.grey, (blur, blur)), mine.inside)
    wanted = _noise(theirs.grey, theirs.inside)
    return min(MOST_NOISE, isqrt(max(0, wanted * wanted - own * own)))


def _noise(grey: np.ndarray, inside: np.ndarray) -> int:
    """Standard deviation of the noise in int32 (h,w), in NOISE_STEPS parts of a level."""
    rows = grey[2:] - 2 * grey[1:-1] + grey[:-2]
    answers = np.abs(rows[:, 2:] - 2 * rows[:, 1:-1] + rows[:, :-2])
    within = inside[2:] & inside[1:-1] & inside[:-2]
    answers = answers[within[:, 2:] & within[:, 1:-1] & within[:, :-2]]
    if len(answers) < LEAST_PIXELS:
        return 0
    quarter = len(answers) // 4
    return int(np.partition(answers, quarter)[quarter]) * NOISE_GAIN // 100


def _shadow(alpha: np.ndarray, box: Box, share: float) -> Shadow:
    """The shadow of an object.

    Args:
        alpha: Of the placed cut-out, uint8 (h,w).
        box: Its place, not on the lower edge of the canvas.
        share: Place in the range of darkness, in [0, 1).
    """
    x, y, _, height = box
    foot = alpha[-max(1, height // FOOT_ROWS) :].max(axis=0)
    columns = np.flatnonzero(foot >= max(1, int(foot.max()) // 2))
    left, right = int(columns[0]), int(columns[-1]) + 1
    across = min(MOST_SHADOW, max(2, (right - left) * 5 // 8))
    low, high = STRENGTHS
    return Shadow(
        x=x + (left + right) // 2,
        y=y + height - 1,
        across=across,
        down=max(1, across // ROUND),
        strength=round(low + (high - low) * share),
    )
