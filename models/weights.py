"""Weights files: safetensors files that record the architecture and the caller's metadata.

The header of the file has these entries. They are strings, as safetensors requires:

    format    "dsetkit-model"
    version   "1"
    arch      key of MODELS
    options   JSON: keyword arguments of create_model, in_channels included
    about     JSON: the metadata given to save_model (inputs, img_size, max_depth_m, ...)

Equal weights with equal metadata give equal files, byte for byte.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from models.errors import ModelError
from models.network import Network
from models.registry import create_model

FORMAT = "dsetkit-model"
VERSION = "1"
LENGTH_BYTES = ALIGNMENT = 8  # of a safetensors header, which begins with its length
LONGEST_JSON = 2**20  # of an entry of the header that is read [characters]
LARGEST_SIDE_PX = 8192
LARGEST_DEPTH_M = 1000
INPUTS, DEPTH_KINDS = ("composite", "background"), ("metric", "relative")
DTYPES = {"float32": torch.float32, "float16": torch.float16}

Metadata = dict[str, Any]  # JSON values, by the names that the writer chose


def save_model(
    path: Path | str, net: nn.Module, metadata: Mapping[str, object], *, dtype: str = "float32"
) -> None:
    """Write the weights of a network to a file.

    An older file at `path` is replaced only after the new one is complete.

    Args:
        path: the file to write, `.safetensors`. Its folder is created if needed.
        net: a network built by `create_model`, on any device. It is not changed.
        metadata: JSON values; `load_model` returns them.
        dtype: "float32", or "float16" for a file of half the size. Vectors, such as those of batch
            norm, stay float32.
    """
    path = Path(path)
    # torch's stub declares every attribute of a Module a Tensor or a Module.
    network = cast(Network, net)
    tensors = {}
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim > 1:
            tensor = tensor.to(DTYPES[dtype])
        tensors[name] = tensor.detach().cpu().contiguous()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "arch": network.arch,
        "options": json.dumps(network.options),
        "about": json.dumps(metadata),
    }
    content = _ordered(save(tensors, metadata=header))
    if path.exists() and not path.is_file():  # /dev/null, say, is never replaced by a file
        with open(path, "wb") as device:
            device.writelines(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    target = path.resolve()  # of a link
    temporary = target.with_name(f".{target.name[:50]}.part")
    try:  # not save_file, which hides the system's message, e.g. "no space left on device"
        with open(temporary, "wb") as file:
            file.writelines(content)
        os.replace(temporary, target)
    finally:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)


def _ordered(content: bytes) -> tuple[bytes, memoryview]:
    """The head of a safetensors file with its metadata in order, and the tensors behind it.

    The library keeps metadata in a hash map, whose order differs from run to run.
    """
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)  # the tensors stay aligned
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, memoryview(content)[end:]


def load_model(
    path: Path | str, device: str | torch.device = "cpu", *, needs: str | None = None
) -> tuple[Network, Metadata]:
    """Rebuild a network from a file written by `save_model`.

    Args:
        path: the weights file.
        device: where to put the network.
        needs: "mask" or "depth", a map that the network must output; None for any network.

    Returns:
        The network in evaluation mode with float32 weights, and the metadata it was saved with.

    Raises:
        ModelError: the file does not exist, is damaged or was not written by `save_model`; its
            architecture is unknown; its layers do not fit; the network does not output the map
            `needs`; or an entry of the metadata that programs read has no sensible value.
    """
    path = Path(path)
    header, tensors = _read(path)
    options, metadata = (_json_object(path, header, name) for name in ("options", "about"))
    if not all(isinstance(value, bool | int | float | str) for value in options.values()):
        raise ModelError(f"{path} is damaged: its options are no texts and numbers")
    try:
        net = create_model(header.get("arch", ""), **options)
    except (ModelError, TypeError, ValueError, AttributeError, LookupError) as error:
        reason = _one_line(error)
        raise ModelError(f"{path} holds a network this version cannot build: {reason}") from error
    if needs is not None and needs not in net.heads:
        raise ModelError(
            f"{path} holds {net.arch}, which gives {' and '.join(net.heads)}; expected a network"
            f" that gives {needs}"
        )
    _check_metadata(path, metadata, in_channels=net.in_channels)
    try:
        net.load_state_dict(tensors)  # converts float16 to float32
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit {net.arch}: {_one_line(error)}") from error
    return net.to(device).eval(), metadata


def _check_metadata(path: Path, metadata: Metadata, *, in_channels: int) -> None:
    """Raises ModelError if an entry of the metadata has a value that its readers cannot take.

    Entries that are not there are not missed: which ones there must be, a reader knows.
    """
    for name, (fits, expected) in ENTRIES.items():
        if name in metadata and not fits(metadata[name]):
            raise ModelError(f"{path}: {name} {metadata[name]!r:.60}; expected {expected}")
    inputs = metadata.get("inputs")
    if inputs is not None and 3 * len(inputs) != in_channels:
        raise ModelError(
            f"{path}: inputs {inputs!r:.60}; expected {in_channels // 3} for {in_channels} channels"
        )
    if metadata.get("depth_kind") == "metric" and metadata.get("max_depth_m") == 0:
        raise ModelError(f"{path}: max_depth_m 0 of metric depth; expected more")


def _are_inputs(value: object) -> bool:
    return isinstance(value, list) and all(name in INPUTS for name in value)


def _is_size(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and 1 <= side <= LARGEST_SIDE_PX for side in value)
    )


def _is_depth(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast(float, value) <= LARGEST_DEPTH_M


# entries of the metadata that programs read -> whether a value fits, and what does
ENTRIES: dict[str, tuple[Callable[[object], bool], str]] = {
    "inputs": (_are_inputs, f"names of pictures, {' or '.join(INPUTS)}"),
    "img_size": (_is_size, f"[height, width], each from 1 to {LARGEST_SIDE_PX} px"),
    "depth_kind": (DEPTH_KINDS.__contains__, " or ".join(DEPTH_KINDS)),
    "max_depth_m": (_is_depth, f"metres up to {LARGEST_DEPTH_M}"),
}


def _json_object(path: Path, header: dict[str, str], name: str) -> dict[str, Any]:
    """An entry of the header that is a JSON object."""
    text = header.get(name, "")
    try:
        found = json.loads(text) if len(text) <= LONGEST_JSON else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ModelError(f"{path} is damaged: its {name} are no JSON object of a sensible length")
    return found


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read and check the header; read the tensors."""
    if not path.is_file():
        raise ModelError(f"weights file {path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not iterable)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the library raises several for foreign bytes
        reason = _one_line(error)
        raise ModelError(f"{path} is not a safetensors file, or is cut off: {reason}") from error
    found = (header.get("format"), header.get("version"))
    if found != (FORMAT, VERSION):
        raise ModelError(
            f"{path} says format {found[0]!r:.60}, version {found[1]!r:.60}; expected {FORMAT!r},"
            f" {VERSION!r}: a file written by save_model, such as best.safetensors of a run"
        )
    return header, tensors
