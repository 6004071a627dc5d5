"""Every verb of the command line and every script that writes, on a tiny world, as tests call them.

`OUTPUTS` says, for each of their flags that name something to write, which arguments lead there.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
from onnx import TensorProto, helper

from dsetkit.cli.main import build_parser, main
from dsetkit.console import run
from models import ModelError, create_model, save_model
from tests.helpers.image_sets import set_001
from tests.helpers.worlds import draw_background, draw_foreground, tiny_dataset
from training.cli import run_training

TRAININGS = ("train_depth", "train_mask", "train_joint")
SCRIPTS = (*TRAININGS, "evaluate_depth", "evaluate_mask", "tools.score_teacher")
SCRIPTS += ("tools.average_models",)

SHORT = "--img-sizes 32 --epochs 1 --batch-size 16 --limit-samples 16 --device cpu --data {data}"
GENERATE = "--foregrounds {foregrounds} --backgrounds {backgrounds} --size 32 --num-samples 40"
GENERATE += " --teacher onnx:{teacher}"
EVALUATE = "--data {{data}} --checkpoint {{{}}} --device cpu"

ARCHITECTURES = {
    "train_depth": "--arch depth_lite",
    "train_mask": "--arch mask_lite",
    "train_joint": "--arch dual_unet --mask-loss l1",
}

# Command -> flag that names what it writes -> the arguments without the flag.
OUTPUTS: dict[str, dict[str, str]] = {
    "demo": {"--output": ""},
    "generate": {
        "--output": f"{GENERATE} --workers 0",
        "--teacher-check": f"{GENERATE} --output unused",
    },
    "cut-outs": {"--output": "--images {backgrounds} --masks {masks} --jobs 1 --min-side 8"},
    "import-rgbd": {"--output": "--root {pairs}"},
    "import-images": {"--output": "--system 001 --root {images}"},
    "relabel": {
        "--output": "{data} --teacher onnx:{teacher}",
        "--teacher-check": "{data} --teacher onnx:{teacher} --output unused",
    },
    "export-model": {"--output": "{depth} --size 32 32"},
    "predict": {"--output": "--checkpoint {mask} --composite {backgrounds} --device cpu"},
    "verify": {"--output": "{data}"},
    "stats": {"--output": "{data} --jobs 1"},
    "split": {"--export": "{data}"},
    "show": {"--output": "{data}"},
    "report": {
        "--output": "{data} --samples 2 --jobs 1",
        "--json": "{data} --samples 2 --jobs 1 --output unused.html",
    },
    "export": {"--output": "{data}"},
    "convert": {"--output": "{data} --layout recipe"},
    "merge": {"--output": "{data} {other} --split-by sample"},
    "cache": {"--output": "{data} --size 16 --jobs 1"},
    **{
        name: {"--output": f"{SHORT} {arch}", "--cache": f"{SHORT} {arch} --output {{new}}"}
        for name, arch in ARCHITECTURES.items()
    },
    "evaluate_depth": dict.fromkeys(
        ("--output", "--grid"), "--data {data} --checkpoint {depth} --device cpu"
    ),
    "evaluate_mask": dict.fromkeys(
        ("--output", "--grid"), "--data {data} --checkpoint {mask} --device cpu"
    ),
    "tools.score_teacher": {
        "--output": "--data {data} --split train --teacher onnx:{teacher} --device cpu"
    },
    "tools.average_models": {"--output": "{depth} {depth}"},
}
# Commands that write into the dataset they are given, or nothing.
IN_PLACE = {"split": "--split-by sample", "list-shards": ""}
ONLY_PRINTS = {"info": "{data}"}
# Flags that name something to read.
READ = {
    *(
        "--foregrounds",
        "--backgrounds",
        "--background-depth",
        "--root",
        "--table",
        "--heights",
        "--import-csv",
        "--checkpoint",
    ),
    *("--images", "--coco", "--masks", "--model", "--hf"),
    *("--composite", "--background", "--pairs"),
    *("--train-data", "--data", "--init-from", "--pretrained", "--mean-depth", "--run"),
}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb and of each script."""
    verbs = next(
        action for action in build_parser()._actions if isinstance(action.choices, dict)
    ).choices
    return verbs | {name: import_module(name).build_parser() for name in SCRIPTS}


def flags_of_files(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The flags of a command that name a file or a folder to write."""
    for action in parser._actions:
        names = [name for name in action.option_strings if name.startswith("--")]
        if action.type is Path and names and names[0] not in READ:
            yield names[0]


@dataclass(frozen=True)
class World:
    """Folders and files that commands read.

    Attributes:
        root: Where they lie.
        places: Their paths, by the names in OUTPUTS.
    """

    root: Path
    places: dict[str, Path]

    @classmethod
    def draw(cls, root: Path, *, samples: int = 80) -> "World":
        """Makes a world, whose dataset has so many samples."""
        names = ("foregrounds", "backgrounds", "masks", "pairs", "images")
        places = {name: root / name for name in names}
        for name in names:
            places[name].mkdir(parents=True)
        for n in range(4):
            cut_out = cv2.cvtColor(draw_foreground(n, 30, 24), cv2.COLOR_RGBA2BGRA)
            cv2.imwrite(str(root / "foregrounds" / f"f{n}.png"), cut_out)
            picture = draw_background(n, 48)[..., ::-1]
            cv2.imwrite(str(root / "backgrounds" / f"b{n}.jpg"), picture)
            mask = cv2.circle(np.zeros((48, 48), np.uint8), (24, 24), 15, 255, -1)
            cv2.imwrite(str(root / "masks" / f"B{n}.png"), mask)
            cv2.imwrite(str(root / "pairs" / f"{n}_color.png"), picture)
            depth = np.tile(np.linspace(500, 9000, 48, dtype=np.uint16), (48, 1))
            cv2.imwrite(str(root / "pairs" / f"{n}_depth.png"), depth)
        for name, content in set_001().items():
            file = root / "images" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        places["data"] = tiny_dataset(root / "data", num_samples=samples, placements=samples // 4)
        places["other"] = tiny_dataset(root / "other", num_samples=40, seed=1)
        about = {"inputs": ["composite"], "img_size": [32, 32]}
        about |= {"depth_kind": "metric", "max_depth_m": 10.0, "dataset_fingerprint": ""}
        for task in ("depth", "mask"):
            places[task] = root / f"{task}.safetensors"
            net = create_model(f"{task}_lite")
            save_model(places[task], net, about)
        places["teacher"] = write_teacher(root / "teacher.onnx")
        places["new"] = root / "new"
        return cls(root, places)

    def arguments(self, command: str, flag: str, place: Path | str) -> list[str]:
        """The arguments with which a command writes to a place."""
        return [*self.fill(OUTPUTS[command][flag]), flag, str(place)]

    def fill(self, words: str) -> list[str]:
        """Arguments with the paths of this world."""
        return [word.format(**self.places) for word in words.split()]


def name_in(command: str, flag: str, folder: Path) -> Path:
    """A name that the command accepts."""
    suffixes = {"export-model": ".onnx", "report": {"--output": ".html"}.get(flag, ".json")}
    return folder / f"new{suffixes.get(command, '')}"


def write_teacher(path: Path) -> Path:
    """Writes a depth network that answers the brightness, and loads without torch."""
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3, "h", "w"))
    depth = helper.make_tensor_value_info("depth", TensorProto.FLOAT, None)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"]),
        helper.make_node("Add", ["mean", "one"], ["depth"]),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    graph = helper.make_graph(nodes, "teacher", [picture], [depth], [axes, one])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.write_bytes(model.SerializeToString())
    about = {"kind": "metric", "max_depth_m": 10.0, "mean": [0.0] * 3, "std": [1.0] * 3}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


def run_command(command: str, arguments: list[str]) -> int:
    """Runs a verb or a script in this process; returns its exit status."""
    if command not in SCRIPTS:
        return run(partial(main, [command, *arguments]))
    script = import_module(command)
    if command in TRAININGS:
        return run_training(partial(script.main, arguments), ModelError, script=script.SCRIPT)
    return run(partial(script.main, arguments), ModelError, name=script.SCRIPT)
