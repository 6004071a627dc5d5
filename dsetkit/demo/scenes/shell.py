"""The shell of a room: walls, floor and ceiling with their textures."""

import numpy as np

from dsetkit.demo.scenes import textures
from dsetkit.demo.scenes.decor import Decor
from dsetkit.demo.scenes.palette import colour, mix, vary
from dsetkit.demo.scenes.primitives import BOTTOM, FRONT, TOP, Box
from dsetkit.demo.scenes.scene import Item, Solid
from dsetkit.demo.scenes.textures import Texture

WHITE = colour("#efece4")
WOODS = ("#b98a58", "#8a5a36", "#d3b286", "#5b3f2b", "#a87248", "#dcc7a4")
FLOORS = {  # probabilities of planks, tiles, carpet by kind of room
    "living": (0.6, 0.15, 0.25),
    "bedroom": (0.55, 0.05, 0.4),
    "kitchen": (0.3, 0.7, 0.0),
    "study": (0.6, 0.1, 0.3),
}


def make_shell(decor: Decor, size: np.ndarray, paint: np.ndarray, kind: str) -> Item:
    """Build the room's box; the far wall may differ from the others.

    Args:
        decor: colours of the room.
        size: (3,) [m].
        paint: linear RGB (3,) of the walls.
        kind: key of FLOORS.
    """
    rng = decor.rng
    paper = _wallpaper(decor, paint)
    far_wall = _accent_wall(decor) if rng.random() < 0.35 else paper
    board = vary(rng, WHITE, 0.05) if rng.random() < 0.7 else decor.board()
    height = rng.uniform(0.06, 0.12)
    faces = {
        FRONT: textures.with_skirting(far_wall, board, height=height),
        BOTTOM: _floor(decor, kind),
        TOP: decor.paint(vary(rng, WHITE, 0.04)),
    }
    walls = textures.with_skirting(paper, board, height=height)
    box = Box((0, 0, 0), tuple(size), inside=True)
    return Item((Solid(box, walls, faces=faces),), casts_shadow=False)


def _wallpaper(decor: Decor, base: np.ndarray) -> Texture:
    rng, second = decor.rng, mix(base, decor.accent(), decor.rng.uniform(0.2, 0.5))
    match rng.choice(["plain", "stripes", "motifs"], p=[0.6, 0.2, 0.2]):
        case "stripes":
            return textures.stripes(rng, base, second, width=rng.uniform(0.04, 0.2))
        case "motifs":
            return textures.motifs(rng, base, second, step=rng.uniform(0.15, 0.35))
        case _:
            return decor.paint(base)


def _accent_wall(decor: Decor) -> Texture:
    rng = decor.rng
    match rng.choice(["paint", "red brick", "white brick"]):
        case "red brick":
            return textures.brick(rng, vary(rng, colour("#a0624a")))
        case "white brick":
            return textures.brick(rng, vary(rng, WHITE, 0.05))
        case _:
            return decor.paint()


def _floor(decor: Decor, kind: str) -> Texture:
    rng = decor.rng
    match rng.choice(["planks", "tiles", "carpet"], p=FLOORS[kind]):
        case "tiles":
            base = vary(rng, mix(WHITE, decor.accent(), rng.uniform(0.1, 0.5)), 0.1)
            second = mix(base, decor.accent(), 0.6) if rng.random() < 0.4 else base
            return textures.tiles(rng, base, second, size=rng.choice([0.2, 0.3, 0.45]))
        case "carpet":
            return textures.carpet(rng, mix(decor.accent(), WHITE, rng.uniform(0.1, 0.4)))
        case _:
            return textures.planks(rng, vary(rng, colour(rng.choice(WOODS)), 0.1))
