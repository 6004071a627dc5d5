"""Without the repository's networks two teachers' words end in one line; others need none."""

import sys
from pathlib import Path

import numpy as np
import pytest

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.errors import NetworkError
from dsetkit.networks.repository_models import repository_models
from dsetkit.teachers import load_teacher


def test_the_repositorys_own_are_found() -> None:
    models = repository_models("a test")
    assert "depth_lite" in models.MODELS and models.efficientnet_lite.ConvBN


@pytest.fixture(params=["nowhere", "a package", "a module", "an empty folder", "half a clone"])
def no_models(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`import models` finds nothing, or something of somebody else's."""
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    repository = str(Path(__file__).parents[2])
    paths = [path for path in sys.path if path not in ("", repository)]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *paths])
    monkeypatch.setattr(
        sys, "meta_path", [one for one in sys.meta_path if "editable" not in repr(one).lower()]
    )
    folder = tmp_path / "models"
    if request.param == "a module":
        folder.with_suffix(".py").write_text("raise RuntimeError('of somebody else')")
    elif request.param != "nowhere":
        folder.mkdir()
    if request.param == "a package":
        (folder / "__init__.py").write_text("raise RuntimeError('of somebody else')")
    if request.param == "half a clone":
        (folder / "__init__.py").write_text("load_model = None")
        for name in ("registry.py", "heads.py", "weights.py", "efficientnet_lite.py"):
            (folder / name).touch()


def test_what_needs_them_says_so_in_one_line(
    no_models: None, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(NetworkError, match="needs the folder models/ of dsetkit's repository"):
        load_teacher("checkpoint:x.safetensors", device="cpu")
    command = ["export-model", "x.safetensors", "--output", str(tmp_path / "x.onnx")]
    assert run(lambda: main(command)) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "export-model needs the folder models/" in said[0]


def test_the_bundled_teacher_needs_none(no_models: None) -> None:
    depth = load_teacher("bundled", device="cpu")(np.zeros((1, 64, 64, 3), np.uint8))
    assert depth.shape == (1, 96, 96)
