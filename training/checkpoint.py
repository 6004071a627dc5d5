"""state.pt, the one file a run continues from: everything that the next step depends on.

| part of the file | holds |
|---|---|
| a file of `torch.save` | a dict of the two entries below |
| `progress` | epoch, batch within it, running sums, best score, log rows (see `loop.Progress`) |
| `parts` | the `state_dict()` of each part: network, optimizer, plateau, average |
| 16 bytes | xxh3-128 of all bytes before them |
| 25 bytes | "dsetkit training state 2" and a line feed; 2 is the version |

No generator state is saved: the sample order is a function of (seed, epoch), and what a step draws
is a function of (seed, step), see `loop.seed_step`. No times are saved either, so the states of
equal runs are equal byte for byte.

state.previous.pt is the state that was saved before. It is there for the case that state.pt is
damaged later, by a bad disk, say.
"""

import os
import re
import shlex
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import torch
import xxhash

from dsetkit.errors import RunError, one_line
from dsetkit.files import replacing
from training import ranks
from training.run_files import ADVICE, PREVIOUS_FILE, STATE_FILE

VERSION = 2
MARK = re.compile(rb"dsetkit training state (\d)\n\Z")  # the last bytes of every state
MARK_BYTES, DIGEST_BYTES = 25, 16
CHUNK_BYTES = 2**20


class Stateful(Protocol):
    """Something whose state can be saved and restored: network, optimizer, plateau."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


def save_state(path: Path, parts: Mapping[str, Stateful], progress: Mapping[str, Any]) -> None:
    """Writes the state to `path`, whole or not at all; of several ranks the first one writes.

    The state that was there before becomes state.previous.pt, once the new one is whole.

    Raises:
        DsetkitError: It could not be written (disk full); the previous files are intact.
    """
    if not ranks.is_first():
        return
    state = {
        "progress": dict(progress),
        "parts": {name: part.state_dict() for name, part in parts.items()},
    }
    with replacing(path, advice=ADVICE) as temporary:
        with open(temporary, "wb") as file:
            hashed = _HashedFile(file)
            try:
                torch.save(_canonical(state), cast(BinaryIO, hashed))
            except RuntimeError:
                if hashed.error is not None:  # torch hides it: a full disk, Ctrl-C, SIGTERM
                    raise hashed.error from None
                raise
            file.write(hashed.digest() + b"dsetkit training state %d\n" % VERSION)
            file.flush()
            os.fsync(file.fileno())
        _keep_previous(path)


def load_state(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Restores the saved state of `parts`.

    Returns:
        The progress that was given to `save_state`.

    Raises:
        RunError: No such file, not a training state, damaged, of another version, or of another
            run. The message offers the previous state if that one is whole.
    """
    state = _read_state(path)
    for name, part in parts.items():
        try:
            part.load_state_dict(state["parts"][name])
        except Exception as error:  # torch raises almost anything for a state of another kind
            raise RunError(
                f"{path} does not fit the {name} of this run ({_name(error)}): expected the state "
                "of a run with the same arguments"
            ) from error
    return state["progress"]


def has_trained(path: Path) -> bool:
    """Whether the run that saved this state had made a step.

    Raises:
        RunError: As `load_state`.
    """
    progress = _read_state(path)["progress"]
    return (progress.get("epoch"), progress.get("batch")) != (0, 0)


def forget_state(run_dir: Path) -> None:
    """Removes the states of a run; of several ranks the first one does so."""
    if ranks.is_first():
        for name in (PREVIOUS_FILE, STATE_FILE):
            (run_dir / name).unlink(missing_ok=True)


# ---- writing -----------------------------------------------------------------------------------


class _HashedFile:
    """An open file that computes the checksum of what is written to it.

    Attributes:
        error: What has ended a write, if anything has. Signals end one too.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._hash = file, xxhash.xxh3_128()
        self.error: BaseException | None = None

    def write(self, content: bytes) -> int:
        try:
            self._hash.update(content)
            return self._file.write(content)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> bytes:
        """16 bytes."""
        return self._hash.digest()


def _canonical(value: Any) -> Any:
    """A copy, of which equal ones make equal files.

    A pickle says which of its texts and containers are one object. That differs between a run and
    one that was continued: here all equal texts are one object, and containers never are. Tensors
    are not copied.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_canonical(inner) for inner in value])
    return value


def _keep_previous(path: Path) -> None:
    """Gives the state at `path` the name of the previous one, too, or instead.

    Too: there is a state.pt at every moment. Instead: where the file system has no hard links.
    """
    if not path.exists():
        return
    previous = path.with_name(PREVIOUS_FILE)
    second = path.with_name(f".{PREVIOUS_FILE}.part")
    try:
        second.unlink(missing_ok=True)
        os.link(path, second)
        os.replace(second, previous)
        second.unlink(missing_ok=True)  # still there if both were the same file
    except OSError:
        os.replace(path, previous)


# ---- reading -----------------------------------------------------------------------------------


def _read_state(path: Path) -> dict[str, Any]:
    """The state, after its checksum and its outline have been checked."""
    reason = _what_is_wrong(path)
    if reason is None:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
        except Exception as error:  # torch's reader raises almost anything for foreign bytes
            reason = f"is no training state ({_name(error)})"
        else:
            if _has_outline(state):
                return state
            reason = "is no training state: it lacks progress and parts"
    raise RunError(f"{path} {reason}; {_way_out(path)}")


def _what_is_wrong(path: Path) -> str | None:
    """Why a file cannot be a whole state, by its checksum; None if it can."""
    if not path.is_file():
        return "is missing: expected the state of a run that was cut off"
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - MARK_BYTES - DIGEST_BYTES))
            digest, mark = file.read(DIGEST_BYTES), MARK.match(file.read())
            if mark is None:
                return (
                    "is damaged or not a training state: no checksum stands at its end (an "
                    f"earlier version of this program wrote none, this one reads {VERSION})"
                )
            if int(mark[1]) != VERSION:
                return f"has version {int(mark[1])}, this program reads {VERSION}: update it"
            file.seek(0)
            if _digest(file, size - MARK_BYTES - DIGEST_BYTES) != digest:
                return "is damaged: its checksum differs"
        with zipfile.ZipFile(path) as archive:  # torch stores every entry as it is
            if sum(entry.file_size for entry in archive.infolist()) > size:
                return "is no training state: it is compressed"
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        return f"cannot be read ({_name(error)})"
    return None


def _digest(file: BinaryIO, num_bytes: int) -> bytes:
    """The checksum of the next bytes of a file."""
    checksum = xxhash.xxh3_128()
    while chunk := file.read(min(CHUNK_BYTES, num_bytes)):
        checksum.update(chunk)
        num_bytes -= len(chunk)
    return checksum.digest()


def _has_outline(state: object) -> bool:
    """Whether a state has progress, and a state for each of its parts."""
    if not isinstance(state, dict) or state.keys() != {"progress", "parts"}:
        return False
    progress, parts = state["progress"], state["parts"]
    return (
        isinstance(progress, dict)
        and isinstance(parts, dict)
        and all(isinstance(part, dict) for part in parts.values())
    )


def _way_out(path: Path) -> str:
    """What the user can do about a state that cannot be read."""
    previous = path.with_name(PREVIOUS_FILE)
    if path.name == STATE_FILE and _what_is_wrong(previous) is None:
        return (
            "the state saved before it is whole: to go on from that one, run "
            f"`mv {shlex.quote(str(previous))} {shlex.quote(str(path))}`, then --resume"
        )
    weights = path.with_name("last.safetensors")
    keeps = f" (--init-from {weights} keeps its weights)" if weights.exists() else ""
    return f"start a new run with another --output{keeps}"


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)}"
