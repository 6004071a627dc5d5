"""The DenseDepth teacher: equal to Keras, whatever way Keras saved, and clear in its refusals."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from dsetkit.errors import TeacherError
from dsetkit.teachers.densedepth import (
    DenseDepthTeacher,
    depth_from_inverse,
    keras_layers,
    load_network,
)
from dsetkit.teachers.densedepth_network import DenseDepth
from tests.helpers.densedepth_weights import Shapes, keras_shapes, write_keras2, write_keras3

# Keras 2.21.0 on TensorFlow 2.21.0, written by tools/prove_densedepth.py
GOLDEN = np.load(Path(__file__).parent / "golden" / "densedepth_64x96.npz")
TOLERANCE = 1e-4  # of the output range; measured 5e-6


@pytest.fixture(scope="module")
def nyu_h5(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stand-in for the authors' nyu.h5: its layout, random weights."""
    path = tmp_path_factory.mktemp("densedepth") / "nyu.h5"
    write_keras2(path)
    add_graph(path, graph())
    yield path
    path.unlink()  # pytest keeps the folders of its last runs; 170 MB each are too many


@pytest.fixture(scope="module")
def teacher(nyu_h5: Path) -> DenseDepthTeacher:
    return DenseDepthTeacher(nyu_h5)


def write_zeros(path: Path, shapes: Shapes) -> Path:
    """A file of the Keras 2 layout whose arrays take no room."""
    with h5py.File(path, "w") as file:
        for layer, variables in shapes.items():
            for name, shape in variables.items():
                file.create_dataset(f"model_weights/{layer}/{layer}/{name}:0", shape, np.float32)
    return path


def add_graph(path: Path, model_config: dict) -> Path:
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(model_config).encode()
    return path


def graph(**sources: str) -> dict:
    """The part of Keras's model_config that tells which layer reads which, with changes."""
    inputs = {"conv2": "relu", **{f"up{step}_convB": f"up{step}_convA" for step in range(1, 5)}}
    layers = [
        {"name": name, "inbound_nodes": [[[source, 0, 0, {}]]]}
        for name, source in (inputs | sources).items()
    ]
    return {"class_name": "Model", "config": {"layers": layers}}


# ---- the network -------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "parameters"), [(1664, 42_657_689), (832, 21_365_405)])
def test_has_as_many_parameters_as_the_authors_network(width: int, parameters: int) -> None:
    with torch.device("meta"):
        network = DenseDepth(decoder_width=width)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_batch_normalisation_has_the_epsilon_of_keras() -> None:
    with torch.device("meta"):
        norms = [m for m in DenseDepth().modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1.001e-5}


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (480, 640)])
def test_answers_at_half_resolution(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        inverse_depth = DenseDepth()(torch.empty(2, 3, *size))
    assert inverse_depth.shape == (2, 1, size[0] // 2, size[1] // 2)


def test_keras_layers_name_every_layer_once() -> None:
    modules, layers = zip(*keras_layers(), strict=True)
    assert list(layers) == list(keras_shapes())
    assert len(set(modules)) == len(modules)


# ---- equal to Keras ----------------------------------------------------------------------------


def test_equals_keras(teacher: DenseDepthTeacher) -> None:
    rgb = torch.from_numpy(GOLDEN["rgb"]).permute(2, 0, 1)[None].float() / 255
    inverse_depth = teacher.network(rgb)[0, 0].numpy()
    expected = GOLDEN["inverse_depth"]
    assert np.abs(inverse_depth - expected).max() <= TOLERANCE * np.ptp(expected)


def write_weights_only(path: Path) -> None:
    write_keras2(path, group="")


@pytest.mark.parametrize("write", [write_weights_only, write_keras3])
def test_reads_the_same_network_from_every_layout(
    write: Callable[[Path], None], teacher: DenseDepthTeacher, tmp_path: Path
) -> None:
    write(tmp_path / "weights.h5")
    state = load_network(tmp_path / "weights.h5").state_dict()
    (tmp_path / "weights.h5").unlink()
    expected = teacher.network.state_dict()
    assert state.keys() == expected.keys()
    assert [key for key in state if not torch.equal(state[key], expected[key])] == []


def test_teacher_gives_the_metres_of_keras(teacher: DenseDepthTeacher) -> None:
    depth = teacher(GOLDEN["rgb"][None])
    expected = np.clip(1000 / GOLDEN["inverse_depth"], 10, 1000) / 100
    np.testing.assert_allclose(depth[0], expected, rtol=1e-3)


# ---- the teacher protocol ----------------------------------------------------------------------


def test_states_what_it_is(teacher: DenseDepthTeacher, nyu_h5: Path) -> None:
    assert (teacher.name, teacher.kind, teacher.max_depth_m) == ("densedepth", "metric", 10.0)
    assert teacher.weights_hash == hashlib.sha256(nyu_h5.read_bytes()).hexdigest()


def test_is_frozen(teacher: DenseDepthTeacher) -> None:
    assert not teacher.network.training
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_answers_float32_metres_for_each_picture(teacher: DenseDepthTeacher) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    depth = teacher(pictures)
    assert depth.shape == (2, 16, 32)
    assert depth.dtype == np.float32
    assert depth.min() >= 0.1 and depth.max() <= 10.0
    np.testing.assert_allclose(depth[1:], teacher(pictures[1:]), rtol=1e-3)


def test_takes_read_only_and_reversed_arrays(teacher: DenseDepthTeacher) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)
    expected = teacher(rgb)
    bgr = rgb[..., ::-1].copy()
    bgr.flags.writeable = False
    np.testing.assert_array_equal(teacher(bgr[..., ::-1]), expected)


@pytest.mark.parametrize(
    ("inverse_depth", "metres"), [(0.0, 10), (0.5, 10), (1, 10), (4, 2.5), (100, 0.1), (1e4, 0.1)]
)
def test_decodes_as_the_authors_do(inverse_depth: float, metres: float) -> None:
    assert depth_from_inverse(torch.tensor(inverse_depth)).item() == pytest.approx(metres)


def test_names_the_next_size_that_fits(teacher: DenseDepthTeacher) -> None:
    with pytest.raises(TeacherError, match="200x320.*multiples of 32.*224x320"):
        teacher(np.zeros((1, 200, 320, 3), np.uint8))


# ---- refusals ----------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(TeacherError) as error:
        DenseDepthTeacher(path)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_missing_file(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nyu.h5")
    assert "no DenseDepth weights at" in message and "download nyu.h5" in message


def test_page_saved_in_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "nyu.h5").write_text("<!DOCTYPE html><title>Virus scan warning</title>")
    assert "not a whole HDF5 file" in refusal(tmp_path / "nyu.h5")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, share: float) -> None:
    path = write_zeros(tmp_path / "nyu.h5", keras_shapes())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(path)
    assert "not a whole HDF5 file" in message and "download it again" in message


def test_file_with_a_hole(tmp_path: Path) -> None:
    path = write_zeros(tmp_path / "nyu.h5", keras_shapes())
    content = bytearray(path.read_bytes())
    content[200_000:400_000] = bytes(200_000)
    path.write_bytes(content)
    assert "not a whole HDF5 file" in refusal(path)


def test_another_network(tmp_path: Path) -> None:
    shapes = {"conv1": {"kernel": (7, 7, 3, 64)}, "bn_conv1": {"gamma": (64,)}}
    message = refusal(write_zeros(tmp_path / "resnet50.h5", shapes))
    assert "is not DenseDepth, it has no conv1/conv/kernel, conv1/bn/gamma" in message
    assert "more: expected the DenseNet-169 layers" in message


def test_encoder_without_decoder(tmp_path: Path) -> None:
    decoder = {"conv2", "conv3"} | {f"up{step}_conv{ab}" for step in range(1, 5) for ab in "AB"}
    encoder = {layer: s for layer, s in keras_shapes().items() if layer not in decoder}
    message = refusal(write_zeros(tmp_path / "densenet169.h5", encoder))
    assert "has no conv2/kernel, conv2/bias, up1_convA/kernel and 17 more" in message


def test_same_layers_of_other_shapes(tmp_path: Path) -> None:
    shapes = keras_shapes() | {"conv3": {"kernel": (3, 3, 104, 2), "bias": (2,)}}
    message = refusal(write_zeros(tmp_path / "two.h5", shapes))
    assert "conv3/kernel has shape (3, 3, 104, 2), expected (3, 3, 104, 1)" in message


def test_half_width_variant(tmp_path: Path) -> None:
    message = refusal(write_zeros(tmp_path / "half.h5", keras_shapes(decoder_width=832)))
    assert "this is the half-width variant (up1_convA has 1088->416 channels)" in message
    assert "expected the full-width decoder of the released nyu.h5" in message


def test_weights_without_layer_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (7, 7, 3, 64), np.float32)
    assert "does not name its layers, use model.save" in refusal(tmp_path / "x.weights.h5")


def test_activation_between_the_convolutions_of_a_step(tmp_path: Path) -> None:
    path = write_zeros(tmp_path / "own.h5", keras_shapes())
    message = refusal(add_graph(path, graph(up2_convB="leaky_re_lu_3")))
    assert "something stands between up2_convA and up2_convB" in message


def test_encoder_without_its_last_relu(tmp_path: Path) -> None:
    path = write_zeros(tmp_path / "own.h5", keras_shapes())
    message = refusal(add_graph(path, graph(conv2="bn")))
    assert "conv2 reads bn directly, expected a ReLU between them" in message


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dtype": np.int32}, "conv3/bias is int32, expected floating point"),
        ({"dtype": h5py.string_dtype()}, "conv3/bias is object, expected floating point"),
        ({"dtype": np.float32, "external": [("other", 0, 4)]}, "conv3/bias lies in another file"),
        (
            {"dtype": np.float32, "maxshape": (None,), "chunks": (2**28,)},
            "conv3/bias has 1 values in chunks of 268,435,456, expected no more than it holds",
        ),
    ],
)
def test_arrays_that_are_not_plain_numbers_in_the_file(
    tmp_path: Path, options: dict, text: str
) -> None:
    path = write_zeros(tmp_path / "own.h5", keras_shapes())
    with h5py.File(path, "a") as file:
        (name,) = [name for name in names_in(file) if "conv3" in name and "bias" in name]
        del file[name]
        file.create_dataset(name, (1,), **options)
    assert text in refusal(path)


def names_in(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return [name for name in names if hasattr(file[name], "dtype")]


@pytest.mark.parametrize("config", ["[" * 20_000, "[]", "{}", "{", '{"config": 1}'])
def test_a_graph_that_is_none(tmp_path: Path, config: str) -> None:
    path = write_zeros(tmp_path / "own.h5", keras_shapes())
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = config.encode()
    assert "is not a whole HDF5 file" in refusal(path)


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "nyu.h5")
    assert "no DenseDepth weights at" in refusal(tmp_path / "nyu.h5")


def test_h5py_not_installed(nyu_h5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'dsetkit[densedepth]'" in refusal(nyu_h5)
