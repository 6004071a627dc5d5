"""Tests of recipes and selection: pure functions of (seed, index), balanced, no test leaks."""

import numpy as np
import pytest

from dsetkit.compositing.randomness import uniform
from dsetkit.compositing.recipe import Canvas, FullSet
from dsetkit.compositing.selection import select, split_cells
from dsetkit.store.manifest import (
    TEST_BACKGROUND,
    TEST_BOTH,
    TEST_FOREGROUND,
    TEST_SEEN,
    TRAIN,
    VAL,
)


def full_set(
    num_backgrounds: int = 30,
    foreground_shapes: tuple = ((100, 50), (40, 80), (64, 64), *[(30, 30)] * 22),
    seed: int = 0,
    **canvas: object,
) -> FullSet:
    return FullSet(
        num_backgrounds=num_backgrounds,
        foreground_shapes=foreground_shapes,
        canvas=Canvas(**canvas),
        seed=seed,
    )


def test_the_reference_set_has_its_published_size() -> None:
    reference = full_set(num_backgrounds=102, foreground_shapes=((9, 9),) * 104)
    assert len(reference) == 424_320


def test_every_combination_stands_once() -> None:
    small = full_set(num_backgrounds=3, foreground_shapes=((5, 5),) * 4, placements=2)
    recipes = [small.recipe(i) for i in range(len(small))]
    seen = [(r.background, r.objects[0].foreground, r.objects[0].flip) for r in recipes]
    assert len(seen) == 48 and all(seen.count(one) == 2 for one in set(seen))
    backgrounds, foregrounds = small.assets_of(np.arange(len(small)))
    assert [(r.background, r.objects[0].foreground) for r in recipes] == list(
        zip(backgrounds, foregrounds, strict=True)
    )


def test_a_recipe_depends_on_seed_and_index_alone() -> None:
    index = 12_345
    assert full_set().recipe(index) == full_set().recipe(index)
    assert full_set().recipe(index) != full_set(seed=1).recipe(index)
    boxes = {full_set().recipe(i).objects[0].box for i in range(index, index + 20)}
    assert len(boxes) == 20  # placements differ


@pytest.mark.parametrize("placement", ["uniform", "grid"])
def test_foregrounds_lie_inside_the_canvas_at_the_scale_asked_for(placement: str) -> None:
    scenes = full_set(placement=placement)
    for index in range(0, len(scenes), 37):
        (placed,) = scenes.recipe(index).objects
        x, y, width, height = placed.box
        assert x >= 0 and x + width <= 224 and y >= 0 and y + height <= 224
        assert 0.3 * 224 - 1 <= max(width, height) <= 0.7 * 224 + 1
        rows, columns = scenes.foreground_shapes[placed.foreground]
        assert width / height == pytest.approx(columns / rows, rel=0.05)


def test_the_grid_has_five_columns_and_four_rows() -> None:
    fixed = full_set(placement="grid", scale_range=(0.5, 0.5), foreground_shapes=((64, 64),))
    boxes = [fixed.recipe(i).objects[0].box for i in range(20)]
    assert sorted({x for x, *_ in boxes}) == [0, 28, 56, 84, 112]
    assert len({y for _, y, *_ in boxes}) == 4 and len(set(boxes)) == 20


def test_random_numbers_are_uniform_and_streams_independent() -> None:
    index = np.arange(200_000)
    first, second = uniform(7, 0, index), uniform(7, 1, index)
    assert first.min() >= 0 and first.max() < 1
    assert np.histogram(first, 20)[0] == pytest.approx(10_000, rel=0.05)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.01
    assert uniform(7, 0, 123) == first[123]


def splits(count: int) -> list[str]:
    return ["test"] * max(1, count // 12) + ["val"] + ["train"] * (count - 1 - max(1, count // 12))


def cells_of(scenes: FullSet) -> np.ndarray:
    return split_cells(scenes, splits(scenes.num_backgrounds), splits(25))


def test_no_test_asset_is_ever_trained_on() -> None:
    scenes = full_set()
    cells = cells_of(scenes)
    backgrounds, foregrounds = scenes.assets_of(np.arange(len(scenes)))
    test_background = np.isin(backgrounds, [0, 1])
    test_foreground = np.isin(foregrounds, [0, 1])
    used = np.isin(cells, [TRAIN, VAL])
    assert not used[test_background | test_foreground].any()
    assert set(backgrounds[cells == TRAIN]).isdisjoint({0, 1, 2})
    assert set(backgrounds[cells == TEST_FOREGROUND]).isdisjoint({0, 1, 2})
    assert set(foregrounds[cells == TEST_BOTH]) == {0, 1, 2}  # a val asset was not trained on
    held_out = (cells == TEST_SEEN).sum() / np.isin(cells, [TRAIN, TEST_SEEN]).sum()
    assert held_out == pytest.approx(0.04, abs=0.005)


@pytest.mark.parametrize("count", [100, 400, 2000, 29_999])
def test_a_selection_is_balanced_sorted_and_without_doubles(count: int) -> None:
    cells = cells_of(full_set())
    chosen = select(cells, count, seed=0)
    assert len(chosen) == count and (np.diff(chosen) > 0).all()
    if count <= 2000:
        share = np.bincount(cells[chosen], minlength=7) / count
        assert share[TRAIN] == pytest.approx(0.8, abs=0.03)
        tests = share[[TEST_SEEN, TEST_BACKGROUND, TEST_FOREGROUND, TEST_BOTH]]
        assert tests == pytest.approx(0.0375, abs=0.013)


def test_the_whole_selection_is_the_full_set() -> None:
    cells = cells_of(full_set())
    assert np.array_equal(select(cells, len(cells), seed=3), np.arange(len(cells)))


def test_a_selection_depends_on_the_seed() -> None:
    cells = cells_of(full_set())
    first, again, other = (select(cells, 500, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_selection_from_one_background_and_one_foreground_still_works() -> None:
    tiny = full_set(num_backgrounds=1, foreground_shapes=((9, 9),))
    cells = split_cells(tiny, ["train"], ["train"])
    assert len(select(cells, 30, seed=0)) == 30
