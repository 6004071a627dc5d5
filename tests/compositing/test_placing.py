"""Tests of compositing: exact rounding, no fringes, and the right mask."""

import numpy as np
import pytest

from dsetkit.compositing.compositor import Compositor
from dsetkit.compositing.placing import ForegroundPyramid, alpha_over, place, premultiply
from dsetkit.store.records import PlacedObject, Record


def composite(
    background: np.ndarray,
    foreground: ForegroundPyramid,
    box: tuple[int, int, int, int],
    *,
    flip: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Composite and mask of a cut-out over a background."""
    image, mask = background.copy(), np.zeros(background.shape[:2], np.uint8)
    x, y, width, height = box
    mask[y : y + height, x : x + width] = place(foreground, box, flip=flip, image=image)
    return image, mask


def disc(size: int, colour: tuple[int, int, int], behind: tuple[int, int, int]) -> np.ndarray:
    """A disc of one colour whose transparent pixels have another colour."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    alpha = np.clip(size / 2 - 1 - np.hypot(x, y), 0, 1)
    rgba = np.empty((size, size, 4), np.uint8)
    rgba[..., :3] = np.where(alpha[..., None] > 0, colour, behind)
    rgba[..., 3] = np.rint(alpha * 255)
    return rgba


@pytest.mark.parametrize("width", [256, 255, 13, 1])  # multiples of the vector width and others
def test_products_are_rounded_exactly_for_every_colour_and_alpha(width: int) -> None:
    colour, alpha = np.mgrid[:256, :256].astype(np.uint8)[:, :, :width]
    rgba = np.dstack([colour, colour, colour, alpha])
    exact = (2 * colour.astype(int) * alpha + 255) // 510
    assert np.array_equal(premultiply(rgba)[..., 0], exact)


def test_alpha_over_is_the_formula_to_within_rounding() -> None:
    rng = np.random.default_rng(0)
    background = rng.integers(0, 256, (64, 64, 3), np.uint8)
    rgba = rng.integers(0, 256, (64, 64, 4), np.uint8)
    alpha = rgba[..., 3:] / 255
    exact = alpha * rgba[..., :3] + (1 - alpha) * background
    image = np.zeros((80, 70, 3), np.uint8)
    image[3:67, 5:69] = background
    assert np.array_equal(alpha_over(image[3:67, 5:69], premultiply(rgba)), rgba[..., 3])
    assert np.abs(image[3:67, 5:69] - exact).max() <= 1
    image[3:67, 5:69] = 0
    assert not image.any()  # nothing was written beside it


def test_an_opaque_foreground_covers_and_a_transparent_one_does_not() -> None:
    background = np.full((32, 32, 3), 90, np.uint8)
    rgba = np.full((16, 16, 4), 200, np.uint8)
    rgba[..., 3] = 255
    image, mask = composite(background, ForegroundPyramid.build(rgba), (8, 4, 16, 16))
    assert (image[4:20, 8:24] == 200).all() and (mask[4:20, 8:24] == 255).all()
    outside = np.ones((32, 32), bool)
    outside[4:20, 8:24] = False
    assert (image[outside] == 90).all() and (mask[outside] == 0).all()
    rgba[..., 3] = 0
    image, mask = composite(background, ForegroundPyramid.build(rgba), (8, 4, 16, 16))
    assert (image == 90).all() and (mask == 0).all()


@pytest.mark.parametrize("side", [11, 20, 37, 64, 99])
def test_colour_behind_transparent_pixels_never_bleeds_into_the_edge(side: int) -> None:
    """A red disc on green transparent pixels, over black: no green anywhere."""
    pyramid = ForegroundPyramid.build(disc(100, (255, 0, 0), behind=(0, 255, 0)))
    image, _ = composite(np.zeros((100, 100, 3), np.uint8), pyramid, (0, 0, side, side))
    assert image[..., 0].max() == 255
    assert image[..., 1].max() == 0


@pytest.mark.parametrize("side", [9, 23, 50, 77])
def test_shrinking_keeps_the_covered_area(side: int) -> None:
    pyramid = ForegroundPyramid.build(disc(100, (255, 255, 255), behind=(0, 0, 0)))
    _, mask = composite(np.zeros((100, 100, 3), np.uint8), pyramid, (0, 0, side, side))
    full = pyramid.levels[0][..., 3].mean()
    assert mask[:side, :side].mean() == pytest.approx(full, rel=0.03)


def test_a_flip_mirrors_composite_and_mask_alike() -> None:
    rng = np.random.default_rng(1)
    pyramid = ForegroundPyramid.build(rng.integers(0, 256, (24, 24, 4), np.uint8))
    background = np.full((40, 40, 3), 128, np.uint8)
    plain = composite(background, pyramid, (8, 3, 24, 24))
    flipped = composite(background, pyramid, (8, 3, 24, 24), flip=True)
    for one, other in zip(plain, flipped, strict=True):
        assert np.array_equal(one[3:27, 8:32], other[3:27, 8:32][:, ::-1])


def test_compositing_does_not_change_the_assets() -> None:
    assets = {
        "backgrounds": np.full((32, 32, 3), 7, np.uint8),
        "foregrounds": np.full((16, 16, 4), 255, np.uint8),
    }
    compositor = Compositor(lambda kind, number: assets[kind], (32, 32))
    record = Record(0, (PlacedObject(foreground=0, flip=False, box=(0, 0, 16, 16)),), {})
    first, second = compositor.composite(record), compositor.composite(record)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert (compositor.background(0) == 7).all() and (assets["backgrounds"] == 7).all()
