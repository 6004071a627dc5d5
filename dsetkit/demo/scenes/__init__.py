"""The built-in pictures: rooms with exact depth and cut-outs with soft alpha, drawn from numbers.

They make the demo work on a machine without pictures, and give tests and trainings scenes whose
depth is exact. The same (seed, index) gives the same pixels on the same software.

    rooms       floorplan (what stands where) < furniture < decor; shell (walls and floor)
                scene, primitives (exact ray casting); lighting; textures, noise, palette
    cut-outs    things, creatures (the families) < figure (parts and paints) < solids; render
"""

from dsetkit.demo.scenes.cutouts import draw_cutout
from dsetkit.demo.scenes.folders import write_pictures, write_rgbd
from dsetkit.demo.scenes.rooms import draw_room

__all__ = ["draw_cutout", "draw_room", "write_pictures", "write_rgbd"]
