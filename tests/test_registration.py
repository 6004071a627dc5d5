"""Registration: a background comes to lie where its composite shows the scene, or stays."""

import cv2
import numpy as np
import pytest

from dsetkit.registration import comparable_background, find_motion, register_background

SIDE = 128


def view(seed: int, side: int = SIDE) -> np.ndarray:
    """A picture with structure of all sizes, uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((side, side, 3), np.float32)
    for cells in (3, 6, 12, 24, 48):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) / cells**0.5
    return np.clip(128 + 70 * picture, 0, 255).astype(np.uint8)


def with_foreground(background: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A composite, and where it shows the foreground, which covers a tenth of it."""
    height, width = background.shape[:2]
    is_front = np.zeros((height, width), bool)
    is_front[height // 3 : height // 3 + height // 3, width // 2 : width // 2 + width // 3] = True
    return np.where(is_front[..., None], view(seed + 1000, height), background), is_front


def drawn_motion(rng: np.random.Generator, side: int) -> np.ndarray:
    """(2, 3): up to 4 % of the side, one degree and 1.5 %, about the middle."""
    angle, zoom = rng.uniform(-1, 1), rng.uniform(0.985, 1.015)
    motion = cv2.getRotationMatrix2D((side / 2, side / 2), angle, zoom)
    motion[:, 2] += rng.uniform(-0.04, 0.04, 2) * side
    return motion


def moved(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    size = picture.shape[1::-1]
    return cv2.warpAffine(
        picture, motion, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def corners_apart(motion: np.ndarray | None, truth: np.ndarray, side: int) -> float:
    """How far two motions are apart, in px, at the corner where they differ most."""
    assert motion is not None
    corners = np.array([(0, 0, 1), (side, 0, 1), (0, side, 1), (side, side, 1)], float)
    return float(np.linalg.norm(corners @ (motion - truth).T, axis=1).max())


def in_other_light(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brighter or darker by up to 15 %, with another gamma, noise and JPEG of quality 60."""
    values = (picture / 255) ** rng.uniform(0.85, 1.15) * rng.uniform(0.85, 1.15)
    values += rng.normal(0, 5 / 255, picture.shape)
    levels = np.clip(255 * values, 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))


@pytest.mark.parametrize("seed", range(10))
def test_an_exact_background_stays_the_same_array(seed: int) -> None:
    background = view(seed)
    composite, _ = with_foreground(background, seed)
    registered, same_view = register_background(background, composite)
    assert registered is background and same_view


@pytest.mark.parametrize("side", [64, 128, 256, 400])
@pytest.mark.parametrize("seed", range(5))
def test_a_motion_is_found_behind_a_foreground(seed: int, side: int) -> None:
    background = view(seed, side)
    composite, _ = with_foreground(background, seed)
    truth = drawn_motion(np.random.default_rng(seed), side)
    motion = find_motion(composite, moved(background, truth))
    assert corners_apart(motion, truth, side) < 0.5


@pytest.mark.parametrize("seed", range(10))
def test_a_motion_is_found_in_other_light_with_noise_and_jpeg(seed: int) -> None:
    rng = np.random.default_rng(seed)
    background = view(seed)
    composite, _ = with_foreground(background, seed)
    truth = drawn_motion(rng, SIDE)
    motion = find_motion(composite, in_other_light(moved(background, truth), rng))
    assert corners_apart(motion, truth, SIDE) < 1


@pytest.mark.parametrize("seed", range(5))
def test_a_registered_background_shows_what_lies_behind_the_foreground(seed: int) -> None:
    background = view(seed)
    composite, is_front = with_foreground(background, seed)
    other = moved(background, drawn_motion(np.random.default_rng(seed), SIDE))
    inside = ~is_front
    inside[[*range(8), *range(-8, 0)], :] = inside[:, [*range(8), *range(-8, 0)]] = False

    def apart(picture: np.ndarray) -> float:
        return float(np.abs(picture[inside].astype(float) - background[inside]).mean())

    assert apart(register_background(other, composite)[0]) < 0.25 * apart(other)


@pytest.mark.parametrize("seed", range(10))
def test_another_view_stays_where_it_is_and_is_black_for_a_comparison(seed: int) -> None:
    composite, _ = with_foreground(view(seed), seed)
    other = view(seed + 50)
    assert find_motion(composite, other) is None
    registered, same_view = register_background(other, composite)
    assert registered is other and same_view is False
    black, same_view = comparable_background(other, composite)
    assert black.shape == other.shape and not black.any() and same_view is False


@pytest.mark.parametrize("seed", range(10))
def test_for_a_comparison_the_same_view_is_registered(seed: int) -> None:
    background = view(seed)
    composite, _ = with_foreground(background, seed)
    other = moved(background, drawn_motion(np.random.default_rng(seed), SIDE))
    for one in (background, other):
        compared, registered = (
            of(one, composite) for of in (comparable_background, register_background)
        )
        assert np.array_equal(compared.background, registered.background)
        assert compared.same_view is registered.same_view is True


@pytest.mark.parametrize("seed", range(10))
def test_an_object_that_hides_half_of_the_view_makes_it_no_other(seed: int) -> None:
    background = view(seed)
    composite = background.copy()
    composite[:, : SIDE // 2] = view(seed + 1000)[:, : SIDE // 2]
    compared = comparable_background(background, composite)
    assert compared.background is background and compared.same_view is not False


@pytest.mark.parametrize("side", [1, 2, 8, 40])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_without_corners_stay_where_they_are(side: int, level: int) -> None:
    background = np.full((side, side, 3), level, np.uint8)
    composite = background.copy()
    composite[: side // 2, : side // 2] = 255 - level
    compared = comparable_background(background, composite)
    assert compared.background is background and compared.same_view is None


def test_the_same_pictures_give_the_same_motion() -> None:
    background = view(0)
    composite, _ = with_foreground(background, 0)
    other = moved(background, drawn_motion(np.random.default_rng(1), SIDE))
    cv2.setRNGSeed(7)
    first = find_motion(composite, other)
    cv2.setRNGSeed(99)
    assert np.array_equal(first, find_motion(composite, other))
