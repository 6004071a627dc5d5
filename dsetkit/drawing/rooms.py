"""A furnished room as a camera sees it: what stands where, then the picture and its exact depth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from dsetkit.drawing import furniture, lighting, textures
from dsetkit.drawing.furniture import Style
from dsetkit.drawing.raycast import TOP, Box, Camera, Hits, Item, Patch, Scene, Solid, dot
from dsetkit.drawing.textures import Texture, colour, make_generator, mix, vary

ACCENTS = (
    ("#6f8fa0", "#c9b79c", "#e3dccf", "#3f5560"),
    ("#b5651d", "#8a3b2a", "#d8b46a", "#5c6b3c"),
    ("#4f6b4a", "#9aa982", "#c9c2a0", "#7b5b3a"),
    ("#7a3b55", "#c28aa0", "#e3cfd3", "#4c4a66"),
    ("#2f6b77", "#7fb2b5", "#e6d9bf", "#d98e63"),
    ("#5a5f66", "#a3a7a9", "#d9d6cf", "#c98f4e"),
    ("#c8643c", "#e0a63e", "#56786f", "#7d5a4b"),
    ("#a9c4c2", "#e2b8a6", "#d8cfae", "#8c9fb8"),
)
WOODS = ("#b98a58", "#8a5a36", "#d3b286", "#5b3f2b", "#a87248", "#dcc7a4")
WHITE = colour("#efece4")

# What may stand along the walls of each kind of room: (builder, least width [m]).
Builder = Callable[[np.random.Generator, Style, float], Item]
ALONG_WALLS: dict[str, list[tuple[Builder, float]]] = {
    "living": [
        (furniture.sofa, 1.5),
        (furniture.sofa, 0.9),
        (furniture.television, 1.2),
        (furniture.bookshelf, 0.7),
        (furniture.cabinet, 0.7),
        (furniture.floor_lamp, 0.5),
        (furniture.plant, 0.5),
    ],
    "bedroom": [(furniture.bed, 1.0), (furniture.cabinet, 0.7), (furniture.desk, 1.1), (furniture.plant, 0.5)],
    "kitchen": [(furniture.counter, 1.2), (furniture.counter, 1.2), (furniture.cabinet, 0.7), (furniture.plant, 0.5)],
    "study": [(furniture.desk, 1.1), (furniture.bookshelf, 0.7), (furniture.cabinet, 0.7), (furniture.floor_lamp, 0.5)],
}


EYE_ROOM_M = 0.9  # nothing stands this close to the camera
GLOW = 2.5  # radiance of a lamp or a sky of albedo 1


@dataclass(frozen=True)
class Room:
    """Everything a picture is made of."""

    scene: Scene
    camera: Camera
    lights: list[lighting.Light]
    ambient: np.ndarray


def draw_room(
    index: int, *, seed: int = 0, size: tuple[int, int] = (240, 320)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw room number `index`.

    Args:
        index: which room; any integer from 0 up.
        seed: another seed, another series of rooms.
        size: (height, width) in pixels.

    Returns:
        image, uint8 (H, W, 3) RGB, and depth, float32 (H, W): metres along the optical axis at
        the pixel centres, exact, above 0 and at most 10.
    """
    rng = make_generator(seed, index)
    room = plan_room(rng)
    hits = room.scene.trace(room.camera, *size)
    return lighting.photograph(rng, _radiance(room, hits)), hits.depth


# --- the picture -------------------------------------------------------------------------------


def _radiance(room: Room, hits: Hits) -> np.ndarray:
    """Linear light of the picture, float32 (H, W, 3): light per pixel, paint per 2 x 2 finer rays."""
    height, width = hits.depth.shape
    points, normal, key = _surfaces(room, hits)
    light = lighting.irradiance(
        room.scene, room.lights, room.ambient, points=points, normal=normal, key=key
    )
    fine_hits = room.scene.trace(room.camera, 2 * height, 2 * width)
    albedo, glow, fine_key = _paint(room, fine_hits)
    light = lighting.spread(light, key, fine_key)
    radiance = albedo * (light * (1 - glow) + GLOW * glow)
    return cv2.resize(radiance, (width, height), interpolation=cv2.INTER_AREA)


def _key(patch: Patch) -> np.ndarray:
    return patch.solid * 8 + patch.face


def _surfaces(room: Room, hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points and normals (3, H * W), and a number per flat or round surface, int (H, W)."""
    points = np.empty((3, hits.depth.size), np.float32)
    normal = np.empty_like(points)
    key = np.empty(hits.depth.size, np.int32)
    for patch in room.scene.patches(room.camera.rays(*hits.depth.shape), hits):
        points[:, patch.pixels] = patch.points
        normal[:, patch.pixels] = patch.normal
        key[patch.pixels] = _key(patch)
    return points, normal, key.reshape(hits.depth.shape)


def _paint(room: Room, hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Albedo float32 (H, W, 3), glow (H, W, 1) and surface number int (H, W)."""
    shape = hits.depth.shape
    albedo = np.empty((hits.depth.size, 3), np.float32)
    glow = np.zeros(hits.depth.size, np.float32)
    key = np.empty(hits.depth.size, np.int32)
    for patch in room.scene.patches(room.camera.rays(*shape), hits):
        solid = room.scene.solids[patch.solid][1]
        way = patch.points - room.camera.position[:, None]
        distance = np.sqrt(dot(way, way))
        facing = np.abs(dot(patch.normal, way)) / distance
        footprint = distance / room.camera.focal_px(*shape) / np.maximum(facing, 0.05)
        for face in np.unique(patch.face):
            texture, here = solid.faces.get(face, solid.texture), patch.face == face
            albedo[patch.pixels[here]] = texture(patch.u[here], patch.v[here], footprint[here])
        glow[patch.pixels] = solid.glow
        key[patch.pixels] = _key(patch)
    return albedo.reshape(*shape, 3), glow.reshape(*shape, 1), key.reshape(shape)


# --- the plan ----------------------------------------------------------------------------------


class Layout:
    """The growing list of items of a room of `size` (3,) [m], and the floor that they take up."""

    def __init__(self, size: np.ndarray, camera: Camera):
        eye = camera.position[:2]
        self.size = size
        self.items: list[Item] = []
        self._taken = [(eye - EYE_ROOM_M, eye + EYE_ROOM_M)]

    def try_place(self, item: Item) -> bool:
        """Add the item if it stands inside the room and touches no other."""
        low, high = (corner[:2] for corner in item.bounds)
        if (low < -0.01).any() or (high > self.size[:2] + 0.01).any():
            return False
        if any((low < theirs[1]).all() and (high > theirs[0]).all() for theirs in self._taken):
            return False
        self._taken.append((low, high))
        self.items.append(item)
        return True


class Wall(NamedTuple):
    """A wall by its left end on the floor, its direction, its length [m], and the yaw of what leans on it."""

    start: np.ndarray
    along: np.ndarray
    length: float
    yaw: float

    def put(self, item: Item, place: float, z: float = 0.0) -> Item:
        """`item` with its back to the wall, `place` metres along it."""
        return item.placed(*(self.start + place * self.along), z, yaw=self.yaw)


def plan_room(rng: np.random.Generator) -> Room:
    """Draw the size, the furniture, the camera and the light of a room."""
    size = rng.triangular((3.0, 3.8, 2.4), (3.6, 4.4, 2.5), (6.0, 7.4, 3.0))
    kind = list(ALONG_WALLS)[rng.integers(len(ALONG_WALLS))]
    night = rng.random() < 0.2
    accents = ACCENTS[rng.integers(len(ACCENTS))]
    woods = rng.choice(WOODS, 2, replace=False)
    style = Style([vary(rng, colour(c), 0.08) for c in accents], [colour(c) for c in woods])
    camera = _camera(rng, size)
    layout = Layout(size, camera)
    windows: list[Item] = []
    for wall in _walls(size):
        windows += _furnish_wall(rng, style, layout, wall, kind=kind, night=night)
    _furnish_middle(rng, style, layout, kind)
    lamp = furniture.ceiling_lamp(rng, rng.uniform(0.25, 0.7))
    lamp = lamp.placed(size[0] / 2, size[1] * 0.55, size[2])
    shell, tint = _shell(rng, style, size, kind)
    lights = _lights(rng, windows, lamp, night=night)
    ambient = tint * rng.uniform(0.3, 0.6) * (0.6 if night else 1)
    return Room(Scene((shell, *layout.items, *windows, lamp)), camera, lights, ambient)


def _camera(rng: np.random.Generator, size: np.ndarray) -> Camera:
    """Standing near the south wall, looking somewhere at the far half of the room."""
    width, length, _ = size
    eye = np.array([rng.uniform(0.8, width - 0.8), rng.uniform(0.8, 1.4), rng.uniform(1.1, 1.75)])
    target = rng.uniform((0.15 * width, 0.6 * length), (0.85 * width, length))
    yaw = -np.arctan2(target[0] - eye[0], target[1] - eye[1])
    pitch = np.radians(rng.uniform(0, 20))
    return Camera.looking(eye, yaw=yaw, pitch=pitch, fov_deg=rng.uniform(55, 75))


def _walls(size: np.ndarray) -> list[Wall]:
    """The three walls that the camera may see: far, right, left."""
    width, length, _ = size
    x, y = np.eye(2)
    return [
        Wall(y * length, x, width, np.pi),
        Wall(x * width, y, length, np.pi / 2),
        Wall(0 * x, y, length, -np.pi / 2),
    ]


def _shell(
    rng: np.random.Generator, style: Style, size: np.ndarray, kind: str
) -> tuple[Item, np.ndarray]:
    """The room itself, and the tint (3,) that its walls give to the light between them."""
    base = mix(WHITE, style.accents[rng.integers(4)], rng.uniform(0.05, 0.4))
    paint = _wallpaper(rng, style, base)
    feature = paint
    if rng.random() < 0.35:  # one wall may differ
        feature = rng.choice([
            textures.plain(rng, style.accent(rng)),
            textures.brick(rng, vary(rng, colour("#a0624a"))),
            textures.brick(rng, vary(rng, WHITE, 0.05)),
        ])
    board = vary(rng, WHITE, 0.05) if rng.random() < 0.7 else style.board(rng)
    height = rng.uniform(0.06, 0.12)
    far, side = (textures.with_skirting(t, board, height=height) for t in (feature, paint))
    floor = _floor(rng, style, kind)
    ceiling = textures.plain(rng, vary(rng, WHITE, 0.04))
    faces = {0: side, 1: side, 2: side, 3: far, 4: floor, TOP: ceiling}
    box = Box((0, 0, 0), tuple(size), inside=True)
    tint = mix(np.ones(3), base / base.mean(), 0.6).astype(np.float32)
    return Item((Solid(box, paint, faces=faces),), casts_shadow=False), tint


def _wallpaper(rng: np.random.Generator, style: Style, base: np.ndarray) -> Texture:
    second = mix(base, style.accent(rng), rng.uniform(0.2, 0.5))
    match rng.choice(["plain", "stripes", "motifs"], p=[0.6, 0.2, 0.2]):
        case "stripes":
            return textures.stripes(rng, base, second, width=rng.uniform(0.04, 0.2))
        case "motifs":
            return textures.motifs(rng, base, second, step=rng.uniform(0.15, 0.35))
        case _:
            return textures.plain(rng, base)


def _floor(rng: np.random.Generator, style: Style, kind: str) -> Texture:
    share = {"kitchen": (0.3, 0.7, 0.0), "bedroom": (0.55, 0.05, 0.4)}.get(kind, (0.6, 0.15, 0.25))
    match rng.choice(["planks", "tiles", "carpet"], p=share):
        case "planks":
            return textures.planks(rng, vary(rng, colour(rng.choice(WOODS)), 0.1))
        case "tiles":
            base = vary(rng, mix(WHITE, style.accent(rng), rng.uniform(0.1, 0.5)), 0.1)
            second = mix(base, style.accent(rng), 0.6) if rng.random() < 0.4 else None
            return textures.tiles(rng, base, size=rng.choice([0.2, 0.3, 0.45]), second=second)
        case _:
            return textures.carpet(rng, mix(style.accent(rng), WHITE, rng.uniform(0.1, 0.4)))


def _furnish_wall(
    rng: np.random.Generator, style: Style, layout: Layout, wall: Wall, *, kind: str, night: bool
) -> list[Item]:
    """Go along the wall from stretch to stretch; returns its windows."""
    windows = []
    place = rng.uniform(0.05, 0.3)
    while (width := min(rng.uniform(0.8, 2.4), wall.length - place - 0.1)) > 0.6:
        middle = place + width / 2
        place += width + rng.uniform(0.05, 0.3)
        above = rng.choice(["window", "door", "hung", "bare"], p=[0.3, 0.1, 0.4, 0.2])
        if above == "door" and width > 1.1:
            layout.try_place(wall.put(furniture.door(rng, style), middle))
            continue
        top = 0.0
        fitting = [builder for builder, least in ALONG_WALLS[kind] if least <= width]
        if fitting and rng.random() < 0.9:
            builder = fitting[rng.integers(len(fitting))]
            item = wall.put(builder(rng, style, width), middle)
            if layout.try_place(item):
                top = item.bounds[1][2]
                if builder is furniture.desk:
                    seat = furniture.chair(rng, style)
                    turn = wall.yaw + np.pi + rng.normal(0, 0.25)
                    spot = item.to_world(np.float32([[0], [1.15], [0]])).ravel()
                    layout.try_place(seat.placed(spot[0], spot[1], yaw=turn))
        if above == "window" and width > 0.9 and top < 1.3 and len(windows) < 1:
            high = min(layout.size[2] - 0.25, 2.3)
            pane = furniture.window(rng, style, width - 0.4, high, night=night)
            windows.append(wall.put(pane, middle))
        elif above == "hung" and top < 1.3:
            builder = furniture.picture if rng.random() < 0.75 else furniture.wall_shelf
            layout.items.append(wall.put(builder(rng, style, width), middle, max(1.6, top + 0.5)))
    return windows


def _furnish_middle(rng: np.random.Generator, style: Style, layout: Layout, kind: str) -> None:
    """A table with chairs, or a rug with a low table, and a few loose things."""
    width, length, _ = layout.size
    x, y = width * rng.uniform(0.4, 0.6), length * rng.uniform(0.45, 0.65)
    if rng.random() < 0.6:
        soft = furniture.rug(rng, style, rng.uniform(0.7, 1.2), rng.uniform(0.7, 1.2))
        layout.items.append(soft.placed(x, y, yaw=rng.normal(0, 0.15)))
    half_x, half_y = rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.5)
    if kind == "kitchen" or rng.random() < 0.3:
        table = furniture.table(rng, style, half_x, half_y, 0.74)
        if layout.try_place(table.placed(x, y)):
            for side in (-1, 1):
                for offset in (-half_x / 2, half_x / 2):
                    # A chair's origin is the middle of its back; its front looks at the table.
                    chair = furniture.chair(rng, style)
                    yaw = (0 if side < 0 else np.pi) + rng.normal(0, 0.2)
                    away = half_y + rng.uniform(0.5, 0.65)
                    layout.try_place(chair.placed(x + offset, y + side * away, yaw=yaw))
    elif kind == "living":
        table = furniture.table(rng, style, half_x, half_y, 0.42)
        layout.try_place(table.placed(x, y, yaw=rng.normal(0, 0.1)))
    makers = (furniture.pouf, furniture.ball, furniture.chair)
    for _ in range(rng.integers(0, 4)):
        item = makers[rng.integers(len(makers))](rng, style)
        spot = rng.uniform((0.4, 1.5), (width - 0.4, length - 0.6))
        layout.try_place(item.placed(*spot, yaw=rng.uniform(-np.pi, np.pi)))


def _lights(
    rng: np.random.Generator, windows: list[Item], lamp: Item, *, night: bool
) -> list[lighting.Light]:
    """The daylight of each window, sun through the first, and the ceiling lamp."""
    lights: list[lighting.Light] = []
    if not night:
        daylight = colour("#eaf1ff") * rng.uniform(2.5, 4.5)
        for window in windows:
            centre, half, normal = _pane(window)
            area = 4 * np.prod(np.linalg.norm(half, axis=1))
            lights.append(lighting.Panel(daylight * area, centre + 0.05 * normal, half, normal))
        if windows and rng.random() < 0.45:
            centre, half, normal = _pane(windows[0])
            sideways = half[0] / np.linalg.norm(half[0]) * rng.uniform(-0.7, 0.7)
            direction = sideways - normal + np.float32([0, 0, rng.uniform(0.4, 1.0)])
            sunlight = colour("#fff0d2") * rng.uniform(3, 6)
            lights.append(lighting.Sun(sunlight, direction, centre, half, normal))
    strength = rng.uniform(4, 7) if night or not windows else rng.uniform(0.5, 4)
    centre = lamp.to_world(np.mean(lamp.solids[-1].shape.bounds, axis=0)[:, None]).ravel()
    half = np.float32([[0.15, 0, 0], [0, 0.15, 0]])
    lights.append(lighting.Panel(colour("#ffe9c8") * strength, centre, half))
    return lights


def _pane(window: Item) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre (3,), half extents along and up (2, 3), and inward normal (3,) of a window's glass."""
    low, high = window.solids[0].shape.bounds
    along, inward, up = window.turn(np.eye(3, dtype=np.float32)).T
    half = np.stack([along * (high[0] - low[0]) / 2, up * (high[2] - low[2]) / 2])
    return window.to_world(((low + high) / 2)[:, None]).ravel(), half, inward
