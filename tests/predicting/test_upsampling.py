"""Maps come back at the picture's size, along the picture's edges."""

import cv2
import numpy as np
import pytest

from dsetkit.upsampling import enlarge_along_edges

SMALL, LARGE = (64, 96), (512, 768)


def scene(seed: int, *, noise: float = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture of an ellipse over a ground of another colour, and the ellipse's mask."""
    rng = np.random.default_rng(seed)
    height, width = LARGE
    mask = np.zeros(LARGE, np.uint8)
    centre = (int(rng.uniform(0.4, 0.6) * width), int(rng.uniform(0.4, 0.6) * height))
    axes = (int(rng.uniform(0.12, 0.25) * width), int(rng.uniform(0.12, 0.25) * height))
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1)
    ground, figure = rng.integers(20, 110, 3), rng.integers(140, 235, 3)
    picture = np.where(mask[..., None] > 0, figure, ground) + rng.normal(0, noise, (*LARGE, 3))
    return picture.clip(0, 255).astype(np.uint8), mask / np.float32(255)


def shrunk(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, SMALL[::-1], interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("seed", range(8))
def test_edges_lie_nearer_to_the_pictures_than_by_plain_enlarging(seed: int) -> None:
    picture, mask = scene(seed)
    blurred = cv2.GaussianBlur(shrunk(mask), (0, 0), 0.8)  # as a network's answer
    plain = cv2.resize(blurred, LARGE[::-1], interpolation=cv2.INTER_LINEAR)
    guided = enlarge_along_edges(blurred, shrunk(picture), picture, smoothness=1e-4)
    assert np.abs(guided - mask).mean() < 0.75 * np.abs(plain - mask).mean()


@pytest.mark.parametrize("value", [0.0, 0.3, 7.5])
def test_a_constant_map_stays_constant(value: float) -> None:
    picture, _ = scene(0, noise=40)
    flat = np.full((32, 48), value, np.float32)
    result = enlarge_along_edges(flat, shrunk(picture), picture, smoothness=1e-4)
    np.testing.assert_array_equal(result, np.float32(value))


@pytest.mark.parametrize("size", [(8, 8), (17, 300), (64, 96), (700, 31), (3, 40000)])
@pytest.mark.parametrize("smoothness", [1e-4, 1e-2])
def test_any_size_stays_within_the_range_of_the_map(size: tuple, smoothness: float) -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (*size, 3), np.uint8)
    small = cv2.resize(picture, (96, 64), interpolation=cv2.INTER_AREA)
    depth = rng.uniform(1, 9, (32, 48)).astype(np.float32)
    result = enlarge_along_edges(depth, small, picture, smoothness=smoothness)
    assert result.shape == size and result.dtype == np.float32
    assert depth.min() <= result.min() <= result.max() <= depth.max()


def test_where_the_picture_is_flat_the_map_is_enlarged_smoothly() -> None:
    picture = np.full((*LARGE, 3), 90, np.uint8)
    ramp = np.tile(np.linspace(0, 1, SMALL[1], dtype=np.float32), (SMALL[0], 1))
    result = enlarge_along_edges(ramp, shrunk(picture), picture, smoothness=1e-4)
    expected = cv2.resize(ramp, LARGE[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(result - expected)[:, 40:-40].max() < 0.01
