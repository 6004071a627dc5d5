"""Files that are opened as networks: what they say is checked, what they lack is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from dsetkit.errors import DsetkitError, NetworkError
from dsetkit.networks.onnx_network import read_facts
from dsetkit.networks.opening import open_network
from dsetkit.teachers.bundled import BUNDLED
from tests.helpers.networks import checkpoint

ABOUT: dict[str, Any] = {
    "height": 64,
    "maps": ["mask", "depth"],
    "kind": "metric",
    "max_depth_m": 10.0,
}


def test_the_bundled_teacher_is_a_network_too() -> None:
    network = open_network(BUNDLED, device="cpu")
    assert network.facts.maps == ("depth",) and network.facts.takes_any_size
    depth = network({"composite": np.zeros((2, 192, 256, 3), np.uint8)})["depth"]
    assert depth.shape == (2, 96, 128) and 0 < depth.min() <= depth.max() <= 10


def test_what_the_json_leaves_out_has_defaults() -> None:
    facts = read_facts({"height": 32, "kind": "relative", "range": [0, 1], "width": None, "x": 1})
    assert facts.inputs == ("composite",) and facts.maps == ("depth",) and facts.width is None


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 0},
        {"height": None},
        {"height": "64"},
        {"height": 10**9},
        {"width": -1},
        {"stride": 0},
        {"inputs": []},
        {"inputs": ["depth"]},
        {"inputs": ["composite"] * 2},
        {"maps": ["mask", "mask"]},
        {"maps": ["colour"]},
        {"maps": "mask"},
        {"kind": "nosuch"},
        {"kind": None},
        {"max_depth_m": None},
        {"max_depth_m": 0},
        {"max_depth_m": 1e9},
        {"max_depth_m": float("nan")},
        {"kind": "relative"},
        {"mean": [0, 0]},
        {"kind": "relative", "range": [1, 1]},
        {"kind": "relative", "range": [float("nan"), 1]},
        {"std": [1, 1, 0]},
        {"std": [1, 1, float("nan")]},
        {"mean": [float("nan"), 0, 0]},
        {"mean": [0, 0, "0"]},
    ],
    ids=str,
)
def test_a_json_that_makes_no_sense_is_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_facts(ABOUT | changes)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b"\xff", b'{"height": NaN}'])
def test_a_json_that_cannot_be_used_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(BUNDLED.read_bytes())
    if content is not None:
        path.with_suffix(".json").write_bytes(content)
    with pytest.raises(NetworkError, match="n.json") as error:
        open_network(path, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes", [{"inputs": ["composite", "background"]}, {"maps": ["mask", "depth"]}], ids=str
)
def test_a_graph_that_is_not_what_its_json_says_is_refused(changes: dict, tmp_path: Path) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(BUNDLED.read_bytes())
    path.with_suffix(".json").write_text(json.dumps(ABOUT | {"maps": ["depth"]} | changes))
    with pytest.raises(NetworkError, match="has 1 inputs and 1 outputs"):
        open_network(path, device="cpu")


@pytest.mark.parametrize("side", [0, 10**6])
def test_a_graph_for_pictures_of_no_possible_size_is_refused(side: int, tmp_path: Path) -> None:
    shape = ("N", 3, side, side)
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["depth"], axes=[1])],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    path = tmp_path / "n.onnx"
    path.write_bytes(model.SerializeToString())
    path.with_suffix(".json").write_text(json.dumps(ABOUT | {"maps": ["depth"]}))
    with pytest.raises(NetworkError, match=f"takes {side}: expected a whole number from 1"):
        open_network(path, device="cpu")


@pytest.mark.parametrize("name", ["missing.onnx", "missing.safetensors", "n.pth", "folder.onnx"])
def test_what_is_no_network_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "n.pth").write_bytes(b"x")
    with pytest.raises(DsetkitError) as error:
        open_network(tmp_path / name, device="cpu")
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("missing", ["inputs", "img_size", "depth_kind", "max_depth_m"])
def test_a_checkpoint_that_does_not_say_what_a_training_writes_is_refused(
    missing: str, tmp_path: Path
) -> None:
    from models import create_model, save_model

    about = {
        "inputs": ["composite"],
        "img_size": [64, 64],
        "depth_kind": "metric",
        "max_depth_m": 10.0,
    }
    del about[missing]
    save_model(tmp_path / "c.safetensors", create_model("depth_lite"), about)
    with pytest.raises(NetworkError, match=f"does not say its {missing}"):
        open_network(tmp_path / "c.safetensors", device="cpu")


def test_a_checkpoint_gives_its_maps_in_their_units(tmp_path: Path) -> None:
    network = open_network(checkpoint(tmp_path / "c.safetensors", "shared_unet"), device="cpu")
    shown = {"composite": np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)}
    answers = network(shown)
    assert answers["mask"].shape == (2, 64, 96) and answers["mask"].min() >= 0
    assert answers["mask"].max() <= 1 and 1 < answers["depth"].max() <= 10  # [m]
