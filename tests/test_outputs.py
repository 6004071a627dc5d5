"""Wherever a verb or a script is told to write, what cannot be written is one line and status 2."""

import ctypes
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.full_disk import files_of_at_most
from tests.helpers.verbs import (
    IN_PLACE,
    ONLY_PRINTS,
    OUTPUTS,
    World,
    flags_of_files,
    name_in,
    parsers,
    run_command,
)
from tests.helpers.worlds import tiny_dataset

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, about tiny batches

# Flags that name a folder to write; others name a file.
FOLDERS = {
    **dict.fromkeys(("demo", "generate", "import-rgbd", "import-images"), "--output"),
    **dict.fromkeys(("relabel", "export", "convert", "merge", "cache"), "--output"),
    **dict.fromkeys(("predict", "cut-outs"), "--output"),
    **dict.fromkeys(("train_depth", "train_mask", "train_joint"), "--output"),
}
EVERYWHERE = [(command, flag) for command, flags in OUTPUTS.items() for flag in flags]
SLOW = {"export-model"}  # it exports for many seconds


def cases(places: Iterable[tuple[str, str]], *rooms: int) -> list[object]:
    """Parameters of a test; those that take seconds are marked."""
    return [
        pytest.param(*where, *room, marks=[pytest.mark.slow] * (where[0] in SLOW or n > 0))
        for where in places
        for n, room in enumerate([(room,) for room in rooms] or [()])
    ]


TO_FOLDERS = [
    (command, flag)
    for command, flag in EVERYWHERE
    if FOLDERS.get(command) == flag or flag == "--cache"
]
TO_FILES = [where for where in EVERYWHERE if where not in TO_FOLDERS]
# The demo runs other commands; its own first step fails as theirs do.
SMALL = [where for where in EVERYWHERE if where[0] != "demo"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.draw(tmp_path_factory.mktemp("world"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which relative paths of the arguments lie."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


Failing = Callable[[str, list[str]], str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture) -> Failing:
    """Runs a command that must end with status 2 and one line, and returns the line."""

    def run(command: str, arguments: list[str]) -> str:
        status = run_command(command, arguments)
        shown = capsys.readouterr().err
        errors = [line for line in shown.splitlines() if "error: " in line]
        assert (status, len(errors)) == (2, 1), shown
        assert shown.endswith(errors[0] + "\n") and "Traceback" not in shown, shown
        return errors[0]

    return run


# ---- every verb and script is here -------------------------------------------------------------


def test_every_flag_that_names_an_output_is_tested() -> None:
    found = {name: set(flags_of_files(parser)) for name, parser in parsers().items()}
    assert {name: flags for name, flags in found.items() if flags} == {
        name: set(flags) for name, flags in OUTPUTS.items()
    }
    assert {name for name, flags in found.items() if not flags} <= {*IN_PLACE, *ONLY_PRINTS}


# ---- places ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "flag"), cases(EVERYWHERE))
def test_a_place_below_a_file(
    command: str, flag: str, world: World, here: Path, fails: Failing
) -> None:
    (here / "file").write_text("precious")
    place = name_in(command, flag, here / "file")
    assert str(here / "file") in fails(command, world.arguments(command, flag, place))
    assert (here / "file").read_text() == "precious"


@pytest.mark.parametrize(("command", "flag"), cases(TO_FOLDERS))
def test_a_file_where_a_folder_is_to_be(
    command: str, flag: str, world: World, here: Path, fails: Failing
) -> None:
    (here / "file").write_text("precious")
    fails(command, world.arguments(command, flag, here / "file"))
    assert (here / "file").read_text() == "precious"


@pytest.mark.parametrize(("command", "flag"), cases(TO_FILES))
def test_a_folder_where_a_file_is_to_be(
    command: str, flag: str, world: World, here: Path, fails: Failing
) -> None:
    place = name_in(command, flag, here)
    (place / "inner").mkdir(parents=True)
    fails(command, world.arguments(command, flag, place))
    assert [file.name for file in here.rglob("*")] == [place.name, "inner"]


@pytest.mark.parametrize(("command", "flag"), cases(EVERYWHERE))
def test_a_name_that_is_too_long(
    command: str, flag: str, world: World, here: Path, fails: Failing
) -> None:
    place = name_in(command, flag, here / ("n" * 300))
    assert "File name too long" in fails(command, world.arguments(command, flag, place))


@pytest.mark.parametrize("name", [".", "/"])
@pytest.mark.parametrize(("command", "flag"), [("stats", "--output"), ("split", "--export")])
def test_a_name_that_is_none(
    command: str, flag: str, name: str, world: World, here: Path, fails: Failing
) -> None:
    line = fails(command, world.arguments(command, flag, name))
    assert "expected the name of a file" in line


@contextmanager
def without_root_rights() -> Iterator[None]:
    """Within the block, permissions of folders count for root too (capabilities(7))."""
    libc, override = ctypes.CDLL(None, use_errno=True), 1 << 1  # CAP_DAC_OVERRIDE
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(head, before) == 0
    lowered = (ctypes.c_uint32 * 6)(*before)
    lowered[0] &= ~override
    assert libc.capset(head, lowered) == 0
    try:
        yield
    finally:
        assert libc.capset(head, before) == 0


@pytest.mark.parametrize(("command", "flag"), cases(EVERYWHERE))
def test_a_folder_without_permission(
    command: str, flag: str, world: World, here: Path, fails: Failing
) -> None:
    (here / "closed").mkdir()
    (here / "closed").chmod(0o555)
    place = name_in(command, flag, here / "closed")
    with without_root_rights():
        assert "Permission denied" in fails(command, world.arguments(command, flag, place))


@pytest.mark.parametrize("command", IN_PLACE)
def test_a_dataset_without_permission(
    command: str, world: World, here: Path, fails: Failing
) -> None:
    data = tiny_dataset(here / "d", num_samples=40)
    before = {file.name: file.read_bytes() for file in data.iterdir()}
    for place, mode in ((data, 0o555), (data / "shard-00000.lmdb", 0o444)):
        place.chmod(mode)
    with without_root_rights():
        fails(command, [str(data), *IN_PLACE[command].split()])
    data.chmod(0o755)
    assert before == {file.name: file.read_bytes() for file in data.iterdir()}


@pytest.mark.parametrize(("command", "flag"), cases(TO_FILES))
def test_what_is_no_file_is_written_to_and_not_replaced(
    command: str, flag: str, world: World, here: Path
) -> None:
    """Such as /dev/null, which root could replace by a file."""
    if command in ("export-model", "tools.average_models"):
        pytest.skip("reads its output again, or writes more than a pipe holds")
    pipe = here / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)  # holds all of it
        assert run_command(command, world.arguments(command, flag, pipe)) == 0
        assert os.read(reader, 1)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


# ---- room --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "flag", "room"), cases(SMALL, 0, 300, 20_000))
def test_a_full_disk_and_the_same_command_once_there_is_room(
    command: str, flag: str, room: int, world: World, here: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = world.arguments(command, flag, name_in(command, flag, here / "sub"))
    arguments = [word.replace(str(world.places["new"]), str(here / "run")) for word in arguments]
    with files_of_at_most(room):
        status = run_command(command, arguments)
    shown = capsys.readouterr().err
    errors = [line for line in shown.splitlines() if "error: " in line]
    assert "Traceback" not in shown
    assert (status, len(errors)) in ((2, 1), (0, 0)), shown
    assert status or room  # nothing that matters has room in 0 bytes
    if command.startswith("train") and status and (here / "sub" / "new" / "state.pt").exists():
        arguments = ["--resume", "--output", str(here / "sub" / "new")]
    assert run_command(command, arguments) == 0, capsys.readouterr().err
    left = [file.name for file in here.rglob("*") if file.suffix in (".part", ".tmp")]
    assert not left
