"""Pictures of soft solids: parallel rays walk to the surface, then light and an anti-aliased alpha.

A ray walks by the distance field, for nothing can be nearer than the field says. As rays are
parallel, a part matters only in the tiles of the picture that its extent overlaps. A ray that
misses by less than a pixel still counts a little: that is the soft edge.

The viewer's axes are right, up and towards; `t` is the height along the last.
"""

from typing import NamedTuple

import numpy as np

from dsetkit.demo.scenes.solids import Part

MAX_STEPS = 64
TILE_PX = 96
STEP_SHARE = 0.9  # the fields of tapered and flat shapes overstate the distance a little
LEAST_STEP_PX = 1.5  # so that rays get past what they only graze
HIT_PX = 0.1
OCCLUSION_REACH = 0.1


class Picture(NamedTuple):
    """A drawn figure, float32."""

    colour: np.ndarray  # (H, W, 3) linear RGB
    alpha: np.ndarray  # (H, W)
    normal: np.ndarray  # (H, W, 3) right, up, towards
    fur: np.ndarray  # (H, W) length of hair [px]


class _Placed(NamedTuple):
    """A part as the viewer sees it."""

    part: Part
    centre: np.ndarray
    reach: np.ndarray  # half of its extent
    into: np.ndarray  # (3, 3), from the viewer's axes to the part's


def view_axes(yaw: float, pitch: float) -> np.ndarray:
    """Axes (rows) of a viewer who walks round by `yaw` and looks down by `pitch` [rad]."""
    right = np.array([np.cos(yaw), np.sin(yaw), 0])
    away = np.array([-np.sin(yaw), np.cos(yaw), 0])
    up = np.array([0, 0, 1])
    risen = np.cos(pitch) * up + np.sin(pitch) * away
    towards = np.sin(pitch) * up - np.cos(pitch) * away
    return np.stack([right, risen, towards])


def render(
    parts: list[Part], *, view: np.ndarray, light: np.ndarray, size: int, margin: int
) -> Picture:
    """Draw `parts` so large that the figure's longer side fills `size`, less a margin.

    Args:
        parts: in order; blends and cuts act on the parts before.
        view: (3, 3), from view_axes.
        light: (3,) unit vector towards the light, on the viewer's axes.
        size: longer side of the picture [px].
        margin: free border on each side [px].
    """
    placed = [_place(part, view) for part in parts]
    low = np.min([p.centre - p.reach for p in placed if not p.part.cut], axis=0)[:2]
    high = np.max([p.centre + p.reach for p in placed if not p.part.cut], axis=0)[:2]
    scale = float((high - low).max()) / (size - 2 * margin)  # units per pixel
    width, height = np.ceil((high - low) / scale - 1e-6).astype(int) + 2 * margin
    right = low[0] + (np.arange(width) - margin + 0.5) * scale
    up = high[1] - (np.arange(height) - margin + 0.5) * scale
    flat, deep = (height, width), (height, width, 3)
    picture = Picture(*(np.zeros(shape, np.float32) for shape in (deep, flat, deep, flat)))
    for row, column in np.ndindex(-(-height // TILE_PX), -(-width // TILE_PX)):
        rows = slice(row * TILE_PX, (row + 1) * TILE_PX)
        columns = slice(column * TILE_PX, (column + 1) * TILE_PX)
        tile = Picture(*(whole[rows, columns] for whole in picture))  # views
        _draw_tile(tile, placed, right[columns], up[rows], light=light, scale=scale)
    return picture


def _place(part: Part, view: np.ndarray) -> _Placed:
    axes = view @ part.axes
    reach = part.shape.reach(axes) + part.blend / 4 + part.fur
    return _Placed(part, view @ part.centre, reach, axes.T)


def _draw_tile(
    tile: Picture,
    placed: list[_Placed],
    right: np.ndarray,
    up: np.ndarray,
    *,
    light: np.ndarray,
    scale: float,
) -> None:
    """Fill the tile at these coordinates with what is there."""
    near = _touching(placed, right, up, margin=2 * scale)
    if all(p.part.cut for p in near):
        return
    front = max(p.centre[2] + p.reach[2] for p in near)
    back = min(p.centre[2] - p.reach[2] for p in near)
    t, distance = _march(_Field.of(near, right, up), front, back, scale=scale)
    cover = np.where(distance <= HIT_PX * scale, 1, np.clip(0.5 - distance / scale, 0, 1))
    seen = cover > 0
    if not seen.any():
        return
    field = _Field.of(_touching(placed, right, up, margin=2 * OCCLUSION_REACH), right, up)
    colour, opacity, normal, fur = _look(field.only(seen), t[seen], light=light, scale=scale)
    seen = seen.reshape(tile.alpha.shape)
    tile.colour[seen] = colour
    tile.alpha[seen] = cover[cover > 0] * opacity
    tile.normal[seen] = normal
    tile.fur[seen] = fur / scale


def _look(
    field: "_Field", t: np.ndarray, *, light: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colour (N, 3), opacity (N,), normal (N, 3) and fur (N,) of the surface at heights `t`."""
    normal = _normal(field, t, scale)
    paint, looks = field.appearance(t)
    gloss, opacity, glow, fur = looks.T[..., None]
    middle = light + [0, 0, 1]
    facing = np.clip(normal @ (middle / np.linalg.norm(middle)), 0, 1)[:, None]
    highlight = gloss * facing ** (8 + 60 * gloss)
    edge = np.clip(1 - normal[:, 2:], 0, 1) ** 3
    shade = _shade(normal, _openness(field, t, normal), light) + 0.12 * edge
    colour = paint * (shade * (1 - glow) + 1.6 * glow) + highlight
    # Like glass, a part that lets light through hides most at its edges and glints.
    opacity = opacity + (1 - opacity) * np.maximum(edge, np.minimum(highlight, 1))
    return colour, opacity[:, 0], normal, fur[:, 0]


def _touching(
    placed: list[_Placed], right: np.ndarray, up: np.ndarray, *, margin: float
) -> list[_Placed]:
    """The parts whose extent comes within `margin` of a tile."""
    first, last = np.array([right[0], up[-1]]), np.array([right[-1], up[0]])
    middle, half = (first + last) / 2, (last - first) / 2 + margin
    return [p for p in placed if (np.abs(p.centre[:2] - middle) <= p.reach[:2] + half).all()]


def _march(
    field: "_Field", front: float, back: float, *, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Walk from the front until the surface is met, or the back passed.

    Returns the height of the closest approach and the distance there, float32 (N,) each.
    """
    t = np.full(field.count, front, np.float32)
    closest, nearest = t.copy(), np.full_like(t, np.inf)
    walking = np.arange(t.size)
    for _ in range(MAX_STEPS):
        distance = field.distance(t)
        so_far = nearest[walking]
        closer = (distance < so_far) & (so_far > HIT_PX * scale)
        closest[walking[closer]] = t[closer]
        nearest[walking[closer]] = distance[closer]
        t -= np.maximum(STEP_SHARE * distance, LEAST_STEP_PX * scale)
        go_on = (nearest[walking] > HIT_PX * scale) & (t > back)
        left = np.count_nonzero(go_on)
        if left == 0:
            break
        if left < 0.7 * t.size:  # often enough to pay for the copies
            walking, t, field = walking[go_on], t[go_on], field.only(go_on)
    return closest - np.minimum(nearest, 0), nearest  # back out where the last step went in


class _Field:
    """The union of parts along some rays."""

    def __init__(self, rays: list[tuple[Part, np.ndarray, list[list[float]]]]):
        self._rays = rays  # per part: the part, the rays' start (3, N) and axes in its frame

    @classmethod
    def of(cls, placed: list[_Placed], right: np.ndarray, up: np.ndarray) -> "_Field":
        """For every ray of a tile, row by row."""
        rays = []
        for part, centre, _, into in placed:
            if part.cut and not rays:
                continue  # nothing here to take it from
            start = (
                into[:, 0, None, None] * (right - centre[0])
                + into[:, 1, None, None] * (up - centre[1])[:, None]
                - (into[:, 2] * centre[2])[:, None, None]
            )
            # Plain floats for the axes: they leave float32 arrays float32.
            rays.append((part, start.astype(np.float32).reshape(3, -1), into.tolist()))
        return cls(rays)

    @property
    def count(self) -> int:
        return self._rays[0][1].shape[1]

    def only(self, chosen: np.ndarray) -> "_Field":
        """Without the rays that are not `chosen`, bool (N,)."""
        return _Field([(part, start[:, chosen], into) for part, start, into in self._rays])

    def distance(
        self, t: np.ndarray, aside: tuple[np.ndarray, np.ndarray] | None = None
    ) -> np.ndarray:
        """At heights `t` (N,), moved `aside` to the right and up."""
        total = None
        for part, start, into in self._rays:
            apart = part.shape.distance(*_points(start, into, t, aside))
            total = apart if total is None else _join(part, total, apart)[0]
        return total

    def appearance(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear RGB (N, 3), and gloss, opacity, glow and fur (N, 4)."""
        total = np.full_like(t, np.inf)
        paint, looks = np.zeros((t.size, 3), np.float32), np.zeros((t.size, 4), np.float32)
        for part, start, into in self._rays:
            points = np.stack(_points(start, into, t))
            total, share = _join(part, total, part.shape.distance(*points))
            seen = np.flatnonzero(share)
            if seen.size:
                share = share[seen, None]
                paint[seen] += (part.colours(points[:, seen]) - paint[seen]) * share
                look = np.float32([part.gloss, part.opacity, part.glow, part.fur])
                looks[seen] += (look - looks[seen]) * share
        return paint, looks


def _points(
    start: np.ndarray,
    into: list[list[float]],
    t: np.ndarray,
    aside: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Where the rays are in the frame of a part: x, y, z."""
    points = [s + along * t for s, (_, _, along) in zip(start, into, strict=True)]
    if aside is None:
        return points
    right, up = aside
    return [p + (r * right + u * up) for p, (r, u, _) in zip(points, into, strict=True)]


def _join(part: Part, total: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field with `part` in it, and the part's share of the surface, 0..1."""
    if part.cut:
        return np.maximum(total, -apart), (-apart > total).astype(np.float32)
    if part.blend == 0:
        return np.minimum(total, apart), (apart < total).astype(np.float32)
    gap = np.minimum(total - apart, 2 * part.blend)  # finite, even where there was nothing yet
    share = np.clip(0.5 + gap / (2 * part.blend), 0, 1)
    return apart + gap * (1 - share) - part.blend * share * (1 - share), share


def _normal(field: _Field, t: np.ndarray, scale: float) -> np.ndarray:
    """Outward normals, from the field at the corners of a tetrahedron."""
    normal = np.zeros((t.size, 3), np.float32)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        right, up, towards = (scale * sign for sign in corner)
        normal += field.distance(t + towards, (right, up))[:, None] * np.float32(corner)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def _openness(field: _Field, t: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """1 on open surfaces, less in creases, where the field grows too slowly along the normal."""
    missing = np.zeros(t.shape, np.float32)
    for reach in (OCCLUSION_REACH / 3, OCCLUSION_REACH):
        right, up, towards = normal.T * reach
        missing += 1 - field.distance(t + towards, (right, up)) / reach
    return np.clip(1 - 0.4 * missing, 0.15, 1)[:, None]


def _shade(normal: np.ndarray, openness: np.ndarray, light: np.ndarray) -> np.ndarray:
    """A warm key light, a cool sky and a little light from below: (N, 3)."""
    key = np.clip((normal @ light + 0.15) / 1.15, 0, 1)[:, None] * np.float32([1, 0.95, 0.86])
    sky = (0.5 + 0.5 * normal[:, 1:2]) * np.float32([0.42, 0.46, 0.52])
    bounce = np.float32([0.16, 0.14, 0.12])
    return key * (0.3 + 0.7 * openness) + (sky + bounce) * openness
