"""What must be quick is quick: help and wrong arguments without torch, a training without extras.

Nothing is timed. What takes the time is loading packages, so that is what these tests look at.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsetkit.cli.main import build_parser
from tests.helpers.worlds import tiny_dataset
from training.augment import AUGMENTATIONS, GROUPS
from training.lazy import LazyTable
from training.losses.specs import DEPTH_LOSSES, MASK_LOSSES
from training.optimizer import OPTIMIZERS

REPOSITORY = Path(__file__).parents[2]
TRAININGS = ("train_depth.py", "train_mask.py", "train_joint.py")
EVALUATIONS = ("evaluate_depth.py", "evaluate_mask.py")
VERBS = next(a for a in build_parser()._actions if a.metavar == "VERB").choices
HEAVY = ("torch", "torchvision", "onnxruntime")

# Runs each command line of the arguments in this process, until it ends or would load torch.
RUN = """
import contextlib, io, runpy, shlex, sys
for line in sys.argv[1:]:
    sys.argv = shlex.split(line)
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            if sys.argv[0] == "dsetkit":
                runpy.run_module("dsetkit", run_name="__main__")
            else:
                runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
    print(line, status, sorted(set(%r) & set(sys.modules)), sep="|")
"""


def outcomes(*lines: str) -> list[tuple[str, int, str]]:
    """(command line, exit status, heavy packages that are loaded) of each command line."""
    words = [sys.executable, "-c", RUN % (HEAVY,), *lines]
    given = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run(words, cwd=REPOSITORY, env=given, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = [line.split("|") for line in ran.stdout.splitlines()]
    assert len(found) == len(lines), ran.stderr
    return [(line, int(status), heavy) for line, status, heavy in found]


def test_help_needs_no_torch() -> None:
    scripts = [f"{script} --help" for script in (*TRAININGS, *EVALUATIONS, "predict.py")]
    verbs = [f"dsetkit {verb} --help" for verb in VERBS]
    for line, status, heavy in outcomes(*scripts, "dsetkit --help", *verbs):
        assert (status, heavy) == (0, "[]"), line


def test_wrong_arguments_need_no_torch(tmp_path: Path) -> None:
    run = f"--output {tmp_path}/run"
    wrong = ["", run, f"--data d {run} --arch x", f"{run} --resume", f"--data d {run} --epochs x"]
    wrong += [f"--data d {run} --augment x", f"--data d {run} --log-to x"]
    wrong += [f"--data d {run} --batch-size 3 --accumulate 2"]
    lines = [f"{script} {words}" for script in TRAININGS for words in wrong]
    lines += [f"train_mask.py --data d {run} --loss saliency"]
    lines += [f"{script} --data d" for script in EVALUATIONS]
    for line, status, heavy in outcomes(*lines):
        assert (status, heavy) == (2, "[]"), line


@pytest.mark.parametrize("table", [AUGMENTATIONS, DEPTH_LOSSES, MASK_LOSSES, OPTIMIZERS])
def test_every_name_of_a_table_is_that_of_something(table: LazyTable) -> None:
    assert all(callable(table[name]) for name in table)


def test_groups_of_augmentations_name_augmentations() -> None:
    assert {name for names in GROUPS.values() for name in names} <= set(AUGMENTATIONS)


def test_a_training_loads_neither_the_compiler_nor_packages_that_it_does_not_use(
    tmp_path: Path,
) -> None:
    words = f"--data {tiny_dataset(tmp_path / 'd')} --output {tmp_path / 'run'} --device cpu "
    words += "--preset small --img-sizes 32 --epochs 1 --limit-samples 16 --batch-size 8"
    code = (
        "import sys, train_depth; train_depth.main(sys.argv[1].split()); "
        "print(sorted({'torch._dynamo', 'torchvision', 'onnxruntime'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, words], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert ran.stdout == "[]\n", ran.stderr
