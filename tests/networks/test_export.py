"""Networks as ONNX: the exported pair answers as the checkpoint, for every kind of network."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.errors import NetworkError, TeacherError
from dsetkit.networks.opening import open_network
from dsetkit.teachers import TeacherOptions, load_teacher
from dsetkit.verbs.export_model import export_model
from models import MODELS
from tests.helpers.networks import checkpoint

BOTH = ("composite", "background")
KINDS = [  # one of each family, with its inputs
    ("depth_lite", ("composite",)),
    ("mask_lite", ("composite",)),
    ("mask_lite", BOTH),
    ("depth_lite", BOTH),
    ("lite_dual", BOTH),
]
OTHERS = [(arch, BOTH) for arch in MODELS if arch not in ("mask_lite", "depth_lite", "lite_dual")]


def pictures(height: int, width: int, count: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.integers(0, 256, (count, height, width, 3), np.uint8) for name in BOTH}


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "inputs"), KINDS + OTHERS)
def test_the_pair_answers_as_the_checkpoint(
    arch: str, inputs: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = checkpoint(tmp_path / "c.safetensors", arch, inputs=inputs)
    command = ["export-model", str(path), "--output", str(tmp_path / "c.onnx")]
    assert run(lambda: main(command)) == 0
    assert "by at most" in capsys.readouterr().out
    ours = open_network(path, device="cpu")
    theirs = open_network(tmp_path / "c.onnx", device="cpu")
    same = ("inputs", "maps", "size", "stride", "depth_kind", "max_depth_m")
    assert all(getattr(ours.facts, name) == getattr(theirs.facts, name) for name in same)
    graph = (tmp_path / "c.onnx").read_bytes()
    assert not any(place in graph for place in (b"/models/", b"/torch/")), "the machine's paths"
    shown = pictures(64, 64)
    expected, found = ours(shown), theirs(shown)
    assert set(found) == set(ours.facts.maps)
    for name, answer in expected.items():
        assert answer.dtype == found[name].dtype == np.float32
        assert np.ptp(answer) > 0
        assert np.abs(answer - found[name]).max() < 1e-3 * (10 if name == "depth" else 1)


@pytest.mark.slow
def test_a_graph_of_any_size_takes_pictures_in_their_shape(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "c.safetensors", inputs=BOTH)
    export_model(path, tmp_path / "c.onnx", any_size=True)
    ours, theirs = (
        open_network(tmp_path / f"c{s}", device="cpu") for s in (".safetensors", ".onnx")
    )
    assert theirs.facts.takes_any_size
    for size in ((64, 64), (64, 96), (128, 32)):
        shown = pictures(*size, count=1)
        assert np.abs(ours(shown)["mask"] - theirs(shown)["mask"]).max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_a_depth_network_of_the_composite_is_a_teacher(kind: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "c.safetensors", "depth_lite", kind=kind, size=(64, 96))
    export_model(path, tmp_path / "c.onnx", any_size=True)
    teachers = [
        load_teacher(spec, device="cpu")
        for spec in (f"checkpoint:{path}", f"onnx:{tmp_path / 'c.onnx'}")
    ]
    squares = pictures(80, 80)["composite"]
    depth, exported = (teacher(squares) for teacher in teachers)
    assert np.ptp(depth) > 1e-3 and np.abs(exported - depth).max() < 1e-3
    assert teachers[1].kind == kind and teachers[1].max_depth_m == teachers[0].max_depth_m
    about = json.loads((tmp_path / "c.json").read_text())
    assert about["weights_hash"] == teachers[0].weights_hash


@pytest.mark.slow
def test_a_joint_network_is_a_teacher_by_its_depth_and_a_mask_network_is_none(
    tmp_path: Path,
) -> None:
    joint = checkpoint(tmp_path / "j.safetensors", "shared_unet")
    export_model(joint, tmp_path / "j.onnx")
    teachers = [
        load_teacher(spec, device="cpu")
        for spec in (f"checkpoint:{joint}", f"onnx:{tmp_path / 'j.onnx'}")
    ]
    squares = pictures(64, 64)["composite"]
    assert np.abs(teachers[0](squares) - teachers[1](squares)).max() < 1e-3
    export_model(checkpoint(tmp_path / "m.safetensors"), tmp_path / "m.onnx")
    with pytest.raises(TeacherError, match="gives a mask: expected a network that gives depth"):
        load_teacher(f"onnx:{tmp_path / 'm.onnx'}", device="cpu", options=TeacherOptions())


@pytest.mark.parametrize(
    ("output", "size", "complaint"),
    [
        ("c.bin", None, "expected a name that ends in .onnx"),
        ("c.onnx", (64, 50), "--size 64 50: expected multiples of 32"),
    ],
)
def test_what_cannot_be_exported_is_one_clear_line(
    tmp_path: Path, output: str, size: tuple | None, complaint: str
) -> None:
    path = checkpoint(tmp_path / "c.safetensors")
    with pytest.raises(NetworkError, match=complaint):
        export_model(path, tmp_path / output, size=size)
    assert not (tmp_path / output).exists()


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path / "c.safetensors")
    (tmp_path / "c.onnx").mkdir()
    (tmp_path / "below").write_text("a file")
    from dsetkit.networks import onnx_export

    def never(*_: object, **__: object) -> None:
        raise AssertionError("exported")

    monkeypatch.setattr(onnx_export, "network_graph", never)
    with pytest.raises(Exception, match="cannot write|not a folder") as error:
        export_model(path, tmp_path / "below" / "c.onnx")
    assert not isinstance(error.value, AssertionError)


def test_without_onnxscript_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(NetworkError, match=r"needs onnxscript.*pip install 'dsetkit\[teachers\]'"):
        export_model(tmp_path / "c.safetensors", tmp_path / "c.onnx")
