"""Placement in a scene: feet on the floor, sizes of the place, and what is nearer hides."""

import numpy as np
import pytest

from dsetkit.compositing.batches import BatchCompositor
from dsetkit.compositing.compositor import Compositor
from dsetkit.compositing.floors import floor_pixels
from dsetkit.compositing.occlusion import HIDES_ALL, HIDES_NOTHING, visible_share
from dsetkit.compositing.planes import OBJECT_ALPHA, PlaneRule
from dsetkit.compositing.recipe import SCALE_RANGES, Canvas, FullSet
from dsetkit.compositing.standing import Standing
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.store import PlacedObject, Record
from tests.helpers.rooms import PILLAR_MM, WALL_MM, room
from tests.helpers.worlds import draw_background, draw_foreground

SIDE = 112


# ---- the floor ---------------------------------------------------------------------------------


def found(depth: np.ndarray) -> np.ndarray:
    return floor_pixels(depth, focal_px=Standing().focal_px(len(depth)))


def is_floor(side: int) -> np.ndarray:
    with_wall, without = room(side), room(side, floor=False)
    return with_wall < without


def test_the_floor_is_where_it_was_drawn() -> None:
    floor, expected = found(room(56)), is_floor(56)
    assert np.count_nonzero(floor & ~expected) <= 12  # a row at the wall
    assert np.count_nonzero(floor) > 0.9 * np.count_nonzero(expected)


def test_a_noisy_depth_with_holes_has_a_floor_too() -> None:
    rng = np.random.default_rng(0)
    depth = room(56) * rng.normal(1, 0.005, (56, 56))
    depth[rng.random((56, 56)) < 0.1] = 0
    floor = found(depth.astype(np.uint16))
    assert not floor[depth == 0].any()
    assert np.count_nonzero(floor & is_floor(56)) > 0.6 * np.count_nonzero(is_floor(56))
    assert np.count_nonzero(floor & ~is_floor(56)) < 0.05 * floor.size


@pytest.mark.parametrize(
    "depth",
    [
        room(56, floor=False),
        room(56, pillar=False)[::-1],  # a ceiling
        room(56, pillar=False).T,  # a wall at the side
        np.zeros((56, 56), np.uint16),
        np.full((16, 16), 65535, np.uint16),
    ],
)
def test_walls_and_ceilings_are_no_floors(depth: np.ndarray) -> None:
    assert not found(depth).any()


# ---- what hides --------------------------------------------------------------------------------


def test_only_what_is_nearer_hides() -> None:
    plane = 2000
    depth = np.array([[0, 1000, plane, 9000, 65535]], np.uint16)
    assert visible_share(depth, plane).tolist() == [[255, 0, 255, 255, 255]]


@pytest.mark.parametrize("plane", [1, 7, 1999, 65535])
def test_visibility_grows_with_depth_and_never_leaves_its_range(plane: int) -> None:
    depth = np.arange(1, 65536, dtype=np.uint16)[None]
    share = visible_share(depth, plane)[0]
    assert (np.diff(share.astype(int)) >= 0).all()
    assert (share[depth[0] * 100.0 <= HIDES_ALL * plane] == 0).all()
    assert (share[depth[0] * 100.0 >= HIDES_NOTHING * plane] == 255).all()


# ---- objects in a room -------------------------------------------------------------------------


def scene(
    depth: np.ndarray, *, standing: Standing, objects: tuple[int, int] = (1, 1)
) -> tuple[BatchCompositor, FullSet, Compositor]:
    """Everything that places three cut-outs in one room."""
    cut_outs = [draw_foreground(i, 90, 40 + 30 * i) for i in range(3)]
    pixels = {
        "backgrounds": [draw_background(0, SIDE)],
        "foregrounds": cut_outs,
        "depths": [depth],
    }
    full_set = FullSet(
        num_backgrounds=1,
        foreground_shapes=tuple(one.shape[:2] for one in cut_outs),
        canvas=Canvas(
            size=SIDE,
            placements=30,
            placement="scene",
            standing=standing,
            scale_range=SCALE_RANGES["scene"],
            objects=objects,
        ),
        seed=3,
        foreground_splits=("train",) * 3,
        heights_mm=standing.heights_mm(["a", "b", "c"]),
    )

    def asset(kind: str, number: int) -> np.ndarray:
        return pixels[kind][number]

    planes = PlaneRule(kind="metric")
    batches = BatchCompositor(full_set, asset, {}, keep_composites=False, planes=planes)
    return batches, full_set, Compositor(asset, (SIDE, SIDE))


def placed(depth: np.ndarray, standing: Standing) -> list[PlacedObject]:
    batches, full_set, _ = scene(depth, standing=standing)
    records = batches.composite(range(len(full_set))).records
    return [record.objects[0] for record in records]


def test_feet_are_at_the_depth_of_the_floor_under_them() -> None:
    depth = room(SIDE)
    for one in placed(depth, Standing(height_range=(0.4, 1.2))):
        x, y, width, height = one.box
        under = depth[y + height - 1, x : x + width]
        assert under[width // 2] == one.plane and one.occluded
        assert y + height - 1 > SIDE // 2


def test_heights_are_those_asked_for_within_a_pixel() -> None:
    standing = Standing(heights={"a": 0.5, "b": 0.9, "c": 1.3})
    focal = standing.focal_px(SIDE)
    for one in placed(room(SIDE), standing):
        asked = (500, 900, 1300)[one.foreground]
        assert abs(one.box[3] - asked * focal / one.plane) <= 1


def test_heights_without_a_table_fill_their_range() -> None:
    standing = Standing(height_range=(0.5, 1.0))
    focal = standing.focal_px(SIDE)
    heights = [one.box[3] * one.plane / focal for one in placed(room(SIDE), standing)]
    assert min(heights) > 450 and max(heights) < 1050
    assert min(heights) < 560 and max(heights) > 940


def test_what_is_farther_is_smaller() -> None:
    objects = placed(room(SIDE), Standing(height_range=(0.8, 0.8)))
    for foreground in range(3):
        mine = [one for one in objects if one.foreground == foreground]
        mine.sort(key=lambda one: one.plane)
        heights = [one.box[3] for one in mine]
        assert heights == sorted(heights, reverse=True) and heights[0] > heights[-1]


def test_objects_are_inside_the_canvas_and_of_a_size_in_the_range() -> None:
    for one in placed(room(SIDE), Standing()):
        x, y, width, height = one.box
        assert x >= 0 and x + width <= SIDE and y >= 0 and y + height <= SIDE
        assert max(width, height) >= round(0.1 * SIDE)


@pytest.mark.parametrize("depth", [room(SIDE, floor=False), room(SIDE, floor=False)[:, ::-1]])
def test_without_a_floor_they_stand_on_the_lower_edge_before_all(depth: np.ndarray) -> None:
    for one in placed(depth, Standing()):
        assert one.box[1] + one.box[3] == SIDE and one.plane < PILLAR_MM and not one.occluded


def test_what_fits_nowhere_is_as_high_as_fits() -> None:
    for one in placed(room(SIDE), Standing(height_range=(60, 60))):
        assert max(one.box[2:]) in (SIDE, SIDE - 1) and one.box[1] + one.box[3] == SIDE


def test_what_is_too_small_everywhere_comes_nearer() -> None:
    standing = Standing(height_range=(0.02, 0.02))
    for one in placed(room(SIDE), standing):
        assert abs(one.box[3] - 20 * standing.focal_px(SIDE) / one.plane) <= 1
        assert max(one.box[2:]) >= round(0.1 * SIDE) - 1


def test_a_background_without_depth_is_refused() -> None:
    with pytest.raises(DatasetError, match="no valid depth"):
        placed(np.zeros((SIDE, SIDE), np.uint16), Standing())


@pytest.mark.parametrize("size", [None, (56, 56), (40, 70)])
def test_the_mask_is_the_visible_alpha_and_depth_is_of_what_is_seen(
    size: tuple[int, int] | None,
) -> None:
    depth = room(SIDE)
    batches, full_set, compositor = scene(depth, standing=Standing())
    partly = 0
    for record in batches.composite(range(0, len(full_set), 3)).records:
        (one,) = record.objects
        fields = compositor.fields(record, ("depth", "instances"), size)
        whole = PlacedObject(foreground=one.foreground, flip=one.flip, box=one.box, plane=one.plane)
        alone = compositor.fields(Record(0, (whole,), {}), ("mask",), size)["mask"]
        bare = compositor.background_depth(0, size)
        seen = visible_share(bare, one.plane).astype(int)
        mask = np.rint(alone * (seen / 255)).astype(np.uint8)
        assert np.array_equal(fields["mask"], mask)
        is_object = mask >= OBJECT_ALPHA
        assert np.array_equal(fields["depth"], np.where(is_object, one.plane, bare))
        assert np.array_equal(fields["instances"], is_object.astype(np.uint8))
        nearer = bare < 0.9 * one.plane
        background = compositor.background(0, size or (SIDE, SIDE))
        assert np.array_equal(fields["composite"][nearer], background[nearer])
        partly += bool((alone[nearer] >= OBJECT_ALPHA).any())
    assert partly > 5  # the pillar hides some


def test_at_least_a_part_of_every_object_is_seen() -> None:
    batches, full_set, compositor = scene(room(SIDE), standing=Standing())
    for record in batches.composite(range(len(full_set))).records:
        _, mask = compositor.composite(record)
        assert (mask >= 128).any()


def test_the_nearer_of_several_objects_is_in_front() -> None:
    batches, full_set, _ = scene(room(SIDE), standing=Standing(), objects=(2, 3))
    for record in batches.composite(range(len(full_set))).records:
        planes = [one.plane for one in record.objects]
        assert planes == sorted(planes, reverse=True) and planes[0] <= WALL_MM


# ---- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"height_range": (1.0, 0.5)},
        {"height_range": (0.0, 0.5)},
        {"height_range": (0.5, float("nan"))},
        {"heights": {"a": 0.0}},
        {"field_of_view": 180.0},
        {"field_of_view": 0.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(DsetkitError, match="--height|--field-of-view"):
        Standing(**settings)


def test_heights_of_unknown_cut_outs_are_refused() -> None:
    with pytest.raises(DsetkitError, match="--heights names y .and 1 more.: expected"):
        Standing(heights={"a": 1.0, "z": 1.0, "y": 1.0}).heights_mm(["a", "b"])


@pytest.mark.parametrize("placement", ["uniform", "scene"])
def test_heights_and_placement_belong_together(placement: str) -> None:
    standing = None if placement == "scene" else Standing()
    with pytest.raises(DsetkitError, match="--placement"):
        Canvas(placement=placement, standing=standing)


def test_a_wider_view_makes_objects_smaller() -> None:
    assert Standing(field_of_view=90).focal_px(200) == 100
    assert Standing(field_of_view=40).focal_px(200) > Standing().focal_px(200)
