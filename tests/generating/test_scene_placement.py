"""Placement in a scene: the same to the byte however it is made, and however it is read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from msgspec import structs

from dsetkit import SampleDataset, make_loader
from dsetkit.cli.main import main
from dsetkit.compositing import SCALE_RANGES, Standing, compositing_fingerprint
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError, DatasetError, DsetkitError
from dsetkit.generating import SceneDepth, read_heights
from dsetkit.importing import MeasuredBackgrounds
from dsetkit.labels import TeacherChoice
from dsetkit.loading.loader import DeviceLoader, EpochBatches, can_composite_on_device
from dsetkit.store import EFFECTS, HARMONISED
from dsetkit.verbs.convert import convert
from dsetkit.verbs.merging.merge import merge
from dsetkit.verbs.verify import verify
from tests.generating.test_pipeline import contents, same_file
from tests.generating.test_scene import LAYOUTS, assert_same_samples
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.generating import generate, relabel
from tests.helpers.rooms import room
from tests.helpers.worlds import SmoothDepth, draw_foreground, tiny_dataset
from tests.loading.test_device_compositing import DEVICES

FIELDS = ("background", "composite", "mask", "depth", "instances")


@pytest.fixture(scope="module")
def folders(pictures: dict, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Enough foregrounds for two in each split, the backgrounds, and rooms of their depth."""
    root = tmp_path_factory.mktemp("rooms")
    (root / "foregrounds").mkdir(), (root / "depths").mkdir()
    for number in range(50):
        foreground = cv2.cvtColor(draw_foreground(number, 60, 45), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(root / "foregrounds" / f"f{number}.png"), foreground)
    for number in range(5):
        depth = room(80, floor=number != 4, pillar=number % 2 == 0)
        cv2.imwrite(str(root / "depths" / f"b{number}.png"), depth)
    return {"foregrounds": root / "foregrounds", "backgrounds": pictures["backgrounds"]}


@pytest.fixture(scope="module")
def make(folders: dict[str, Path]) -> Callable[..., Path]:
    """Makes a dataset of 60 samples, of one or two objects that stand in rooms."""
    depths = MeasuredBackgrounds(folder=folders["foregrounds"].parent / "depths")
    plain = {"size": 64, "placements": 2, "objects": (1, 2), "num_samples": 60, "batch_size": 8}
    plain |= {"workers": 0, "layout": "recipe", "scene": SceneDepth(measured=depths)}
    plain |= {"placement": "scene", "scale_range": SCALE_RANGES["scene"]}
    plain |= {"standing": Standing(heights={"f3": 0.7})}

    def make(output: Path, **options: object) -> Path:
        generate(**folders, output=output, **(plain | options))
        return output

    return make


@pytest.fixture(scope="module")
def worlds(make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("worlds")
    return {layout: make(root / layout, layout=layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def harmonised(
    make: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("harmonised")
    return {one: make(root / one, layout=one, harmonise=HARMONISED) for one in LAYOUTS}


class Kind(NamedTuple):
    """A kind of dataset: what `make` is given for it, and the whole ones by layout."""

    options: dict[str, object]
    worlds: dict[str, Path]


@pytest.fixture(scope="module", params=["plain", "harmonised"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "plain":
        return Kind({}, request.getfixturevalue("worlds"))
    return Kind({"harmonise": HARMONISED}, request.getfixturevalue("harmonised"))


def test_objects_are_hidden_and_layouts_hold_the_same(worlds: dict[str, Path]) -> None:
    assert_same_samples(worlds["recipe"], worlds["rendered"], lossy=("composite",))
    dataset = Dataset(worlds["recipe"])
    assert dataset.manifest.codecs == {} and dataset.manifest.effects == ("occlusion",)
    for path in worlds.values():
        assert verify(path) == []
    hidden = 0
    for record in dataset.records(range(60)):
        images = dataset.stored_images(record)
        bare = dataset.asset("depths", record.background)
        hidden += any(one.occluded and (bare < 0.9 * one.plane).any() for one in record.objects)
        assert np.array_equal(images["depth"][images["mask"] == 0], bare[images["mask"] == 0])
    assert hidden > 10


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow)])
def test_workers_never_change_a_byte(
    kind: Kind, make: Callable, tmp_path: Path, workers: int, layout: str
) -> None:
    again = make(tmp_path / "d", workers=workers, layout=layout, **kind.options)
    assert same_file(again, kind.worlds[layout])


def test_shards_hold_the_same_samples(kind: Kind, make: Callable, tmp_path: Path) -> None:
    parts, whole = make(tmp_path / "d", shards=3, **kind.options), kind.worlds["recipe"]
    assert Dataset(parts).manifest.fingerprint == Dataset(whole).manifest.fingerprint
    assert_same_samples(parts, whole)
    merge([parts], tmp_path / "whole", shards=1)
    assert_same_samples(tmp_path / "whole", whole)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cut_off_run_goes_on_to_the_same_bytes(
    kind: Kind, make: Callable, tmp_path: Path, layout: str
) -> None:
    with pytest.raises(CutOffError):
        make(tmp_path / "d", layout=layout, progress=stop_at(40), **kind.options)
    make(tmp_path / "d", layout=layout, **kind.options)
    assert contents(tmp_path / "d") == contents(kind.worlds[layout])


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ray_changes_no_byte(kind: Kind, make: Callable, tmp_path: Path, layout: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: dsetkit[ray]")
    again = make(tmp_path / "d", layout=layout, engine="ray", workers=2, **kind.options)
    assert same_file(again, kind.worlds[layout])


def test_a_run_does_not_go_on_with_other_heights(make: Callable, tmp_path: Path) -> None:
    make(tmp_path / "d", num_samples=40)
    with pytest.raises(DatasetError, match="heights|recipe"):
        make(tmp_path / "d", num_samples=40, standing=Standing(heights={"f3": 0.8}))


@pytest.mark.parametrize("there, wanted", [LAYOUTS, LAYOUTS[::-1]])
def test_layouts_convert_into_each_other(
    worlds: dict[str, Path], tmp_path: Path, there: str, wanted: str
) -> None:
    convert(worlds[there], tmp_path / "d", layout=wanted)
    new, old = (Dataset(path) for path in (tmp_path / "d", worlds[wanted]))
    assert new.manifest.compositing == old.manifest.compositing
    for one, other in zip(new.records(range(60)), old.records(range(60)), strict=True):
        assert (one.objects, one.fields) == (other.objects, other.fields)
    assert verify(tmp_path / "d") == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [64, 32, (24, 40)])
def test_a_device_composites_the_same_bits(
    worlds: dict[str, Path], size: int | tuple[int, int], device: str
) -> None:
    data = SampleDataset(worlds["recipe"], None, size, FIELDS)
    batches = EpochBatches(len(data), batch_size=16, seed=1, shuffle=True, drop_last=False)
    there = DeviceLoader(data, batches, device=device, threads=0)
    plain = make_loader(data, 16, seed=1, threads=0)
    for one, other in zip(there, plain, strict=True):
        for name in FIELDS:
            assert torch.equal(one[name].cpu(), other[name]), name


def test_a_reader_that_hides_nothing_refuses_the_recipes(worlds: dict[str, Path]) -> None:
    manifest = Dataset(worlds["recipe"]).manifest
    assert manifest.compositing != compositing_fingerprint(manifest.composited)


# ---- harmonised --------------------------------------------------------------------------------


def test_looks_are_of_the_recipe_and_layouts_hold_the_same(
    worlds: dict[str, Path], harmonised: dict[str, Path]
) -> None:
    assert_same_samples(harmonised["recipe"], harmonised["rendered"], lossy=("composite",))
    plain, dataset = Dataset(worlds["recipe"]), Dataset(harmonised["recipe"])
    assert dataset.manifest.effects == EFFECTS
    assert dataset.manifest.recipe["harmonise"] == list(HARMONISED)
    for path in harmonised.values():
        assert verify(path) == []
    seen: set[str] = set()
    for old, new in zip(plain.records(range(60)), dataset.records(range(60)), strict=True):
        bare = tuple(structs.replace(one, look=None) for one in new.objects)
        assert bare == old.objects
        seen |= {name for one in new.objects for name, value in structs.asdict(one.look).items()
                 if value}  # fmt: skip
        assert (plain.image(old, "depth") == dataset.image(new, "depth")).mean() > 0.95
    assert {"colour", "shadow"} <= seen


@pytest.mark.parametrize("there, wanted", [LAYOUTS, LAYOUTS[::-1]])
def test_harmonised_layouts_convert_into_each_other(
    harmonised: dict[str, Path], tmp_path: Path, there: str, wanted: str
) -> None:
    convert(harmonised[there], tmp_path / "d", layout=wanted)
    new, old = (Dataset(path) for path in (tmp_path / "d", harmonised[wanted]))
    for one, other in zip(new.records(range(60)), old.records(range(60)), strict=True):
        assert (one.objects, one.fields) == (other.objects, other.fields)


def test_harmonised_samples_are_left_to_the_cpu(harmonised: dict[str, Path]) -> None:
    data = SampleDataset(harmonised["recipe"], None, 32, FIELDS)
    assert not can_composite_on_device(data)
    with pytest.raises(ValueError, match="plain recipes"):
        data.device_compositor("cpu")
    batch = next(iter(make_loader(data, 8, threads=0)))
    assert batch["composite"].shape == (8, 3, 32, 32)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_depth_leaves_harmonised_composites_as_they_are(
    make: Callable, teacher: str, tmp_path: Path, layout: str
) -> None:
    plain = {"placement": "uniform", "standing": None, "scale_range": (0.3, 0.7)}
    source = make(tmp_path / "d", layout=layout, harmonise=HARMONISED[:3], **plain)
    relabel(source, tmp_path / "r", teacher=teacher, scene=SceneDepth())
    assert verify(tmp_path / "r") == []
    one, other = Dataset(source), Dataset(tmp_path / "r")
    for old, new in zip(one.records(range(60)), other.records(range(60)), strict=True):
        assert np.array_equal(one.image(old, "composite"), other.image(new, "composite"))


# ---- other verbs -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_of_composites_keep_the_composites(
    worlds: dict[str, Path], teacher: str, tmp_path: Path, layout: str
) -> None:
    relabel(worlds[layout], tmp_path / "c", teacher=teacher)
    assert verify(tmp_path / "c") == []
    assert not Dataset(tmp_path / "c").manifest.has_scene_depth
    for old, new in zip(*(Dataset(p).records(range(60)) for p in (worlds[layout], tmp_path / "c")),
                        strict=True):  # fmt: skip
        assert [one.box for one in old.objects] == [one.box for one in new.objects]
        for name in ("composite", "mask", "instances"):
            pair = (Dataset(p).image(r, name) for p, r in ((worlds[layout], old),
                                                          (tmp_path / "c", new)))  # fmt: skip
            assert np.array_equal(*pair), name


def test_other_depth_of_the_scene_is_refused_because_it_would_move_objects(
    worlds: dict[str, Path], teacher: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="--placement scene") as caught:
        relabel(worlds["recipe"], tmp_path / "r", teacher=teacher, scene=SceneDepth())
    assert "\n" not in str(caught.value) and not (tmp_path / "r").exists()


def test_recipes_with_occlusion_and_without_do_not_mix(
    worlds: dict[str, Path], make: Callable, tmp_path: Path
) -> None:
    other = make(tmp_path / "other", placement="uniform", standing=None, scale_range=(0.3, 0.7))
    with pytest.raises(DatasetError, match="compositing"):
        merge([worlds["recipe"], other], tmp_path / "both")


def test_rendered_ones_mix_and_become_recipes(
    worlds: dict[str, Path], make: Callable, tmp_path: Path
) -> None:
    plain = {"placement": "uniform", "standing": None, "scale_range": (0.3, 0.7)}
    other = make(tmp_path / "other", layout="rendered", **plain)
    merge([worlds["rendered"], other], tmp_path / "both")
    convert(tmp_path / "both", tmp_path / "recipes", layout="recipe")
    assert verify(tmp_path / "recipes") == []
    assert_same_samples(tmp_path / "both", tmp_path / "recipes", lossy=("composite",))


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--placement scene", "--placement scene needs --depth-of scene"),
        ("--height-range 1 2", "--height-range needs --placement scene"),
        ("--heights t.csv", "--heights needs --placement scene"),
        ("--field-of-view 60", "--field-of-view needs --placement scene"),
        ("--placement scene --height-range 2 1", "--height-range 2 1: expected LOW <= HIGH"),
        ("--placement scene --field-of-view 170", "--field-of-view 170.0: expected a number"),
        ("--placement scene --heights nowhere.csv", "nowhere.csv"),
        ("--harmonise shadow", "--harmonise shadow needs --placement scene"),
        ("--placement scene --scale-range .5 .2", "--scale-range 0.5 0.2: expected"),
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


def test_a_teacher_of_relative_depth_is_refused(
    make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeacherChoice, "load", lambda self: SmoothDepth("relative"))
    with pytest.raises(DsetkitError, match="needs depth in metres, and teacher smooth"):
        make(tmp_path / "d", scene=SceneDepth(), teacher="bundled")
    assert not (tmp_path / "d").exists()


def test_a_table_that_names_other_cut_outs_is_refused(make: Callable, tmp_path: Path) -> None:
    with pytest.raises(DsetkitError, match="--heights names dog"):
        make(tmp_path / "d", standing=Standing(heights={"dog": 0.5}))
    assert not (tmp_path / "d").exists()


def test_a_table_of_heights_is_read(tmp_path: Path) -> None:
    table = tmp_path / "heights.csv"
    table.write_bytes(b'\xef\xbb\xbfname,note,height_m\r\ndog,good,0.6\r\n\r\n"a, b",,1.75\r\n')
    assert read_heights(table) == {"dog": 0.6, "a, b": 1.75}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("name,height\ndog,1\n", "expected name and height_m"),
        ("name,height_m,name\ndog,1,1\n", "expected name and height_m"),
        ("name,height_m\ndog\n", "line 2: 1 values, expected 2"),
        ("name,height_m\ndog,tall\n", "line 2: expected a number above 0"),
        ("name,height_m\ndog,-1\n", "line 2: expected a number above 0"),
        ("name,height_m\ndog,nan\n", "line 2: expected a number above 0"),
        ("name,height_m\ndog,1\ndog,2\n", "line 3: 'dog' is there a second time"),
        ("name,height_m\n" + "d" * 200_000 + ",1\n", "a row of over"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(AssetError) as caught:
        read_heights(tmp_path / "t.csv")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_datasets_without_it_say_nothing_of_it(tmp_path: Path) -> None:
    manifest = Dataset(tiny_dataset(tmp_path / "d", num_samples=20, scene=True)).manifest
    assert manifest.effects == () and "height_range" not in manifest.recipe
