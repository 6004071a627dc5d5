"""A complete dataset grows: what it has stays, further samples follow, no sample comes twice."""

from pathlib import Path

import numpy as np
import pytest

from dsetkit.compositing.selection import CELL_SHARES, select, select_in_steps
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import DatasetError, DsetkitError
from dsetkit.store import manifest as m
from dsetkit.verbs.splits import split_by_sample
from dsetkit.verbs.verify import verify
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.generating import generate

SMALL = {"size": 64, "placements": 5, "batch_size": 8, "workers": 0}


def samples(path: Path) -> list[tuple]:
    dataset = Dataset(path)
    records = dataset.records(range(len(dataset)))
    return [(record.index, record.objects, sorted(record.fields.items())) for record in records]


@pytest.mark.parametrize("layout", ["rendered", "recipe"])
def test_what_is_there_stays_and_the_rest_follows(
    layout: str, pictures: dict, teacher: str, tmp_path: Path
) -> None:
    options = SMALL | {"output": tmp_path / "d", "teacher": teacher, "layout": layout}
    generate(**pictures, num_samples=50, **options)
    before, cells = samples(tmp_path / "d"), Dataset(tmp_path / "d").cells
    manifest = generate(**pictures, num_samples=90, **options)
    after = samples(tmp_path / "d")
    assert manifest.num_samples == len(after) == 90 and manifest.complete
    assert after[:50] == before
    np.testing.assert_array_equal(Dataset(tmp_path / "d").cells[:50], cells)
    assert len({index for index, *_ in after}) == 90
    assert verify(tmp_path / "d") == []
    generate(**pictures, num_samples=130, **options)
    assert samples(tmp_path / "d")[:90] == after and verify(tmp_path / "d") == []


def test_a_growth_that_is_cut_off_goes_on_to_the_same_samples(
    pictures: dict, teacher: str, tmp_path: Path
) -> None:
    options = SMALL | {"teacher": teacher}
    for name in ("whole", "cut"):
        generate(**pictures, output=tmp_path / name, num_samples=50, **options)
    generate(**pictures, output=tmp_path / "whole", num_samples=130, **options)
    for count in (66, 90):
        with pytest.raises(CutOffError):
            generate(
                **pictures, output=tmp_path / "cut", num_samples=130, progress=stop_at(count),
                **options,
            )  # fmt: skip
        with pytest.raises(DatasetError):
            Dataset(tmp_path / "cut")  # not complete
    with pytest.raises(DatasetError, match="of 130 samples: finish it with --num-samples 130"):
        generate(**pictures, output=tmp_path / "cut", num_samples=140, **options)
    generate(**pictures, output=tmp_path / "cut", num_samples=130, **options)
    assert samples(tmp_path / "cut") == samples(tmp_path / "whole")
    one, other = (Dataset(tmp_path / name).manifest for name in ("cut", "whole"))
    assert one.fingerprint == other.fingerprint and one.label_quality == other.label_quality


def test_the_fingerprint_tells_a_grown_dataset(pictures: dict, tmp_path: Path) -> None:
    options = SMALL | {"teacher": "none"}
    generate(**pictures, output=tmp_path / "grown", num_samples=50, **options)
    grown = generate(**pictures, output=tmp_path / "grown", num_samples=90, **options)
    fresh = generate(**pictures, output=tmp_path / "fresh", num_samples=90, **options)
    assert grown.recipe["grown"] == [50] and "grown" not in fresh.recipe
    assert grown.fingerprint != fresh.fingerprint


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 1}, "other settings"),
        ({"size": 48}, "other settings"),
        ({"teacher": "none"}, "other settings"),
        ({"num_samples": 20}, "num_samples: 50, not 20"),
        ({"shards": 3}, "of several shards cannot grow"),
        ({"num_samples": 10**6}, "expected 1 to 250, the full set"),
    ],
)
def test_what_cannot_grow_says_why_and_stays(
    change: dict, complaint: str, pictures: dict, teacher: str, tmp_path: Path
) -> None:
    options = SMALL | {"output": tmp_path / "d", "teacher": teacher}
    generate(**pictures, num_samples=50, **options)
    before = samples(tmp_path / "d")
    with pytest.raises(DsetkitError, match=complaint):
        generate(**pictures, **({"num_samples": 90} | options | change))
    assert samples(tmp_path / "d") == before


def test_a_dataset_that_was_split_anew_does_not_grow(pictures: dict, tmp_path: Path) -> None:
    options = SMALL | {"output": tmp_path / "d", "teacher": "none"}
    generate(**pictures, num_samples=50, **options)
    split_by_sample(tmp_path / "d", shares=[0.5, 0.2, 0.3], seed=0)
    with pytest.raises(DatasetError, match="splits by: sample, not asset"):
        generate(**pictures, num_samples=90, **options)
    assert Dataset(tmp_path / "d").manifest.complete


@pytest.mark.parametrize("steps", [[100, 200], [7, 8, 9], [300, 301, 5000], [5000, 10_000]])
@pytest.mark.parametrize("seed", range(3))
def test_each_step_keeps_the_one_before_and_the_shares_of_the_splits(
    steps: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    kinds = list(CELL_SHARES)
    cells = rng.choice(kinds, 10_000, p=[1 / len(kinds)] * len(kinds)).astype(np.uint8)
    chosen = select_in_steps(cells, steps, seed=seed)
    np.testing.assert_array_equal(chosen[: steps[0]], select(cells, steps[0], seed=seed))
    assert len(np.unique(chosen)) == len(chosen) == steps[-1]
    for count in steps:
        np.testing.assert_array_equal(
            chosen[:count], select_in_steps(cells, steps[: steps.index(count) + 1], seed=seed)
        )
    if steps[-1] < 1000:
        share = np.mean(cells[chosen] == m.TRAIN)
        assert share == pytest.approx(CELL_SHARES[m.TRAIN], abs=0.1)
