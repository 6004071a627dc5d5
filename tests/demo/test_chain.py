"""The whole chain as a user runs it: the demo, the example, and real pictures where they are."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit import SampleDataset
from dsetkit.datasets.reader import Dataset
from dsetkit.teachers import load_teacher
from dsetkit.teachers.bundled import BUNDLED
from dsetkit.verbs.verify import verify
from tests.helpers.generating import generate
from tests.helpers.importing import import_rgbd
from tests.helpers.worlds import tiny_dataset

REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "data"

with_real_pictures = pytest.mark.skipif(
    not REAL.is_dir(), reason="no real pictures beside the repository (../shared/data)"
)


@pytest.mark.slow
def test_the_demo_runs_the_whole_chain(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsetkit", "demo", "--samples", "60", "--epochs", "1"]
    output = tmp_path / "demo"
    ended = subprocess.run(
        [*command, "--output", str(output)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert cv2.imread(str(output / "predictions.png")).std() > 20
    for path in ("dataset.png", "depth/best.safetensors", "mask/metrics.json"):
        assert (output / path).stat().st_size > 1000
    assert "Look at" in ended.stdout and "train_depth.py" in ended.stdout

    again = subprocess.run(
        [*command, "--output", str(output)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert again.returncode == 2
    assert "is not empty" in again.stderr and len(again.stderr.splitlines()) == 1


def test_a_dataset_is_read_with_lmdb_msgpack_and_cv2_alone(tmp_path: Path) -> None:
    dataset = tiny_dataset(tmp_path / "d", num_samples=30)
    example = REPOSITORY / "examples" / "read_dataset.py"
    assert "dsetkit" not in [line.split()[1] for line in example.open() if "import" in line]
    ended = subprocess.run(
        [sys.executable, str(example), str(dataset)], capture_output=True, text=True, check=True
    )
    lines = ended.stdout.splitlines()
    assert len(lines) == 30
    assert lines[7].startswith("7 [{'foreground':") and "composite (32, 32, 3) uint8" in lines[7]


def test_the_reader_without_dsetkit_reads_shards_and_refuses_recipes(tmp_path: Path) -> None:
    example = REPOSITORY / "examples" / "read_dataset.py"
    shards = tiny_dataset(tmp_path / "s", num_samples=96, shards=3)
    recipes = tiny_dataset(tmp_path / "r", num_samples=30, layout="recipe")
    read, refused = (
        subprocess.run([sys.executable, str(example), str(path)], capture_output=True, text=True)
        for path in (shards, recipes)
    )
    assert [int(line.split()[0]) for line in read.stdout.splitlines()] == list(range(96))
    assert refused.returncode == 1 and "dsetkit convert --layout rendered" in refused.stderr


def test_the_bundled_teacher_is_small_and_says_what_it_is() -> None:
    assert BUNDLED.stat().st_size <= 20_000_000
    teacher = load_teacher("bundled", device="cpu")
    assert (teacher.kind, teacher.max_depth_m) == ("metric", 10.0)
    depth = teacher(np.random.default_rng(0).integers(0, 256, (2, 100, 224, 3), np.uint8))
    assert depth.shape[0] == 2 and depth.min() > 0 and depth.max() <= 10


@with_real_pictures
@pytest.mark.slow
def test_real_pictures_become_a_sound_dataset(tmp_path: Path) -> None:
    folders = {name: REAL / name for name in ("foregrounds", "backgrounds")}
    generate(**folders, output=tmp_path / "d", num_samples=48, batch_size=16, workers=0)
    assert verify(tmp_path / "d") == []
    data = SampleDataset(tmp_path / "d", split=None, size=64)
    masks = np.stack([data[i]["mask"].numpy() for i in range(0, 48, 4)]) / 255
    assert 0.02 < masks.mean() < 0.5
    depth = data[0]["depth"]
    assert depth.min() > 0.01 and depth.max() <= 1  # 10 cm to 10 m


@with_real_pictures
@pytest.mark.slow
def test_the_bundled_teacher_knows_rooms_it_never_saw(tmp_path: Path) -> None:
    import_rgbd(REAL / "nyu" / "test_dev", tmp_path / "d", split="test")
    dataset, teacher = Dataset(tmp_path / "d"), load_teacher("bundled", device="cpu")
    close = []
    for index in range(0, len(dataset), 10):
        record = dataset.record(index)
        colour = cv2.resize(dataset.image(record, "composite"), (256, 192))
        depth = cv2.resize(teacher(colour[None])[0], (320, 240))
        target = dataset.image(record, "depth") / 1000
        valid = target > 0
        ratio = np.maximum(depth / target, target / depth, where=valid, out=np.ones_like(target))
        close.append((ratio[valid] < 1.25).mean())
    assert np.mean(close) > 0.65  # all 200 frames: see the card
