"""The files of a run: their names, what it was started with, its log; known without torch.

| file of a run folder | holds |
|---|---|
| `args.json` | script, arguments, dataset fingerprint, precision |
| `log.csv` | one row per epoch |
| `best.safetensors`, `last.safetensors` | weights: best of the last stage begun, newest |
| `state.pt` | what `--resume` continues from |
| `state.previous.pt` | the same, saved before; see training/checkpoint.py |
| `epoch-NNN.png` | prediction grid at the epoch's end |
| `step-NNNNNNN.png` | the same every `--picture-every` steps |
| `tensorboard/` | scalars and prediction grids |
"""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsetkit.arguments import shown
from dsetkit.errors import RunError, one_line
from dsetkit.files import read_json, write_whole
from training import ranks

ARGUMENTS_FILE = "args.json"
STATE_FILE, PREVIOUS_FILE = "state.pt", "state.previous.pt"
LOG_FILE = "log.csv"
BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"
LARGEST_LOG = 2**26  # of log.csv [bytes]: a hundred thousand epochs and more
BF16, FLOAT32 = "bf16", "float32"  # what a training computes in
ADVICE = "make room and continue with --resume (the files saved before are intact)"


def has_state(run_dir: Path) -> bool:
    """Whether a run has saved its state in a folder, be it damaged by now."""
    return any(os.path.lexists(run_dir / name) for name in (STATE_FILE, PREVIOUS_FILE))


def write_file(path: Path, content: bytes) -> None:
    """Writes a file of the run; of several ranks the first one writes."""
    if ranks.is_first():
        write_whole(path, content, sync=True, advice=ADVICE)


# ---- args.json ---------------------------------------------------------------------------------


def write_arguments(
    run_dir: Path,
    arguments: Mapping[str, Any],
    *,
    script: str,
    fingerprint: str = "",
    precision: Mapping[str, str] | None = None,
) -> None:
    """Writes args.json; makes the folder if it is missing.

    Args:
        run_dir: the run's folder.
        arguments: of the script.
        script: its name.
        fingerprint: of the dataset.
        precision: what the training computes in, BF16 or FLOAT32, by the type of the device.
    """
    content = {
        "script": script,
        "dataset_fingerprint": fingerprint,
        "precision": dict(precision or {}),
        "arguments": dict(arguments),
    }
    text = json.dumps(content, indent=2, default=str) + "\n"
    write_file(run_dir / ARGUMENTS_FILE, text.encode())


def read_arguments(run_dir: Path, *, script: str) -> dict[str, Any]:
    """The arguments a run was started with, or a chain of runs.

    Raises:
        RunError: no run to continue there, or one of another script.
    """
    is_chain = (run_dir / ARGUMENTS_FILE).exists() and any(map(has_state, run_dir.glob("set-*")))
    if not is_chain and not has_state(run_dir):
        raise RunError(
            f"nothing to resume: {run_dir} has no {STATE_FILE}; expected the folder of a run that "
            "was cut off; start it without --resume"
        )
    content = _read_run(run_dir)
    if content["script"] != script:
        raise RunError(f"{run_dir} is a run of {content['script']:.40}: resume it with that script")
    return content["arguments"]


def check_same_dataset(run_dir: Path, fingerprint: str) -> None:
    """Raises RunError unless the run was started on the dataset with this fingerprint."""
    before = _read_run(run_dir)["dataset_fingerprint"]
    if fingerprint != before:
        raise RunError(
            f"--data is another dataset (fingerprint {fingerprint}) than the one {run_dir} was "
            f"started with ({before}): give that one, or start a new run with another --output"
        )


def read_precision(run_dir: Path, device: str) -> str | None:
    """What a run computes in on a type of device, BF16 or FLOAT32; None if it has not run there.

    Raises:
        RunError: args.json has something else.
    """
    precision = _read_run(run_dir).get("precision", {}).get(device)
    if precision not in (BF16, FLOAT32, None):
        raise RunError(
            f"{run_dir / ARGUMENTS_FILE}: precision {shown(precision)}: expected {BF16} or "
            f"{FLOAT32}; start a new run with another --output"
        )
    return precision


def _read_run(run_dir: Path) -> dict[str, Any]:
    path = run_dir / ARGUMENTS_FILE
    try:
        content = read_json(path)
        for name, kind in (("script", str), ("dataset_fingerprint", str), ("arguments", dict)):
            if not isinstance(content.get(name), kind):
                raise ValueError(f"it has no {name}")
        if not isinstance(content.get("precision", {}), dict):  # older runs have none
            raise ValueError("its precision is not a table")
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read: {one_line(error)}; expected the arguments of a run; "
            "start a new one with another --output"
        ) from error
    return content


# ---- log.csv -----------------------------------------------------------------------------------


def read_log(run_dir: Path) -> list[dict[str, str]]:
    """The lines of log.csv: texts by column.

    Raises:
        RunError: It cannot be read.
    """
    path = run_dir / LOG_FILE
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_LOG + 1)
        if len(text) > LARGEST_LOG:
            raise ValueError(f"more than {LARGEST_LOG:,} bytes")
        return list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: {one_line(error)}") from error
