"""state.pt, the one file a run continues from: everything that the next step depends on.

| key | holds |
|---|---|
| `format`, `version` | "training state", 1 |
| `progress` | epoch, batch within it, running sums, best score, log rows (see `loop.Progress`) |
| `parts` | the `state_dict()` of each part: network, optimizer, plateau, average |

No generator state is saved: the sample order is a function of (seed, epoch), and what a step draws
is a function of (seed, step), see `loop.seed_step`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from dsetkit.errors import RunError
from dsetkit.files import write_whole
from training import ranks

STATE_FILE = "state.pt"
FORMAT, VERSION = "training state", 1
ADVICE = "make room and continue with --resume (the files saved before are intact)"


class Stateful(Protocol):
    """Something whose state can be saved and restored: network, optimizer, plateau."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Mapping[str, Any]) -> None:
    """Writes the state to `path`, whole or not at all; of several ranks the first one writes.

    Raises:
        DsetkitError: It could not be written (disk full); the previous file is intact.
    """
    if not ranks.is_first():
        return
    state = {
        "format": FORMAT,
        "version": VERSION,
        "progress": dict(progress),
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    write_whole(path, lambda file: torch.save(state, file), sync=True, advice=ADVICE)


def load_state(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Restores the saved state of `parts`.

    Returns:
        The progress that was given to `save_state`.

    Raises:
        RunError: No such file, not a training state, damaged, or of a newer version.
    """
    state = _read_state(path)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return state["progress"]


def has_trained(path: Path) -> bool:
    """Whether the run that saved this state had made a step.

    Raises:
        RunError: As `load_state`.
    """
    progress = _read_state(path)["progress"]
    return (progress["epoch"], progress["batch"]) != (0, 0)


def _read_state(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise RunError(
            f"{path.parent} has no {path.name}: expected the folder of a run that was cut off; "
            "start it without --resume"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        state = None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise RunError(
            f"{path} is damaged or not a training state: expected the state.pt of a run; start a "
            f"new run with another --output (--init-from {path.parent}/last.safetensors keeps its "
            "weights)"
        )
    if state["version"] > VERSION:
        raise RunError(
            f"{path} has version {state['version']}, this program reads up to {VERSION}: update it"
        )
    return state
