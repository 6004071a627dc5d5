"""The depth of the backgrounds, from which the scene depth of all samples follows."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsetkit.assets import read_backgrounds
from dsetkit.console import progress_bar, stage
from dsetkit.generating.plan import AssetSet, DepthSource
from dsetkit.generating.settings import SceneDepth
from dsetkit.labels import SEEN_SIDE, TeacherChoice, label_backgrounds, recorded_depths
from dsetkit.teachers import Teacher, with_range

if TYPE_CHECKING:
    from dsetkit.importing import MeasuredBackgrounds

MEASURED = "measured"  # the name of the teacher in the manifest, where depth was measured


def scene_depth(
    scene: SceneDepth,
    network: Teacher | None,
    teacher: TeacherChoice,
    assets: AssetSet,
    *,
    folder: Path,
    output: Path,
) -> tuple[DepthSource, AssetSet]:
    """Where depth comes from, and the assets with the depth of the backgrounds.

    Args:
        scene: Where objects stand, and whether depth was measured.
        network: The loaded teacher; None where depth was measured.
        teacher: How it is asked, see `SceneDepth.teacher`.
        assets: The assets.
        folder: The folder of the backgrounds.
        output: The dataset's directory. If it holds the depth already, the teacher is not asked.

    Raises:
        AssetError: See `MeasuredBackgrounds.read`.
        TeacherError: An answer is not a depth map.
    """
    if network is None:
        assert scene.measured is not None  # `SceneDepth.teacher` refuses to have neither
        return _measured(scene.measured, scene, assets, folder)
    return _of_teacher(network, teacher, scene, assets, folder=folder, output=output)


def _measured(
    measured: "MeasuredBackgrounds", scene: SceneDepth, assets: AssetSet, folder: Path
) -> tuple[DepthSource, AssetSet]:
    names = [asset.name for asset in assets.backgrounds]
    with stage(f"reading the depth of {len(names):,} backgrounds"):
        depths = measured.read(folder, names, size=len(assets.backgrounds[0].pixels))
    digest = hashlib.sha256(b"".join(depth.tobytes() for depth in depths)).hexdigest()
    source = DepthSource(
        kind="metric",
        max_depth_m=measured.max_depth_m,
        teacher={"name": MEASURED, "hash": digest, "batch_size": 1},
        nearness=scene.nearness,
    )
    return source, replace(assets, depths=depths)


def _of_teacher(
    network: Teacher,
    teacher: TeacherChoice,
    scene: SceneDepth,
    assets: AssetSet,
    *,
    folder: Path,
    output: Path,
) -> tuple[DepthSource, AssetSet]:
    names = [asset.name for asset in assets.backgrounds]
    pixels = [asset.pixels for asset in assets.backgrounds]

    def photographs(positions: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        wanted = [names[position] for position in positions]
        for position, photograph in zip(
            positions, read_backgrounds(folder, wanted, size=SEEN_SIDE), strict=True
        ):
            yield [position], photograph[None]

    ranged = with_range(network, output=output, count=len(names), show=photographs)
    assert ranged is not None  # with_range gives None only for None
    network = ranged
    entry = teacher.describe(network)
    depths = recorded_depths(output, teacher=entry, assets_fingerprint=assets.fingerprint)
    if not depths:
        with progress_bar("depth of the backgrounds") as progress:
            depths = label_backgrounds(
                network,
                read_backgrounds(folder, names, size=SEEN_SIDE),
                pixels,
                batch_size=teacher.batch_size,
                progress=progress,
            )
    source = DepthSource(
        kind=network.kind,
        max_depth_m=network.max_depth_m,
        teacher=entry,
        nearness=scene.nearness,
    )
    return source, replace(assets, depths=depths)
