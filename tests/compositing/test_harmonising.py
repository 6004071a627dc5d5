"""The look of cut-outs: each part does what it says, and only that; its bits never change."""

import pickle

import numpy as np
import pytest
import xxhash

from dsetkit.compositing.compositor import COMPOSITED, Compositor, compositing_fingerprint
from dsetkit.compositing.harmonising import CAST, GAINS, MOST_NOISE, SHIFT, Harmoniser
from dsetkit.compositing.looks import (
    BLUR_STEPS,
    BYTES_DEVIATION,
    NOISE_STEPS,
    blurred,
    random_levels,
    shade,
    with_look,
)
from dsetkit.compositing.placing import ForegroundPyramid, premultiply
from dsetkit.compositing.randomness import uniform
from dsetkit.compositing.recipe import Canvas
from dsetkit.compositing.standing import Standing
from dsetkit.errors import DsetkitError
from dsetkit.store import (
    EFFECTS,
    HARMONISED,
    Colour,
    Look,
    Noise,
    PlacedObject,
    Record,
    Shadow,
    unpack_record,
)
from dsetkit.store.records import pack_record
from tests.helpers.rooms import room
from tests.helpers.worlds import draw_background, draw_foreground

SIDE = 96
BOX = (20, 24, 48, 60)


def textured(seed: int, mean: float, spread: float, height: int, width: int) -> np.ndarray:
    """Edges all over, uint8 (height,width,3) RGB, grey."""
    rng = np.random.default_rng(seed)
    squares = rng.normal(mean, spread, (height // 4 + 1, width // 4 + 1))
    grey = squares.repeat(4, 0).repeat(4, 1)[:height, :width, None]
    return np.rint(np.repeat(grey, 3, 2)).clip(0, 255).astype(np.uint8)


def look_of(scene: np.ndarray, colours: np.ndarray, *names: str, index: int = 0) -> Look:
    """The look of an opaque cut-out, uint8 (h,w,3), in BOX before a background."""
    cut_out = np.dstack([colours, np.full(colours.shape[:2], 255, np.uint8)])
    pyramid = ForegroundPyramid.build(cut_out)
    finder = Harmoniser(
        names, seed=1, background=lambda number: scene, pyramid=lambda number: pyramid
    )
    placed = PlacedObject(foreground=0, flip=False, box=BOX)
    return finder.look(placed, 0, index=index, order=0)


def applied(cut_out: np.ndarray, look: Look, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    x, y = BOX[:2]
    box = (x, y, cut_out.shape[1], cut_out.shape[0])
    return with_look(cut_out, look, box=box, size=size, canvas=(SIDE, SIDE))


# ---- applying ----------------------------------------------------------------------------------


def test_a_plain_look_changes_nothing() -> None:
    cut_out = premultiply(draw_foreground(1, 60, 48))
    assert np.array_equal(applied(cut_out, Look()), cut_out)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [(SIDE, SIDE), (40, 150)])
def test_colours_never_exceed_alpha(seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    cut_out = premultiply(rng.integers(0, 256, (30, 21, 4), np.uint8))
    look = Look(
        colour=Colour(
            gain=int(rng.integers(0, 1025)), shift=tuple(rng.integers(-1024, 1025, 3).tolist())
        ),
        blur=int(rng.integers(0, 300)),
        noise=Noise(deviation=int(rng.integers(0, 4097)), key=int(rng.integers(2**32))),
    )
    result = applied(cut_out, look, size)
    assert result.dtype == np.uint8 and result.shape == cut_out.shape
    assert (result[..., :3] <= result[..., 3:]).all()


def test_only_blur_changes_alpha() -> None:
    cut_out = premultiply(draw_foreground(1, 60, 48))
    look = Look(colour=Colour(gain=300, shift=(9, -9, 20)), noise=Noise(deviation=60, key=5))
    assert np.array_equal(applied(cut_out, look)[..., 3], cut_out[..., 3])
    assert not np.array_equal(applied(cut_out, Look(blur=64))[..., 3], cut_out[..., 3])


@pytest.mark.parametrize("variance", [5, 64, 150, 192])
def test_a_blur_has_the_variance_that_it_says(variance: int) -> None:
    impulse = np.zeros((31, 31), np.int32)
    impulse[15, 15] = 1 << 20
    spread = blurred(impulse, (0, variance))[15].astype(float)
    assert abs(spread.sum() / (1 << 20) - 1) < 1e-3
    found = (spread * (np.arange(31) - 15) ** 2).sum() / spread.sum()
    assert abs(found - variance / BLUR_STEPS) < 0.01


def test_a_blur_shrinks_with_the_picture() -> None:
    edge = np.zeros((40, 40, 4), np.uint8)
    edge[:, 20:] = 255
    whole, half = (applied(edge, Look(blur=128), (side, side)) for side in (SIDE, SIDE // 2))
    steps = [np.abs(np.diff(one[20, 10:30, 3].astype(int))).max() for one in (whole, half)]
    assert steps[0] < steps[1] < 255


def test_noise_is_nearly_normal_and_of_the_deviation_that_it_says() -> None:
    levels = random_levels(3, np.arange(100_000))
    assert abs(levels.mean()) < 3 and abs(levels.std() / BYTES_DEVIATION - 1) < 0.01
    assert 0.25 < np.mean(np.abs(levels) < BYTES_DEVIATION / 3) < 0.27  # normal: 0.261
    cut_out = np.full((90, 90, 4), 255, np.uint8)
    cut_out[..., :3] = 128
    noisy = applied(cut_out, Look(noise=Noise(deviation=4 * NOISE_STEPS, key=8)))
    assert abs(noisy[..., 0].std() / 4 - 1) < 0.05 and abs(noisy[..., 0].mean() - 128) < 0.2
    other = applied(cut_out, Look(noise=Noise(deviation=4 * NOISE_STEPS, key=9)))
    assert np.abs(np.corrcoef(noisy[..., 0].ravel(), other[..., 0].ravel())[0, 1]) < 0.05


def test_a_shadow_darkens_only_the_floor_and_most_at_the_foot() -> None:
    depth = room(SIDE)
    plane = int(depth[80, 60])
    image = np.full((SIDE, SIDE, 3), 200, np.uint8)
    shadow = Shadow(x=60, y=80, across=30, down=12, strength=128)
    shade(image, shadow, depth=depth, plane=plane, canvas=(SIDE, SIDE))
    darker = image[..., 0] < 200
    assert image[80, 60, 0] == image.min() and abs(int(image.min()) - 100) <= 2
    assert np.array_equal(np.nonzero(darker.any(1))[0][[0, -1]] >= 68, [True, True])
    off = (depth < 0.84 * plane) | (depth > 1.19 * plane)
    assert darker.sum() > 300 and not darker[off].any()
    assert not darker[:, :30].any() and not darker[:, 90:].any()


# ---- finding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [60, 110, 190])
def test_brightness_goes_towards_the_surroundings_within_limits(mean: int) -> None:
    scene, mine = textured(0, 120, 25, SIDE, SIDE), textured(1, mean, 25, 60, 48)
    look = look_of(scene, mine, "colour")
    assert look == Look(colour=look.colour)  # nothing else
    after = applied(np.dstack([mine, np.full((60, 48), 255, np.uint8)]), look)[..., :3]
    moved, wanted = after.mean() - mine.mean(), scene.mean() - mine.mean()
    assert abs(moved - np.clip(wanted / 2, -SHIFT, SHIFT)) < 3


@pytest.mark.parametrize("spread", [5, 30, 60])
def test_contrast_goes_towards_the_surroundings_within_limits(spread: int) -> None:
    scene, mine = textured(0, 128, 30, SIDE, SIDE), textured(1, 128, spread, 60, 48)
    gain = look_of(scene, mine, "colour").colour.gain
    assert GAINS[0] <= gain <= GAINS[1]
    assert (gain > 256) == (spread < 20) or abs(gain - 256) < 15


def test_a_cast_goes_towards_the_surroundings_within_limits() -> None:
    scene = textured(0, 120, 20, SIDE, SIDE)
    warm = (scene * np.array([1.3, 1.0, 0.6])).clip(0, 255).astype(np.uint8)
    mine = textured(1, 120, 20, 60, 48)
    red, green, blue = look_of(warm, mine, "colour").colour.shift
    assert red > green > blue and red - blue <= 2 * CAST


def test_what_looks_like_its_surroundings_keeps_its_look() -> None:
    scene = textured(0, 120, 25, SIDE, SIDE)
    look = look_of(scene, scene[24:84, 20:68], "colour", "blur", "noise")
    assert abs(look.colour.gain - 256) <= 8 and max(map(abs, look.colour.shift)) <= 5
    assert look.noise is None
    assert look.blur <= BLUR_STEPS // 8


@pytest.mark.parametrize("sigma", [0.7, 1.0])
def test_a_soft_background_blurs_and_a_sharp_one_does_not(sigma: float) -> None:
    import cv2

    sharp, mine = textured(0, 120, 40, SIDE, SIDE), textured(1, 120, 40, 60, 48)
    soft = cv2.GaussianBlur(sharp, (0, 0), sigma)
    assert look_of(sharp, mine, "blur").blur <= BLUR_STEPS // 8
    blur = look_of(soft, mine, "blur").blur
    assert 0.6 < np.sqrt(blur / BLUR_STEPS) / sigma < 1.4


def test_a_background_without_edges_tells_nothing_of_blur() -> None:
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    assert look_of(flat, textured(1, 120, 40, 60, 48), "blur").blur == 0


@pytest.mark.parametrize("deviation", [2, 4])
def test_noise_is_that_of_the_surroundings_and_other_in_each_sample(deviation: int) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, deviation, (SIDE, SIDE, 1))
    scene = np.rint(draw_background(0, SIDE) * 0.6 + 40 + noise).clip(0, 255).astype(np.uint8)
    mine = np.full((60, 48, 3), 120, np.uint8)
    looks = [look_of(scene, mine, "noise", index=index) for index in range(3)]
    assert abs(looks[0].noise.deviation / NOISE_STEPS / deviation - 1) < 0.35
    assert len({look.noise.key for look in looks}) == 3
    left = look_of(scene, scene[24:84, 20:68], "noise").noise
    assert left is None or left.deviation < NOISE_STEPS * deviation / 1.5
    wild = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    assert look_of(wild, mine, "noise").noise.deviation == MOST_NOISE


def test_a_shadow_lies_under_the_foot_and_is_no_part_of_the_mask() -> None:
    pixels = {
        "backgrounds": [np.full((SIDE, SIDE, 3), 180, np.uint8)],
        "foregrounds": [draw_foreground(0, 60, 48)],
        "depths": [room(SIDE)],
    }
    compositor = Compositor(lambda kind, number: pixels[kind][number], (SIDE, SIDE))
    finder = Harmoniser(
        ("shadow",), seed=0, background=compositor.background, pyramid=compositor.pyramid
    )
    placed = PlacedObject(
        foreground=0, flip=False, box=BOX, plane=int(room(SIDE)[83, 44]), occluded=True
    )
    look = finder.look(placed, 0, index=5, order=0)
    assert look.shadow is not None and (look.shadow.x, look.shadow.y) == (44, 83)
    shaded = PlacedObject(
        foreground=0, flip=False, box=BOX, plane=placed.plane, occluded=True, look=look
    )
    names = ("depth", "instances")
    plain, dark = (compositor.fields(Record(0, (one,), {}), names) for one in (placed, shaded))
    for name in ("mask", "depth", "instances"):
        assert np.array_equal(plain[name], dark[name])
    darker = (dark["composite"] < plain["composite"]).any(-1)
    assert darker.any() and not (dark["composite"] > plain["composite"]).any()
    assert not darker[plain["mask"] == 255].any() and not darker[: BOX[1] + 40].any()


def test_nothing_is_told_of_a_cut_out_of_few_pixels() -> None:
    scene = textured(0, 120, 40, SIDE, SIDE)
    thin = np.zeros((60, 48, 4), np.uint8)
    thin[:, 20] = 255
    pyramid = ForegroundPyramid.build(thin)
    finder = Harmoniser(
        HARMONISED[:3], seed=0, background=lambda number: scene, pyramid=lambda number: pyramid
    )
    placed = PlacedObject(foreground=0, flip=False, box=BOX)
    assert finder.look(placed, 0, index=0, order=0) == Look()


# ---- all of it ---------------------------------------------------------------------------------


def test_every_effect_has_a_fingerprint_of_its_own() -> None:
    effects = [(), *((name,) for name in EFFECTS), EFFECTS]
    assert len({compositing_fingerprint(COMPOSITED, one) for one in effects}) == len(effects)


def test_the_bits_never_change() -> None:
    # If they do, datasets of recipes with looks cannot be read any more.
    values = (uniform(0, 9, np.arange(40 * 40 * 4)) * 256).astype(np.uint8).reshape(40, 40, 4)
    colour, noise = Colour(gain=300, shift=(-20, 5, 11)), Noise(deviation=40, key=7)
    look = Look(colour=colour, blur=90, noise=noise)
    shaded = values[..., :3].copy()
    shadow = Shadow(x=20, y=30, across=12, down=5, strength=120)
    depth = np.full((40, 40), 2000, np.uint16)
    shade(shaded, shadow, depth=depth, plane=2000, canvas=(40, 40))
    colours = values[..., :3].astype(int) * values[..., 3:] // 255
    held = applied(np.dstack([colours.astype(np.uint8), values[..., 3]]), look)
    found = [xxhash.xxh3_64_hexdigest(one.tobytes()) for one in (held, shaded)]
    assert found == ["beb7f5d4afc8a3fa", "5b2507d4aba4dd3d"]


@pytest.mark.parametrize(
    ("harmonise", "placement"), [(("glow",), "scene"), (("blur", "blur"), "scene"),
                                 (("shadow",), "uniform"), (("shadow",), "grid")]
)  # fmt: skip
def test_what_cannot_be_matched_is_refused(harmonise: tuple, placement: str) -> None:
    standing = Standing() if placement == "scene" else None
    with pytest.raises(DsetkitError, match="--harmonise"):
        Canvas(harmonise=harmonise, placement=placement, standing=standing)


def test_a_record_from_another_process_is_the_same_bytes() -> None:
    whole = Look(
        colour=Colour(gain=256, shift=(0, 0, 0)),
        noise=Noise(deviation=16, key=2**31),
        shadow=Shadow(x=0, y=1, across=2, down=3, strength=0),
    )
    for look in (None, Look(), Look(blur=300), whole):
        placed = PlacedObject(
            foreground=0, flip=False, box=BOX, plane=300, occluded=True, look=look
        )
        record = Record(0, (placed,), {}, 7)
        again = pickle.loads(pickle.dumps(record))
        assert pack_record(again, b"key") == pack_record(record, b"key")
        assert unpack_record(pack_record(record, b"key"), b"key") == record
