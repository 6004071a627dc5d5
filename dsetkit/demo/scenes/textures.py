"""Procedural textures of floors, walls, cloth, furniture and pictures.

A texture is a function of surface coordinates in metres, so it looks the same at every image size:

    texture(u, v, footprint) -> float32 (N, 3), linear RGB
        u, v        float32 (N,), position on the surface [m]
        footprint   float32 (N,), width of one ray on the surface [m]; finer detail is faded out

Each public function below draws random properties from the generator and returns such a texture.
`base` and `second` are colours, linear RGB (3,); `palette` is a list of them.
"""

from collections.abc import Callable

import numpy as np

from dsetkit.demo.scenes.noise import cell_random, noise
from dsetkit.demo.scenes.palette import colour, mix, vary

Texture = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


# --- building blocks of textures ---------------------------------------------------------------


def _line(distance: np.ndarray, width: float, footprint: np.ndarray) -> np.ndarray:
    """Return the share of the footprint that a line covers, at `distance` from its middle."""
    spread = np.maximum(footprint, 1e-4)
    covered = np.clip((width / 2 - np.abs(distance)) / spread + 0.5, 0, 1)
    return covered * np.minimum(1, width / spread)


def _to_nearest(x: np.ndarray, step: float) -> np.ndarray:
    """Return the signed distance from the nearest multiple of `step` to `x`."""
    return x - step * np.round(x / step)


def _detail(footprint: np.ndarray, grain: float) -> np.ndarray:
    """Return the visibility of detail of size `grain`: 1, or less if the footprint is larger."""
    return np.clip(2 * grain / np.maximum(footprint, 1e-4), 0, 1)


def _tint(base: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Multiply a colour (3,) by a brightness per point (N,): float32 (N, 3)."""
    return (base[None, :] * np.clip(brightness, 0.05, 3)[:, None]).astype(np.float32)


def _shift(rng: np.random.Generator) -> np.ndarray:
    """Draw an offset of the noise along u and v, so that no two textures show the same part."""
    return rng.uniform(0, 50, 2).astype(np.float32)


# --- textures ----------------------------------------------------------------------------------


def plain(rng: np.random.Generator, base: np.ndarray, *, mottling: float = 0.03) -> Texture:
    """Paint, plaster or plastic: one colour with broad, faint clouds."""
    du, dv = _shift(rng)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        return _tint(base, 1 + mottling * noise(u + du, v + dv, texel=0.01))

    return texture


def wood(rng: np.random.Generator, base: np.ndarray, *, along: str = "u") -> Texture:
    """Wood with its grain along "u" or "v"."""
    du, dv = _shift(rng)
    texel = (0.03, 0.0015) if along == "u" else (0.0015, 0.03)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        grain = noise(u + du, v + dv, texel=texel) * _detail(footprint, 0.01)
        return _tint(base, 1 + 0.13 * grain)

    return texture


def planks(rng: np.random.Generator, base: np.ndarray) -> Texture:
    """Floor boards with staggered joints; each board has a tone of its own."""
    du, dv = _shift(rng)
    width, length = rng.uniform(0.08, 0.2), rng.uniform(0.7, 1.8)
    along_v = rng.random() < 0.5

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        along, across = (v, u) if along_v else (u, v)
        row = np.floor(across / width)
        along = along + length * cell_random(row, salt=1)
        board = np.floor(along / length)
        tone = 0.8 + 0.4 * cell_random(row, board)
        grain = noise(along + du, across + dv + 7 * tone, texel=(0.03, 0.002)) * _detail(
            footprint, 0.012
        )
        gap = np.maximum(
            _line(_to_nearest(across, width), 0.005, footprint),
            _line(_to_nearest(along, length), 0.005, footprint),
        )
        return _tint(base, (tone + 0.11 * grain) * (1 - 0.6 * gap))

    return texture


def tiles(
    rng: np.random.Generator, base: np.ndarray, second: np.ndarray, *, size: float
) -> Texture:
    """A chequerboard of square tiles of side `size` [m], with pale grout."""
    grout = mix(base, np.array([0.6, 0.58, 0.55], np.float32), 0.7)
    du, dv = _shift(rng)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        column, row = np.floor(u / size), np.floor(v / size)
        odd = ((column + row) % 2)[:, None]
        tone = 0.93 + 0.14 * cell_random(column, row) + 0.03 * noise(u + du, v + dv, texel=0.006)
        seam = np.maximum(
            _line(_to_nearest(u, size), 0.008, footprint),
            _line(_to_nearest(v, size), 0.008, footprint),
        )[:, None]
        return mix(mix(base, second, odd) * tone[:, None], grout, seam).astype(np.float32)

    return texture


def carpet(rng: np.random.Generator, base: np.ndarray) -> Texture:
    """A carpet with short pile: fine speckles and broad worn areas."""
    du, dv = _shift(rng)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        speckle = noise(u + du, v + dv, texel=0.0008) * _detail(footprint, 0.006)
        return _tint(base, 1 + 0.13 * speckle + 0.05 * noise(u + dv, v + du, texel=0.012))

    return texture


def fabric(rng: np.random.Generator, base: np.ndarray) -> Texture:
    """Woven cloth: crossed threads and soft creases."""
    du, dv = _shift(rng)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        threads = noise(u + du, v, texel=(0.02, 0.001)) + noise(u, v + dv, texel=(0.001, 0.02))
        creases = noise(u + dv, v + du, texel=0.01)
        return _tint(base, 1 + 0.07 * threads * _detail(footprint, 0.008) + 0.05 * creases)

    return texture


def brick(rng: np.random.Generator, base: np.ndarray) -> Texture:
    """Brickwork in running bond; each brick has a tone of its own."""
    du, dv = _shift(rng)
    width, height = 0.24, 0.08
    mortar = mix(base, np.array([0.55, 0.52, 0.48], np.float32), 0.8)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        row = np.floor(v / height)
        along = u + width / 2 * (row % 2)
        tone = (
            0.7
            + 0.5 * cell_random(np.floor(along / width), row)
            + 0.12 * noise(u + du, v + dv, texel=0.003)
        )
        seam = np.maximum(
            _line(_to_nearest(along, width), 0.012, footprint),
            _line(_to_nearest(v, height), 0.012, footprint),
        )[:, None]
        return mix(base * tone[:, None], mortar, seam).astype(np.float32)

    return texture


def stripes(
    rng: np.random.Generator, base: np.ndarray, second: np.ndarray, *, width: float
) -> Texture:
    """Upright stripes of `width` [m], for wallpaper and curtains."""
    du, dv = _shift(rng)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        share = _line(_to_nearest(u + du, 2 * width), width, footprint)[:, None]
        return mix(base, second, share) * (1 + 0.02 * noise(u, v + dv, texel=0.01))[:, None]

    return texture


def motifs(
    rng: np.random.Generator, base: np.ndarray, second: np.ndarray, *, step: float
) -> Texture:
    """Wallpaper with flowers in a diamond lattice of pitch `step` [m]."""
    petals, phase = int(rng.integers(3, 7)), rng.uniform(0, 6)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        row = np.round(v / step)
        x, y = _to_nearest(u + step / 2 * (row % 2), step), v - row * step
        edge = step * (0.24 + 0.07 * np.cos(petals * np.arctan2(y, x) + phase))
        share = np.clip((edge - np.hypot(x, y)) / np.maximum(footprint, 1e-3) + 0.5, 0, 1)
        return mix(base, second, 0.7 * share[:, None]).astype(np.float32)

    return texture


def rug(rng: np.random.Generator, palette: list[np.ndarray], size: tuple[float, float]) -> Texture:
    """A rug of (width, length) `size` [m]: a lattice of diamonds inside two borders."""
    first, second, third = (palette[i] for i in rng.permutation(len(palette))[:3])
    border, step = rng.uniform(0.08, 0.2), rng.uniform(0.15, 0.4)
    pile = carpet(rng, np.ones(3, np.float32))

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        edge = np.minimum(np.minimum(u, size[0] - u), np.minimum(v, size[1] - v))
        diamond = np.abs(_to_nearest(u, step)) + np.abs(_to_nearest(v, step))
        share = np.clip((0.3 * step - diamond) / np.maximum(footprint, 1e-3) + 0.5, 0, 1)
        field = mix(first, second, share[:, None])
        field = np.where((edge < 2 * border)[:, None], third, field)
        field = np.where((edge < border)[:, None], second, field)
        return field * pile(u, v, footprint)

    return texture


def framed(rng: np.random.Generator, canvas: Texture, size: tuple[float, float]) -> Texture:
    """`canvas` with a pale mount and a frame; `size` is (width, height) with the frame [m]."""
    wood = colour("#2b2420") if rng.random() < 0.5 else colour("#c8b48a")

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        edge = np.minimum(np.minimum(u, size[0] - u), np.minimum(v, size[1] - v))[:, None]
        mounted = np.where(edge < 0.09, np.float32(0.8), canvas(u, v, footprint))
        return np.where(edge < 0.035, wood, mounted).astype(np.float32)

    return texture


def abstract(rng: np.random.Generator, palette: list[np.ndarray]) -> Texture:
    """An abstract painting: fields of colour with wavy borders."""
    shades = np.stack([palette[i] for i in rng.permutation(len(palette))])
    du, dv = _shift(rng)
    texel_u, texel_v = rng.uniform(0.012, 0.04, 2)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        level = noise(u + du, v + dv, texel=(texel_u, texel_v)) * 1.3 + len(shades) / 2
        return shades[np.clip(level, 0, len(shades) - 1).astype(int)]

    return texture


def landscape(
    rng: np.random.Generator, palette: list[np.ndarray], size: tuple[float, float]
) -> Texture:
    """A painted landscape, (width, height) `size` [m]: sky, sun and three ranges of hills."""
    sky, *hills = (palette[i] for i in rng.permutation(len(palette))[:4])
    sun = rng.uniform(0.2, 0.8) * size[0], rng.uniform(0.6, 0.8) * size[1]
    shift = rng.uniform(0, 50, 3)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        height = (v / size[1])[:, None]
        canvas = mix(mix(sky, np.ones(3), 0.6), sky, height)
        disc = np.hypot(u - sun[0], v - sun[1]) < 0.1 * min(size)
        canvas = np.where(disc[:, None], colour("#fff0c8"), canvas)
        for i, hill in enumerate(hills):
            ridge = (
                0.55 - 0.16 * i + 0.1 * noise(u / size[0] + shift[i], np.zeros_like(u), texel=0.015)
            )
            canvas = np.where(height < ridge[:, None], hill, canvas)
        return canvas.astype(np.float32)

    return texture


def panels(
    rng: np.random.Generator,
    base: np.ndarray,
    size: tuple[float, float],
    *,
    columns: int,
    rows: int,
    knobs: bool = True,
) -> Texture:
    """A furniture front, (width, height) `size` [m], that grooves divide into doors or drawers."""
    grain = wood(rng, base)
    knob = colour("#d8d2c4") if base.mean() < 0.3 else colour("#4a4038")

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        step_u, step_v = size[0] / columns, size[1] / rows
        groove = np.maximum(
            _line(_to_nearest(u, step_u), 0.012, footprint),
            _line(_to_nearest(v, step_v), 0.012, footprint),
        )
        x, y = _to_nearest(u - step_u / 2, step_u), _to_nearest(v - step_v / 2, step_v)
        inset = np.minimum(step_u / 2 - np.abs(x), step_v / 2 - np.abs(y))
        rim = _line(inset - 0.05, 0.01, footprint)
        face = grain(u, v, footprint) * (1 - 0.7 * groove - 0.25 * rim)[:, None]
        if knobs:
            face = np.where((np.hypot(x, y) < 0.018)[:, None], knob, face)
        return face.astype(np.float32)

    return texture


def books(rng: np.random.Generator, palette: list[np.ndarray]) -> Texture:
    """A row of book spines with pale title bands."""
    shades = np.stack([vary(rng, base, 0.3) for base in palette * 3])
    width, salt = rng.uniform(0.022, 0.045), int(rng.integers(1000))

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        book = np.floor(u / width)
        spine = shades[(cell_random(book, salt=salt) * len(shades)).astype(int)]
        gap = _line(_to_nearest(u, width), 0.004, footprint)
        band = 0.35 * (np.abs(v - 0.12 - 0.1 * cell_random(book, 1, salt=salt)) < 0.012)
        return mix(spine, np.float32(0.8), band[:, None]) * (1 - 0.7 * gap)[:, None]

    return texture


def view(rng: np.random.Generator, size: tuple[float, float], *, night: bool) -> Texture:
    """The view through a window, (width, height) `size` [m]: sky, trees, the bars of the frame."""
    top, low, trees = (
        colour(code)
        for code in (
            ("#0d1426", "#26304a", "#0b100c") if night else ("#9cc4ea", "#eef4f6", "#7f9a72")
        )
    )
    columns, shift = int(rng.integers(1, 4)), rng.uniform(0, 50)
    bar = np.array([0.85, 0.85, 0.82], np.float32) * (0.25 if night else 1)

    def texture(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        height = v / size[1]
        scene = mix(low, top, height[:, None])
        ridge = 0.3 + 0.05 * noise(u + shift, np.zeros_like(u), texel=0.02)
        scene = np.where((height < ridge)[:, None], trees, scene)
        edge = np.minimum(np.minimum(u, size[0] - u), np.minimum(v, size[1] - v))
        bars = np.maximum(
            _line(_to_nearest(u, size[0] / columns), 0.05, footprint), _line(edge, 0.12, footprint)
        )
        return mix(scene, bar, bars[:, None]).astype(np.float32)

    return texture


def with_skirting(texture: Texture, board: np.ndarray, *, height: float) -> Texture:
    """`texture` with a skirting board of colour `board`, `height` metres high, along v = 0."""

    def skirted(u: np.ndarray, v: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        covered = np.clip((height - v) / np.maximum(footprint, 1e-3) + 0.5, 0, 1)[:, None]
        return mix(texture(u, v, footprint), board, covered)

    return skirted
