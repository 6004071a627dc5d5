"""Generation: repeatable to the byte, whatever the workers, however often it was killed."""

import filecmp
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.datasets.reader import Dataset
from dsetkit.datasets.writer import DatasetWriter
from dsetkit.errors import AssetError, DatasetError, DsetkitError, TeacherError
from dsetkit.generating.plan import Plan
from dsetkit.generating.ray.actor import Pixels
from dsetkit.generating.shard_jobs import write
from dsetkit.labels.quality import LabelQuality
from dsetkit.labels.scoring import measure_labels
from dsetkit.store.lmdb_store import StoreReader
from dsetkit.store.shards import shard_path
from dsetkit.teachers import checked_depth, load_teacher
from dsetkit.verbs.stats import measure
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.gates import plan_of
from tests.helpers.generating import generate
from tests.helpers.worlds import draw_background

REPOSITORY = Path(__file__).parents[2]
SMALL = {"size": 64, "placements": 5, "batch_size": 8, "workers": 0}


def contents(dataset: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    store = StoreReader(shard_path(dataset))
    databases = ("manifest", "backgrounds", "foregrounds", "samples")
    return {name: list(store.items(name)) for name in databases}


def test_a_dataset_holds_what_it_says(pictures: dict, teacher: str, tmp_path: Path) -> None:
    manifest = generate(**pictures, output=tmp_path / "d", num_samples=50, teacher=teacher, **SMALL)
    dataset = Dataset(tmp_path / "d")
    assert len(dataset) == manifest.num_samples == len(dataset.cells) == 50
    assert dataset.manifest.complete and dataset.manifest.depth_kind == "metric"
    record = dataset.record(17)
    assert dataset.image(record, "composite").shape == (64, 64, 3)
    assert dataset.image(record, "mask").shape == (64, 64)
    assert dataset.image(record, "depth").shape == (32, 32)
    assert [asset.name for asset in dataset.assets("backgrounds")] == [f"b{i}" for i in range(5)]


def test_a_sample_is_drawn_from_the_stored_assets(pictures: dict, tmp_path: Path) -> None:
    generate(**pictures, output=tmp_path / "d", num_samples=20, teacher="none", **SMALL)
    dataset = Dataset(tmp_path / "d")
    for index in range(20):
        record = dataset.record(index)
        shown = dataset.image(record, "composite").astype(int)
        untouched = dataset.image(record, "mask") == 0
        difference = np.abs(shown - dataset.background(record.background))[untouched]
        assert difference.mean() < 3  # JPEG noise


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_workers_never_change_a_byte(
    pictures: dict, teacher: str, tmp_path: Path, workers: int
) -> None:
    options = {"num_samples": 60, "teacher": teacher}
    generate(**pictures, output=tmp_path / "alone", **options, **SMALL)
    generate(**pictures, output=tmp_path / "many", **options, **(SMALL | {"workers": workers}))
    assert same_file(tmp_path / "alone", tmp_path / "many")


def same_file(one: Path, other: Path) -> bool:
    return filecmp.cmp(shard_path(one), shard_path(other), shallow=False)


@pytest.mark.parametrize("kept", [1, 3, 6])
def test_a_cut_off_run_goes_on_to_the_same_bytes(
    pictures: dict, teacher: str, tmp_path: Path, kept: int
) -> None:
    options = {"num_samples": 60, "teacher": teacher, **SMALL}
    generate(**pictures, output=tmp_path / "whole", **options)

    with pytest.raises(CutOffError):
        generate(**pictures, output=tmp_path / "cut", **options, progress=stop_at(kept * 8))
    with pytest.raises(DatasetError, match=f"is not complete: {kept * 8} of 60 samples"):
        Dataset(tmp_path / "cut")
    done = []
    generate(
        **pictures, output=tmp_path / "cut", **options, progress=lambda n, total: done.append(n)
    )
    assert done[0] == (kept + 1) * 8  # what was there was not made again
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_the_manifest_has_the_scores_of_the_labels(
    pictures: dict, teacher: str, tmp_path: Path
) -> None:
    options = {"num_samples": 40, "teacher": teacher, **SMALL}
    all_of_them = generate(**pictures, output=tmp_path / "all", **options)
    assert all_of_them.label_quality == measure(tmp_path / "all")["labels"] | {"samples": 40}
    assert Dataset(tmp_path / "all").manifest == all_of_them


def test_scores_look_at_samples_spread_over_the_whole_dataset(
    pictures: dict, teacher: str, tmp_path: Path
) -> None:
    manifest = generate(**pictures, output=tmp_path / "d", num_samples=40, teacher=teacher, **SMALL)
    dataset = Dataset(tmp_path / "d")
    quality = LabelQuality(manifest.depth_kind)
    for index in (0, 6, 13, 20, 26, 32, 39):
        record = dataset.record(index)
        quality.add(dataset.image(record, "mask"), dataset.image(record, "depth"))
    few = measure_labels(dataset, samples=7)
    assert few == quality.result() | {"samples": 7}
    scored = replace(manifest, label_quality=few)
    assert scored.fingerprint == manifest.fingerprint  # scores do not tell datasets apart
    assert scored.differences(manifest) == []


def test_of_settings_that_differ_only_those_are_named(
    pictures: dict, teacher: str, tmp_path: Path
) -> None:
    options = {**pictures, "output": tmp_path / "d", "teacher": teacher, **SMALL}
    manifest = generate(**options, num_samples=8)
    other = replace(manifest, teacher=manifest.teacher | {"size": 96, "flip": None})
    assert manifest.differences(other) == [
        "teacher size: none, not 96",
        "teacher flip: none, not None",
    ]
    with pytest.raises(
        DatasetError, match=r"other settings \(teacher batch_size: \d+, not 7\): rep"
    ):
        generate(**options | {"batch_size": 7}, num_samples=8)


def test_a_run_cut_off_before_its_labels_are_scored_scores_them_when_it_goes_on(
    pictures: dict, teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"num_samples": 40, "teacher": teacher, **SMALL}
    generate(**pictures, output=tmp_path / "whole", **options)

    def cut_off(*_) -> dict:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("dsetkit.labels.quality.LabelQuality.result", cut_off)
        generate(**pictures, output=tmp_path / "cut", **options)
    assert _samples_in(tmp_path / "cut") == 40
    generate(**pictures, output=tmp_path / "cut", **options)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def _write_until_a_commit_is_cut(plan: Plan, pixels: Pixels, kept: int) -> None:
    """The system kills this process when it writes beyond what the file is after `kept` samples."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def limit_the_file(done: int, total: int) -> None:
        if done == kept:
            size = shard_path(plan.output).stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    write(plan, lambda kind, number: pixels[kind][number], None, progress=limit_the_file)


@pytest.mark.slow
def test_a_run_killed_within_one_commit_after_another_ends_in_the_same_bytes(
    pictures: dict, tmp_path: Path
) -> None:
    options = {**pictures, "num_samples": 60, "teacher": "none", **SMALL}
    generate(**options, output=tmp_path / "whole")
    plan, pixels = plan_of(**options, output=tmp_path / "cut")
    plan = replace(plan, samples_per_commit=1)
    for kept in (8, 16, 40):
        given = (plan, pixels, kept)
        run = get_context("spawn").Process(target=_write_until_a_commit_is_cut, args=given)
        run.start()
        run.join()
        assert run.exitcode == -signal.SIGXFSZ  # in the middle of the next commit
        assert _samples_in(tmp_path / "cut") == kept
    generate(**options, output=tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def _samples_in(dataset: Path) -> int:
    try:
        return StoreReader(shard_path(dataset)).count("samples")
    except DatasetError:  # not begun yet
        return 0


def test_a_finished_dataset_is_left_as_it_is(pictures: dict, tmp_path: Path) -> None:
    options = {**pictures, "output": tmp_path / "d", "num_samples": 30, "teacher": "none", **SMALL}
    generate(**options)
    before = contents(tmp_path / "d")
    assert generate(**options).complete
    assert contents(tmp_path / "d") == before


def test_another_command_does_not_continue_a_dataset(pictures: dict, tmp_path: Path) -> None:
    options = {**pictures, "output": tmp_path / "d", "teacher": "none", **SMALL}
    generate(**options, num_samples=30)
    with pytest.raises(DatasetError, match="with other settings .*seed.*choose another --output"):
        generate(**options, num_samples=30, seed=1)
    with pytest.raises(DatasetError, match="num_samples: 30, not 29"):
        generate(**options, num_samples=29)


def test_changed_pictures_do_not_continue_a_dataset(pictures: dict, tmp_path: Path) -> None:
    options = {"output": tmp_path / "d", "num_samples": 30, "teacher": "none", **SMALL}
    generate(**pictures, **options)
    swapped = {"foregrounds": pictures["foregrounds"], "backgrounds": tmp_path / "other"}
    swapped["backgrounds"].mkdir()
    for number in range(5):
        image = draw_background(number + 7, 80)
        cv2.imwrite(str(swapped["backgrounds"] / f"b{number}.jpg"), image)
    with pytest.raises(DatasetError, match="fingerprint"):
        generate(**swapped, **options)


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"num_samples": 0}, r"--num-samples 0: expected a whole number from 1"),
        ({"num_samples": 251}, r"--num-samples 251: expected 1 to 250"),
        ({"scale_range": (0.7, 0.3)}, r"--scale-range 0.7 0.3: expected 0 < LOW <= HIGH <= 1"),
        ({"size": 4}, r"--size 4: expected a whole number from 16"),
        ({"placement": "spiral"}, r"--placement spiral: expected uniform or grid"),
        ({"teacher": "oracle"}, r"no teacher 'oracle': expected bundled"),
        ({"teacher": "checkpoint"}, r"teacher checkpoint needs a file: write checkpoint:FILE"),
        ({"teacher": "checkpoint:/nowhere.safetensors"}, r"teacher checkpoint: .*nowhere"),
        ({"teacher": "bundled", "device": "cuda:7"}, r"--device cuda:7: .*use --device cpu"),
    ],
)
def test_bad_settings_are_one_clear_line(
    pictures: dict, tmp_path: Path, changes: dict, complaint: str
) -> None:
    options = {"teacher": "none", **SMALL} | changes
    with pytest.raises(DsetkitError, match=complaint):
        generate(**pictures, output=tmp_path / "d", **options)
    assert not (tmp_path / "d").exists()


def test_bad_pictures_of_both_folders_are_told_in_one_go(pictures: dict, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in pictures}
    for name, folder in folders.items():
        folder.mkdir()
        for path in pictures[name].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    (folders["foregrounds"] / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folders["backgrounds"] / "words.jpg").write_text("not a picture")
    options = {**folders, "num_samples": 30, "teacher": "none", **SMALL}
    with pytest.raises(AssetError) as error:
        generate(**options, output=tmp_path / "d")
    assert "broken.png" in str(error.value) and "words.jpg" in str(error.value)
    assert not (tmp_path / "d").exists()
    manifest = generate(**options, output=tmp_path / "d", skip_bad=True)
    assert [name for name, _ in manifest.skipped] == ["broken.png", "words.jpg"]


def test_the_command_ends_with_status_2_and_one_line(pictures: dict, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dsetkit", "generate", "--foregrounds", str(tmp_path / "none"),
         "--backgrounds", str(pictures["backgrounds"]), "--output", str(tmp_path / "d"),
         "--teacher", "none"],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("dsetkit: error: ") and len(ended.stderr.splitlines()) == 1
    assert "Traceback" not in ended.stderr


def test_a_full_map_loses_nothing_and_goes_on(
    pictures: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**pictures, "num_samples": 100, "teacher": "none", **SMALL}
    generate(**options, output=tmp_path / "whole")
    with monkeypatch.context() as small_disk:
        limit = shard_path(tmp_path / "whole").stat().st_size // 2
        begin = DatasetWriter.__init__
        small_disk.setattr(
            DatasetWriter,
            "__init__",
            lambda *a, **k: begin(*a, **(k | {"map_limit": limit, "samples_per_commit": 8})),
        )
        with pytest.raises(DatasetError, match="full at its limit .* run the same command again"):
            generate(**options, output=tmp_path / "cut")
    assert _samples_in(tmp_path / "cut") > 0
    generate(**options, output=tmp_path / "cut")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


# ---- teachers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (np.ones((3, 4, 4)), "expected \\(4, h, w\\)"),
        (np.full((4, 4, 4), np.nan), "not finite for sample 100"),
        (np.stack([np.eye(4)] * 3 + [np.ones((4, 4))]), "a constant map for sample 103"),
    ],
)
def test_a_teacher_that_fails_stops_the_run_and_names_the_sample(
    answer: np.ndarray, complaint: str
) -> None:
    with pytest.raises(TeacherError, match=complaint):
        checked_depth(answer, 4, teacher="t", first=100)


def test_a_teacher_sees_pictures_at_the_height_it_was_trained_at(teacher: str) -> None:
    """Shown larger, everything would seem nearer. Depth comes at half that size, in metres."""
    network = load_teacher(teacher)
    composites = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    depth = network(composites)
    assert depth.shape == (2, 32, 48) and depth.dtype == np.float32
    assert network.kind == "metric" and depth.min() > 0 and depth.max() <= 10.0
    assert network(composites.repeat(3, axis=1).repeat(3, axis=2)).shape == (2, 32, 48)
    assert network(composites[:, :, :70]).shape == (2, 32, 32)


def test_no_teacher_is_no_depth(pictures: dict, tmp_path: Path) -> None:
    assert load_teacher("none") is None
    manifest = generate(**pictures, output=tmp_path / "d", num_samples=9, teacher="none", **SMALL)
    assert manifest.depth_kind == "none" and "depth" not in manifest.fields
    assert manifest.label_quality == {}
