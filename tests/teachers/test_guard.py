"""What every teacher goes through: the guard, one range for a dataset, flips, sizes, the check."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dsetkit.cli import main
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import TeacherError
from dsetkit.labels import teacher_choice
from dsetkit.store.lmdb_store import StoreReader
from dsetkit.store.shards import shard_path
from dsetkit.teachers import TeacherOptions, densedepth, load_teacher
from dsetkit.teachers.flip import FlipAveraged
from dsetkit.teachers.guard import checked_depth
from dsetkit.teachers.ranges import RangedTeacher, measure_range
from tests.helpers.cutting_off import CutOffError, stop_at
from tests.helpers.generating import generate
from tests.helpers.worlds import SmoothDepth, draw_background, draw_foreground

GOOD = np.random.default_rng(0).uniform(1, 5, (4, 6, 8)).astype(np.float32)
COMPOSITES = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), np.uint8)
SMALL = {"size": 32, "placements": 5, "batch_size": 8, "workers": 0, "num_samples": 40}


class Nearness:
    """A relative teacher in a unit of its own: brightness, from 100 to 400 or so."""

    name, kind, max_depth_m, weights_hash, needs_range = "nearness", "relative", 0.0, "ab", True

    def __call__(self, composites: np.ndarray) -> np.ndarray:
        return composites.mean(axis=3, dtype=np.float32) + 100


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pictures")
    folders = {name: root / name for name in ("foregrounds", "backgrounds")}
    for folder in folders.values():
        folder.mkdir()
    for number in range(4):
        foreground = cv2.cvtColor(draw_foreground(number), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(folders["foregrounds"] / f"f{number}.png"), foreground)
        cv2.imwrite(str(folders["backgrounds"] / f"b{number}.png"), draw_background(number, 40))
    return folders


def use(teacher: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `generate` take this teacher, whatever name it is given."""
    monkeypatch.setattr(teacher_choice, "load_teacher", lambda *_, **__: teacher)


# ---- the guard ---------------------------------------------------------------------------------


def spoilt(sample: int, value: object) -> np.ndarray:
    depth = GOOD.copy()
    depth[sample] = value
    return depth


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (GOOD[:3], r"gave \(3, 6, 8\): expected \(4, h, w\) of float32"),
        (GOOD[:, None], r"gave \(4, 1, 6, 8\): expected"),
        (GOOD[:, :0], r"gave \(4, 0, 8\): expected"),
        (GOOD.astype(np.uint8), r"gave uint8 \(4, 6, 8\): expected"),
        (torch.from_numpy(GOOD), "gave Tensor: expected"),
        (None, "gave NoneType: expected"),
        (spoilt(2, np.nan), "values that are not finite for sample 102"),
        (spoilt(1, np.inf), "values that are not finite for sample 101"),
        (spoilt(3, 0), "zeros all over for sample 103"),
        (spoilt(0, 2.5), "a constant map for sample 100"),
        (spoilt(0, 2.5 + 1e-7 * GOOD[0]), "a constant map for sample 100"),
        (spoilt(2, 1000 * GOOD[0]), r"no depth in 0..10 m for sample 102 \(values from 1"),
        (spoilt(2, -GOOD[0]), r"no depth in 0..10 m for sample 102"),
    ],
)
def test_what_is_no_depth_map_stops_the_run_and_names_the_sample(
    answer: np.ndarray, complaint: str
) -> None:
    with pytest.raises(TeacherError, match=complaint):
        checked_depth(answer, 4, teacher="t", first=100, max_depth_m=10.0)


def test_a_depth_map_passes_untouched() -> None:
    assert checked_depth(GOOD, 4, teacher="t", first=0, max_depth_m=10.0) is GOOD


def test_a_bad_answer_in_the_middle_ends_the_run_at_that_sample(
    pictures: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailsLater(SmoothDepth):
        seen = 0

        def __call__(self, composites: np.ndarray) -> np.ndarray:
            depth = super().__call__(composites)
            if 19 in range(self.seen, self.seen + len(depth)):
                depth[19 - self.seen] = np.nan
            self.seen += len(depth)
            return depth

    use(FailsLater(), monkeypatch)
    with pytest.raises(TeacherError, match="not finite for sample 19 "):
        generate(**pictures, output=tmp_path / "d", **SMALL)
    assert StoreReader(shard_path(tmp_path / "d")).count("samples") == 16  # the batches before


# ---- one range for a whole dataset -------------------------------------------------------------


def test_the_range_holds_the_measured_answers_and_a_margin() -> None:
    shown = [([0, 1], COMPOSITES[:2]), ([7, 9], COMPOSITES[2:])]
    low, high = measure_range(Nearness(), shown)
    answers = Nearness()(COMPOSITES)
    assert 0 <= low < answers.min() < answers.max() < high
    assert (low, high) == measure_range(Nearness(), shown)


def test_a_bad_answer_while_measuring_names_the_sample() -> None:
    class Broken(Nearness):
        def __call__(self, composites: np.ndarray) -> np.ndarray:
            depth = super().__call__(composites)
            depth[1] = np.nan
            return depth

    with pytest.raises(TeacherError, match="not finite for sample 9 "):
        measure_range(Broken(), [([7, 9], COMPOSITES[:2])])


def test_every_sample_has_the_same_scale(
    pictures: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored turns back into the teacher's own unit with the manifest's range alone."""
    use(Nearness(), monkeypatch)
    manifest = generate(**pictures, output=tmp_path / "d", **SMALL)
    low, high = manifest.teacher["range"]
    dataset = Dataset(tmp_path / "d")
    for index in range(40):
        record = dataset.record(index)
        stored = dataset.image(record, "depth")
        inverse_depth = low + (stored - 1.0) / 65534 * (high - low)
        shown = Nearness()(dataset.image(record, "composite")[None])[0]
        assert np.abs(inverse_depth - shown).mean() < 6  # JPEG noise, of 255


def test_a_dataset_goes_on_with_the_range_it_began_with(
    pictures: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the network's last bits, and so what would be measured, have changed."""
    use(Nearness(), monkeypatch)

    with pytest.raises(CutOffError):
        generate(**pictures, output=tmp_path / "d", **SMALL, progress=stop_at(16))
    begun = Dataset(tmp_path / "d", allow_incomplete=True).manifest.teacher["range"]
    monkeypatch.setattr("dsetkit.teachers.ranges.MARGIN", 0.3)
    assert generate(**pictures, output=tmp_path / "d", **SMALL).teacher["range"] == begun


def test_much_beyond_the_range_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    teacher = RangedTeacher(Nearness(), (100.0, 200.0))
    for _ in range(2):
        share = teacher(COMPOSITES)
        assert share.min() >= 0 and share.max() == 1
    assert caplog.text.count("beyond its range 100..200") == 1


# ---- flips and sizes ---------------------------------------------------------------------------


def test_a_flip_averaged_teacher_answers_mirror_images_alike() -> None:
    class LeansLeft(SmoothDepth):
        def __call__(self, composites: np.ndarray) -> np.ndarray:
            depth = super().__call__(composites)
            return depth + np.linspace(0, 1, depth.shape[2], dtype=np.float32)

    teacher = FlipAveraged(LeansLeft())
    mirrored = teacher(COMPOSITES[:, :, ::-1])[..., ::-1]
    np.testing.assert_allclose(teacher(COMPOSITES), mirrored, rtol=1e-6)


def test_the_bundled_teacher_takes_size_and_flip() -> None:
    plain_options = TeacherOptions(engine="onnxruntime")
    plain = load_teacher("bundled", device="cpu", options=plain_options)
    options = TeacherOptions(size=96, flip=True, engine="onnxruntime")
    changed = load_teacher("bundled", device="cpu", options=options)
    assert changed(COMPOSITES[:1]).shape == (1, 48, 48)
    assert plain.settings == {} and changed.settings == {"size": 96, "flip": True}
    with pytest.raises(TeacherError, match="--teacher-size 100, expected a multiple of 32"):
        load_teacher("bundled", options=TeacherOptions(size=100))
    with pytest.raises(TeacherError, match="bundled has no --teacher-kind: it takes --teacher-siz"):
        load_teacher("bundled", options=TeacherOptions(kind="metric"))


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """DenseDepth whose network answers 4 at the left and 20 at the right."""

    def network(batch: torch.Tensor) -> torch.Tensor:
        height, width = (side // 2 for side in batch.shape[2:])
        return torch.linspace(4, 20, width).expand(len(batch), 1, height, width)

    network.to = lambda device: network
    monkeypatch.setattr(densedepth, "load_network", lambda path, file_name: network)
    monkeypatch.setattr(densedepth, "_sha256", lambda path: "00")


@pytest.mark.parametrize(
    ("name", "nearest", "farthest", "greatest"),
    [("densedepth", 0.5, 2.5, 10.0), ("densedepth-kitti", 4.0, 20.0, 65.535)],
)
def test_densedepth_has_the_range_of_its_training(
    no_weights: None, name: str, nearest: float, farthest: float, greatest: float
) -> None:
    teacher = load_teacher(f"{name}:file.h5", device="cpu")
    depth = teacher(COMPOSITES)
    assert (teacher.name, teacher.max_depth_m, depth.shape) == (name, greatest, (4, 16, 16))
    assert (depth.min(), depth.max()) == pytest.approx((nearest, farthest))


def test_kitti_is_clipped_as_its_author_says() -> None:
    kitti = densedepth.VARIANTS["densedepth-kitti"]
    inverse_depth = torch.tensor([0.5, 1.0, 8.0, 200.0])
    metres = densedepth.depth_from_inverse(inverse_depth, kitti)
    assert metres.tolist() == pytest.approx([80, 80, 10, 1])


def test_densedepth_sees_composites_at_the_size_asked_for(no_weights: None) -> None:
    teacher = load_teacher("densedepth:file.h5", device="cpu", options=TeacherOptions(size=96))
    assert teacher(COMPOSITES[:, :, :30]).shape == (4, 48, 48)
    with pytest.raises(TeacherError, match="--teacher-size 100, expected a multiple of 32"):
        load_teacher("densedepth:file.h5", options=TeacherOptions(size=100))


# ---- --teacher-check ---------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "rows"), [("40", 16), ("3", 3)])
def test_a_check_draws_a_few_samples_and_makes_no_dataset(
    pictures: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, rows: int, capsys
) -> None:
    use(SmoothDepth(), monkeypatch)
    sheet, output = tmp_path / "check.png", tmp_path / "d"
    arguments = ["generate", "--output", str(output), "--teacher-check", str(sheet)]
    for name, folder in pictures.items():
        arguments += [f"--{name}", str(folder)]
    main([*arguments, "--num-samples", asked, "--size", "32", "--placements", "5"])
    assert f"{rows} samples" in capsys.readouterr().out
    assert Image.open(sheet).height > 200 * rows and not output.exists()
