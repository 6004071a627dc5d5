"""Scores of a finished dataset's labels, kept in its manifest."""

from dataclasses import replace
from pathlib import Path

from dsetkit.compositing import can_composite
from dsetkit.datasets import Dataset
from dsetkit.errors import BusyError, UnfinishedError
from dsetkit.labels.quality import LabelQuality
from dsetkit.numbers import evenly_spread
from dsetkit.store import Manifest, StoreWriter, manifest_entry, shard_path

SCORED_SAMPLES = 1000  # `stats` takes all of them


def score_labels(path: Path, *, samples: int = SCORED_SAMPLES) -> Manifest | None:
    """Writes the scores of a complete dataset's labels into its manifest, unless they are there.

    The scores depend on the samples alone. Several processes may call this at once: each calls it
    when it has finished its shard, and the last of them finds the dataset complete.

    Args:
        path: The dataset's directory.
        samples: How many samples are looked at, spread evenly; all if there are fewer.

    Returns:
        The manifest of the first shard that is there, with scores if the dataset is complete, has
        masks and depths, and this version composites as the one that made it. None while another
        process is creating a shard.
    """
    try:
        dataset = Dataset(path, allow_incomplete=True)
        is_complete = dataset.shards.is_complete()
    except UnfinishedError:  # another process has just created a shard, and will finish after us
        return None
    manifest = dataset.manifest
    if manifest.label_quality or not is_complete:
        return manifest
    scores = measure_labels(dataset, samples=samples)
    if not scores:
        return manifest
    manifest = replace(manifest, label_quality=scores)
    try:
        with StoreWriter(shard_path(path)) as store:
            store.put([manifest_entry(manifest)])
    except BusyError:  # another process finished at the same moment, and writes the same scores
        pass
    return manifest


def measure_labels(dataset: Dataset, *, samples: int = SCORED_SAMPLES) -> dict:
    """Scores of a dataset's labels.

    Args:
        dataset: A complete one.
        samples: How many samples are looked at, spread evenly; all if there are fewer.

    Returns:
        As `LabelQuality.result`, and `samples`, how many were looked at; {} without masks or
        depths, and where this version would composite other masks than the teacher saw.
    """
    manifest = dataset.manifest
    if not {"mask", "depth"} <= set(manifest.fields):
        return {}
    if not can_composite(manifest):
        return {}
    quality = LabelQuality(manifest.depth_kind)
    indices = evenly_spread(manifest.num_samples, samples)
    for index in indices:
        images = dataset.stored_images(dataset.record(index), ("mask", "depth"))
        quality.add(images["mask"], images["depth"])
    return quality.result() | {"samples": len(indices)}
