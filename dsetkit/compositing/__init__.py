"""Compositing: from (seed, index) to a recipe, then to a composite and mask."""

from dsetkit.compositing.batches import (
    BatchCompositor,
    CompositeBatch,
    concatenate,
    encode_fields,
    on_plane,
    stores_same_pixels,
)
from dsetkit.compositing.compositor import (
    COMPOSITED,
    AssetPixels,
    Compositor,
    DepthShare,
    Placement,
    can_composite,
    check_box,
    compositing_fingerprint,
    has_recipe,
    pixels_checksum,
    placements,
    with_compositing,
)
from dsetkit.compositing.occlusion import HIDES_ALL, HIDES_NOTHING
from dsetkit.compositing.placing import ForegroundPyramid, fitting_level, place, scaled_box
from dsetkit.compositing.planes import OBJECT_ALPHA, Nearness, PlaneFinder, PlaneRule
from dsetkit.compositing.randomness import STREAMS_OF_AN_OBJECT, Stream, uniform
from dsetkit.compositing.recipe import PLACEMENTS, SCALE_RANGES, Canvas, FullSet
from dsetkit.compositing.resizing import (
    resize_depth,
    resize_image,
    resize_in_one_step,
    resize_labels,
)
from dsetkit.compositing.selection import (
    cells_by_sample,
    cells_of,
    select,
    select_in_steps,
    split_cells,
)
from dsetkit.compositing.standing import Standing

__all__ = [
    "COMPOSITED",
    "HIDES_ALL",
    "HIDES_NOTHING",
    "OBJECT_ALPHA",
    "PLACEMENTS",
    "SCALE_RANGES",
    "STREAMS_OF_AN_OBJECT",
    "AssetPixels",
    "BatchCompositor",
    "Canvas",
    "CompositeBatch",
    "Compositor",
    "DepthShare",
    "ForegroundPyramid",
    "FullSet",
    "Nearness",
    "Placement",
    "PlaneFinder",
    "PlaneRule",
    "Standing",
    "Stream",
    "can_composite",
    "cells_by_sample",
    "cells_of",
    "check_box",
    "compositing_fingerprint",
    "concatenate",
    "encode_fields",
    "fitting_level",
    "has_recipe",
    "on_plane",
    "pixels_checksum",
    "place",
    "placements",
    "resize_depth",
    "resize_image",
    "resize_in_one_step",
    "resize_labels",
    "scaled_box",
    "select",
    "select_in_steps",
    "split_cells",
    "stores_same_pixels",
    "uniform",
    "with_compositing",
]
