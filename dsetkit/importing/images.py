"""import-images: existing composites, masks, depths and backgrounds become a dataset.

Every picture is decoded once before anything is written, so that all bad files are reported at once
and the manifest is final from the start. Composites keep the bytes of their files, unless readers
would not see the same pixels: see `decode_composite`.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import xxhash

from dsetkit.assets import (
    MAX_JOBS,
    assign_splits,
    encode_asset,
    fingerprint,
    pillow_warnings_ignored,
)
from dsetkit.datasets import DatasetWriter
from dsetkit.importing.backgrounds import (
    as_assets,
    background_names,
    load_backgrounds,
    warn_of_mismatches,
)
from dsetkit.importing.decoding import DepthScale
from dsetkit.importing.names import plan_by_names
from dsetkit.importing.plan import Plan, raise_if_bad
from dsetkit.importing.samples import AHEAD, CheckedSample, SampleReader, check_samples
from dsetkit.importing.settings import DepthMeaning, FileNaming, SplitRule
from dsetkit.importing.sources import Files
from dsetkit.importing.splits import split_samples
from dsetkit.importing.systems import FIELDS, SYSTEMS
from dsetkit.importing.tables import plan_by_table
from dsetkit.processes import in_order
from dsetkit.store import DEFAULT_CODECS, ENGINE_VERSION, StoredAsset
from dsetkit.store import manifest as m


def import_images(
    roots: Sequence[Path],
    output: Path,
    *,
    naming: FileNaming,
    depth: DepthMeaning | None = None,
    splits: SplitRule | None = None,
    jobs: int | None = None,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> m.Manifest:
    """Writes a set of image files as a dataset, or continues an interrupted import.

    Args:
        roots: Folders and .zip archives that hold the files.
        output: Dataset directory to create or continue.
        naming: Which files make which sample.
        depth: What depth pictures mean; None takes the system's own meaning.
        splits: How samples are split; None is the default rule.
        jobs: Threads; None = one for each core, at most 8. The result does not depend on it.
        skip_bad: Leave out samples with files that are missing or cannot be used.
        progress: Called with (steps done, steps in all); each sample is checked, then written.

    Returns:
        The dataset's manifest.

    Raises:
        AssetError: Files or tables that cannot be used.
        DatasetError: The output cannot be written.
    """
    depth, splits = depth or DepthMeaning(), splits or SplitRule()
    with (
        pillow_warnings_ignored(),
        Files(roots) as files,
        ThreadPoolExecutor(jobs or min(MAX_JOBS, os.cpu_count() or 1)) as pool,
    ):
        plan = _plan(files, naming)
        raise_if_bad(plan.bad, num_usable=len(plan.samples), skip_bad=skip_bad)
        num_planned = len(plan.samples)
        fields = [name for name in FIELDS if name in plan.samples[0].files]
        scale = depth.scale(naming.system) if "depth" in fields else None

        # Check every file.
        reader = SampleReader(scale, SYSTEMS[naming.system].mask_threshold)
        samples, bad = check_samples(
            plan.samples, reader, pool, lambda done: progress(done, 2 * num_planned)
        )
        if samples and "background" in fields:
            backgrounds, bad_backgrounds = load_backgrounds(samples, samples[0].size, pool)
            warn_of_mismatches(samples, backgrounds)
            samples = [
                sample for sample in samples if sample.planned.files["background"] in backgrounds
            ]
            bad += bad_backgrounds
        else:
            backgrounds = {}
        raise_if_bad(bad, num_usable=len(samples), skip_bad=skip_bad)

        # Describe the dataset.
        names = background_names(list(backgrounds))
        background_splits = assign_splits(names, seed=splits.seed)
        assets = as_assets(backgrounds, names, background_splits)
        cells, splits_entry = split_samples(
            samples,
            dict(zip(backgrounds, background_splits, strict=True)),
            splits,
            tables=plan.tables,
        )
        manifest = m.Manifest(
            num_samples=len(samples),
            complete=False,
            size=list(samples[0].size),
            fields=fields,
            codecs=_codecs(samples, fields),
            depth_kind=scale.kind if scale else "none",
            max_depth_m=scale.max_depth_m if scale else 0.0,
            teacher=_teacher_entry(scale),
            recipe=_recipe_entry(naming.system, samples, splits.seed),
            splits=splits_entry,
            assets_fingerprint=fingerprint(assets, []),
            skipped=[[file.name, file.reason] for file in plan.bad + bad],
            num_backgrounds=len(assets),
            engine=ENGINE_VERSION,
        )

        # Write it.
        stored = (
            StoredAsset(asset.name, asset.split, encode_asset(asset.pixels)) for asset in assets
        )
        background_ids = {file: number for number, file in enumerate(backgrounds)}
        to_record = partial(reader.record, background_ids=background_ids)
        with DatasetWriter(output, manifest, cells, backgrounds=stored) as writer:
            for record in in_order(pool, to_record, samples[writer.count :], ahead=AHEAD):
                writer.add([record])
                progress(num_planned + writer.count, num_planned + len(samples))
            return writer.finish()


def _plan(files: Files, naming: FileNaming) -> Plan:
    rule = SYSTEMS[naming.system].naming
    if naming.tables or rule is None:
        return plan_by_table(files, naming.system, naming.tables)
    return plan_by_names(files, rule, per_background=naming.per_background)


# ---- the manifest ------------------------------------------------------------------------------


def _codecs(samples: Sequence[CheckedSample], fields: Sequence[str]) -> dict[str, str]:
    all_png = all(sample.codec == "png" for sample in samples)
    codecs = {name: DEFAULT_CODECS[name] for name in fields if name != "background"}
    return codecs | {"composite": "png" if all_png else "jpeg95"}


def _teacher_entry(scale: DepthScale | None) -> dict[str, Any]:
    """The manifest's `teacher`: depth comes from files, not from a network."""
    if scale is None:
        return {"name": "none", "hash": "", "batch_size": 1}
    return {
        "name": "image files",
        "hash": "",
        "batch_size": 1,
        "polarity": scale.polarity,
        "full_scale": scale.full_scale,
    }


def _recipe_entry(system: str, samples: Sequence[CheckedSample], seed: int) -> dict[str, Any]:
    """The manifest's `recipe`; `content` is a hash of the samples' names and file contents."""
    digest = xxhash.xxh3_128()
    for sample in samples:
        digest.update(sample.planned.name.encode())
        digest.update(sample.digest)
    entry = {"system": system, "seed": seed, "content": digest.hexdigest()}
    threshold = SYSTEMS[system].mask_threshold
    return entry if threshold is None else entry | {"mask_threshold": threshold}
