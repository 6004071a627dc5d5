"""The manifest of a relabelled dataset."""

from dataclasses import replace
from typing import Any

from dsetkit.compositing import with_compositing
from dsetkit.generating import SceneDepth
from dsetkit.store import LAYOUT_CODECS, stored_fields
from dsetkit.store import manifest as m
from dsetkit.teachers import Teacher

OF_SCENE = ("depth_of", "nearness", "nearness_by")  # entries of a recipe that belong to scene depth


def relabelled_manifest(
    source: m.Manifest,
    *,
    teacher: Teacher,
    entry: dict[str, Any],
    scene: SceneDepth | None,
    num_samples: int,
) -> m.Manifest:
    """The manifest of the new dataset: the source's, except for the depth.

    Args:
        source: The source's manifest.
        teacher: What gives the new depth.
        entry: The manifest's entry on it.
        scene: Where objects stand, with scene depth; None without.
        num_samples: Samples of the new dataset.
    """
    fields = [name for name in source.fields if name != "depth"] + ["depth"]
    stored = stored_fields(fields, layout=source.layout, has_scene_depth=scene is not None)
    codecs = LAYOUT_CODECS[source.layout] | source.codecs
    recipe = _recipe(source.recipe, scene)
    if "recipes" in recipe:
        recipe["recipes"] = [_recipe(part, scene) for part in recipe["recipes"]]
    manifest = replace(
        source,
        num_samples=num_samples,
        complete=False,
        shard=m.ONLY_SHARD,
        label_quality={},  # the source's scores are of its own depth
        fields=fields,
        codecs={name: codecs[name] for name in stored},
        depth_kind=teacher.kind,
        max_depth_m=teacher.max_depth_m,
        teacher=entry | {"relabelled": source.fingerprint},
        recipe=recipe,
    )
    return with_compositing(manifest)


def _recipe(recipe: dict[str, Any], scene: SceneDepth | None) -> dict[str, Any]:
    """The settings of a recipe, with those of scene depth or without."""
    plain = {name: value for name, value in recipe.items() if name not in OF_SCENE}
    if scene is None:
        return plain
    return plain | {"depth_of": "scene", **scene.nearness.describe()}
