"""The wheel works in somebody else's project; the sdist holds all that a clone holds.

Both are built from a copy of what git tracks, so that nothing is left in the repository.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import cv2
import pytest

from dsetkit.version import VERSION
from tests.helpers.worlds import draw_background, draw_foreground

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "docs", "dsetkit", "examples", "models", "tests", "tools", "training")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository without what builds and trainings leave."""
    copy = tmp_path_factory.mktemp("sources")
    for path in REPOSITORY.iterdir():
        if path.name in (*FOLDERS, ".ci"):
            shutil.copytree(path, copy / path.name, ignore=LEFT_OUT)
        elif path.is_file():
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="session")
def distributions(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it, as `python -m build` makes them."""
    pytest.importorskip("build", reason="needs requirements-dev.txt")
    output = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output)]
    ended = subprocess.run([*command, str(sources)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="session")
def project(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with packages `models` and `training` of its own, and dsetkit in its `.venv`.

    The environment sees what the running one has installed, but not this repository.
    """
    folder = tmp_path_factory.mktemp("project")
    for package in ("models", "training"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise RuntimeError('not for dsetkit')\n")
    venv.create(folder / ".venv", with_pip=False)
    (site,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    python = str(folder / ".venv" / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps"]
    subprocess.run(
        [*install, "--no-index", "--quiet", str(distributions["wheel"])], check=True, timeout=300
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name in ("foregrounds", "backgrounds"):
        (folder / name).mkdir()
    for number in range(4):
        foreground = cv2.cvtColor(draw_foreground(number, 60, 45), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(folder / "foregrounds" / f"f{number}.png"), foreground)
        cv2.imwrite(str(folder / "backgrounds" / f"b{number}.png"), draw_background(number, 80))
    return folder


def dsetkit(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the installed `dsetkit` as a project with a `models` of its own would: from its root."""
    python = str(project / ".venv" / "bin" / "python")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [python, "-m", "dsetkit", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


# ---- what is in them ---------------------------------------------------------------------------


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(f"dsetkit-{VERSION}.dist-info/METADATA"))


def test_the_wheel_installs_one_name(distributions: dict[str, Path]) -> None:
    with zipfile.ZipFile(distributions["wheel"]) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"dsetkit", f"dsetkit-{VERSION}.dist-info"}
    packages = {path.parent for path in (REPOSITORY / "dsetkit").rglob("*.py")}
    modules = {f"{folder.relative_to(REPOSITORY)}/__init__.py" for folder in packages}
    assert modules <= set(names)
    for name in ("bundled.onnx", "bundled.json", "BUNDLED.md"):
        assert f"dsetkit/teachers/{name}" in names
    assert "dsetkit/networks/resize.onnx" in names


def test_the_wheel_names_the_terms_of_the_weights(distributions: dict[str, Path]) -> None:
    metadata = metadata_of(distributions["wheel"])
    assert metadata["License-Expression"] == "MIT AND LicenseRef-NYU-Depth-V2-Research"
    assert set(metadata.get_all("License-File", [])) == {"LICENSE", "LICENSE-WEIGHTS"}
    assert metadata["Author"] == "The dsetkit authors"


def test_the_wheel_requires_what_dsetkit_imports_and_no_more(
    distributions: dict[str, Path],
) -> None:
    required = metadata_of(distributions["wheel"]).get_all("Requires-Dist", [])
    plain = {re.split(r"[<>=\[]", line)[0] for line in required if "extra ==" not in line}
    assert {"torch", "onnxruntime", "lmdb"} <= plain
    assert not {"torchvision", "kornia", "tensorboard", "onnx", "transformers"} & plain


def test_the_sdist_holds_what_a_clone_holds(distributions: dict[str, Path], sources: Path) -> None:
    with tarfile.open(distributions["sdist"]) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    for folder in FOLDERS:
        files = [path for path in (sources / folder).rglob("*") if path.is_file()]
        assert files and {str(path.relative_to(sources)) for path in files} <= held, folder
    for name in (
        "train_depth.py",
        "train_mask.py",
        "evaluate_depth.py",
        "CONTRIBUTING.md",
        "Makefile",
        "requirements-dev.txt",
        "LICENSE-WEIGHTS",
        ".ci/run",
        "docs/guides/teachers.md",
        "examples/system_000.sh",
        "models/checkpoints/bundled_teacher.safetensors",
        "tests/teachers/golden/densedepth_64x96.npz",
    ):
        assert name in held, name
    assert not [name for name in held if "__pycache__" in name]


# ---- what is installed -------------------------------------------------------------------------


def test_it_is_the_installed_package_that_runs(project: Path) -> None:
    ended = dsetkit(project, "--version")
    assert ended.stdout.split() == ["dsetkit", VERSION]
    script = project / ".venv" / "bin" / "dsetkit"
    said = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == ended.stdout
    python = project / ".venv" / "bin" / "python"
    where = [python, "-c", "import dsetkit; print(dsetkit.__file__)"]
    found = subprocess.run(where, cwd=project, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(project / ".venv"))


def test_the_bundled_teacher_labels_a_dataset_beside_a_foreign_models(project: Path) -> None:
    folders = ["--foregrounds", "foregrounds", "--backgrounds", "backgrounds"]
    asked = ["--output", "data", "--num-samples", "24", "--size", "64"]
    ended = dsetkit(project, "generate", *folders, *asked)
    assert ended.returncode == 0, ended.stderr
    assert "24 samples, complete" in ended.stdout
    ended = dsetkit(project, "verify", "data")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["demo", "--output", "new"],
            "demo trains and evaluates by the scripts of dsetkit's repos",
        ),
        (
            ["export-model", "x.safetensors", "--output", "x.onnx"],
            "export-model needs the folder models/ of dsetkit's repository",
        ),
        (
            ["generate", "--foregrounds", "foregrounds", "--backgrounds", "backgrounds"]
            + ["--output", "new", "--teacher", "checkpoint:x.safetensors"],
            "teacher checkpoint needs the folder models/ of dsetkit's repository",
        ),
    ],
)
def test_what_needs_a_clone_says_so_in_one_line_at_once(
    project: Path, arguments: list[str], complaint: str
) -> None:
    ended = dsetkit(project, *arguments)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1 and complaint in ended.stderr
    assert not (project / "new").exists()
