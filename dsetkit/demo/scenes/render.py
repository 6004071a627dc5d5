"""Renders distance fields by sphere tracing with parallel rays, with shading and soft alpha.

Each step of a ray is about as long as the field at its position, since no surface can be nearer.
The rays are parallel, so a part affects only those tiles of the picture that its extent overlaps. A
ray that misses by less than a pixel gets a small alpha, which makes the edge soft.

The viewer's axes point right, up and towards the viewer. `t` is the coordinate along the last.
"""

from typing import NamedTuple

import numpy as np

from dsetkit.demo.scenes.solids import Part

MAX_STEPS = 64
TILE_PX = 96
STEP_SHARE = 0.9  # below 1, because some fields slightly overestimate the distance
LEAST_STEP_PX = 1.5  # so that a ray that grazes a surface moves on
HIT_PX = 0.1
OCCLUSION_REACH = 0.1  # distance along the normal at which occlusion is tested

KEY_COLOUR = np.array([1, 0.95, 0.86], np.float32)  # linear RGB
SKY_COLOUR = np.array([0.42, 0.46, 0.52], np.float32)
BOUNCE_COLOUR = np.array([0.16, 0.14, 0.12], np.float32)  # light from below

Offset = tuple[np.ndarray, np.ndarray] | tuple[float, float]  # right and up


class Picture(NamedTuple):
    """A rendered figure; all arrays are float32."""

    colour: np.ndarray  # (H, W, 3) linear RGB
    alpha: np.ndarray  # (H, W)
    normal: np.ndarray  # (H, W, 3), on the viewer's axes
    fur: np.ndarray  # (H, W), length of the hair [px]


class _Placed(NamedTuple):
    """A part, and its pose on the viewer's axes."""

    part: Part
    centre: np.ndarray  # (3,)
    half_extent: np.ndarray  # (3,)
    to_part: np.ndarray  # (3, 3), rotates from the viewer's axes to the part's


class _PartRays(NamedTuple):
    """A part, and N rays in its frame."""

    part: Part
    start: np.ndarray  # (3, N), points at t = 0
    to_part: list[list[float]]  # (3, 3); plain floats, so that float32 arrays stay float32


def view_axes(yaw: float, pitch: float) -> np.ndarray:
    """Return the axes of a viewer as rows (3, 3): right, up and towards the viewer.

    Args:
        yaw: angle by which the viewer has walked around the figure [rad].
        pitch: angle by which the viewer looks down [rad].
    """
    right = np.array([np.cos(yaw), np.sin(yaw), 0])
    away = np.array([-np.sin(yaw), np.cos(yaw), 0])
    up = np.array([0, 0, 1])
    tilted_up = np.cos(pitch) * up + np.sin(pitch) * away
    towards = np.sin(pitch) * up - np.cos(pitch) * away
    return np.stack([right, tilted_up, towards])


def render(
    parts: list[Part], *, view: np.ndarray, light: np.ndarray, size: int, margin: int
) -> Picture:
    """Render parts, scaled so that the figure fills the picture except for the margin.

    Args:
        parts: parts in order; a blend or a cut acts on the parts before it.
        view: (3, 3), from `view_axes`.
        light: (3,), unit vector towards the light, on the viewer's axes.
        size: longer side of the picture [px].
        margin: empty border on each side [px].
    """
    placed = [_place(part, view) for part in parts]
    low = np.min([p.centre - p.half_extent for p in placed if not p.part.cut], axis=0)[:2]
    high = np.max([p.centre + p.half_extent for p in placed if not p.part.cut], axis=0)[:2]
    scale = float((high - low).max()) / (size - 2 * margin)  # units per pixel
    width, height = np.ceil((high - low) / scale - 1e-6).astype(int) + 2 * margin
    right = low[0] + (np.arange(width) - margin + 0.5) * scale
    up = high[1] - (np.arange(height) - margin + 0.5) * scale
    picture = Picture(
        colour=np.zeros((height, width, 3), np.float32),
        alpha=np.zeros((height, width), np.float32),
        normal=np.zeros((height, width, 3), np.float32),
        fur=np.zeros((height, width), np.float32),
    )
    for row, column in np.ndindex(-(-height // TILE_PX), -(-width // TILE_PX)):
        rows = slice(row * TILE_PX, (row + 1) * TILE_PX)
        columns = slice(column * TILE_PX, (column + 1) * TILE_PX)
        tile = Picture(*(array[rows, columns] for array in picture))  # views into the picture
        _draw_tile(tile, placed, right[columns], up[rows], light=light, scale=scale)
    return picture


def _place(part: Part, view: np.ndarray) -> _Placed:
    axes = view @ part.axes
    half_extent = part.shape.half_extent(axes) + part.blend / 4 + part.fur
    return _Placed(part, view @ part.centre, half_extent, axes.T)


def _draw_tile(
    tile: Picture,
    placed: list[_Placed],
    right: np.ndarray,
    up: np.ndarray,
    *,
    light: np.ndarray,
    scale: float,
) -> None:
    """Render one tile, whose columns are at `right` and whose rows are at `up`."""
    near = _parts_near(placed, right, up, margin=2 * scale)
    if all(p.part.cut for p in near):
        return
    front = max(p.centre[2] + p.half_extent[2] for p in near)
    back = min(p.centre[2] - p.half_extent[2] for p in near)
    t, distance = _march(_Field.for_tile(near, right, up), front, back, scale=scale)
    coverage = np.where(distance <= HIT_PX * scale, 1, np.clip(0.5 - distance / scale, 0, 1))
    visible = coverage > 0
    if not visible.any():
        return
    field = _Field.for_tile(_parts_near(placed, right, up, margin=2 * OCCLUSION_REACH), right, up)
    colour, opacity, normal, fur = _shade_surface(
        field.select(visible), t[visible], light=light, scale=scale
    )
    pixels = visible.reshape(tile.alpha.shape)
    tile.colour[pixels] = colour
    tile.alpha[pixels] = coverage[visible] * opacity
    tile.normal[pixels] = normal
    tile.fur[pixels] = fur / scale


def _shade_surface(
    field: "_Field", t: np.ndarray, *, light: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return colour (N, 3), opacity (N,), normal (N, 3) and fur (N,) of the surface at `t`."""
    normal = _normal(field, t, scale)
    paint, looks = field.appearance(t)
    gloss, opacity, glow, fur = looks.T[..., None]
    halfway = light + [0, 0, 1]  # between the light and the viewer, as in Blinn-Phong shading
    facing = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1)[:, None]
    highlight = gloss * facing ** (8 + 60 * gloss)
    edge = np.clip(1 - normal[:, 2:], 0, 1) ** 3
    shade = _shade(normal, _openness(field, t, normal), light) + 0.12 * edge
    colour = paint * (shade * (1 - glow) + 1.6 * glow) + highlight
    # A transparent part, like glass, is most opaque at its edges and highlights.
    opacity = opacity + (1 - opacity) * np.maximum(edge, np.minimum(highlight, 1))
    return colour, opacity[:, 0], normal, fur[:, 0]


def _parts_near(
    placed: list[_Placed], right: np.ndarray, up: np.ndarray, *, margin: float
) -> list[_Placed]:
    """Return the parts whose extent is within `margin` of the tile."""
    first, last = np.array([right[0], up[-1]]), np.array([right[-1], up[0]])
    middle, half = (first + last) / 2, (last - first) / 2 + margin
    return [p for p in placed if (np.abs(p.centre[:2] - middle) <= p.half_extent[:2] + half).all()]


def _march(
    field: "_Field", front: float, back: float, *, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Follow the rays from `front` until they hit the surface or pass `back`.

    Returns:
        t of the closest approach to the surface, and the distance there, float32 (N,) each.
    """
    t = np.full(field.count, front, np.float32)
    closest, nearest = t.copy(), np.full_like(t, np.inf)
    active = np.arange(t.size)  # rays that have not ended
    for _ in range(MAX_STEPS):
        distance = field.distance(t)
        previous = nearest[active]
        closer = (distance < previous) & (previous > HIT_PX * scale)
        closest[active[closer]] = t[closer]
        nearest[active[closer]] = distance[closer]
        t -= np.maximum(STEP_SHARE * distance, LEAST_STEP_PX * scale)
        unfinished = (nearest[active] > HIT_PX * scale) & (t > back)
        count = np.count_nonzero(unfinished)
        if count == 0:
            break
        if count < 0.7 * t.size:  # else the copies would cost more than they save
            active, t, field = active[unfinished], t[unfinished], field.select(unfinished)
    # Where the last step went into the solid, move back to its surface.
    return closest - np.minimum(nearest, 0), nearest


class _Field:
    """The distance field of several parts, evaluated along N rays."""

    def __init__(self, rays: list[_PartRays]) -> None:
        self._rays = rays

    @classmethod
    def for_tile(cls, placed: list[_Placed], right: np.ndarray, up: np.ndarray) -> "_Field":
        """Create the field for all rays of a tile, row by row."""
        rays: list[_PartRays] = []
        for part, centre, _, to_part in placed:
            if part.cut and not rays:
                continue  # there is no part to subtract it from
            start = (
                to_part[:, 0, None, None] * (right - centre[0])
                + to_part[:, 1, None, None] * (up - centre[1])[:, None]
                - (to_part[:, 2] * centre[2])[:, None, None]
            )
            start = start.astype(np.float32).reshape(3, -1)
            rays.append(_PartRays(part, start, to_part.tolist()))
        return cls(rays)

    @property
    def count(self) -> int:
        """The number of rays, N."""
        return self._rays[0].start.shape[1]

    def select(self, chosen: np.ndarray) -> "_Field":
        """Return the field for the rays in `chosen`, bool (N,)."""
        return _Field([rays._replace(start=rays.start[:, chosen]) for rays in self._rays])

    def distance(self, t: np.ndarray, offset: Offset | None = None) -> np.ndarray:
        """Return the distance (N,) at `t` (N,), or beside the rays by `offset`."""
        first, *others = self._rays
        total = first.part.shape.distance(*_points(first, t, offset))
        for rays in others:
            distance = rays.part.shape.distance(*_points(rays, t, offset))
            total = _combine(rays.part, total, distance)[0]
        return total

    def appearance(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return linear RGB (N, 3), and gloss, opacity, glow and fur (N, 4)."""
        total = np.full_like(t, np.inf)
        paint, looks = np.zeros((t.size, 3), np.float32), np.zeros((t.size, 4), np.float32)
        for rays in self._rays:
            part, points = rays.part, np.stack(_points(rays, t))
            total, share = _combine(part, total, part.shape.distance(*points))
            shown = np.flatnonzero(share)
            if shown.size:
                share = share[shown, None]
                paint[shown] += (part.colours(points[:, shown]) - paint[shown]) * share
                look = np.array([part.gloss, part.opacity, part.glow, part.fur], np.float32)
                looks[shown] += (look - looks[shown]) * share
        return paint, looks


def _points(rays: _PartRays, t: np.ndarray, offset: Offset | None = None) -> list[np.ndarray]:
    """Return x, y and z of the rays at `t`, in the frame of the part."""
    points = [s + towards * t for s, (_, _, towards) in zip(rays.start, rays.to_part, strict=True)]
    if offset is None:
        return points
    right, up = offset
    return [p + (r * right + u * up) for p, (r, u, _) in zip(points, rays.to_part, strict=True)]


def _combine(part: Part, total: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add a part to the field of those before it.

    Args:
        part: the part to add.
        total: (N,), the field of the parts before it.
        distance: (N,), the field of the part.

    Returns:
        The new field (N,), and the part's share of the surface (N,), 0..1.
    """
    if part.cut:
        return np.maximum(total, -distance), (-distance > total).astype(np.float32)
    if part.blend == 0:
        return np.minimum(total, distance), (distance < total).astype(np.float32)
    gap = np.minimum(total - distance, 2 * part.blend)  # finite, even if `total` is infinite
    share = np.clip(0.5 + gap / (2 * part.blend), 0, 1)
    return distance + gap * (1 - share) - part.blend * share * (1 - share), share


def _normal(field: _Field, t: np.ndarray, scale: float) -> np.ndarray:
    """Compute outward unit normals (N, 3) from the field at the corners of a tetrahedron."""
    normal = np.zeros((t.size, 3), np.float32)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        right, up, towards = (scale * sign for sign in corner)
        distance = field.distance(t + towards, (right, up))
        normal += distance[:, None] * np.array(corner, np.float32)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


def _openness(field: _Field, t: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return 1 on open surfaces and less in creases: (N, 1).

    In a crease the field grows more slowly than the distance along the normal.
    """
    missing = np.zeros(t.shape, np.float32)
    for length in (OCCLUSION_REACH / 3, OCCLUSION_REACH):
        right, up, towards = normal.T * length
        missing += 1 - field.distance(t + towards, (right, up)) / length
    return np.clip(1 - 0.4 * missing, 0.15, 1)[:, None]


def _shade(normal: np.ndarray, openness: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Add up a warm key light, a cool sky and weak light from below: linear RGB (N, 3)."""
    key = np.clip((normal @ light + 0.15) / 1.15, 0, 1)[:, None] * KEY_COLOUR
    sky = (0.5 + 0.5 * normal[:, 1:2]) * SKY_COLOUR
    return key * (0.3 + 0.7 * openness) + (sky + BOUNCE_COLOUR) * openness
