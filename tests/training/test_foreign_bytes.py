"""Files of a run, and weights files, of unknown origin: our own errors only, in little time.

`pytest --fuzz-inputs 1000000` makes as many damaged inputs in each test, and a tenth or less of
structured ones, which take longer.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
from safetensors.torch import save
from torch import nn

import train_depth
from dsetkit.arguments import DEPTH_M
from dsetkit.errors import DsetkitError, RunError, TeacherError
from dsetkit.teachers import TeacherOptions
from dsetkit.teachers.checkpoint import CheckpointTeacher
from dsetkit.teachers.onnx_file import OnnxTeacher
from models import MODELS, ModelError, create_model, load_model, save_model
from models.network import Network
from tests.helpers.fuzzing import as_json, damaged_values
from tests.helpers.mutations import mutations
from training.checkpoint import VERSION, load_state, save_state
from training.cli import parse_run
from training.loop import Progress
from training.run_dir import write_log
from training.run_files import ARGUMENTS_FILE, LOG_FILE, STATE_FILE, read_arguments, read_log


def count_refused(
    path: Path, contents: object, read: Callable[[], object], *errors: type[Exception]
) -> int:
    """Writes each content to a file and reads it; counts how often `errors` were raised.

    Any other exception is passed on.
    """
    refused = 0
    for content in contents:  # type: ignore[attr-defined]
        path.write_bytes(content)
        try:
            read()
        except errors as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1000
    return refused


# ---- state.pt ----------------------------------------------------------------------------------


class Stage(nn.Module):
    """A network with all that is in a state: tensors of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)


def parts() -> dict:
    net = Stage()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return {"network": net, "optimizer": optimizer}


@pytest.fixture
def state(memory_path: Path) -> Path:
    progress = Progress()
    progress.end_row(stage=1, img_size="8x8", lr=0.1, metrics={"rmse": 0.5})
    save_state(memory_path / STATE_FILE, parts(), progress.state_dict())
    return memory_path / STATE_FILE


def test_damaged_states_are_refused(state: Path, fuzz_inputs: int) -> None:
    whole, into = state.read_bytes(), parts()
    damaged = (one for one in mutations([whole], count=fuzz_inputs) if one != whole)
    count = sum(one != whole for one in mutations([whole], count=fuzz_inputs))
    assert count_refused(state, damaged, lambda: load_state(state, into), RunError) == count


def test_foreign_states_under_a_right_checksum_are_one_error(state: Path, fuzz_inputs: int) -> None:
    """The checksum protects from accidents. An attacker can compute it."""
    whole, into = state.read_bytes(), parts()
    mark = b"dsetkit training state %d\n" % VERSION
    body = whole[: -len(mark) - 16]
    pickle = body.index(b"\x80\x02"), body.index(b".PK") + 1

    def signed() -> object:
        for one in mutations([body, body[slice(*pickle)]], count=max(1, fuzz_inputs // 10)):
            content = one if one[:2] == b"PK" else body[: pickle[0]] + one + body[pickle[1] :]
            yield content + xxhash.xxh3_128(content).digest() + mark

    def read() -> None:
        try:
            Progress().load_state_dict(load_state(state, into))
        except ValueError as error:
            raise RunError(str(error)) from error

    assert count_refused(state, signed(), read, RunError) > 0


# ---- args.json, log.csv ------------------------------------------------------------------------


@pytest.fixture
def run(memory_path: Path) -> Path:
    parser = train_depth.build_parser()
    given = ["--data", "x", "--output", str(memory_path), "--arch-options", "full_size=true"]
    arguments = vars(parser.parse_args([*given, "--clip-grad", "1", "--img-sizes", "8", "8x16"]))
    content = {"script": "train_depth.py", "dataset_fingerprint": "f", "arguments": arguments}
    (memory_path / ARGUMENTS_FILE).write_text(json.dumps(content, default=str))
    (memory_path / STATE_FILE).touch()
    return memory_path


def resume(run: Path) -> object:
    return parse_run(train_depth.build_parser(), ["--output", str(run), "--resume"])


def test_arguments_survive_being_saved(run: Path) -> None:
    args = resume(run)
    assert args.arch_options == [["full_size", True]] and args.img_sizes == [[8, 8], [8, 16]]
    assert args.data == ["x"] and args.clip_grad == 1.0 and args.channels_last is True


def test_damaged_arguments_are_one_error(run: Path, fuzz_inputs: int) -> None:
    path = run / ARGUMENTS_FILE
    damaged = mutations([path.read_bytes()], count=fuzz_inputs)
    read = lambda: read_arguments(run, script="train_depth.py")  # noqa: E731
    assert count_refused(path, damaged, read, RunError) > fuzz_inputs // 4


def test_foreign_arguments_are_one_error(
    run: Path, fuzz_inputs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / ARGUMENTS_FILE
    content = json.loads(path.read_text())
    damaged = map(as_json, damaged_values(content, max(1, fuzz_inputs // 20)))
    assert count_refused(path, damaged, lambda: resume(run), RunError) > 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", "nan"),
        ("lr", float("inf")),
        ("batch_size", -1),
        ("batch_size", 10**400),
        ("img_sizes", [[8, 8, 8]]),
        ("img_sizes", [["8", "y"]]),
        ("epochs", []),
        ("opt", "nosuch"),
        ("data", ["--lr=5"]),
        ("output", "\0"),
        ("init_from", "\ud800"),
        ("compile", 3),
        ("nosuch", 3),
    ],
)
def test_a_foreign_argument_is_named_with_its_file(run: Path, name: str, value: object) -> None:
    path = run / ARGUMENTS_FILE
    content = json.loads(path.read_text())
    content["arguments"][name] = value
    path.write_text(json.dumps(content))
    if value == []:  # as if it had not been given
        assert resume(run)
        return
    flag = name.replace("_", "[-_]")
    with pytest.raises(RunError, match=rf"{ARGUMENTS_FILE}: .*{flag}"):
        resume(run)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"[" * 100_000, b"\xff", b" " * 2**21, b'{"a":' + b"9" * 5000 + b"}"],
    ids=["empty", "list", "object", "deep", "bytes", "large", "digits"],
)
def test_arguments_that_are_no_arguments_are_one_error(run: Path, content: bytes) -> None:
    (run / ARGUMENTS_FILE).write_bytes(content)
    with pytest.raises(RunError, match=f"{ARGUMENTS_FILE} cannot be read: "):
        resume(run)


def test_damaged_logs_are_read_or_refused(memory_path: Path, fuzz_inputs: int) -> None:
    progress = Progress()
    for _ in range(3):
        progress.end_row(stage=1, img_size="8x8", lr=0.1, metrics={"rmse": 0.5})
    write_log(memory_path, progress.rows)
    path = memory_path / LOG_FILE
    count_refused(
        path,
        mutations([path.read_bytes()], count=fuzz_inputs),
        lambda: read_log(memory_path),
        RunError,
    )


# ---- weights files, side files -----------------------------------------------------------------

ABOUT = {
    "inputs": ["composite"],
    "img_size": [64, 64],
    "depth_kind": "metric",
    "max_depth_m": 10.0,
    "metrics": {"rmse": 0.5},
}


class TinyDepth(Network):
    task, heads, stride = "depth", {"depth": "linear"}, 1

    def __init__(self, *, in_channels: int, full_size: bool = False) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv = nn.Conv2d(in_channels, 1, 1)


@pytest.fixture
def weights(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(MODELS, "tiny_depth", TinyDepth)
    path = memory_path / "best.safetensors"
    save_model(path, create_model("tiny_depth"), ABOUT)
    return path


def test_damaged_weights_files_are_read_or_refused(weights: Path, fuzz_inputs: int) -> None:
    damaged = mutations([weights.read_bytes()], count=fuzz_inputs)
    read = lambda: load_model(weights, needs="depth")  # noqa: E731
    assert count_refused(weights, damaged, read, ModelError) > fuzz_inputs // 4


def with_header(**changes: str) -> bytes:
    """A weights file with another header."""
    header = {"format": "dsetkit-model", "version": "1", "arch": "tiny_depth"}
    header |= {"options": '{"in_channels": 3}', "about": json.dumps(ABOUT)} | changes
    tensors = dict(TinyDepth(in_channels=3).state_dict())
    return save(tensors, metadata=header)


def test_foreign_metadata_of_a_weights_file_is_one_error(weights: Path, fuzz_inputs: int) -> None:
    """What is read back is what its readers can take."""
    changed = [
        with_header(**{name: json.dumps(value)})
        for name, sample in (("about", ABOUT), ("options", {"in_channels": 3, "full_size": True}))
        for value in damaged_values(sample, max(1, fuzz_inputs // 40))
    ]

    def read() -> None:
        about = load_model(weights, needs="depth")[1]
        assert about.get("depth_kind", "metric") in ("metric", "relative")
        assert about.get("inputs", ["composite"]) == ["composite"]
        assert all(1 <= side <= 8192 for side in about.get("img_size", ()))
        assert 0 <= about.get("max_depth_m", 0) <= 1000

    assert count_refused(weights, changed, read, ModelError) > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depth_kind": "nosuch"}, "depth_kind 'nosuch'; expected metric or relative"),
        ({"max_depth_m": float("nan")}, "max_depth_m nan; expected"),
        ({"max_depth_m": 0}, "max_depth_m 0"),
        ({"max_depth_m": 80.0}, f"max_depth_m 80.0: expected .* at most {DEPTH_M.high}"),
        ({"img_size": [10**9, 64]}, r"img_size \[1000000000, 64\]; expected \[height, width\]"),
        ({"inputs": ["composite", "background"]}, r"inputs .*; expected 1 for 3 channels"),
        ({"inputs": ["depth"]}, "inputs .* composite or background"),
    ],
    ids=str,
)
def test_a_teacher_is_not_made_of_foreign_metadata(
    changed: dict, message: str, weights: Path
) -> None:
    save_model(weights, create_model("tiny_depth"), ABOUT | changed)
    with pytest.raises(TeacherError, match=message):
        CheckpointTeacher(weights)


@pytest.mark.parametrize("missing", ["inputs", "img_size", "depth_kind", "max_depth_m"])
def test_a_teacher_needs_the_metadata_of_a_training(missing: str, weights: Path) -> None:
    about = {name: value for name, value in ABOUT.items() if name != missing}
    save_model(weights, create_model("tiny_depth"), about)
    with pytest.raises(TeacherError, match=f"does not say its {missing}"):
        CheckpointTeacher(weights)


@pytest.mark.parametrize(
    "header",
    [
        {"about": "["},
        {"about": "[]"},
        {"about": "[" * 100_000},
        {"about": json.dumps({"x": "y" * 2**21})},
        {"options": "[3]"},
        {"options": '{"in_channels": 3.0}'},
        {"options": '{"in_channels": [3]}'},
        {"options": '{"in_channels": 3, "nosuch": 1}'},
        {"arch": "nosuch" * 10_000},
    ],
    ids=lambda header: str(header)[:40],
)
def test_a_foreign_header_is_one_short_error(header: dict, weights: Path) -> None:
    weights.write_bytes(with_header(**header))
    with pytest.raises(ModelError) as caught:
        load_model(weights)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


def test_foreign_side_files_of_onnx_are_one_error(
    memory_path: Path, fuzz_inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value that passes lets the teacher be made, and fits what it is for."""
    about = {"kind": "relative", "range": [0.0, 1.0], "height": 32, "width": None, "stride": 8}
    about |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "max_depth_m": 10.0}
    picture = type("Input", (), {"name": "x", "type": "tensor(float)", "shape": ["N", 3, "h", "w"]})
    asked = {"get_inputs": lambda self: [picture], "get_providers": lambda self: []}
    session = type("Session", (), asked)
    session.get_outputs = session.get_inputs
    monkeypatch.setattr(
        "dsetkit.teachers.onnx_file.open_session", lambda *names, **options: session()
    )
    (memory_path / "t.onnx").touch()

    def read() -> None:
        options = TeacherOptions(kind="relative")
        teacher = OnnxTeacher(memory_path / "t.onnx", device="cpu", options=options, threads=1)
        height, width = teacher.settings["height"], teacher.settings["width"]
        assert all(side is None or 1 <= side <= 8192 for side in (height, width))
        assert np.isfinite([*teacher.settings["mean"], *teacher.settings["std"]]).all()

    path = memory_path / "t.json"
    damaged = map(as_json, damaged_values(about, max(1, fuzz_inputs // 10)))
    assert count_refused(path, damaged, read, DsetkitError) > 0
    path.write_text(json.dumps(about))
    more = mutations([path.read_bytes()], count=fuzz_inputs)
    assert count_refused(path, more, read, DsetkitError) > 0
