"""How networks of teachers are run: precision, compilation, float32 answers, the manifest."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dsetkit.cli import main
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import TeacherError
from dsetkit.teachers import TeacherOptions, densedepth, load_teacher
from dsetkit.teachers.running import Runner
from models import create_model, save_model
from tests.helpers.worlds import draw_background, draw_foreground
from tools.bundle_teacher import CHECKPOINT

COMPOSITES = np.stack([draw_background(number, 64) for number in range(2)])

NEEDS_A_COMPILER = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))),
    reason="torch.compile needs a C++ compiler, and none is installed",
)


class Tiny(nn.Module):
    """Two convolutions; answers in the precision it computes in, as networks do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 3))
        self.seen: list[torch.dtype] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        answer = self.layers(batch)
        self.seen.append(answer.dtype)
        return answer


BATCH = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small depth network with random weights and a map that is not flat."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "depth.safetensors"
    about = {"inputs": ["composite"], "depth_kind": "metric", "max_depth_m": 10.0}
    net = create_model("depth_lite")
    nn.init.normal_(net.head.weight, std=0.5)
    save_model(path, net, about | {"img_size": [64, 64]})
    return path


# ---- precision ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "computed_in"),
    [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)],
)
def test_the_network_computes_as_asked_and_the_answer_is_float32(
    precision: str, computed_in: torch.dtype
) -> None:
    network = Tiny()
    answer = Runner(precision=precision).prepare(network)(BATCH)
    assert network.seen == [computed_in] and answer.dtype == torch.float32
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
    torch.testing.assert_close(answer, network.float()(BATCH), rtol=0.02, atol=0.02)


def test_tensors_of_a_dict_become_float32_and_the_rest_stays() -> None:
    counts = torch.arange(3)

    def network(batch: torch.Tensor) -> dict:
        return {"depth": batch.bfloat16(), "counts": counts, "note": None}

    answer = Runner(precision="bf16").prepare(network)(BATCH)
    assert answer["depth"].dtype == torch.float32
    assert answer["counts"] is counts and answer["note"] is None


def test_bf16_depth_of_a_trained_network_is_near_that_of_fp32() -> None:
    """Within 2 % on average and 10 % everywhere: 8 significant bits in some 50 layers."""
    trained = f"checkpoint:{CHECKPOINT}"
    fp32 = load_teacher(trained, device="cpu", options=TeacherOptions(size=64))
    bf16 = load_teacher(trained, device="cpu", options=TeacherOptions(size=64, precision="bf16"))
    expected, depth = fp32(COMPOSITES), bf16(COMPOSITES)
    assert depth.dtype == expected.dtype == np.float32
    apart = np.abs(depth / expected - 1)
    assert 0 < apart.mean() < 0.04 and apart.max() < 0.2
    assert bf16.settings == {"size": 64, "precision": "bf16"}
    assert bf16.weights_hash == fp32.weights_hash


def test_densedepth_is_run_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class InverseDepth(Tiny):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return super().forward(batch) + 10

    monkeypatch.setattr(densedepth, "load_network", lambda path, file_name: InverseDepth())
    monkeypatch.setattr(densedepth, "_sha256", lambda path: "00")
    for precision, computed_in in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        options = TeacherOptions(precision=precision)
        teacher = load_teacher("densedepth:nyu.h5", device="cpu", options=options)
        assert teacher(COMPOSITES).dtype == np.float32
        assert teacher.network.seen == [computed_in]
    assert teacher.settings == {"precision": "bf16"}


def test_auto_and_fp32_change_no_number_and_are_not_recorded(checkpoint: Path) -> None:
    auto, fp32 = (
        load_teacher(f"checkpoint:{checkpoint}", options=TeacherOptions(precision=precision))
        for precision in ("auto", "fp32")
    )
    assert auto.settings == fp32.settings == {}
    np.testing.assert_array_equal(auto(COMPOSITES), fp32(COMPOSITES))


# ---- compilation -------------------------------------------------------------------------------


@NEEDS_A_COMPILER
@pytest.mark.slow
def test_a_compiled_network_answers_as_it_does_eagerly() -> None:
    network = Tiny()
    network.seen = _Nothing()
    eager, compiled = Runner(), Runner(compiled=True)
    answers = [one.prepare(network)(BATCH) for one in (eager, compiled)]
    torch.testing.assert_close(*answers, rtol=1e-5, atol=1e-6)
    assert (eager.settings, compiled.settings) == ({}, {"compiled": True})
    assert Runner(compiled=True, precision="bf16").settings == {
        "precision": "bf16",
        "compiled": True,
    }


class _Nothing(list):
    """A list that a compiler need not follow."""

    def append(self, _: object) -> None: ...


def test_what_cannot_be_compiled_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(network: nn.Module, *, dynamic: bool) -> object:
        def forward(*_: torch.Tensor) -> None:
            raise torch._dynamo.exc.TorchDynamoException("no C++\ncompiler")

        return forward

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TeacherError) as error:
        Runner(compiled=True).prepare(Tiny())(BATCH)
    assert "cannot compile this network here (no C++ compiler)" in str(error.value)
    assert "apt install g++" in str(error.value) and "\n" not in str(error.value)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options", "complaint"),
    [
        ("checkpoint:no", {"precision": "fp16"}, "fp16 is for GPUs: use bf16 or fp32 on the CPU"),
        ("hf:no/model", {"precision": "fp16"}, "fp16 is for GPUs"),
        (
            "bundled",
            {"precision": "fp16"},
            "bundled has no --teacher-precision: --teacher-engine says",
        ),
        ("bundled", {"compiled": True}, "bundled has no --teacher-compile: .* leave the flag out"),
        ("hf:no/model", {"precision": "int8"}, "int8: expected auto, fp32, bf16, fp16"),
        ("onnx:no.onnx", {"precision": "bf16"}, "onnx has no --teacher-precision: .* leave the fl"),
        ("onnx:no.onnx", {"compiled": True}, "onnx has no --teacher-compile: .* keep_io_types"),
        ("none", {"compiled": True}, "none has no --teacher-compile: it takes none of these"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line_before_weights_are_read(
    spec: str, options: dict, complaint: str
) -> None:
    with pytest.raises(TeacherError, match=complaint) as error:
        load_teacher(spec, device="cpu", options=TeacherOptions(**options))
    assert "\n" not in str(error.value)


def test_a_gpu_without_bf16_says_what_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(TeacherError, match="does not compute in bf16: use fp16 or fp32"):
        Runner(device="cuda", precision="bf16")
    assert Runner(device="cuda", precision="fp16").settings == {"precision": "fp16"}


# ---- the manifest ------------------------------------------------------------------------------


def test_the_manifest_says_it_and_the_command_line_sets_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for folder in ("foregrounds", "backgrounds"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        foreground = cv2.cvtColor(draw_foreground(number), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(tmp_path / "foregrounds" / f"f{number}.png"), foreground)
        cv2.imwrite(str(tmp_path / "backgrounds" / f"b{number}.png"), draw_background(number, 64))
    # Whether it compiles is told above: here it is only passed on.
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: network)
    command = ["generate", "--output", str(tmp_path / "d"), "--size", "64", "--num-samples", "8"]
    for folder in ("foregrounds", "backgrounds"):
        command += [f"--{folder}", str(tmp_path / folder)]
    command += ["--teacher", f"checkpoint:{checkpoint}", "--workers", "0", "--device", "cpu"]
    asked = [*command, "--teacher-precision", "bf16", "--teacher-compile"]
    assert run(lambda: main(asked)) == 0
    recorded = Dataset(tmp_path / "d").manifest.teacher
    assert (recorded["precision"], recorded["compiled"]) == ("bf16", True)
    assert run(lambda: main(command)) == 2  # another precision does not continue it
    assert "with other settings" in capsys.readouterr().err
