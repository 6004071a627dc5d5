"""(seed, index) to a recipe, and a recipe to a composite and its mask."""

from dsetkit.compositing.batches import DrawnBatch, Renderer, joined, store_drawn, stores
from dsetkit.compositing.compositor import (
    DRAWN,
    Redrawer,
    drawing_fingerprint,
    is_drawn,
    pixels_checksum,
)
from dsetkit.compositing.placing import ForegroundPyramid, fitting_level, place, scaled_box
from dsetkit.compositing.recipe import (
    FLIP,
    FOREGROUND,
    HOLD_OUT,
    NEARNESS,
    PLACE_X,
    PLACE_Y,
    PLACEMENTS,
    SCALE,
    SELECT,
    FullSet,
    uniform,
)
from dsetkit.compositing.resizing import resize_depth, resize_image
from dsetkit.compositing.selection import cells_by_sample, cells_of, select, split_cells

__all__ = [
    "DRAWN",
    "DrawnBatch",
    "FLIP",
    "FOREGROUND",
    "ForegroundPyramid",
    "FullSet",
    "HOLD_OUT",
    "NEARNESS",
    "PLACEMENTS",
    "PLACE_X",
    "PLACE_Y",
    "Redrawer",
    "Renderer",
    "SCALE",
    "SELECT",
    "cells_by_sample",
    "cells_of",
    "drawing_fingerprint",
    "fitting_level",
    "is_drawn",
    "joined",
    "pixels_checksum",
    "place",
    "resize_depth",
    "resize_image",
    "scaled_box",
    "select",
    "split_cells",
    "store_drawn",
    "stores",
    "uniform",
]
