"""What a report measures on samples: statistics, object sizes and places, scores, likeness."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np

from dsetkit.datasets import Dataset
from dsetkit.labels import SampleScores
from dsetkit.processes import in_jobs
from dsetkit.store import Record
from dsetkit.verbs.field_stats import COVERED_ALPHA
from dsetkit.verbs.report.likeness import Likeness, likeness
from dsetkit.verbs.stats import SAMPLES_PER_CHUNK, DatasetStats

GRID = 32  # cells along each side of the map of object places
BINS = 20  # of the histograms of shares


@dataclass
class SampleFacts:
    """What is told of one sample.

    Attributes:
        index: Its index in the dataset.
        coverage: Share of the picture that the foreground covers; None without masks.
        sizes: Longer side of each object, as a share of the picture's longer side.
        scores: Of its label; None without masks or depths.
        likeness: Of its composite; None where the dataset has backgrounds, which are compared.
    """

    index: int
    coverage: float | None = None
    sizes: list[float] = field(default_factory=list)
    scores: SampleScores | None = None
    likeness: Likeness | None = None


@dataclass
class Measured:
    """What is told of many samples.

    Attributes:
        stats: Of all fields.
        samples: Facts of each sample.
        places: float64 (GRID, GRID), mean share of each place that the foreground covers.
    """

    stats: DatasetStats
    samples: list[SampleFacts] = field(default_factory=list)
    places: np.ndarray = field(default_factory=lambda: np.zeros((GRID, GRID)))

    def merge(self, later: "Measured") -> None:
        """Takes in what was measured on the samples that follow."""
        self.stats.merge(later.stats)
        self.samples += later.samples
        self.places += later.places

    def histograms(self) -> dict[str, dict[str, Any]]:
        """Of `coverage` and `object_size`, if there are masks: `edges` and `counts`."""
        coverage = [one.coverage for one in self.samples if one.coverage is not None]
        if not coverage:
            return {}
        sizes = [size for one in self.samples for size in one.sizes]
        return {"coverage": _histogram(coverage), "object_size": _histogram(sizes)}

    def heat_map(self) -> list[list[float]] | None:
        """`places` as rows from the top; None without masks."""
        masked = sum(one.coverage is not None for one in self.samples)
        return np.round(self.places / masked, 5).tolist() if masked else None


def _histogram(shares: list[float]) -> dict[str, Any]:
    counts, edges = np.histogram(np.clip(shares, 0, 1), BINS, (0, 1))
    return {"edges": edges.round(6).tolist(), "counts": counts.tolist()}


def measure_samples(
    dataset: Dataset,
    indices: list[int],
    *,
    jobs: int,
    progress: Callable[[int], None],
) -> Measured:
    """Measures samples; the numbers do not depend on the number of processes.

    Args:
        dataset: The dataset.
        indices: Which samples, ascending.
        jobs: Processes.
        progress: Called with the number of samples done since the last call.

    Raises:
        DatasetError: A damaged sample.
    """
    starts = range(0, len(indices), SAMPLES_PER_CHUNK)
    chunks = [indices[start : start + SAMPLES_PER_CHUNK] for start in starts]
    total = Measured(DatasetStats(dataset.manifest))
    for part in in_jobs(partial(_measure_chunk, dataset), chunks, jobs=jobs):
        total.merge(part)
        progress(len(part.samples))
    return total


def _measure_chunk(dataset: Dataset, indices: list[int]) -> Measured:
    measured = Measured(DatasetStats(dataset.manifest))
    compares = dataset.manifest.num_backgrounds == 0
    for index, record in zip(indices, dataset.records(indices), strict=True):
        images = dataset.stored_images(record)
        facts = SampleFacts(index, scores=measured.stats.add(images, record))
        if "mask" in images:
            covered = (images["mask"] >= COVERED_ALPHA).astype(np.float32)
            facts.coverage = float(covered.mean())
            facts.sizes = _object_sizes(record, covered)
            measured.places += cv2.resize(covered, (GRID, GRID), interpolation=cv2.INTER_AREA)
        if compares:
            facts.likeness = likeness(images["composite"])
        measured.samples.append(facts)
    return measured


def _object_sizes(record: Record, covered: np.ndarray) -> list[float]:
    """The sizes of a sample's objects; where their boxes are not known, of all of them as one."""
    longest = max(covered.shape)
    boxes = [one.box for one in record.objects if one.box is not None]
    if boxes and len(boxes) == len(record.objects):
        return [max(box[2:]) / longest for box in boxes]
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if len(rows) == 0:
        return []
    return [float(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1) / longest]
