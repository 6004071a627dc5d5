"""Each reference system's script runs as it stands, in its smoke form, and leaves its scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from dsetkit.datasets.reader import Dataset
from tests.helpers.worlds import draw_background, draw_foreground, tiny_dataset

EXAMPLES = Path(__file__).parents[2] / "examples"
SYSTEMS = sorted(EXAMPLES.glob("system_*.sh"))

# Runs at once what SLURM would run later, and tells which job it was.
SBATCH = """#!/usr/bin/env bash
set -e
for option in "$@"; do
    case $option in
    --array=0-*) last=${option#--array=0-} ;;
    --dependency=afterok:17) is_last=yes ;;
    --*) ;;
    *) break ;;
    esac
    shift
done
echo 17
if [[ -n $last ]]; then
    for number in $(seq 0 "$last"); do
        SLURM_JOB_ID=17 SLURM_ARRAY_TASK_ID=$number SLURM_CPUS_PER_TASK=1 bash "$@" >&2
        echo "job $number" >&2
    done
else
    SLURM_JOB_ID=18 bash "$@" >&2
    echo "last job $is_last" >&2
fi
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


def example(script: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(script), *map(str, arguments)],
        env=os.environ | {"PYTHON": sys.executable} | variables,
        capture_output=True,
        text=True,
    )


def test_there_is_one_for_each_system() -> None:
    assert [path.stem[-3:] for path in SYSTEMS] == ["000", "001", "002", "003", "004"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_an_array_of_jobs_makes_the_dataset_that_one_makes(tmp_path: Path) -> None:
    for name, draw in (("backgrounds", draw_background), ("foregrounds", draw_foreground)):
        (tmp_path / name).mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), draw(number, 32))
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(SBATCH)
    sbatch.chmod(0o755)
    flags = ["--teacher", "none", "--size", "32", "--num-samples", "96", "--layout", "recipe"]
    flags += [f"--{name}={tmp_path / name}" for name in ("backgrounds", "foregrounds")]
    path = f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}"
    ended = example(
        EXAMPLES / "slurm_shards.sh", 2, tmp_path / "array", *flags, PATH=path, JOB="--gpus=1"
    )
    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stderr.splitlines() if "job " in line]
    assert told == ["job 0", "job 1", "last job yes"]
    one = [sys.executable, "-m", "dsetkit", "generate", *flags, f"--output={tmp_path / 'one'}"]
    subprocess.run([*one, "--workers=0"], cwd=EXAMPLES.parent, check=True, capture_output=True)
    array, alone = Dataset(tmp_path / "array"), Dataset(tmp_path / "one")
    assert len(array.shards.ranges) == 2 and len(array) == len(alone) == 96
    assert array.records(range(96)) == alone.records(range(96))
    assert example(EXAMPLES / "slurm_shards.sh", 2).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_plain", "train_lightning", "train_hf_trainer"])
def test_training_by_other_means_learns(name: str, dataset: Path, tmp_path: Path) -> None:
    for package in {"train_lightning": ["lightning"], "train_hf_trainer": ["accelerate"]}.get(
        name, []
    ):
        pytest.importorskip(package)
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), str(dataset), "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 0.75  # RMSE, or loss: what no learning gives is above


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    flags = "--img-sizes 32 --epochs 1 --limit-samples 32"
    variables = {"SAMPLES": "60", "FLAGS": flags, "OUTPUT": str(tmp_path / "out")}
    client = nbclient.NotebookClient(
        notebook, timeout=None, resources={"metadata": {"path": str(EXAMPLES.parent)}}
    )
    client.execute(env=os.environ | variables)
    sheet = cv2.imread(str(tmp_path / "out" / "predictions" / "sheet.png"))
    assert sheet is not None and sheet.std() > 10
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 4
    assert not any("error:" in output.get("text", "") for output in shown)
