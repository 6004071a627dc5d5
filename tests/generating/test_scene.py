"""Scene depth: the same to the byte however it is made, and the same depth however it is read."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dsetkit import SampleDataset, make_loader
from dsetkit.cli.main import main
from dsetkit.compositing.planes import OBJECT_ALPHA, Nearness
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError, DatasetError, DsetkitError, TeacherError
from dsetkit.generating import SceneDepth
from dsetkit.importing import MeasuredBackgrounds
from dsetkit.store.shards import shard_path
from dsetkit.verbs.convert import convert
from dsetkit.verbs.exporting.common import SampleReader, decoded, object_masks
from dsetkit.verbs.merging.merge import merge
from dsetkit.verbs.stats import measure
from dsetkit.verbs.verify import verify
from tests.generating.test_pipeline import contents, same_file
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.generating import generate, relabel
from tests.helpers.worlds import draw_foreground, tiny_dataset

FIELDS = ("background", "composite", "mask", "depth", "instances")
LAYOUTS = ("recipe", "rendered")


@pytest.fixture(scope="module")
def folders(pictures: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Enough foregrounds for two in each split, the backgrounds, and measured depth of these."""
    root = tmp_path_factory.mktemp("scene")
    (root / "foregrounds").mkdir(), (root / "depths").mkdir()
    for number in range(50):
        foreground = cv2.cvtColor(draw_foreground(number, 60, 45), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(root / "foregrounds" / f"f{number}.png"), foreground)
    for number in range(5):
        depth = np.tile(np.linspace(1500 + 100 * number, 6000, 80), (80, 1)).astype(np.uint16)
        depth[:9, :9] = 0
        cv2.imwrite(str(root / "depths" / f"b{number}.png"), depth)
    return {"foregrounds": root / "foregrounds", "backgrounds": pictures["backgrounds"]}


@pytest.fixture(scope="module")
def make(folders: dict[str, Path]) -> Callable[..., Path]:
    """Makes a dataset of 90 samples, of one or two objects before measured depth."""
    depths = MeasuredBackgrounds(folder=folders["foregrounds"].parent / "depths")
    plain = {"size": 64, "placements": 2, "objects": (1, 2), "num_samples": 90, "batch_size": 8}
    plain |= {"workers": 0, "layout": "recipe", "scene": SceneDepth(measured=depths)}

    def make(output: Path, **options: object) -> Path:
        generate(**folders, output=output, **(plain | options))
        return output

    return make


@pytest.fixture(scope="module")
def worlds(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("worlds")
    return {layout: make(root / layout, layout=layout) for layout in LAYOUTS}


def drawn(path: Path) -> list[dict[str, np.ndarray]]:
    dataset = Dataset(path)
    names = [name for name in FIELDS if name in dataset.manifest.fields]
    records = dataset.records(range(len(dataset)))
    return [dataset.images(record, names, None) for record in records]


def assert_same_samples(one: Path, other: Path, *, lossy: tuple[str, ...] = ()) -> None:
    for first, second in zip(drawn(one), drawn(other), strict=True):
        assert first.keys() == second.keys()
        for name in first.keys() - set(lossy):
            assert np.array_equal(first[name], second[name]), name


def test_layouts_hold_the_same_depth_masks_and_instances(worlds: dict[str, Path]) -> None:
    assert_same_samples(worlds["recipe"], worlds["rendered"], lossy=("composite",))
    assert Dataset(worlds["recipe"]).manifest.codecs == {}
    for path in worlds.values():
        assert verify(path) == []


def test_the_depth_is_the_measured_one_where_there_is_no_object(worlds: dict[str, Path]) -> None:
    dataset = Dataset(worlds["recipe"])
    for record in dataset.records(range(0, 90, 9)):
        images = dataset.stored_images(record)
        bare = dataset.asset("depths", record.background)
        is_bare = images["mask"] < OBJECT_ALPHA
        assert np.array_equal(images["depth"][is_bare], bare[is_bare])
        assert (bare[:6, :6] == 0).all() and bare.max() <= 6000  # 80 px became 64 px
        for order, one in enumerate(record.objects, start=1):
            here = images["instances"] == order
            assert (images["depth"][here] == one.plane).all()
        planes = [one.plane for one in record.objects]
        assert planes == sorted(planes, reverse=True)  # the nearest is in front


def test_labels_are_in_front_and_their_edges_are_the_masks(worlds: dict[str, Path]) -> None:
    labels = measure(worlds["recipe"])["labels"]
    assert labels["in_front_share"] > 0.97 and labels["boundary_recall"] > 0.9
    scores = Dataset(worlds["recipe"]).manifest.label_quality
    assert scores == Dataset(worlds["rendered"]).manifest.label_quality


def test_areas_of_instances_add_up_to_the_mask(worlds: dict[str, Path]) -> None:
    reader = SampleReader(Dataset(worlds["recipe"]), ("mask", "instances"))
    for sample in reader.samples(np.arange(0, 90, 5)):
        found = object_masks(sample, least=128)
        covered = decoded(sample, "mask") >= 128
        assert np.array_equal(sum(visible for _, visible in found), covered)
        assert len(found) <= len(sample.record.objects)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_workers_never_change_a_byte(
    worlds: dict[str, Path], make: Callable, tmp_path: Path, workers: int, layout: str
) -> None:
    assert same_file(make(tmp_path / "d", workers=workers, layout=layout), worlds[layout])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_shards_hold_the_same_samples(
    worlds: dict[str, Path], make: Callable, tmp_path: Path, workers: int
) -> None:
    parts = make(tmp_path / "d", workers=workers, shards=3)
    assert Dataset(parts).manifest.fingerprint == Dataset(worlds["recipe"]).manifest.fingerprint
    assert_same_samples(parts, worlds["recipe"])
    merge([parts], tmp_path / "whole", shards=1)
    assert_same_samples(tmp_path / "whole", worlds["recipe"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cut_off_run_goes_on_to_the_same_bytes(
    worlds: dict[str, Path], make: Callable, tmp_path: Path, layout: str
) -> None:
    with pytest.raises(CutOffError):
        make(tmp_path / "d", layout=layout, progress=stop_at(40))
    assert len(Dataset(tmp_path / "d", allow_incomplete=True)) == 40
    make(tmp_path / "d", layout=layout)
    assert contents(tmp_path / "d") == contents(worlds[layout])


@pytest.mark.parametrize("there, wanted", [LAYOUTS, LAYOUTS[::-1]])
def test_layouts_convert_into_each_other(
    worlds: dict[str, Path], tmp_path: Path, there: str, wanted: str
) -> None:
    convert(worlds[there], tmp_path / "d", layout=wanted)
    assert Dataset(tmp_path / "d").manifest.codecs == Dataset(worlds[wanted]).manifest.codecs
    for index in range(90):
        new, old = (Dataset(path).record(index) for path in (tmp_path / "d", worlds[wanted]))
        assert (new.objects, new.fields) == (old.objects, old.fields)
    assert verify(tmp_path / "d") == []


def test_a_codec_for_depth_that_is_not_stored_is_refused(
    worlds: dict[str, Path], make: Callable, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="--codec depth=pco16"):
        convert(worlds["rendered"], tmp_path / "d", layout="recipe", codecs={"depth": "pco16"})
    with pytest.raises(DsetkitError, match="--codec depth: layout recipe stores no"):
        make(tmp_path / "e", codecs={"depth": "pco16"})


@pytest.mark.parametrize("size", [32, (24, 40)])
def test_a_cache_and_loaders_give_the_same_batches(
    worlds: dict[str, Path], tmp_path: Path, size: int | tuple[int, int]
) -> None:
    views = [
        SampleDataset(worlds["recipe"], "train", size, FIELDS, cache=cache)
        for cache in (None, tmp_path)
    ]
    plain, cached = (list(make_loader(view, 16, seed=3, threads=1)) for view in views)
    for one, other in zip(plain, cached, strict=True):
        for name in FIELDS:
            near = 1e-5 if name == "depth" else 0
            assert torch.allclose(one[name].float(), other[name].float(), rtol=0, atol=near), name


def test_the_teacher_sees_each_background_once(folders: dict, teacher: str, tmp_path: Path) -> None:
    options = {"num_samples": 40, "teacher": teacher, "size": 64, "placements": 2, "batch_size": 2}
    options |= {"layout": "recipe", "scene": SceneDepth(), "workers": 0}
    manifest = generate(**folders, output=tmp_path / "one", **options)
    assert manifest.teacher["flip"] and "edge_reach" not in manifest.teacher
    assert verify(tmp_path / "one") == []
    dataset = Dataset(tmp_path / "one")
    assert [dataset.asset("depths", number).shape for number in range(5)] == [(64, 64)] * 5
    generate(**folders, output=tmp_path / "two", **options | {"workers": 1})
    assert same_file(tmp_path / "one", tmp_path / "two")


def test_depth_that_is_stored_already_is_not_asked_for_again(
    folders: dict, teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"num_samples": 40, "teacher": teacher, "size": 64, "placements": 2, "batch_size": 8}
    options |= {"layout": "recipe", "scene": SceneDepth(), "workers": 0}
    generate(**folders, output=tmp_path / "d", **options)
    relabel(tmp_path / "d", tmp_path / "r", teacher=teacher, scene=SceneDepth())
    monkeypatch.setattr("dsetkit.generating.scene.label_backgrounds", None)
    monkeypatch.setattr("dsetkit.verbs.relabel_scene.label_backgrounds", None)
    generate(**folders, output=tmp_path / "d", **options)
    with pytest.raises(TypeError):
        generate(**folders, output=tmp_path / "e", **options)
    relabel(tmp_path / "d", tmp_path / "r", teacher=teacher, scene=SceneDepth())
    with pytest.raises(TypeError):
        relabel(tmp_path / "d", tmp_path / "s", teacher=teacher, scene=SceneDepth())


# ---- other verbs -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_composite_labels_become_scene_labels_and_back(
    teacher: str, tmp_path: Path, layout: str, kind: str
) -> None:
    source = tiny_dataset(tmp_path / "d", size=64, num_samples=40, layout=layout, depth_kind=kind)
    relabel(source, tmp_path / "s", teacher=teacher, scene=SceneDepth())
    scene = Dataset(tmp_path / "s")
    assert scene.manifest.has_scene_depth and verify(tmp_path / "s") == []
    assert ("depth" in scene.manifest.codecs) == (layout == "rendered")
    relabel(tmp_path / "s", tmp_path / "c", teacher=teacher)
    relabel(source, tmp_path / "e", teacher=teacher)
    again, direct = Dataset(tmp_path / "c"), Dataset(tmp_path / "e")
    assert again.manifest.recipe == direct.manifest.recipe
    assert again.records(range(40)) == direct.records(range(40))


@pytest.mark.parametrize("by", ["size", "chance"])
def test_relabelling_with_the_same_teacher_changes_no_sample(
    folders: dict, teacher: str, tmp_path: Path, by: str
) -> None:
    # At this size the teacher is shown the same pixels, whether they come from a file or a dataset.
    options = {"num_samples": 30, "size": 480, "placements": 2, "layout": "recipe", "workers": 0}
    scene = SceneDepth(nearness=Nearness(0.5, 0.6, by))
    generate(**folders, output=tmp_path / "d", teacher=teacher, scene=scene, **options)
    relabel(tmp_path / "d", tmp_path / "r", teacher=teacher, scene=scene)
    one, other = Dataset(tmp_path / "d"), Dataset(tmp_path / "r")
    assert one.records(range(30)) == other.records(range(30))
    assert np.array_equal(one.asset("depths", 3), other.asset("depths", 3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_objects_keep_their_order_when_they_are_relabelled(
    teacher: str, tmp_path: Path, layout: str
) -> None:
    source = tiny_dataset(
        *(tmp_path / "d",), size=64, num_foregrounds=60, placements=1, objects=(1, 2),
        num_samples=60, scene=True, layout=layout,
    )  # fmt: skip
    relabel(source, tmp_path / "r", teacher=teacher, scene=SceneDepth())
    assert verify(tmp_path / "r") == []
    before, after = (Dataset(path).records(range(60)) for path in (source, tmp_path / "r"))
    for old, new in zip(before, after, strict=True):
        assert [one.foreground for one in old.objects] == [one.foreground for one in new.objects]
        planes = [one.plane for one in new.objects]
        assert planes == sorted(planes, reverse=True)
    for old, new in zip(drawn(source), drawn(tmp_path / "r"), strict=True):
        assert np.array_equal(old["composite"], new["composite"])
        assert np.array_equal(old["instances"], new["instances"])


def test_backgrounds_of_other_depth_stay_apart_in_a_merge(
    make: Callable, folders: dict, worlds: dict[str, Path], tmp_path: Path
) -> None:
    deeper = tmp_path / "depths"
    shutil.copytree(folders["foregrounds"].parent / "depths", deeper)
    for path in deeper.iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED) + 500)
    scene = SceneDepth(measured=MeasuredBackgrounds(folder=deeper))
    other = make(tmp_path / "other", scene=scene, seed=0)
    merge([worlds["recipe"], other], tmp_path / "both", allow_mixed_teachers=True)
    both = drawn(tmp_path / "both")
    for merged, alone in zip(both, drawn(worlds["recipe"]) + drawn(other), strict=True):
        assert all(np.array_equal(merged[name], alone[name]) for name in FIELDS)
    assert verify(tmp_path / "both") == []


def test_scene_labels_and_composite_labels_do_not_mix(teacher: str, tmp_path: Path) -> None:
    plain = tiny_dataset(tmp_path / "plain", num_samples=20)
    scene = tiny_dataset(tmp_path / "scene", num_samples=20, scene=True, seed=1)
    with pytest.raises(DatasetError, match="has_scene_depth"):
        merge([plain, scene], tmp_path / "both")


# ---- bad input ---------------------------------------------------------------------------------


def test_measured_depth_says_what_is_wrong_with_a_file(
    make: Callable, folders: dict, tmp_path: Path
) -> None:
    good = folders["foregrounds"].parent / "depths"

    def refusal(change: Callable[[Path], object], **settings: object) -> str:
        depths = tmp_path / "depths"
        shutil.rmtree(depths, ignore_errors=True)
        shutil.copytree(good, depths)
        change(depths / "b2.png")
        measured = MeasuredBackgrounds(folder=depths, **settings)
        with pytest.raises(AssetError) as caught:
            make(tmp_path / "d", scene=SceneDepth(measured=measured))
        assert not (tmp_path / "d").exists()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def write(array: np.ndarray) -> Callable[[Path], object]:
        return lambda path: cv2.imwrite(str(path), array)

    assert "no depth of b2" in refusal(Path.unlink)
    assert "80 x 80" in refusal(write(np.full((40, 40), 900, np.uint16)))
    assert "8 bits" in refusal(write(np.full((80, 80), 9, np.uint8)))
    assert "no valid depth" in refusal(write(np.zeros((80, 80), np.uint16)))
    assert "and 4 more" in refusal(lambda path: None, units_per_m=100)  # beyond 10 m


@pytest.mark.parametrize("tag", ["{}_depth.png", "{}.npy", "{}_DEPTH.PNG"])
def test_measured_depth_is_found_by_name(
    make: Callable, worlds: dict[str, Path], folders: dict, tmp_path: Path, tag: str
) -> None:
    depths = tmp_path / "depths"
    depths.mkdir()
    for path in (folders["foregrounds"].parent / "depths").iterdir():
        target = depths / tag.format(path.stem)
        if target.suffix == ".npy":
            np.save(target, cv2.imread(str(path), cv2.IMREAD_UNCHANGED) / 1000)
        else:
            shutil.copy(path, target)
    scene = SceneDepth(measured=MeasuredBackgrounds(folder=depths))
    assert_same_samples(make(tmp_path / "d", scene=scene), worlds["recipe"])


def test_scene_depth_without_any_depth_is_refused(folders: dict, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="--background-depth"):
        generate(**folders, output=tmp_path / "d", teacher="none", scene=SceneDepth(), size=64)


def test_more_objects_than_cut_outs_are_refused(pictures: dict, tmp_path: Path) -> None:
    with pytest.raises(DsetkitError, match="split train has 3 foregrounds"):
        generate(**pictures, output=tmp_path / "d", teacher="none", objects=(1, 4), size=64)
    assert not (tmp_path / "d").exists()


def test_verify_finds_a_background_without_its_depth(
    worlds: dict[str, Path], tmp_path: Path
) -> None:
    from dsetkit.store import u32_key
    from dsetkit.store.lmdb_store import StoreWriter
    from dsetkit.store.records import pack_asset

    shutil.copytree(worlds["recipe"], tmp_path / "d")
    asset = Dataset(tmp_path / "d").stored_asset("backgrounds", 1)
    bare = type(asset)(asset.name, asset.split, asset.image)
    with StoreWriter(shard_path(tmp_path / "d")) as store:
        packed = pack_asset(bare, database="backgrounds", key=u32_key(1))
        store.put([("backgrounds", u32_key(1), packed)])
    problems = verify(tmp_path / "d")
    assert problems[0].where == "background" and "depth" in problems[0].reason
    record = replace(Dataset(tmp_path / "d").record(0), background=1)
    with pytest.raises(DatasetError, match="has no depth"):
        Dataset(tmp_path / "d").image(record, "depth")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--nearness .5 .6", "--nearness needs --depth-of scene"),
        ("--nearness-by size", "--nearness-by needs --depth-of scene"),
        ("--background-depth d", "--background-depth needs --depth-of scene"),
        ("--depth-scale 5", "--depth-scale needs --depth-of scene"),
        ("--depth-of scene --depth-scale 5", "--depth-scale needs --background-depth"),
        ("--depth-of scene --nearness .9 .6", "--nearness 0.9 0.6: expected"),
        ("--depth-of scene --background-depth nowhere", "cannot open nowhere"),
        ("--depth-of scene --teacher none", "--depth-of scene with --teacher none"),
        ("--depth-of scene --layout recipe --codec depth=pco16", "--codec depth"),
        ("--objects 3 2", "--objects 3 2: expected LOW <= HIGH"),
        ("--objects 1 30", "--objects 1 30: split train has 3 foregrounds"),
    ],
)
def test_flags_that_do_not_fit_are_one_line(
    pictures: dict, tmp_path: Path, flags: str, expected: str, capfd: pytest.CaptureFixture
) -> None:
    folders = [str(part) for name, path in pictures.items() for part in (f"--{name}", path)]
    arguments = ["generate", *folders, "--output", str(tmp_path / "d"), "--size", "64"]
    status = run(lambda: main([*arguments, *flags.split()]))
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert status == 2 and expected in error and not (tmp_path / "d").exists()
