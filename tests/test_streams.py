"""stdout as users have it: cut off, closed, full, or of an encoding that lacks our characters."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsetkit.console import run
from tests.helpers.verbs import IN_PLACE, ONLY_PRINTS, OUTPUTS, World, name_in, run_command
from tests.helpers.worlds import tiny_dataset

REPOSITORY = Path(__file__).parents[1]
CLOSED, CUT_OFF = 2, 141
# What prints an answer, within a second or two.
PRINTING = [name for name in OUTPUTS if name not in ("demo", "export-model")]
PRINTING = [name for name in PRINTING if not name.startswith("train")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.draw(tmp_path_factory.mktemp("world"))


def arguments(command: str, world: World, folder: Path) -> list[str]:
    if command in ONLY_PRINTS:
        return world.fill(ONLY_PRINTS[command])
    if command in IN_PLACE and command not in OUTPUTS:
        return [str(tiny_dataset(folder / "d", num_samples=40)), *IN_PLACE[command].split()]
    flag = next(iter(OUTPUTS[command]))
    return world.arguments(command, flag, name_in(command, flag, folder))


EVERY = [*PRINTING, *ONLY_PRINTS, *(set(IN_PLACE) - set(OUTPUTS))]


@pytest.mark.parametrize("command", EVERY)
def test_a_pipe_that_nobody_reads_ends_a_command_quietly(
    command: str,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as cut_off, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", cut_off)
        assert run_command(command, arguments(command, world, tmp_path)) == CUT_OFF
    shown = capsys.readouterr().err
    assert "error" not in shown and "Traceback" not in shown


@pytest.mark.parametrize("command", EVERY)
def test_what_stdout_cannot_show_is_replaced(
    command: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Bücher \udcff"
    folder.mkdir()
    shown = io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii"))
        assert run_command(command, arguments(command, world, folder)) == 0
        assert shown.getvalue().decode("ascii").strip()


@pytest.mark.parametrize("command", EVERY)
def test_a_closed_stdout_is_one_line_before_anything_is_done(
    command: str,
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    given = arguments(command, world, tmp_path / "below")
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", None)  # as Python has it
        assert run_command(command, given) == CLOSED
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and "error: stdout is closed: expected a place" in shown
    assert not (tmp_path / "below" / "new").exists()


def test_a_full_disk_behind_stdout_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", Full())
        assert run(lambda: print("an answer"), name="tool") == 2
    expected = "tool: error: cannot write to stdout: No space left on device\n"
    assert capsys.readouterr().err == expected


# ---- the same in processes ---------------------------------------------------------------------


def start(arguments: str, **options: object) -> subprocess.CompletedProcess:
    """Runs the command line; returns its status and what it has shown."""
    words = [sys.executable, "-m", "dsetkit", *arguments.split()]
    return subprocess.run(words, cwd=REPOSITORY, text=True, **options)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_cut_off_pipe_is_quiet_up_to_the_end_of_python(world: World, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    options = {"stdout": writer, "stderr": subprocess.PIPE, "env": environment}
    ended = start(f"info {world.places['data']}", **options)
    assert (ended.returncode, ended.stderr) == (CUT_OFF, "")
    helped = start("--help", **options)  # argparse does not tell when it prints without a buffer
    assert (helped.returncode, helped.stderr) == (0 if unbuffered else CUT_OFF, "")
    os.close(writer)


def test_a_file_that_is_opened_does_not_take_the_place_of_a_closed_stream(
    world: World, tmp_path: Path
) -> None:
    """Libraries print to stderr whatever it is, which would spoil a shard."""
    arguments = f"{world.places['data']} --layout recipe --output {tmp_path}/new"
    words = f'exec "{sys.executable}" -m dsetkit convert {arguments} <&- 2>&-'
    assert subprocess.run(["sh", "-c", words], cwd=REPOSITORY).returncode == 0
    assert start(f"verify {tmp_path}/new").returncode == 0
    ended = subprocess.run(["sh", "-c", f"{words} >&-"], cwd=REPOSITORY)
    assert ended.returncode == CLOSED


def test_another_encoding_and_locale(world: World) -> None:
    named = world.root / "B\u00fccher"
    named.symlink_to(world.places["data"])
    for set_here in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        ended = start(f"info {named}", env=os.environ | set_here, capture_output=True)
        assert (ended.returncode, ended.stderr) == (0, "") and "samples" in ended.stdout
