"""Scene depth: objects stand in front of what they hide, and every field tells the same story."""

from functools import partial

import numpy as np
import pytest

from dsetkit.compositing.compositor import Compositor, DepthShare
from dsetkit.compositing.planes import OBJECT_ALPHA, Nearness, PlaneRule
from dsetkit.compositing.randomness import uniform
from dsetkit.compositing.recipe import Canvas, FullSet
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.store.records import PlacedObject, Record, depth_share
from tests.helpers.worlds import draw_background, draw_foreground


def noise(stream: int, *shape: int) -> np.ndarray:
    return (uniform(7, stream, np.arange(np.prod(shape))) * 65535 + 1).reshape(shape)


@pytest.mark.parametrize("kind", ["metric", "relative"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_plane_is_nearer_than_nearly_all_that_it_hides(kind: str, share: float) -> None:
    behind = noise(1, 500).astype(np.uint16)
    plane = PlaneRule(kind=kind).plane(behind, share)
    hidden = np.mean(behind > plane) if kind == "metric" else np.mean(behind < plane)
    assert 1 <= plane <= 65535 and hidden >= 0.95


@pytest.mark.parametrize("kind, sign", [("metric", 1), ("relative", -1)])
def test_nearness_moves_the_plane_from_near_to_far(kind: str, sign: int) -> None:
    behind = np.full(9, 20_000, np.uint16)
    rule = PlaneRule(kind=kind, nearness=Nearness(0.5, 0.8))
    planes = [rule.plane(behind, share) for share in (0.0, 0.5, 1.0)]
    assert planes == sorted(planes, key=lambda plane: sign * plane)
    expected = (10_000, 16_000) if kind == "metric" else (40_000, 25_000)
    assert (planes[0], planes[-1]) == expected


@pytest.mark.parametrize(
    "nearness",
    [(0.0, 0.5), (0.6, 0.5), (0.5, 1.0), (float("nan"), 0.5), (0.4, 0.5, "nothing")],
)
def test_a_range_that_could_put_objects_behind_is_refused(nearness: tuple) -> None:
    with pytest.raises(DsetkitError, match="--nearness"):
        Nearness(*nearness)


@pytest.mark.parametrize("sizes", [(0.0, 1.0), (0.3, 0.7), (0.4, 0.4)])
def test_by_size_larger_objects_are_nearer_whatever_is_drawn(sizes: tuple) -> None:
    rule = PlaneRule(kind="metric", sizes=sizes)
    scales = np.linspace(0, 1, 21)
    shares = [rule.share(scale, 0.9) for scale in scales]
    assert shares == [rule.share(scale, 0.1) for scale in scales]
    assert shares == sorted(shares, reverse=True) and 0 <= shares[-1] <= shares[0] <= 1
    if sizes[0] < sizes[1]:
        assert [rule.share(size, 0.5) for size in sizes] == [1, 0]


def test_by_chance_nearness_is_what_was_drawn() -> None:
    rule = PlaneRule(kind="metric", nearness=Nearness(by="chance"))
    assert [rule.share(0.4, drawn) for drawn in (0.0, 0.25, 0.99)] == [0.0, 0.25, 0.99]


def compositor(
    depth: np.ndarray, side: int = 96, depth_share: DepthShare | None = None
) -> Compositor:
    pixels = {
        "backgrounds": [draw_background(0, side)],
        "foregrounds": [draw_foreground(i, 50, 40) for i in range(3)],
        "depths": [depth],
    }
    canvas = (side, side)
    return Compositor(lambda kind, number: pixels[kind][number], canvas, depth_share=depth_share)


def test_invalid_depth_is_not_looked_at_unless_there_is_nothing_else() -> None:
    depth = np.full((96, 96), 4000, np.uint16)
    depth[20:70, 20:60] = 0
    depth[30, 30] = 2000  # may fall between the pixels that are looked at
    rule = PlaneRule(kind="metric", nearness=Nearness(0.5, 0.5))
    finder = compositor(depth).plane_finder(rule)
    assert finder.plane(0, 0, False, (22, 22, 36, 45), 0.0) in (1000, 2000)
    with pytest.raises(DatasetError, match="no valid depth"):
        compositor(np.zeros((96, 96), np.uint16)).plane_finder(rule).plane(
            0, 0, False, (1, 1, 30, 30), 0.0
        )


@pytest.mark.parametrize("flip", [False, True])
def test_a_mirrored_object_hides_what_its_mirror_image_covers(flip: bool) -> None:
    half = np.zeros((40, 40, 4), np.uint8)
    half[:, :20] = 255  # only the left half is there
    depth = np.full((64, 64), 1000, np.uint16)
    depth[:, 32:] = 3000
    pixels = {"backgrounds": [], "foregrounds": [half], "depths": [depth]}
    maker = Compositor(lambda kind, number: pixels[kind][number], (64, 64))
    finder = maker.plane_finder(PlaneRule(kind="metric", nearness=Nearness(0.5, 0.5)))
    assert finder.plane(0, 0, flip, (12, 12, 40, 40), 0.0) == (1500 if flip else 500)


@pytest.mark.parametrize("size", [None, (96, 96), (40, 24)])
def test_depth_and_instances_are_those_of_the_object_in_front(size: tuple | None) -> None:
    depth = np.tile(np.linspace(2000, 5000, 96).astype(np.uint16), (96, 1))
    boxes = [(5, 5, 40, 50), (30, 20, 40, 50), (60, 40, 30, 30)]
    objects = tuple(
        PlacedObject(foreground=i, flip=i == 1, box=box, plane=1500 - 100 * i)
        for i, box in enumerate(boxes)
    )
    maker = compositor(depth)
    fields = maker.fields(Record(0, objects, {}), ("depth", "instances"), size)
    bare = maker.background_depth(0, size)
    shown = np.zeros_like(fields["mask"])
    for order, one in enumerate(objects, start=1):
        alone = maker.fields(Record(0, (one,), {}), ("mask",), size)["mask"]
        shown[alone >= OBJECT_ALPHA] = order
    assert np.array_equal(fields["instances"], shown)
    planes = np.array([0, *(one.plane for one in objects)], np.uint16)
    assert np.array_equal(fields["depth"], np.where(shown > 0, planes[shown], bare))
    assert (fields["mask"][shown > 0] >= OBJECT_ALPHA).all()
    assert len(np.unique(shown)) == 4


@pytest.mark.parametrize("kind", ["metric", "relative"])
@pytest.mark.parametrize("size", [None, (40, 24)])
def test_the_share_of_depth_is_that_of_the_stored_depth(kind: str, size: tuple | None) -> None:
    depth = (np.arange(96 * 96).reshape(96, 96) * 7 % 12_000).astype(np.uint16)  # some beyond 10 m
    objects = tuple(
        PlacedObject(foreground=i, flip=False, box=(5 + 30 * i, 5, 40, 50), plane=9000 + 2000 * i)
        for i in range(2)
    )
    share_of = partial(depth_share, kind=kind, max_depth_m=10.0)
    sharing = compositor(depth, depth_share=share_of)
    fields = sharing.fields(Record(0, objects, {}), ("depth", "depth_share"), size)
    assert fields["depth_share"].dtype == np.float32
    assert np.array_equal(fields["depth_share"], share_of(fields["depth"]))


def test_an_object_without_a_plane_has_no_scene_depth() -> None:
    one = PlacedObject(foreground=0, flip=False, box=(1, 1, 30, 30))
    maker = compositor(np.full((96, 96), 1000, np.uint16))
    maker.composite(Record(0, (one,), {}))
    with pytest.raises(DatasetError, match="no plane"):
        maker.fields(Record(0, (one,), {}), ("depth",))


# ---- several objects ---------------------------------------------------------------------------

SPLITS = ("train",) * 20 + ("val",) * 9 + ("test",) * 9


def crowd(low: int, high: int, seed: int = 0) -> FullSet:
    return FullSet(
        num_backgrounds=5,
        foreground_shapes=((30, 20),) * len(SPLITS),
        canvas=Canvas(size=64, placements=3, objects=(low, high)),
        seed=seed,
        foreground_splits=SPLITS,
    )


def test_one_object_is_the_recipe_of_a_set_without_others() -> None:
    alone, among = crowd(1, 1), crowd(1, 8)
    for index in range(0, len(alone), 17):
        assert among.recipe(index).objects[-1] == alone.recipe(index).objects[0]
        assert among.recipe(index).shares[-1] == alone.recipe(index).shares[0]


@pytest.mark.parametrize("low, high", [(1, 2), (1, 8), (3, 3)])
def test_objects_are_as_many_as_asked_for_and_of_one_split(low: int, high: int) -> None:
    scenes = crowd(low, high)
    recipes = scenes.recipes(range(0, len(scenes), 3))
    assert {len(recipe.objects) for recipe in recipes} == set(range(low, high + 1))
    for recipe in recipes:
        ids = [one.foreground for one in recipe.objects]
        assert len(set(ids)) == len(ids) == len(recipe.shares)
        assert len({SPLITS[number] for number in ids}) == 1
        for one in recipe.objects:
            x, y, width, height = one.box
            assert 0 <= x <= x + width <= 64 and 0 <= y <= y + height <= 64


def test_recipes_of_many_equal_those_of_each() -> None:
    scenes = crowd(1, 8)
    indices = [5, 3, 700, 701, 2]
    assert scenes.recipes(indices) == [scenes.recipe(index) for index in indices]


def test_every_foreground_of_the_split_appears_about_as_often() -> None:
    scenes = crowd(2, 2)
    behind = [recipe.objects[0].foreground for recipe in scenes.recipes(range(len(scenes)))]
    counts = np.bincount(behind, minlength=len(SPLITS))
    assert counts.min() > 0.4 * counts.mean() and counts.max() < 1.8 * counts.mean()


def test_when_a_split_has_no_more_foregrounds_those_of_train_follow() -> None:
    scenes = crowd(12, 12)
    for recipe in scenes.recipes(range(0, len(scenes), 7)):
        splits = [SPLITS[one.foreground] for one in reversed(recipe.objects)]
        own = 12 if splits[0] == "train" else 9
        assert splits == [splits[0]] * own + ["train"] * (12 - own)
        assert len({one.foreground for one in recipe.objects}) == 12


def test_more_objects_than_there_are_foregrounds_are_refused_in_one_line() -> None:
    with pytest.raises(DsetkitError, match="split train has 20 foregrounds") as caught:
        crowd(1, 21)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objects", [(0, 1), (2, 1), (1, 33)])
def test_a_range_of_objects_that_makes_no_sense_is_refused(objects: tuple) -> None:
    with pytest.raises(DsetkitError, match="--objects"):
        Canvas(objects=objects)
