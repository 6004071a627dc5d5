"""From a dataset to a report: the numbers of its JSON twin, and the page that shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.compositing import Stream, uniform
from dsetkit.datasets import Dataset, SampleTable
from dsetkit.errors import DsetkitError
from dsetkit.files import is_same_place, write_json, write_whole
from dsetkit.labels import SAME_DEPTH_RATIO
from dsetkit.store import CELL_NAMES
from dsetkit.verbs import info, show
from dsetkit.verbs.report import asset_health, page
from dsetkit.verbs.report.asset_health import PROBLEMS, AssetFacts
from dsetkit.verbs.report.likeness import Pairs, pairs_alike
from dsetkit.verbs.report.measuring import Measured, measure_samples
from dsetkit.verbs.report.pictures import (
    ASSET_PX,
    ASSET_QUALITY,
    Quality,
    SamplePictures,
    jpeg,
    sample_pictures,
)
from dsetkit.verbs.report.runs import Run, read_runs
from dsetkit.verbs.stats import describe_pictures

CAP_BYTES = 15_000_000  # of the page
SAMPLE_BYTES, RUN_BYTES = 11_000_000, 1_500_000  # of its pictures; the rest is for text and assets
SAMPLES, STATS_SAMPLES = 200, 2000
FEWEST_OF_CELL = 4  # samples of a split cell in the gallery, if it has so many
WORST = 12  # labels of each list
ASSETS_SHOWN = 48  # with problems; the JSON twin has all of them
PAIRS_TOLD, PAIRS_SHOWN = 500, 24
RUN_QUALITIES = ((1400, 82), (1100, 76), (800, 70), (560, 60), (360, 50))

Json = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """A report.

    Attributes:
        facts: JSON values: the twin of the page.
        rows: Index -> row of the table, of the samples that the page shows.
        samples: Pictures of the samples that the page shows.
        assets: (kind, id) -> picture, as data URI, of the assets that it shows.
        runs: Data URI of the newest prediction picture of each run; empty if it has none.
    """

    facts: Json
    rows: dict[int, Json]
    samples: SamplePictures
    assets: dict[tuple[str, int], str]
    runs: list[str]


def collect(
    path: Path,
    *,
    samples: int = SAMPLES,
    stats_samples: int = STATS_SAMPLES,
    runs: Sequence[Path] = (),
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Looks at a dataset, and at trainings.

    Args:
        path: The dataset's directory.
        samples: How many the gallery shows; all if there are fewer.
        stats_samples: How many are measured, chosen by chance; all if there are fewer.
        runs: Folders of trainings; one with --chain stands for all its runs.
        seed: Key of both choices.
        jobs: Processes; the numbers do not depend on how many.
        progress: Called with (things done, things in all).

    Raises:
        DatasetError: As `Dataset`, an empty dataset, or a damaged sample or asset.
        RunError: A run that has no log.csv that can be read.
    """
    dataset = Dataset(path)
    measured_indices = show.choose(dataset, split=None, count=stats_samples, seed=seed)
    gallery = choose_gallery(dataset, count=samples, seed=seed)
    fingerprint = dataset.manifest.fingerprint
    trainings = [run for folder in runs for run in read_runs(folder, fingerprint=fingerprint)]
    steps = _Steps(
        len(measured_indices) + asset_health.count_assets(dataset) + len(gallery), progress
    )
    measured = measure_samples(dataset, measured_indices, jobs=jobs, progress=steps.done)
    assets = asset_health.look_over(dataset, jobs=jobs, progress=steps.done)
    worst, copies = worst_labels(measured), _copies(dataset, measured, assets)
    shown = _shown_samples(gallery, worst, copies)
    pictures = sample_pictures(dataset, shown, at_most=SAMPLE_BYTES, jobs=jobs, progress=steps.done)
    rows = {int(row["index"]): row for row in _rows(dataset, shown)}
    facts = {
        "report": {
            "measured_samples": len(measured_indices),
            "of_samples": len(dataset),
            "seed": seed,
            "shown_samples": len(gallery),
            "picture_px": pictures.quality.side_px,
            "jpeg_quality": pictures.quality.jpeg,
        },
        "info": info.describe(path),
        "stats": measured.stats.result() | {"pictures": describe_pictures(dataset, measured.stats)},
        "histograms": measured.histograms(),
        "heat_map": measured.heat_map(),
        "worst_labels": worst,
        "assets": _asset_facts(assets),
        "near_duplicates": copies,
        "skipped": dataset.manifest.skipped,
        "gallery": [rows[index] for index in gallery],
        "runs": [{"name": run.name, **run.facts} for run in trainings],
    }
    return Report(facts, rows, pictures, _asset_pictures(dataset, facts), _run_pictures(trainings))


def check_places(page_file: Path, twin_file: Path | None) -> None:
    """Raises DsetkitError when the page and its twin would be one file, or replace another kind."""
    if twin_file is not None and is_same_place(page_file, twin_file):
        raise DsetkitError(f"--output and --json are both {page_file}: expected two files")
    for flag, file, suffix in (("--output", page_file, ".html"), ("--json", twin_file, ".json")):
        is_device = file is not None and file.exists() and not file.is_file() and not file.is_dir()
        if file is not None and file.suffix.lower() != suffix and not is_device:
            raise DsetkitError(f"{flag} {file}: expected a name that ends in {suffix}")


def write_report(report: Report, page_file: Path, twin_file: Path | None = None) -> int:
    """Writes the twin, if it is wanted, and the page; returns the size of the page [bytes].

    Raises:
        DsetkitError: A file cannot be written.
    """
    content = page.render(report.facts, report.rows, report.samples, report.assets, report.runs)
    if twin_file is not None:
        write_json(twin_file, report.facts)
    write_whole(page_file, content)
    return len(content)


class _Steps:
    """Adds up what several parts of the work have done."""

    def __init__(self, total: int, progress: Callable[[int, int], None]) -> None:
        self._count, self._total, self._progress = 0, total, progress
        self.done(0)  # starts the clock of the rate

    def done(self, more: int) -> None:
        self._count = min(self._count + more, self._total)
        self._progress(self._count, self._total)


# ---- samples -----------------------------------------------------------------------------------


def choose_gallery(dataset: Dataset, *, count: int, seed: int) -> list[int]:
    """Samples by chance: of each split cell its share, but a few at least; ascending indices.

    Args:
        dataset: The dataset.
        count: How many; all if there are fewer.
        seed: Key of the choice.
    """
    indices = dataset.indices(None)
    cells = dataset.cells[indices]
    order = np.argsort(uniform(seed, Stream.SELECT, indices), kind="stable")
    first = [order[cells[order] == cell][:FEWEST_OF_CELL] for cell in range(len(CELL_NAMES))]
    # The few of each cell come first, then all others as chance has them.
    ranked = dict.fromkeys(np.concatenate([*_interleaved(first), order]).tolist())
    return sorted(indices[place].item() for place in list(ranked)[:count])


def _interleaved(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first of each part, then the second of each, and so on, each as an array."""
    longest = max(map(len, parts))
    return [np.array([part[n] for part in parts if n < len(part)], int) for n in range(longest)]


def worst_labels(measured: Measured) -> dict[str, list[Json]]:
    """The samples with the worst labels of each kind, the worst first.

    Returns:
        `in_front`: the foreground stands behind the background or at its depth; `boundary`: the
        fewest edges found. Each entry has `index` and `score`, as `LabelQuality` defines them.
    """
    scored = [(one.index, one.scores) for one in measured.samples if one.scores is not None]
    kinds = {
        "in_front": [(s.ratio, n) for n, s in scored if s.ratio is not None],
        "boundary": [(s.boundary_recall, n) for n, s in scored if s.boundary_recall is not None],
    }
    kinds["in_front"] = [one for one in kinds["in_front"] if one[0] < SAME_DEPTH_RATIO]
    return {
        kind: [{"index": index, "score": score} for score, index in sorted(scores)[:WORST]]
        for kind, scores in kinds.items()
    }


def _shown_samples(gallery: list[int], worst: dict[str, list[Json]], copies: Json) -> list[int]:
    """The samples whose pictures the page needs, ascending."""
    of_labels = [entry["index"] for entries in worst.values() for entry in entries]
    pairs = copies["composites"]["pairs"][:PAIRS_SHOWN]
    of_pairs = [pair[end]["index"] for pair in pairs for end in ("first", "second")]
    return sorted({*gallery, *of_labels, *of_pairs})


def _rows(dataset: Dataset, indices: Sequence[int]) -> list[Json]:
    table = SampleTable(dataset)
    records = dataset.records(indices)
    return [table.row(index, record) for index, record in zip(indices, records, strict=True)]


# ---- assets ------------------------------------------------------------------------------------


def _asset_facts(assets: dict[str, list[AssetFacts]]) -> Json:
    looked_at = {kind: len(found) for kind, found in assets.items()}
    everything = [one for found in assets.values() for one in found]
    counts = {name: sum(name in one.problems for one in everything) for name in PROBLEMS}
    return {
        "looked_at": looked_at,
        "problems": counts,
        "with_problems": [
            _asset(one)
            | {
                "problems": one.problems,
                "size_px": list(one.size),
                "brightness": round(one.brightness, 4),
                "sharpness": round(one.sharpness, 3),
                "coverage": round(one.coverage, 4),
            }
            for one in everything
            if one.problems
        ],
    }


def _asset(one: AssetFacts) -> Json:
    return {"kind": one.kind, "id": one.number, "name": one.name, "split": one.split}


def _copies(dataset: Dataset, measured: Measured, assets: dict[str, list[AssetFacts]]) -> Json:
    """Pairs that look alike, of each kind of asset, and of composites where there are no assets."""
    found = {kind: _asset_pairs(some) for kind, some in assets.items()}
    compared = [(one.index, one.likeness) for one in measured.samples if one.likeness is not None]
    table = [_sample(dataset, index) for index, _ in compared]
    found["composites"] = _told(table, pairs_alike([likeness for _, likeness in compared]))
    return found


def _asset_pairs(assets: list[AssetFacts]) -> Json:
    straight = [one.likeness for one in assets]
    return _told(
        [_asset(one) for one in assets],
        pairs_alike(straight),
        mirrored=pairs_alike(straight, [one.mirrored for one in assets]),
        pixels=[one.pixels for one in assets],
    )


def _told(
    table: list[Json], pairs: Pairs, *, mirrored: Pairs | None = None, pixels: Sequence[str] = ()
) -> Json:
    """Counts, and the first of the pairs: those across splits first, then the most alike.

    Args:
        table: What is told of each picture; has its `split`.
        pairs: Pairs of them.
        mirrored: Pairs of a picture and the mirror image of another; symmetric pictures are in
            both.
        pixels: Checksum of each picture; empty if they are not to be compared.
    """
    count = len(table)
    first, second, turned = pairs.first, pairs.second, np.zeros(len(pairs), bool)
    bits, difference = pairs.bits, pairs.difference
    if mirrored is not None:
        known = first * count + second
        new = ~np.isin(mirrored.first * count + mirrored.second, known)
        first = np.concatenate([first, mirrored.first[new]])
        second = np.concatenate([second, mirrored.second[new]])
        bits = np.concatenate([bits, mirrored.bits[new]])
        difference = np.concatenate([difference, mirrored.difference[new]])
        turned = np.concatenate([turned, np.ones(np.count_nonzero(new), bool)])
    splits = np.array([row["split"] for row in table], dtype=str)
    across = splits[first] != splits[second]
    same = np.zeros(len(first), bool)
    if pixels:
        checksums = np.array(pixels)
        same = (checksums[first] == checksums[second]) & ~turned
    order = np.lexsort((difference, bits, ~across))[:PAIRS_TOLD]
    return {
        "count": len(first),
        "across_splits": int(np.count_nonzero(across)),
        "same_pixels": int(np.count_nonzero(same)),
        "pairs": [
            {
                "first": table[first[n]],
                "second": table[second[n]],
                "across_splits": bool(across[n]),
                "same_pixels": bool(same[n]),
                "mirrored": bool(turned[n]),
                "bits": int(bits[n]),
                "difference": round(float(difference[n]), 5),
            }
            for n in order
        ],
    }


def _sample(dataset: Dataset, index: int) -> Json:
    cell = CELL_NAMES[int(dataset.cells[index])]
    return {"kind": "composites", "index": index, "split": cell.partition(":")[0]}


# ---- pictures ----------------------------------------------------------------------------------


def _asset_pictures(dataset: Dataset, facts: Json) -> dict[tuple[str, int], str]:
    wanted = [(one["kind"], one["id"]) for one in facts["assets"]["with_problems"][:ASSETS_SHOWN]]
    for kind in asset_health.KINDS:
        for pair in facts["near_duplicates"][kind]["pairs"][:PAIRS_SHOWN]:
            wanted += [(kind, pair[end]["id"]) for end in ("first", "second")]
    quality = Quality(ASSET_PX, ASSET_QUALITY)
    return {
        (kind, number): jpeg(asset_health.on_grey(dataset.asset(kind, number)), quality)
        for kind, number in dict.fromkeys(wanted)
    }


def _run_pictures(runs: Sequence[Run]) -> list[str]:
    """The prediction pictures, in the best quality that fits."""
    uris: list[str] = []
    for side, quality in RUN_QUALITIES:
        uris = [
            jpeg(run.picture, Quality(side, quality)) if run.picture is not None else ""
            for run in runs
        ]
        if sum(map(len, uris)) <= RUN_BYTES:
            break
    return uris
