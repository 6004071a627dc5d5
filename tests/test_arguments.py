"""Numbers are checked where they enter: every numeric flag of every parser, settings, variables."""

import argparse
import ast
import math
import os
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from dsetkit import arguments
from dsetkit.arguments import Parser, Real, Whole, from_environment, image_size, shown
from dsetkit.cli.examples import EXAMPLES
from dsetkit.cli.flags import directory_or_address
from dsetkit.cli.main import build_parser
from dsetkit.compositing import Canvas
from dsetkit.errors import DsetkitError
from dsetkit.generating import Spread, generate
from dsetkit.importing import (
    DepthMeaning,
    DepthUnits,
    FileNaming,
    PairSplit,
    Pasting,
    SplitRule,
    import_rgbd,
)
from dsetkit.labels import TeacherChoice
from dsetkit.memory import check_memory
from dsetkit.networks.sessions import default_threads
from dsetkit.store import LARGEST_DEPTH_M
from dsetkit.store.shard_cache import parse_bytes
from dsetkit.teachers import TeacherOptions, load_teacher
from dsetkit.verbs.splits import split_by_sample
from training import ranks
from training.cli import arch_option

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = ("train_depth", "train_mask", "train_joint", "evaluate_depth", "evaluate_mask")
TOOLS = ("tools.average_models", "tools.score_teacher")
BAD_NUMBERS = ("nan", "inf", "-inf", "-1", "1e400", "9" * 400, "1" * 5000, "", " ", "x", "1_0", "²")
NAN = math.nan


def parsers() -> Iterator[Parser]:
    """Every parser of a verb, a script or a tool."""
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()
    for name in (*SCRIPTS, *TOOLS):
        yield import_module(name).build_parser()


def options() -> Iterator[tuple[Parser, argparse.Action]]:
    for parser in parsers():
        yield from ((parser, action) for action in parser._actions)


PARSERS = {parser.prog: parser for parser in parsers()}
NUMERIC = {
    f"{parser.prog} {action.option_strings[0]}": (parser, action)
    for parser, action in options()
    if isinstance(action.type, Whole | Real) or action.type is image_size
}


PATHS = {
    f"{parser.prog} {action.dest}": (parser, action)
    for parser, action in options()
    if action.type in (Path, directory_or_address)
}


def fits(kind: object, text: str) -> bool:
    """Whether a text is a number that a flag takes."""
    try:
        kind(text)  # type: ignore[operator]
    except argparse.ArgumentTypeError:
        return False
    return True


def test_every_flag_that_takes_a_number_has_bounds() -> None:
    """A new kind of argument is listed here, or gets its bounds from `arguments`."""
    texts = {None, Path, directory_or_address, arguments.device, arch_option}
    for parser, action in options():
        kind, where = action.type, f"{parser.prog} {action.dest}"
        is_number = isinstance(kind, Whole | Real) or kind is image_size
        is_codec = getattr(kind, "__name__", "") == "_field_codec"
        assert is_number or is_codec or kind in texts, where
        assert kind or action.choices or not isinstance(action.default, int) or action.nargs == 0
        if is_number:
            assert fits(kind, "1") or fits(kind, "64") or fits(kind, "0.5"), where


@pytest.mark.parametrize("flag", PATHS)
def test_no_text_is_no_path(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--output "$NOT_SET"` would otherwise mean the current folder."""
    parser, action = PATHS[flag]
    name = "/".join(action.option_strings)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([f"{action.option_strings[0]}="] if name else [""])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{parser.prog}: error: {name or action.metavar}: expected a path")


@pytest.mark.parametrize("flag", NUMERIC)
def test_bad_numbers_are_one_line_that_names_the_flag(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser, action = NUMERIC[flag]
    name = action.option_strings[0]
    refused = [text for text in BAD_NUMBERS if not fits(action.type, text)]
    assert len(refused) >= len(BAD_NUMBERS) - 1  # -1 is a value of a few
    for text in refused:
        others = ["1"] * (action.nargs - 1) if isinstance(action.nargs, int) else []
        with pytest.raises(SystemExit) as caught:
            parser.parse_args([f"{name}={text}"] if not others else [name, text, *others])
        assert caught.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{parser.prog}: error: {name}: expected ")
        assert len(line) < 300 and line.endswith(f"(see {parser.prog} --help)")


@pytest.mark.parametrize("flag", NUMERIC)
def test_defaults_are_numbers_that_the_flag_takes(flag: str) -> None:
    _, action = NUMERIC[flag]
    if action.type is image_size or action.default is None:
        return
    values = action.default if isinstance(action.default, list | tuple) else [action.default]
    assert all(action.type.has(value) for value in values)


@pytest.mark.parametrize("prog", PARSERS)
@pytest.mark.parametrize(
    "words",
    [
        ["--nosuch"],
        ["--nosuch\nflag", "\udcff"],
        ["x" * 100_000] * 3,
        ["--output"],
        ["--device", "tpu"],
    ],
    ids=["flag", "two lines", "long", "no value", "device"],
)
def test_any_other_error_of_a_command_line_is_one_line_too(
    prog: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        PARSERS[prog].parse_args(words)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{prog}: error: ") and len(line) < 1200


def test_all_programs_use_this_parser() -> None:
    """`argparse.ArgumentParser` itself prints its whole usage before every error."""
    files = [*(REPOSITORY / "dsetkit").rglob("*.py"), *(REPOSITORY / "training").rglob("*.py")]
    for path in [*files, *REPOSITORY.glob("*.py"), *(REPOSITORY / "tools").glob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.Call]
        assert not any(ast.unparse(call.func).endswith("ArgumentParser") for call in calls), path


# ---- flags that messages name ------------------------------------------------------------------

# of torchrun and of ray
FOREIGN_FLAGS = {"--nproc-per-node", "--address", "--head", "--object-store-memory"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@pytest.mark.parametrize("name", PARSERS)
def test_help_says_each_default_once_and_as_one_would_type_it(name: str) -> None:
    parser = PARSERS[name]
    for action in parser._actions:
        text = parser._get_formatter()._expand_help(action) if action.help else ""
        assert text.count("(default") <= 1, text
        assert not re.search(r"default: ([(\[)]|True|False|None)", text), text
        if action.option_strings and action.nargs != 0 and not (action.choices or action.metavar):
            assert "_" not in action.dest, f"{action.option_strings[0]} needs a metavar"


def test_every_flag_that_a_text_names_exists() -> None:
    known = {name for _, action in options() for name in action.option_strings} | {
        "--version",
        "--completion",
    }
    packages = ("dsetkit", "models", "training")
    files = [path for name in packages for path in (REPOSITORY / name).rglob("*.py")]
    wrong = {}
    for path in [*files, *REPOSITORY.glob("*.py")]:
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if is_text(node)]
        named = {flag for text in texts for flag in FLAG.findall(text)}
        complete = {flag for flag in named if not flag.endswith("-")}  # f"--teacher-{name}"
        if unknown := complete - known - FOREIGN_FLAGS:
            wrong[path.name] = unknown
    assert not wrong


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


# ---- kinds of numbers --------------------------------------------------------------------------


def test_a_number_says_what_it_expected_and_what_came() -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        Whole(1, 2000, "px")("0")
    assert str(caught.value) == "expected a whole number from 1 to 2,000 [px], got '0'"
    with pytest.raises(DsetkitError, match=r"^--share nan: expected a number above 0 and below 1$"):
        Real(0, 1, above=True, below=True).check(NAN, "--share")
    assert str(Real(0, 2.5, "m")) == "a number from 0 to 2.5 [m]"


def test_bounds_belong_to_a_number_unless_it_says_otherwise() -> None:
    assert Whole(1, 3).has(1) and Whole(1, 3).has(3) and Real(0, 1).has(0) and Real(0, 1).has(1)
    opened = Real(0, 1, above=True, below=True)
    assert not opened.has(0) and not opened.has(1) and opened.has(0.5)


def test_numbers_of_numpy_are_numbers_and_others_are_not() -> None:
    assert Whole(0, 9).has(np.int64(3)) and Real(0, 9).has(np.float32(3)) and Real(0, 9).has(3)
    for value in (True, "3", None, 3.0, np.bool_(True), 10**400):
        assert not Whole(0, 9).has(value)
    for value in (False, "3", None, np.nan, np.inf, 10**400, 3j):
        assert not Real(0, 9).has(value)


def test_a_value_in_a_message_is_short_and_on_one_line() -> None:
    for value in ("x" * 10_000, 10**10_000, "a\nb\x1b[31m", "\udcff", {"a": [1]}):
        assert len(shown(value)) < 80 and shown(value).isprintable()


def test_the_largest_depth_is_what_datasets_can_store() -> None:
    assert arguments.DEPTH_M.high == LARGEST_DEPTH_M


# ---- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "flag"),
    [
        (lambda: Canvas(size=30_000), "--size"),
        (lambda: Canvas(placements=10**9), "--placements"),
        (lambda: Spread(shards=10**9), "--shards"),
        (lambda: Spread(workers=-1), "--workers"),
        (lambda: Spread(workers=10**9), "--workers"),
        (lambda: Spread(gpus_per_worker=NAN), "--gpus-per-worker"),
        (lambda: PairSplit(val_share=NAN), "--val-share"),
        (lambda: PairSplit(val_share=2), "--val-share"),
        (lambda: Pasting(foregrounds=Path("x"), copies=10**9), "--pastes"),
        (lambda: FileNaming(system="003", per_background=10**400), "--per-background"),
        (lambda: DepthMeaning(max_depth_m=NAN), "--max-depth-m"),
        (lambda: SplitRule(seed=-1), "--seed"),
        (lambda: TeacherChoice(batch_size=0), "--batch-size"),
        (lambda: TeacherChoice(device="tpu"), "--device"),
        (lambda: TeacherChoice(edge_reach=NAN), "--teacher-edges"),
        (lambda: load_teacher("onnx:x", options=TeacherOptions(max_depth_m=NAN)), "--teacher-max"),
        (
            lambda: load_teacher("onnx:x", options=TeacherOptions(mean=(0, NAN, 0))),
            "--teacher-mean",
        ),
        (lambda: load_teacher("onnx:x", options=TeacherOptions(std=(1, 0, 1))), "--teacher-std"),
        (lambda: load_teacher("hf:x", options=TeacherOptions(value_range=(0, NAN))), "--teacher-r"),
        (lambda: DepthUnits(max_depth_m=NAN), "--max-depth"),
        (lambda: import_rgbd(Path("x"), Path("y"), seed=2**64), "--seed"),
        (lambda: split_by_sample(Path("x"), shares=(NAN, 0, 1), seed=0), "--shares"),
        (lambda: split_by_sample(Path("x"), shares=(0, 0, 1), seed=-1), "--seed"),
    ],
)
def test_settings_check_their_own_numbers(make, flag: str) -> None:
    with pytest.raises(DsetkitError, match=f"^{flag}.*: expected a|^{flag}.*: expected auto"):
        make()


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"num_samples": 10**400}, "--num-samples"),
        ({"seed": 2**64}, "--seed"),
    ],
)
def test_generate_checks_numbers_before_it_reads_a_file(
    changed: dict, flag: str, tmp_path: Path
) -> None:
    places = {name: tmp_path / name for name in ("foregrounds", "backgrounds", "output")}
    with pytest.raises(DsetkitError, match=f"^{flag} .*: expected a whole number"):
        generate(**places, **changed)
    assert not list(tmp_path.iterdir())


# ---- memory, environment -----------------------------------------------------------------------


def test_memory_is_estimated_before_it_is_taken(tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("foregrounds", "backgrounds", "output")}
    huge = {"canvas": Canvas(size=8192), "teacher": TeacherChoice(batch_size=10**6)}
    with pytest.raises(DsetkitError, match=r"--size 8192 with --batch-size 1000000.* GB is free"):
        generate(**places, **huge, spread=Spread(workers=0))
    with pytest.raises(DsetkitError, match=r"--teacher-size 8192 with .* needs at least .* GB"):
        TeacherChoice(options=TeacherOptions(size=8192), batch_size=10**6)


def test_what_fits_into_memory_is_no_error() -> None:
    check_memory(1000, what="a thing", advice="", available=1000)
    with pytest.raises(DsetkitError, match=r"a thing needs .* 3\.0 GB .* 2\.0 GB is free: sell it"):
        check_memory(3e9, what="a thing", advice="sell it", available=2_000_000_000)
    check_memory(1000, what="a thing", advice="")  # of this machine


@pytest.mark.parametrize("text", ["9" * 400, "1" * 5000, "nan", "-1", "x", "1.5"])
def test_a_number_in_the_environment_is_checked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NUMBER", text)
    with pytest.raises(DsetkitError, match="^environment variable SOME_NUMBER: expected") as caught:
        from_environment("SOME_NUMBER", Whole(0, 9))
    assert len(str(caught.value)) < 200


def test_a_variable_that_is_not_set_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_NUMBER", raising=False)
    assert from_environment("SOME_NUMBER", Whole(0, 9)) is None
    monkeypatch.setenv("SOME_NUMBER", "")
    assert from_environment("SOME_NUMBER", Whole(0, 9)) is None
    monkeypatch.setenv("SOME_NUMBER", "7")
    assert from_environment("SOME_NUMBER", Whole(0, 9)) == 7


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, "9" * 400) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")),
        *((name, "x") for name in ("RANK", "WORLD_SIZE", "MASTER_PORT")),
        ("RANK", "2"),
        ("WORLD_SIZE", "-2"),
    ],
)
def test_what_a_launcher_sets_is_checked_before_a_process_group_is_joined(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for variable, value in (sound | {name: text}).items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(DsetkitError, match=f"^environment variable {name}: expected"):
        ranks.join()


@pytest.mark.parametrize("text", ["9" * 400, "1e400", "nan", "-1", "x", "1" * 5000, "²"])
def test_a_size_in_bytes_is_bounded(text: str) -> None:
    with pytest.raises(DsetkitError, match="is no size: expected bytes") as caught:
        parse_bytes(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["9" * 400, "1" * 5000, "0", "x", "²", ""])
def test_a_number_of_threads_that_is_none_is_ignored(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert 1 <= default_threads() <= os.cpu_count()


# ---- examples ----------------------------------------------------------------------------------


def test_every_verb_has_an_example_that_its_parser_takes() -> None:
    verbs = next(a for a in build_parser()._actions if isinstance(a.choices, dict)).choices
    assert set(EXAMPLES) == set(verbs)
    for name, example in EXAMPLES.items():
        words = example.split()
        assert words[0] == name
        build_parser().parse_args(words)
        assert f"dsetkit {example}" in verbs[name].format_help()
