"""Soft solids made of blended parts, seen straight on: distance fields, sphere tracing, shading, anti-aliased alpha.

A figure is a list of parts, each a distance field (negative inside, about the distance to the surface outside) with its own
paint; neighbours may melt into each other. Units are free: the picture is fitted to what is drawn. x goes right, y away
from the viewer, z up. Rays are parallel, so a part only matters in the tiles of the picture that its bounds overlap.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from dsetkit.drawing.raycast import dot

Paint = Callable[[np.ndarray], np.ndarray]  # points (3, N) in the part's frame -> linear RGB (N, 3)

MAX_STEPS = 40
TILE = 64
STEP_SHARE = 0.9  # of the distance; the fields of tapered and turned shapes overstate it a little
OCCLUSION_REACH = 0.12


class Shape(Protocol):
    half: tuple[float, float, float]  # the shape lies within +-half of its frame's origin

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Ellipsoid:
    half: tuple[float, float, float]

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        a, b, c = self.half
        if a == b == c:
            return np.sqrt(x * x + y * y + z * z) - np.float32(a)
        x, y, z = x / a, y / b, z / c
        squared = x * x + y * y + z * z
        slope = np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2)
        length = np.sqrt(squared)
        return length * (length - 1) / np.maximum(slope, 1e-6)


@dataclass(frozen=True)
class Limb:
    """Along z: a rod of `length` with round ends of radius `low` and `high`."""

    length: float
    low: float
    high: float

    @property
    def half(self) -> tuple[float, float, float]:
        radius = max(self.low, self.high)
        return radius, radius, self.length / 2 + radius

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        share = np.clip(z / self.length + 0.5, 0, 1)
        beyond = z - (share - 0.5) * self.length
        return np.sqrt(x * x + y * y + beyond * beyond) - (self.low + (self.high - self.low) * share)


@dataclass(frozen=True)
class Slab:
    """A box with edges rounded by `radius`."""

    half: tuple[float, float, float]
    radius: float

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        x, y, z = (np.abs(c) - (h - self.radius) for c, h in zip((x, y, z), self.half, strict=True))
        inside = np.minimum(np.maximum(np.maximum(x, y), z), 0)
        x, y, z = np.maximum(x, 0), np.maximum(y, 0), np.maximum(z, 0)
        return np.sqrt(x * x + y * y + z * z) + inside - self.radius


@dataclass(frozen=True)
class Ring:
    """A torus around z."""

    radius: float
    thick: float

    @property
    def half(self) -> tuple[float, float, float]:
        return self.radius + self.thick, self.radius + self.thick, self.thick

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        across = np.sqrt(x * x + y * y) - self.radius
        return np.sqrt(across * across + z * z) - self.thick


@dataclass(frozen=True)
class Turned:
    """A shape from the lathe: radii at equal steps of z from -height/2 to height/2, joined by a smooth curve."""

    height: float
    radii: tuple[float, ...]

    @cached_property
    def _curve(self) -> np.ndarray:
        knots = np.arange(len(self.radii))
        fine = np.linspace(0, len(self.radii) - 1, 129)
        steps = np.interp(fine, knots, self.radii)
        kernel = np.hanning(2 * (128 // len(self.radii)) + 1)
        padded = np.pad(steps, kernel.size // 2, mode="reflect", reflect_type="odd")
        return np.convolve(padded, kernel / kernel.sum(), mode="valid").astype(np.float32)

    @cached_property
    def _shrink(self) -> np.float32:
        slope = np.abs(np.diff(self._curve)).max() * 128 / self.height
        return np.float32(1 / np.hypot(1, min(slope, 2)))

    @cached_property
    def half(self) -> tuple[float, float, float]:
        radius = float(self._curve.max())
        return radius, radius, self.height / 2

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        place = np.clip(z * (128 / self.height) + 64, 0, 127.99)
        step = place.astype(np.int32)
        low = self._curve[step]
        radius = low + (self._curve[step + 1] - low) * (place - step)
        side = (np.sqrt(x * x + y * y) - radius) * self._shrink
        return np.maximum(side, np.abs(z) - self.height / 2)


@dataclass(frozen=True)
class Part:
    """A shape in its place. `axes` (3, 3) has the part's own axes as columns.

    `blend` is how far it melts into the parts before it; a `cut` part is taken away from them instead.
    `gloss` 0..1 is the strength of its highlight, `opacity` 0..1 how much it hides, `glow` 0..1 its own light,
    `fur` the length of its hair.
    """

    shape: Shape
    paint: np.ndarray | Paint
    centre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    blend: float = 0.0
    cut: bool = False
    gloss: float = 0.2
    opacity: float = 1.0
    glow: float = 0.0
    fur: float = 0.0

    def colours(self, points: np.ndarray) -> np.ndarray:
        return self.paint(points) if callable(self.paint) else self.paint[None, :]


class _Placed(NamedTuple):
    """A part in the viewer's frame (right, up, towards): its extent, and how to get into its own frame."""

    part: Part
    centre: np.ndarray
    half: np.ndarray
    into: np.ndarray  # (3, 3): the viewer's axes in the part's frame


class _Field:
    """The union of parts along the rays of one tile."""

    def __init__(self, placed: list[_Placed], right: np.ndarray, up: np.ndarray):
        self._rays = []
        for part, centre, _, into in placed:
            if part.cut and not self._rays:
                continue  # nothing here to take it from
            start = (
                into[:, 0, None, None] * (right - centre[0])
                + into[:, 1, None, None] * (up - centre[1])[:, None]
                - (into[:, 2] * centre[2])[:, None, None]
            ).astype(np.float32)
            self._rays.append((part, start, into.tolist()))  # plain floats keep float32 what it is

    def distance(self, t: np.ndarray, offset: tuple[float, float] | np.ndarray = (0.0, 0.0)) -> np.ndarray:
        """At height `t` towards the viewer, moved by `offset` to the right and up."""
        total = None
        for part, start, into in self._rays:
            apart = part.shape.distance(*_inside(start, into, t, offset))
            total = apart if total is None else _join(part, total, apart)[0]
        return total

    def appearance(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear RGB (h, w, 3), and gloss, opacity, glow and fur (h, w, 4)."""
        total = None
        for part, start, into in self._rays:
            points = np.stack(_inside(start, into, t, (0.0, 0.0)))
            apart = part.shape.distance(*points)
            colours = np.broadcast_to(part.colours(points.reshape(3, -1)), (t.size, 3)).reshape(*t.shape, 3)
            look = np.float32([part.gloss, part.opacity, part.glow, part.fur])
            if total is None:
                total, paint, looks = apart, colours.astype(np.float32), np.broadcast_to(look, (*t.shape, 4))
                continue
            total, share = _join(part, total, apart)
            paint = paint + (colours - paint) * share[..., None]
            looks = looks + (look - looks) * share[..., None]
        return paint, looks


def _inside(start: np.ndarray, into: np.ndarray, t: np.ndarray, offset) -> list[np.ndarray]:
    """Coordinates of the tile's points in a part's frame."""
    right, up = offset
    return [s + (toward * t + (across * right + rise * up)) for s, (across, rise, toward) in zip(start, into, strict=True)]


def _join(part: Part, total: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field with `part` in it, and the part's share of the surface, 0..1."""
    if part.cut:
        return np.maximum(total, -apart), (-apart > total).astype(np.float32)
    if part.blend == 0:
        return np.minimum(total, apart), (apart < total).astype(np.float32)
    share = np.clip(0.5 + (total - apart) / (2 * part.blend), 0, 1)
    return total + (apart - total) * share - part.blend * share * (1 - share), share


class Picture(NamedTuple):
    """A drawn figure before it is made small, float32."""

    colour: np.ndarray  # (H, W, 3) linear RGB
    alpha: np.ndarray  # (H, W)
    normal: np.ndarray  # (H, W, 3) in the viewer's frame
    fur: np.ndarray  # (H, W) length of hair [px]


def view_axes(yaw: float, pitch: float) -> np.ndarray:
    """Rows right, up, towards of a viewer who walks round by `yaw` and looks down by `pitch` [rad]."""
    right = np.array([np.cos(yaw), np.sin(yaw), 0])
    away = np.array([-np.sin(yaw), np.cos(yaw), 0])
    up = np.array([0, 0, 1])
    return np.stack([right, np.cos(pitch) * up + np.sin(pitch) * away, np.sin(pitch) * up - np.cos(pitch) * away])


def render(parts: list[Part], *, view: np.ndarray, light: np.ndarray, size: int, margin: int) -> Picture:
    """Draw `parts` so that the longer side of the figure fills `size` pixels less `margin` on each side.

    Args:
        parts: drawn in order; blends and cuts act on the parts before.
        view: rows right, up, towards, from view_axes.
        light: (3,) towards the light, in the viewer's frame.
        size: longer side of the picture [px].
        margin: free border [px].
    """
    placed = [_place(part, view) for part in parts]
    low, high = _extent(placed)
    hair = max(part.fur for part in parts)
    low, high = low - hair, high + hair
    scale = float((high - low).max()) / (size - 2 * margin)  # units per pixel
    width, height = np.ceil((high - low) / scale).astype(int) + 2 * margin
    right = low[0] + (np.arange(width) - margin + 0.5) * scale
    up = high[1] - (np.arange(height) - margin + 0.5) * scale
    flat, deep = (height, width), (height, width, 3)
    picture = Picture(*(np.zeros(shape, np.float32) for shape in (deep, flat, deep, flat)))
    for row in range(0, height, TILE):
        for column in range(0, width, TILE):
            here = np.s_[row : row + TILE, column : column + TILE]
            drawn = _draw_tile(placed, right[here[1]], up[here[0]], light=light, scale=scale)
            if drawn is not None:
                for whole, part in zip(picture, drawn, strict=True):
                    whole[here] = part
    return picture


def _place(part: Part, view: np.ndarray) -> _Placed:
    axes = view @ part.axes
    return _Placed(part, view @ part.centre, np.abs(axes) @ np.array(part.shape.half) + part.blend / 4, axes.T)


def _extent(placed: list[_Placed]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (right, up) of what is seen, from a coarse look."""
    solid = [p for p in placed if not p.part.cut]
    low = np.min([p.centre - p.half for p in solid], axis=0)[:2]
    high = np.max([p.centre + p.half for p in solid], axis=0)[:2]
    step = (high - low).max() / 96
    right, up = np.arange(low[0], high[0] + step, step), np.arange(low[1], high[1] + step, step)
    _, nearest = _march(placed, right, up)
    touched = nearest < step / 2
    columns, rows = right[touched.any(axis=0)], up[touched.any(axis=1)]
    return (
        np.array([columns[0], rows[0]]) - step / 2,
        np.array([columns[-1], rows[-1]]) + step / 2,
    )


def _march(placed: list[_Placed], right: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go from the front until the surface is met.

    Returns the height of the closest approach and its distance, float32 (len(up), len(right)) each.
    """
    field = _Field(placed, right, up)
    front = np.float32(max(p.centre[2] + p.half[2] for p in placed))
    back = np.float32(min(p.centre[2] - p.half[2] for p in placed))
    precision = 0.1 * (right[1] - right[0])
    t = np.full((up.size, right.size), front, np.float32)
    best, nearest = t.copy(), np.full_like(t, np.inf)
    for _ in range(MAX_STEPS):
        distance = field.distance(t)
        closer = distance < nearest
        np.copyto(best, t, where=closer)
        np.copyto(nearest, distance, where=closer)
        t -= np.float32(STEP_SHARE) * np.maximum(distance, precision / 2)
        if not ((nearest > precision) & (t > back)).any():
            break
    return best, nearest


def _draw_tile(
    placed: list[_Placed], right: np.ndarray, up: np.ndarray, *, light: np.ndarray, scale: float
) -> Picture | None:
    """One tile, or None where there is nothing."""
    middle = np.array([right[0] + right[-1], up[0] + up[-1]]) / 2
    half = np.abs([right[-1] - right[0], up[-1] - up[0]]) / 2 + 2 * scale

    def touching(reach: float) -> list[_Placed]:
        return [p for p in placed if (np.abs(p.centre[:2] - middle) <= p.half[:2] + half + reach).all()]

    near = touching(0)
    if not any(not p.part.cut for p in near):
        return None
    t, nearest = _march(near, right, up)
    alpha = np.clip(0.5 - nearest / scale, 0, 1)
    alpha[nearest < 0.2 * scale] = 1
    if not alpha.any():
        return None
    field = _Field(touching(OCCLUSION_REACH), right, up)
    normal = _normal(field, t, scale)
    paint, looks = field.appearance(t)
    gloss, opacity, glow, fur = np.moveaxis(looks, -1, 0)
    shade = _shade(normal, _openness(field, t, normal), light)
    highlight = gloss * np.clip(normal @ _halfway(light), 0, 1) ** (8 + 60 * gloss)
    colour = paint * (shade * (1 - glow[..., None]) + 1.6 * glow[..., None]) + highlight[..., None]
    rim = np.clip(1 - normal[..., 2], 0, 1) ** 3
    opacity = opacity + (1 - opacity) * np.maximum(rim, np.minimum(highlight, 1))  # as glass: edges and glints hide more
    return Picture(colour, alpha * opacity, normal, fur / scale)


def _normal(field: _Field, t: np.ndarray, scale: float) -> np.ndarray:
    """Outward normals in the viewer's frame, from four samples at the corners of a tetrahedron."""
    normal = np.zeros((*t.shape, 3), np.float32)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        x, y, z = np.float32(corner) * np.float32(scale)
        normal += field.distance(t + z, (x, y))[..., None] * np.float32(corner)
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)


def _openness(field: _Field, t: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """1 on open surfaces, less in creases: how far the field falls behind two steps along the normal."""
    missing = np.zeros(t.shape, np.float32)
    for reach in (OCCLUSION_REACH / 3, OCCLUSION_REACH):
        x, y, z = np.moveaxis(normal * np.float32(reach), -1, 0)
        missing += (reach - field.distance(t + z, (x, y))) / reach
    return np.clip(1 - 0.4 * missing, 0.15, 1)


def _shade(normal: np.ndarray, openness: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Warm key light, cool sky, a little light from below and on the rim: (h, w, 3)."""
    key = np.clip((normal @ light + 0.15) / 1.15, 0, 1)[..., None] * np.float32([1.0, 0.95, 0.86])
    sky = (0.5 + 0.5 * normal[..., 1:2]) * np.float32([0.42, 0.46, 0.52])
    bounce = np.float32([0.16, 0.14, 0.12])
    rim = 0.18 * np.clip(1 - normal[..., 2:], 0, 1) ** 3
    open_share = openness[..., None]
    return key * (0.3 + 0.7 * open_share) + (sky + bounce + rim) * open_share


def _halfway(light: np.ndarray) -> np.ndarray:
    middle = light + np.array([0, 0, 1])
    return (middle / np.sqrt(dot(middle, middle))).astype(np.float32)
