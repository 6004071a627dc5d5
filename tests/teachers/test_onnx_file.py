"""Teachers in ONNX files: what the JSON or flags say, and our checkpoints exported to the pair."""

import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
from onnx import TensorProto, helper

from dsetkit.errors import NetworkError
from dsetkit.teachers import TeacherOptions, load_teacher

COMPOSITES = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
ABOUT = {
    "kind": "metric",
    "max_depth_m": 10.0,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
}


def write_model(
    path: Path,
    about: dict | None = ABOUT,
    *,
    shape: tuple = ("batch", 3, "h", "w"),
    inputs: int = 1,
    keep_channel: int = 1,
) -> Path:
    """A network that answers the mean over the channels, plus 3."""
    names = [f"x{number}" for number in range(inputs)]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    three = helper.make_tensor("three", TensorProto.FLOAT, [], [3.0])
    nodes = [
        helper.make_node("Sum", names, ["sum"]),
        helper.make_node("ReduceMean", ["sum", "axes"], ["mean"], keepdims=keep_channel),
        helper.make_node("Add", ["mean", "three"], ["depth"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, None)],
        [axes, three],
    )
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )
    if about is not None:
        path.with_suffix(".json").write_text(json.dumps(about))
    return path


def load(path: Path, *, device: str = "cpu", **options: object) -> object:
    return load_teacher(f"onnx:{path}", device=device, options=TeacherOptions(**options))


def expected(composites: np.ndarray) -> np.ndarray:
    return ((composites / 255 - ABOUT["mean"]) / ABOUT["std"]).mean(axis=3) + 3


@pytest.mark.parametrize("keep_channel", [0, 1])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_pixels_go_in_normalised_and_the_map_comes_out(
    tmp_path: Path, keep_channel: int, batch: str | int
) -> None:
    shape = (batch, 3, "h", "w")
    path = write_model(tmp_path / "t.onnx", keep_channel=keep_channel, shape=shape)
    teacher = load(path)
    depth = teacher(COMPOSITES)
    assert depth.dtype == np.float32 and (teacher.kind, teacher.max_depth_m) == ("metric", 10.0)
    np.testing.assert_allclose(depth, expected(COMPOSITES), atol=1e-5)
    assert teacher.name == "onnx:t.onnx" and teacher.settings["mean"][0] == 0.5


def test_flags_say_what_a_missing_json_does_not(tmp_path: Path) -> None:
    beside, alone = tmp_path / "beside.onnx", tmp_path / "alone.onnx"
    write_model(beside)
    write_model(alone, None)
    told = {"kind": "metric", "max_depth_m": 10.0, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    np.testing.assert_array_equal(load(beside)(COMPOSITES), load(alone, **told)(COMPOSITES))


def test_flags_win_over_the_json(tmp_path: Path) -> None:
    teacher = load(write_model(tmp_path / "t.onnx"), max_depth_m=5.0, size=16)
    assert teacher.max_depth_m == 5.0 and teacher(COMPOSITES).shape == (3, 16, 24)


@pytest.mark.parametrize(
    ("shape", "about", "answered"),
    [
        (("n", 3, 20, 28), {}, (20, 28)),
        (("n", 3, "h", "w"), {"height": 64, "stride": 32}, (64, 96)),
        (("n", 3, "h", "w"), {"height": 64, "width": 64}, (64, 64)),
        (("n", 3, "h", "w"), {}, (32, 48)),
    ],
)
def test_composites_are_shown_at_the_size_it_takes(
    tmp_path: Path, shape: tuple, about: dict, answered: tuple
) -> None:
    teacher = load(write_model(tmp_path / "t.onnx", ABOUT | about, shape=shape))
    assert teacher(COMPOSITES).shape == (3, *answered)


@pytest.mark.parametrize(("told", "needs_range"), [({}, True), ({"range": [0, 1]}, False)])
def test_a_relative_model_gets_a_range_unless_it_has_one(
    tmp_path: Path, told: dict, needs_range: bool
) -> None:
    about = {key: ABOUT[key] for key in ("mean", "std")} | {"kind": "relative"} | told
    teacher = load(write_model(tmp_path / "t.onnx", about))
    assert (teacher.kind, teacher.max_depth_m) == ("relative", 0.0)
    assert teacher.needs_range is needs_range


def test_a_range_in_the_json_or_in_a_flag_is_used(tmp_path: Path) -> None:
    about = {key: ABOUT[key] for key in ("mean", "std")} | {"kind": "relative"}
    path = write_model(tmp_path / "t.onnx", about | {"range": [1.0, 5.0]})
    share = np.clip((expected(COMPOSITES) - 1) / 4, 0, 1)
    teacher = load(path)
    np.testing.assert_allclose(teacher(COMPOSITES), share, atol=1e-5)
    assert teacher.settings["range"] == [1.0, 5.0]
    teacher = load(path, value_range=(0.0, 8.0))
    np.testing.assert_allclose(teacher(COMPOSITES), expected(COMPOSITES) / 8, atol=1e-5)


def test_a_restricting_licence_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dsetkit"):
        load(write_model(tmp_path / "t.onnx", ABOUT | {"licence": "AGPL-3.0"}))
    assert "is under AGPL-3.0" in caplog.text


# ---- refusals ----------------------------------------------------------------------------------


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(NetworkError) as error:
        load(path, **options)(COMPOSITES)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("about", "model", "options", "complaint"),
    [
        ({"kind": None}, {}, {}, "kind None, expected metric .* or give --teacher-kind"),
        ({"kind": "both"}, {}, {}, "kind 'both' in .*, expected metric"),
        ({"max_depth_m": None}, {}, {}, "max_depth_m None, expected metres up to 65.535"),
        ({"max_depth_m": 80}, {}, {}, "max_depth_m 80 in .* and at most 65.535"),
        ({"mean": [0.5]}, {}, {}, "mean .* expected three numbers"),
        ({"std": [0.2, 0, 0.2]}, {}, {}, "std .* expected three numbers"),
        ({"height": 50, "stride": 32}, {}, {}, "height 50, expected a multiple of 32"),
        ({}, {"shape": ("n", 3, 20, 28)}, {"size": 40}, "made for a height of 20 px: 40 was asked"),
        ({}, {"inputs": 2}, {}, "has 2 inputs and 1 outputs .* expected one float32"),
        ({}, {"shape": ("n", 6, "h", "w")}, {}, "expected one float32"),
        ({}, {}, {"value_range": (0.0, 1.0)}, "--teacher-range is for relative depth"),
        ({}, {}, {"device": "cuda"}, "ONNX Runtime has no CUDA: pip install onnxruntime-gpu"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(
    tmp_path: Path, about: dict, model: dict, options: dict, complaint: str
) -> None:
    path = write_model(tmp_path / "t.onnx", ABOUT | about, **model)
    assert re.search(complaint, refusal(path, **options))


def test_without_a_json_the_error_names_what_to_tell(tmp_path: Path) -> None:
    message = refusal(write_model(tmp_path / "t.onnx", None))
    assert "its mean is not told" in message and "give --teacher-mean R G B" in message


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "none.onnx", kind="metric")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    assert "cannot be opened" in refusal(tmp_path / "bad.onnx")
    path = write_model(tmp_path / "t.onnx")
    path.with_suffix(".json").write_text("{")
    assert "cannot be read" in refusal(path)
    path.with_suffix(".json").write_text("[]")
    assert "holds no JSON object" in refusal(path)


def test_without_onnxruntime_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model(tmp_path / "t.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install onnxruntime" in refusal(path)


def test_openvino_answers_as_onnx_runtime(tmp_path: Path) -> None:
    path = write_model(tmp_path / "mean.onnx")
    one, other = (
        load_teacher(f"onnx:{path}", device="cpu", options=TeacherOptions(engine=engine))
        for engine in ("auto", "openvino")
    )
    np.testing.assert_allclose(one(COMPOSITES), other(COMPOSITES), rtol=0.02)
    assert "engine" not in one.settings and other.settings["engine"].startswith("openvino ")


def test_a_file_that_openvino_cannot_read_is_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    broken.with_suffix(".json").write_text(json.dumps(ABOUT))
    for path, complaint in ((broken, "cannot be opened by OpenVINO"), (tmp_path / "x", "no file")):
        with pytest.raises(NetworkError, match=complaint) as error:
            load_teacher(f"onnx:{path}", options=TeacherOptions(engine="openvino"))
        assert "\n" not in str(error.value)
