"""Compositing: from (seed, index) to a recipe, then to a composite and mask."""

from dsetkit.compositing.batches import (
    BatchCompositor,
    CompositeBatch,
    concatenate,
    encode_composite,
    stores_same_pixels,
)
from dsetkit.compositing.compositor import (
    COMPOSITED,
    AssetPixels,
    Compositor,
    Placement,
    check_box,
    compositing_fingerprint,
    has_recipe,
    pixels_checksum,
    placements,
)
from dsetkit.compositing.placing import ForegroundPyramid, fitting_level, place, scaled_box
from dsetkit.compositing.randomness import Stream, uniform
from dsetkit.compositing.recipe import PLACEMENTS, Canvas, FullSet
from dsetkit.compositing.resizing import resize_depth, resize_image, resize_in_one_step
from dsetkit.compositing.selection import (
    cells_by_sample,
    cells_of,
    select,
    select_in_steps,
    split_cells,
)

__all__ = [
    "COMPOSITED",
    "PLACEMENTS",
    "AssetPixels",
    "BatchCompositor",
    "Canvas",
    "CompositeBatch",
    "Compositor",
    "ForegroundPyramid",
    "FullSet",
    "Placement",
    "Stream",
    "cells_by_sample",
    "cells_of",
    "check_box",
    "compositing_fingerprint",
    "concatenate",
    "encode_composite",
    "fitting_level",
    "has_recipe",
    "pixels_checksum",
    "place",
    "placements",
    "resize_depth",
    "resize_image",
    "resize_in_one_step",
    "scaled_box",
    "select",
    "select_in_steps",
    "split_cells",
    "stores_same_pixels",
    "uniform",
]
