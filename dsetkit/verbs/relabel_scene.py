"""relabel to scene depth: a teacher's depth of the backgrounds, and new planes for all objects.

The teacher sees each background as the dataset stores it. The order of the objects stays, so
composites and masks stay as they are: where a plane would change the order, it is put at the depth
of the object behind it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec import structs

from dsetkit.compositing import (
    STREAMS_OF_AN_OBJECT,
    Compositor,
    PlaneFinder,
    PlaneRule,
    Stream,
    encode_fields,
    has_recipe,
    on_plane,
    uniform,
)
from dsetkit.console import progress_bar
from dsetkit.datasets import Dataset, DatasetWriter
from dsetkit.errors import DatasetError
from dsetkit.generating import SceneDepth
from dsetkit.labels import TeacherChoice, label_backgrounds, recorded_depths, score_labels
from dsetkit.processes import in_chunks
from dsetkit.store import (
    BACKGROUND_DEPTH_CODEC,
    CODECS,
    OCCLUSION,
    PlacedObject,
    Record,
)
from dsetkit.store import manifest as m
from dsetkit.teachers import with_range
from dsetkit.verbs.relabel_manifest import relabelled_manifest

SAMPLES_AT_ONCE = 64


def relabel_scene(
    source: Dataset,
    output: Path,
    *,
    teacher: TeacherChoice,
    scene: SceneDepth,
    chosen: Sequence[int],
    progress: Callable[[int, int], None],
) -> m.Manifest:
    """Makes a dataset of the same samples with scene depth, or continues an interrupted run.

    Args:
        source: A complete dataset that was generated; it is not changed.
        output: Directory of the new dataset.
        teacher: Sees the backgrounds.
        scene: Where objects stand.
        chosen: Indices of the samples to take, ascending.
        progress: Called with (samples done, samples in all).

    Returns:
        The manifest of the complete new dataset.

    Raises:
        TeacherError: The teacher cannot be loaded, or gives no usable depth.
        DatasetError: A sample was imported, or anything that `DatasetWriter` raises.
    """
    if source.manifest.num_foregrounds == 0:
        raise DatasetError(
            f"{source.path} was imported and has no cut-outs to place before its backgrounds: "
            "--depth-of scene is for generated datasets"
        )
    if OCCLUSION in source.manifest.effects:
        raise DatasetError(
            f"{source.path} was made with --placement scene, so other depth would move its objects "
            "and make other composites: generate it again with the other teacher, or relabel it "
            "with --depth-of composite"
        )
    teacher = teacher.of_backgrounds()
    count = source.manifest.num_backgrounds
    pixels = [source.background(number) for number in range(count)]

    def show(positions: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        yield from (([position], pixels[position][None]) for position in positions)

    network = with_range(teacher.load(), output=output, count=count, show=show)
    assert network is not None  # `of_backgrounds` refuses `none`
    manifest = relabelled_manifest(
        source.manifest,
        teacher=network,
        entry=teacher.describe(network),
        scene=scene,
        num_samples=len(chosen),
    )
    depths = recorded_depths(
        output, teacher=manifest.teacher, assets_fingerprint=manifest.assets_fingerprint
    )
    if not depths:
        with progress_bar("depth of the backgrounds") as show_progress:
            depths = label_backgrounds(
                network, pixels, pixels, batch_size=teacher.batch_size, progress=show_progress
            )
    seed = manifest.recipe.get("seed", 0)

    def asset(kind: str, number: int) -> np.ndarray:
        return depths[number] if kind == "depths" else source.asset(kind, number)

    compositor = Compositor(asset, source.compositor.canvas)
    rule = PlaneRule.of_recipe(network.kind, manifest.recipe, scene.nearness)
    finder = compositor.plane_finder(rule)
    encode_depth = CODECS[BACKGROUND_DEPTH_CODEC].encode
    with DatasetWriter(
        output,
        manifest,
        source.cells[chosen],
        backgrounds=(
            structs.replace(background, depth=encode_depth(depth))
            for background, depth in zip(source.assets("backgrounds"), depths, strict=True)
        ),
        foregrounds=source.assets("foregrounds"),
    ) as writer:
        for part in in_chunks(range(writer.count, len(chosen)), SAMPLES_AT_ONCE):
            indices = chosen[part.start : part.stop]
            records = [
                _on_planes(record, network.kind, finder, seed=seed)
                for record in source.records(indices)
            ]
            if "depth" in manifest.codecs:
                records = [_with_depth(record, manifest, compositor) for record in records]
            writer.add(records)
            progress(writer.count, len(chosen))
        finished = writer.finish()
    return score_labels(output) or finished


def _on_planes(record: Record, kind: str, finder: PlaneFinder, *, seed: int) -> Record:
    """A sample whose objects stand on new planes, none in front of one that follows it.

    Raises:
        DatasetError: It was imported, and has no recipe.
    """
    if not has_recipe(record):
        raise DatasetError("a sample has no recipe: it was imported, not composited")
    streams = np.arange(len(record.objects)) * STREAMS_OF_AN_OBJECT + Stream.NEARNESS
    shares = uniform(seed, streams, record.index or 0).tolist()
    objects: list[PlacedObject] = []
    nearest = max if kind == "relative" else min
    for one, share in zip(record.objects, reversed(shares), strict=True):
        standing = on_plane(one, record.background_id(), share, finder)
        if objects and standing.plane and objects[-1].plane:
            plane = nearest(standing.plane, objects[-1].plane)
            standing = structs.replace(standing, plane=plane)
        objects.append(standing)
    fields = {name: stored for name, stored in record.fields.items() if name != "depth"}
    return replace(record, objects=tuple(objects), fields=fields, pixels=None)


def _with_depth(record: Record, manifest: m.Manifest, compositor: Compositor) -> Record:
    """A sample with its depth encoded."""
    depth = compositor.fields(record, ("depth",))["depth"]
    return encode_fields(record, {"depth": depth}, manifest.codecs)
