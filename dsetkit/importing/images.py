"""import-images: composites, masks and depths that are there already become a dataset.

Every picture is decoded once before anything is written, so that all that is bad is known in one
go and the dataset's header is final from the start. Composites keep their files' own bytes.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from dsetkit.assets import MAX_JOBS, BadFile, assign_splits, encode_asset, fingerprint
from dsetkit.compositing import cells_by_sample, cells_of
from dsetkit.datasets import DatasetWriter, StoredAsset
from dsetkit.errors import AssetError
from dsetkit.importing.conventions import FIELDS, NAMINGS, PER_BACKGROUND, Plan, plan_by_names
from dsetkit.importing.decoding import SYSTEMS, DepthScale, depth_scale
from dsetkit.importing.samples import (
    Checked,
    SampleReader,
    as_assets,
    check_samples,
    foreign_composites,
    in_order,
    load_backgrounds,
    name_backgrounds,
)
from dsetkit.importing.sources import File, Files
from dsetkit.importing.tables import FORMS, plan_by_table
from dsetkit.store import DEFAULT_CODECS, ENGINE_VERSION
from dsetkit.store import manifest as m

SAMPLE_SHARES = (0.8, 0.05, 0.15)  # of train, val and test under --split-by sample
PROBLEMS_SHOWN = 20

Progress = Callable[[int, int], None]  # (steps done, steps in all)

log = logging.getLogger(__name__)


def _no_progress(done: int, total: int) -> None: ...


def import_images(
    roots: Sequence[Path],
    output: Path,
    *,
    system: str,
    tables: Sequence[Path] = (),
    depth_polarity: str | None = None,
    max_depth_m: float | None = None,
    split_by: str | None = None,
    per_background: int = PER_BACKGROUND,
    seed: int = 0,
    jobs: int | None = None,
    skip_bad: bool = False,
    progress: Progress = _no_progress,
) -> m.Manifest:
    """Writes a set of image files as a dataset.

    Args:
        roots: Folders and .zip archives that the files are in.
        output: Dataset directory to create or continue.
        system: Whose rules hold: a key of SYSTEMS.
        tables: Needed by `000` and `table`, possible with `002` and `003`.
        depth_polarity: `far-bright` or `near-bright`; None = the system's own.
        max_depth_m: Depth of the whole grey range [m]; None = depth is relative.
        split_by: `asset`, `sample` or `table`; None = the table's word if it has one, else by
            asset as far as assets are known, else by sample.
        per_background: Samples to each background of a set, of system 003 without a table.
        seed: Key of every choice.
        jobs: Threads; None = one for each core, up to 8. Their number never changes a byte.
        skip_bad: Leave out samples with files that are missing or cannot be used.
        progress: Called with (steps done, steps in all); a sample is checked, then written.

    Returns:
        The dataset's manifest.

    Raises:
        AssetError: Files or tables that cannot be used.
        DatasetError: The output cannot be written.
    """
    with (
        Files(roots) as files,
        ThreadPoolExecutor(jobs or min(MAX_JOBS, os.cpu_count() or 1)) as pool,
    ):
        # which files make which sample
        plan = _plan(files, system, tables, per_background)
        _raise_if_bad(plan.bad, left=len(plan.samples), skip_bad=skip_bad)
        fields = [name for name in FIELDS if name in plan.samples[0].files]
        scale = depth_scale(system, depth_polarity, max_depth_m) if "depth" in fields else None

        # what is in them
        planned = len(plan.samples)
        reader = SampleReader(scale, SYSTEMS[system].mask_threshold)
        samples, bad = check_samples(
            plan.samples, reader, pool, lambda done: progress(done, 2 * planned)
        )
        backgrounds, bad_backgrounds = _load_backgrounds(samples, pool)
        if "background" in fields:
            samples = [one for one in samples if one.planned.files["background"] in backgrounds]
        bad += bad_backgrounds
        _raise_if_bad(bad, left=len(samples), skip_bad=skip_bad)

        # the dataset's header
        names = name_backgrounds(backgrounds)
        background_splits = dict(zip(backgrounds, assign_splits(names, seed=seed), strict=True))
        cells, splits = _split(samples, background_splits, plan, split_by, seed)
        assets = as_assets(backgrounds, names, list(background_splits.values()))
        manifest = m.Manifest(
            num_samples=len(samples),
            complete=False,
            size=list(samples[0].size),
            fields=fields,
            codecs=_codecs(samples, fields),
            depth_kind=scale.kind if scale else "none",
            max_depth_m=scale.max_depth_m if scale else 0.0,
            teacher=_teacher(scale),
            recipe=_recipe(system, samples, seed),
            splits=splits,
            assets_fingerprint=fingerprint(assets, []),
            skipped=[[one.name, one.reason] for one in plan.bad + bad],
            num_backgrounds=len(assets),
            engine=ENGINE_VERSION,
        )

        # the samples, in index order
        stored = (StoredAsset(one.name, one.split, encode_asset(one.pixels)) for one in assets)
        background_ids = {file: number for number, file in enumerate(backgrounds)}
        make = partial(reader.record, background_ids=background_ids)
        with DatasetWriter(output, manifest, cells, backgrounds=stored) as writer:
            for record in in_order(pool, make, samples[writer.count :]):
                writer.add([record])
                progress(planned + writer.count, planned + len(samples))
            return writer.finish()


# ---- which files -------------------------------------------------------------------------------


def _plan(files: Files, system: str, tables: Sequence[Path], per_background: int) -> Plan:
    if system not in SYSTEMS:
        raise AssetError(f"no system {system!r}: expected one of {', '.join(SYSTEMS)}")
    if per_background < 1:
        raise AssetError(f"--per-background {per_background}: expected at least 1")
    if tables and system not in FORMS:
        raise AssetError(f"system {system} goes by file names: leave --table out")
    if not tables and system not in NAMINGS:
        raise AssetError(f"system {system} goes by a table: give its file with --table")
    if tables:
        return plan_by_table(files, system, tables)
    return plan_by_names(files, system, per_background=per_background)


def _raise_if_bad(bad: list[BadFile], *, left: int, skip_bad: bool) -> None:
    """Raises one error for all that is bad, unless it may be left out."""
    if left and (skip_bad or not bad):
        return
    advice = " (--skip-bad leaves their samples out)" if left else ", and no sample is left"
    lines = [f"  {one.name}: {one.reason}" for one in bad[:PROBLEMS_SHOWN]]
    if len(bad) > PROBLEMS_SHOWN:
        lines.append(f"  ... and {len(bad) - PROBLEMS_SHOWN:,} more")
    what = f"{len(bad):,} file{'s' * (len(bad) != 1)} cannot be used" if bad else "nothing is there"
    raise AssetError("\n".join([f"{what}{advice}:", *lines]))


def _load_backgrounds(
    samples: list[Checked], pool: ThreadPoolExecutor
) -> tuple[dict[File, np.ndarray], list[BadFile]]:
    if not samples:
        return {}, []
    pixels, bad = load_backgrounds(samples, samples[0].size, pool)
    foreign = foreign_composites(samples, pixels)
    if foreign:
        log.warning(
            "%s of %s backgrounds do not look like what is behind their composites, the first of "
            "them in %s: is a background missing, or another one among them?",
            len(foreign),
            len(pixels),
            foreign[0],
        )
    return pixels, bad


# ---- splits ------------------------------------------------------------------------------------


def _split(
    samples: list[Checked],
    background_splits: dict[File, str],
    plan: Plan,
    split_by: str | None,
    seed: int,
) -> tuple[np.ndarray, dict]:
    """The split cell of every sample, uint8 (N,), and the manifest's word on it."""
    told = [one.planned.split for one in samples]
    foregrounds = [one.planned.foreground for one in samples]
    knows_foregrounds = None not in foregrounds
    knows_assets = bool(background_splits) or knows_foregrounds
    way = split_by or ("table" if None not in told else "asset" if knows_assets else "sample")

    if way == "table":
        if None in told:
            raise AssetError(
                "--split-by table, but no table tells the split of each sample: expected a column "
                "split, or for system 002 files named train.csv and test.csv"
            )
        return _cells_named(told), {"by": "csv", "files": plan.tables}
    if way == "sample":
        cells = cells_by_sample(len(samples), shares=SAMPLE_SHARES, seed=seed)
        return cells, {"by": "sample", "shares": list(SAMPLE_SHARES), "seed": seed}
    if not knows_assets:
        raise AssetError("--split-by asset, but no assets are known: use --split-by sample")

    about = {"by": "asset", "seed": seed}
    behind = [background_splits.get(one.planned.files.get("background")) for one in samples]
    if not knows_foregrounds:
        return _cells_named(behind), about | {"assets": ["background"]}
    unique = sorted(set(foregrounds))
    split_of = dict(zip(unique, assign_splits(unique, seed=seed), strict=True))
    in_front = [split_of[name] for name in foregrounds]
    if not background_splits:
        return _cells_named(in_front), about | {"assets": ["foreground"]}
    index = np.array([one.index for one in samples])
    cells = cells_of(index, np.array(behind), np.array(in_front), seed=seed)
    return cells, about | {"assets": ["background", "foreground"]}


def _cells_named(splits: list[str]) -> np.ndarray:
    """Cells where no more than the split is known: test is test, seen or unseen is not told."""
    return np.array([m.SPLITS[split][0] for split in splits], np.uint8)


# ---- the header --------------------------------------------------------------------------------


def _codecs(samples: list[Checked], fields: list[str]) -> dict[str, str]:
    all_png = all(one.composite_format == "PNG" for one in samples)
    codecs = {name: DEFAULT_CODECS[name] for name in fields if name != "background"}
    return codecs | {"composite": "png" if all_png else "jpeg95"}


def _teacher(scale: DepthScale | None) -> dict:
    about = {"name": "image files" if scale else "none", "hash": "", "batch_size": 1}
    if scale is None:
        return about
    return about | {"polarity": scale.polarity, "full_scale": scale.full_scale}


def _recipe(system: str, samples: list[Checked], seed: int) -> dict:
    """Where the samples come from; `content` is a hash over their files and names."""
    digest = xxhash.xxh3_128()
    for one in samples:
        digest.update(one.planned.name.encode())
        digest.update(one.digest)
    threshold = SYSTEMS[system].mask_threshold
    about = {"system": system, "seed": seed, "content": digest.hexdigest()}
    return about if threshold is None else about | {"mask_threshold": threshold}
