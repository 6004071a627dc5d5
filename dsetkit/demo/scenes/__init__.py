"""Procedural pictures: rooms with exact depth, and cut-outs with soft alpha.

With them the demo runs on a machine without pictures, and tests and trainings have scenes whose
depth is exact. The same (seed, index) gives the same pixels, given the same versions of libraries.

The modules, each after those that it uses:

    both        palette, noise, textures
    rooms       primitives, scene (ray casting), lighting, decor, furniture, shell (walls and
                floor), floorplan (what stands where), rooms
    cut-outs    solids, figure (parts and paints), things and creatures (the families), render,
                cutouts
    files       folders
"""

from dsetkit.demo.scenes.cutouts import draw_cutout
from dsetkit.demo.scenes.folders import write_pictures, write_rgbd
from dsetkit.demo.scenes.rooms import draw_room

__all__ = ["draw_cutout", "draw_room", "write_pictures", "write_rgbd"]
