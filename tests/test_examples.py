"""Each reference system's script runs as it stands, in its smoke form, and leaves its scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds import tiny_dataset

EXAMPLES = Path(__file__).parents[1] / "examples"
SYSTEMS = sorted(EXAMPLES.glob("system_*.sh"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


def example(script: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(script), *map(str, arguments)],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )


def test_there_is_one_for_each_system() -> None:
    assert [path.stem[-3:] for path in SYSTEMS] == ["000", "001", "002", "003", "004"]


@pytest.mark.parametrize("script", SYSTEMS, ids=lambda path: path.stem)
def test_smoke(script: Path, dataset: Path, tmp_path: Path) -> None:
    ended = example(script, dataset, tmp_path / "run", "--smoke")
    assert ended.returncode == 0, ended.stderr
    (mask,), (depth,) = (list(tmp_path.rglob(f"{kind}.json")) for kind in ("mask", "depth"))
    assert 0 <= json.loads(mask.read_text())["scores"]["model"]["iou_per_image"] <= 1
    assert json.loads(depth.read_text())["scores"]["model"]["rmse_pooled"] > 0
    assert len(list(tmp_path.rglob("epoch-001.png"))) in (1, 2)  # 002 trains two networks


def test_without_arguments_it_says_how_it_is_used() -> None:
    ended = example(SYSTEMS[0])
    assert ended.returncode == 2
    assert ended.stderr.startswith("usage:")
