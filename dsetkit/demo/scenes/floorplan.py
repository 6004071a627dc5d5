"""Plans a room: its size, the positions of its furniture, the camera and the lights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dsetkit.demo.scenes import furniture
from dsetkit.demo.scenes.decor import Decor
from dsetkit.demo.scenes.lighting import Light, Panel, Sun
from dsetkit.demo.scenes.palette import colour, mix, vary
from dsetkit.demo.scenes.scene import Camera, Item, Scene
from dsetkit.demo.scenes.shell import WHITE, WOODS, make_shell

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
CAMERA_CLEARANCE_M = 0.75  # no furniture stands closer to the camera

Builder = Callable[[Decor, float], Item]
# The furniture along the walls of each kind of room: (builder, least width [m]).
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
    "bedroom": [
        (furniture.bed, 1.0),
        (furniture.cabinet, 0.7),
        (furniture.desk, 1.1),
        (furniture.plant, 0.5),
    ],
    "kitchen": [(furniture.counter, 1.2), (furniture.cabinet, 0.7), (furniture.plant, 0.5)],
    "study": [
        (furniture.desk, 1.1),
        (furniture.bookshelf, 0.7),
        (furniture.cabinet, 0.7),
        (furniture.floor_lamp, 0.5),
    ],
}


@dataclass(frozen=True)
class Room:
    """Everything that a picture shows."""

    scene: Scene
    camera: Camera
    lights: list[Light]
    ambient: np.ndarray  # linear RGB (3,), light from all directions


class Wall(NamedTuple):
    """A wall of the room, as a line on the floor."""

    start: np.ndarray  # (2,) [m]
    along: np.ndarray  # (2,), unit vector
    length: float  # [m]
    yaw: float  # of an item with its back to the wall [rad]

    def put(self, item: Item, position: float, z: float = 0.0) -> Item:
        """Place an item with its back to the wall, `position` metres along it."""
        x, y = self.start + position * self.along
        return item.placed(x, y, z, yaw=self.yaw)


class Layout:
    """The items of a room so far, and the floor space that they occupy.

    Args:
        size: (3,) of the room [m].
        camera: the camera, around which the floor stays free.
    """

    def __init__(self, size: np.ndarray, camera: Camera) -> None:
        eye = camera.position[:2]
        self.size = size
        self.items: list[Item] = []
        self.windows: list[Item] = []
        self._occupied = [(eye - CAMERA_CLEARANCE_M, eye + CAMERA_CLEARANCE_M)]

    def try_place(self, item: Item) -> bool:
        """Add the item if it is inside the room and overlaps no other; return whether it was."""
        low, high = (corner[:2] for corner in item.bounds)
        if (low < -0.01).any() or (high > self.size[:2] + 0.01).any():
            return False
        if any((low < other[1]).all() and (high > other[0]).all() for other in self._occupied):
            return False
        self._occupied.append((low, high))
        self.items.append(item)
        return True


def plan_room(rng: np.random.Generator) -> Room:
    """Draw the size, the furniture, the camera and the lights of a room at random."""
    size = rng.triangular((3.0, 3.6, 2.4), (3.4, 4.4, 2.5), (6.0, 8.6, 3.1))
    kind = list(ALONG_WALLS)[rng.integers(len(ALONG_WALLS))]
    night = rng.random() < 0.2
    decor = _decor(rng)
    camera = _camera(rng, size)
    layout = Layout(size, camera)
    for wall in _walls(size):
        _furnish_wall(decor, layout, wall, kind=kind, night=night)
    _furnish_middle(decor, layout, kind)
    lamp = furniture.ceiling_lamp(decor, rng.uniform(0.25, 0.7))
    lamp = lamp.placed(size[0] / 2, size[1] * 0.55, size[2])
    paint = mix(WHITE, decor.accent(), rng.uniform(0.05, 0.4))
    shell = make_shell(decor, size, paint, kind)
    return Room(
        scene=Scene((shell, *layout.items, *layout.windows, lamp)),
        camera=camera,
        lights=_lights(rng, layout.windows, lamp, night=night),
        ambient=_ambient(rng, paint, night=night),
    )


def _decor(rng: np.random.Generator) -> Decor:
    """Draw the colours of a room."""
    accents = ACCENTS[rng.integers(len(ACCENTS))]
    woods = rng.choice(WOODS, 2, replace=False)
    return Decor(rng, [vary(rng, colour(c), 0.08) for c in accents], [colour(c) for c in woods])


def _camera(rng: np.random.Generator, size: np.ndarray) -> Camera:
    """Place a camera near the wall y = 0, facing a random point in the far half of the room."""
    width, length, _ = size
    eye = np.array([rng.uniform(0.8, width - 0.8), rng.uniform(0.8, 1.4), rng.uniform(1.1, 1.75)])
    target = rng.uniform((0.15 * width, 0.6 * length), (0.85 * width, length))
    yaw = -np.arctan2(target[0] - eye[0], target[1] - eye[1])
    pitch = np.radians(rng.uniform(0, 20))
    return Camera.looking(eye, yaw=yaw, pitch=pitch, fov_deg=rng.uniform(55, 75))


# --- furniture ---------------------------------------------------------------------------------


def _walls(size: np.ndarray) -> list[Wall]:
    """Return the three walls that the camera can see: far, right, left."""
    width, length, _ = size
    x, y = np.eye(2)
    return [
        Wall(y * length, x, width, np.pi),
        Wall(x * width, y, length, np.pi / 2),
        Wall(0 * x, y, length, -np.pi / 2),
    ]


def _furnish_wall(decor: Decor, layout: Layout, wall: Wall, *, kind: str, night: bool) -> None:
    """Divide the wall into stretches; put something on the floor and something above it in each."""
    rng = decor.rng
    start = rng.uniform(0.05, 0.3)
    has_window = False
    while (width := min(rng.uniform(0.8, 2.4), wall.length - start - 0.1)) > 0.6:
        middle = start + width / 2
        start += width + rng.uniform(0.05, 0.3)
        above = rng.choice(["window", "door", "hung", "bare"], p=[0.3, 0.1, 0.4, 0.2])
        if above == "door" and width > 1.1:
            layout.try_place(wall.put(furniture.door(decor), middle))
            continue
        top = _furnish_stretch(decor, layout, wall, middle=middle, width=width, kind=kind)
        if top > 1.3:
            continue
        if above == "window" and width > 0.9 and not has_window:
            high = min(layout.size[2] - 0.25, 2.3)
            pane = furniture.window(decor, width - 0.4, high, night=night)
            layout.windows.append(wall.put(pane, middle))
            has_window = True
        elif above == "hung":
            hang = furniture.picture if rng.random() < 0.75 else furniture.wall_shelf
            layout.items.append(wall.put(hang(decor, width), middle, max(1.6, top + 0.5)))


def _furnish_stretch(
    decor: Decor, layout: Layout, wall: Wall, *, middle: float, width: float, kind: str
) -> float:
    """Put an item against `width` metres of wall, if one fits; return its height or 0 [m]."""
    rng = decor.rng
    fitting = [builder for builder, least in ALONG_WALLS[kind] if least <= width]
    if not fitting or rng.random() < 0.1:
        return 0.0
    builder = fitting[rng.integers(len(fitting))]
    item = wall.put(builder(decor, width), middle)
    if not layout.try_place(item):
        return 0.0
    if builder is furniture.desk:  # gets a chair that faces it
        x, y, _ = item.to_world(np.array([[0], [1.15], [0]], np.float32)).ravel()
        yaw = wall.yaw + np.pi + rng.normal(0, 0.25)
        layout.try_place(furniture.chair(decor).placed(x, y, yaw=yaw))
    return item.bounds[1][2]


def _furnish_middle(decor: Decor, layout: Layout, kind: str) -> None:
    """Add a rug, a dining table with chairs or a low table, and a few loose things."""
    rng, (width, length, _) = decor.rng, layout.size
    x, y = width * rng.uniform(0.4, 0.6), length * rng.uniform(0.45, 0.65)
    if rng.random() < 0.6:
        rug = furniture.rug(decor, *rng.uniform(0.7, 1.2, 2))
        layout.items.append(rug.placed(x, y, yaw=rng.normal(0, 0.15)))
    if kind == "kitchen" or rng.random() < 0.3:
        _place_dining_table(decor, layout, x, y)
    elif kind == "living":
        table = furniture.table(decor, rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.5), 0.42)
        layout.try_place(table.placed(x, y, yaw=rng.normal(0, 0.1)))
    for _ in range(rng.integers(0, 4)):
        maker = (furniture.pouf, furniture.ball, furniture.chair)[rng.integers(3)]
        x, y = rng.uniform((0.4, 1.5), (width - 0.4, length - 0.6))
        layout.try_place(maker(decor).placed(x, y, yaw=rng.uniform(-np.pi, np.pi)))


def _place_dining_table(decor: Decor, layout: Layout, x: float, y: float) -> None:
    """Place a table at (x, y), if it fits, and up to four chairs."""
    rng = decor.rng
    half_x, half_y = rng.uniform(0.5, 0.8), rng.uniform(0.35, 0.5)
    table = furniture.table(decor, half_x, half_y, 0.74)
    if not layout.try_place(table.placed(x, y)):
        return
    for side, towards_table in ((-1, 0.0), (1, np.pi)):
        for offset in (-half_x / 2, half_x / 2):
            yaw = towards_table + rng.normal(0, 0.2)
            back = y + side * (half_y + rng.uniform(0.5, 0.65))  # the position of a chair's back
            layout.try_place(furniture.chair(decor).placed(x + offset, back, yaw=yaw))


# --- light -------------------------------------------------------------------------------------


def _lights(
    rng: np.random.Generator, windows: list[Item], lamp: Item, *, night: bool
) -> list[Light]:
    """Return the daylight of each window, perhaps sun through the first, and the ceiling lamp."""
    lights: list[Light] = []
    if not night:
        daylight = colour("#eaf1ff") * rng.uniform(2.5, 4.5)
        for window in windows:
            centre, half, normal = _window_pane(window)
            area = 4 * np.prod(np.linalg.norm(half, axis=1))
            lights.append(Panel(daylight * area, centre + 0.05 * normal, half, normal))
        if windows and rng.random() < 0.45:
            centre, half, normal = _window_pane(windows[0])
            sideways = half[0] / np.linalg.norm(half[0]) * rng.uniform(-0.7, 0.7)
            direction = sideways - normal + np.array([0, 0, rng.uniform(0.4, 1.0)], np.float32)
            sunlight = colour("#fff0d2") * rng.uniform(3, 6)
            lights.append(Sun(sunlight, direction, centre, half, normal))
    strength = rng.uniform(4, 7) if night or not windows else rng.uniform(0.5, 4)
    centre = lamp.to_world(np.mean(lamp.solids[-1].shape.bounds, axis=0)[:, None]).ravel()
    half = np.array([[0.15, 0, 0], [0, 0.15, 0]], np.float32)
    lights.append(Panel(colour("#ffe9c8") * strength, centre, half))
    return lights


def _window_pane(window: Item) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pane's centre (3,), half-axes along and up (2, 3), and inward normal (3,)."""
    low, high = window.solids[0].shape.bounds
    along, inward, up = window.rotate_to_world(np.eye(3, dtype=np.float32)).T
    half = np.stack([along * (high[0] - low[0]) / 2, up * (high[2] - low[2]) / 2])
    return window.to_world(((low + high) / 2)[:, None]).ravel(), half, inward


def _ambient(rng: np.random.Generator, paint: np.ndarray, *, night: bool) -> np.ndarray:
    """Return the light that the walls reflect, tinted by their paint: linear RGB (3,)."""
    tint = mix(np.ones(3), paint / paint.mean(), 0.6)
    return (tint * rng.uniform(0.3, 0.6) * (0.6 if night else 1)).astype(np.float32)
