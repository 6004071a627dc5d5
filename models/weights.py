"""Weights files: one safetensors file that says which network it holds and what it was trained for.

Metadata (strings, as safetensors demands):

    format    "dsetkit-model"
    version   "1"
    arch      name in MODELS
    options   JSON: keyword arguments of create_model, in_channels included
    about     JSON: what the writer tells of the weights (inputs, img_size, max_depth_m, ...)
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from models.errors import ModelError
from models.registry import create_model

FORMAT = "dsetkit-model"
VERSION = "1"
DTYPES = {"float32": torch.float32, "float16": torch.float16}


def save_model(
    path: Path | str, net: nn.Module, about: dict[str, object], *, dtype: str = "float32"
) -> None:
    """Write the weights of a network made by `create_model`; replaces an older file when done.

    Args:
        path: the file to write, `.safetensors`.
        net: on any device; unchanged.
        about: JSON values; `load_model` gives them back.
        dtype: "float32", or "float16" for half the size (vectors, as of batch norm, stay float32).
    """
    path = Path(path)
    tensors = {}
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor = tensor.to(DTYPES[dtype])
        tensors[name] = tensor.detach().cpu().contiguous()
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "arch": net.arch,
        "options": json.dumps(net.options),
        "about": json.dumps(about),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:  # not save_file: it hides what the system says, "no space left" say
        temporary.write_bytes(save(tensors, metadata=metadata))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_model(
    path: Path | str, device: str | torch.device = "cpu", *, needs: str | None = None
) -> tuple[nn.Module, dict[str, object]]:
    """Rebuild the network that `save_model` wrote.

    Args:
        path: the weights file.
        device: where to put the network.
        needs: "mask" or "depth": the map the caller wants; a network without it is refused.

    Returns:
        The network in evaluation mode with float32 weights, and the `about` it was saved with.

    Raises:
        ModelError: no such file, not a weights file of ours, an unknown architecture, layers that
            do not fit, or a network that does not give the map.
    """
    path = Path(path)
    metadata, tensors = _read(path)
    try:
        net = create_model(metadata["arch"], **json.loads(metadata["options"]))
    except (ModelError, TypeError) as error:
        raise ModelError(f"{path} holds a network this version cannot build: {error}") from error
    if needs is not None and needs not in net.heads:
        raise ModelError(
            f"{path} holds {net.arch}, which gives {' and '.join(net.heads)}; expected a network"
            f" that gives {needs}"
        )
    try:
        net.load_state_dict(tensors)  # copies into float32, whatever was stored
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path} does not fit {net.arch}: {reason}") from error
    return net.to(device).eval(), json.loads(metadata["about"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file, or is cut off: {error}") from error
    found = (metadata.get("format"), metadata.get("version"))
    if found != (FORMAT, VERSION):
        raise ModelError(
            f"{path} says format {found[0]!r}, version {found[1]!r}; expected {FORMAT!r},"
            f" {VERSION!r}: a file written by save_model, such as best.safetensors of a run"
        )
    return metadata, tensors
