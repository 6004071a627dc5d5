"""The bundled teacher: an ONNX file that answers as its checkpoint does, without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch.nn.functional import interpolate

from dsetkit.errors import NetworkError, TeacherError
from dsetkit.networks import sessions
from dsetkit.networks.onnx_export import drawn_composites
from dsetkit.networks.resizing import RESIZE_GRAPH, OnnxResizer
from dsetkit.networks.sessions import default_threads
from dsetkit.teachers import TeacherOptions, load_teacher
from dsetkit.teachers.bundled import BUNDLED, fastest_engine
from dsetkit.teachers.onnx_file import PICTURES_AT_ONCE_ON_CPU
from tools.bundle_teacher import CHECKPOINT, SIZES
from tools.resize_graph import resize_graph

REPOSITORY = Path(__file__).parents[2]
FURTHEST_APART_M = 5e-5  # measured 6e-6
ONNX_RUNTIME, OPENVINO = "onnxruntime", "openvino"


@pytest.fixture(scope="module")
def bundled() -> object:
    return load(ONNX_RUNTIME)


def load(engine: str, **settings: int) -> object:
    options = TeacherOptions(engine=engine)
    return load_teacher("bundled", device="cpu", options=options, **settings)


@pytest.mark.parametrize("size", SIZES)
def test_it_answers_as_its_checkpoint(bundled: object, size: tuple[int, int]) -> None:
    checkpoint = load_teacher(f"checkpoint:{CHECKPOINT}", device="cpu")
    for composites in drawn_composites(*size):
        depth = bundled(composites)
        assert np.ptp(depth) > 0.1 and depth.dtype == np.float32
        assert np.abs(depth - checkpoint(composites)).max() < FURTHEST_APART_M


def test_its_file_keeps_weights_in_half_and_names_no_place_of_its_making() -> None:
    model = onnx.load(BUNDLED)
    kinds = {one.data_type for one in model.graph.initializer if len(one.dims) == 4}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert b"site-packages" not in BUNDLED.read_bytes()
    assert {one.dim_param != "" for one in model.graph.input[0].type.tensor_type.shape.dim} == {
        True,
        False,  # the three colours
    }


@pytest.mark.parametrize("engine", [ONNX_RUNTIME, OPENVINO])
def test_labels_do_not_depend_on_the_number_of_threads_or_pictures(engine: str) -> None:
    composites = np.concatenate(drawn_composites(96, 96) * 2)[: PICTURES_AT_ONCE_ON_CPU + 1]
    one, three = (load(engine, threads=count) for count in (1, 3))
    depth = one(composites)
    np.testing.assert_array_equal(depth, three(composites))
    np.testing.assert_array_equal(depth, one(composites))
    np.testing.assert_array_equal(depth[:1], one(composites[:1]))


@pytest.mark.parametrize("engine", [ONNX_RUNTIME, OPENVINO])
def test_memory_does_not_grow_with_the_batch(engine: str) -> None:
    program = (
        "import resource, sys, numpy as np\n"
        "from dsetkit.teachers import TeacherOptions, load_teacher\n"
        "options = TeacherOptions(engine=sys.argv[1])\n"
        "teacher = load_teacher('bundled', device='cpu', options=options, threads=1)\n"
        "for count in (PICTURES_AT_ONCE_ON_CPU, 10 * PICTURES_AT_ONCE_ON_CPU):\n"
        "    teacher(np.zeros((count, 224, 224, 3), np.uint8))\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    ).replace("PICTURES_AT_ONCE_ON_CPU", str(PICTURES_AT_ONCE_ON_CPU))
    command = [sys.executable, "-c", program, engine]
    answer = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    few, many = map(int, answer.stdout.split())
    assert many < 1.2 * few  # whole batches of 40 take 2 to 4 times as much


def test_openvino_answers_nearly_as_onnx_runtime_and_the_manifest_tells_them_apart(
    bundled: object,
) -> None:
    other = load(OPENVINO)
    for composites in drawn_composites(96, 128):
        difference = np.abs(bundled(composites) - other(composites))
        assert difference.mean() < 0.05  # [m]; bf16 has 8 bits of mantissa
    assert bundled.settings == {}
    assert other.settings["engine"].split() in (["openvino", "bf16"], ["openvino", "f32"])


def test_openvino_reports_to_nobody() -> None:
    pytest.importorskip("openvino")
    program = (
        "import socket, sys\n"
        "looked_up = []\n"
        "look_up = socket.getaddrinfo\n"
        "socket.getaddrinfo = lambda host, *more, **named: (\n"
        "    looked_up.append(host), look_up(host, *more, **named))[1]\n"
        "from dsetkit.teachers import TeacherOptions, load_teacher\n"
        "load_teacher('bundled', device='cpu', options=TeacherOptions(engine='openvino'))\n"
        "import concurrent.futures.thread as threads\n"
        "threads._python_exit()\n"  # waits for what was begun in the background
        "print(looked_up, [name for name in sys.modules if 'openvino_telemetry' in name])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split("\n")[-2] == "[] []"


@pytest.mark.parametrize(
    ("installed", "native", "device", "expected"),
    [
        (True, True, "cpu", OPENVINO),
        (True, True, "auto", OPENVINO),
        (True, False, "cpu", ONNX_RUNTIME),
        (False, True, "cpu", ONNX_RUNTIME),
        (True, True, "cuda:0", ONNX_RUNTIME),
    ],
)
def test_openvino_runs_it_where_it_is_installed_and_has_bf16(
    monkeypatch: pytest.MonkeyPatch, installed: bool, native: bool, device: str, expected: str
) -> None:
    for name, answer in (("is_installed", installed), ("has_bf16", native), ("has_cuda", False)):
        monkeypatch.setattr(f"dsetkit.teachers.bundled.{name}", lambda answer=answer: answer)
    assert fastest_engine(device) == expected


def test_an_engine_that_cannot_run_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    options = TeacherOptions(engine=OPENVINO)
    with pytest.raises(TeacherError, match="openvino with --device cuda: here OpenVINO runs on"):
        load_teacher("bundled", device="cuda", options=options)
    with pytest.raises(TeacherError, match="checkpoint has no --teacher-engine: it takes"):
        load_teacher(f"checkpoint:{CHECKPOINT}", options=options)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        NetworkError, match=r"with OpenVINO needs openvino, .* 'dsetkit\[openvino\]'"
    ):
        load_teacher("bundled", device="cpu", options=options)


def test_it_runs_without_torch() -> None:
    program = (
        "import sys, numpy as np\n"
        "from dsetkit.teachers import load_teacher\n"
        "load_teacher('bundled')(np.zeros((1, 64, 64, 3), np.uint8))\n"
        "assert not {'torch', 'models'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_reversed_and_read_only_pictures_are_taken(bundled: object) -> None:
    composites = drawn_composites(64, 96)[1]
    mirrored = composites[:, :, ::-1]
    expected = bundled(mirrored.copy())
    mirrored.flags.writeable = False
    np.testing.assert_array_equal(bundled(mirrored), expected)


@pytest.mark.parametrize(
    ("spec", "device", "complaint"),
    [
        (
            "bundled",
            "cuda",
            "--device cuda: the installed ONNX Runtime has no CUDA: pip inst",
        ),
        ("bundled", "cuda:7", "has no CUDA: pip install onnxruntime-gpu"),
        ("bundled", "tpu", "--device tpu: expected auto, cpu, cuda or cuda:N"),
        ("bundled:file", "cpu", "bundled takes no file"),
    ],
)
def test_what_it_cannot_do_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, spec: str, device: str, complaint: str
) -> None:
    runtime = sessions._onnxruntime("bundled")
    monkeypatch.setattr(runtime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(NetworkError, match=complaint) as error:
        load_teacher(spec, device=device)
    assert "\n" not in str(error.value)


def test_threads_are_those_of_the_environment_or_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "auto")
    assert default_threads() >= 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert default_threads() >= 1


# ---- resizing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("came", "shown"),
    [
        ((224, 224), (192, 192)),
        ((160, 160), (192, 192)),
        ((240, 320), (192, 256)),
        ((100, 230), (64, 160)),
        ((64, 96), (64, 96)),
    ],
)
def test_pictures_are_resized_as_torch_does(came: tuple, shown: tuple) -> None:
    mean, std = np.float32([0.4, 0.5, 0.6]), np.float32([0.2, 0.3, 1])
    composites = np.random.default_rng(0).integers(0, 256, (2, *came, 3), np.uint8)
    batch = torch.from_numpy(composites).permute(0, 3, 1, 2).float() / 255
    expected = interpolate(batch, size=shown, mode="bilinear", antialias=True).numpy()
    expected = (expected - mean[:, None, None]) / std[:, None, None]
    resized = OnnxResizer(name="t", mean=mean, std=std)(composites, shown)
    np.testing.assert_allclose(resized, expected, atol=1.5e-4)  # 2e-5 of the pixels, over 0.2


def test_the_graph_that_resizes_is_what_its_tool_writes() -> None:
    assert onnx.load(RESIZE_GRAPH).graph == resize_graph().graph


def test_sizes_and_flips_are_recorded() -> None:
    options = TeacherOptions(size=96, flip=True, engine=ONNX_RUNTIME)
    assert load_teacher("bundled", options=options).settings == {"size": 96, "flip": True}
