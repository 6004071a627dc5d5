"""What a reader types after README and docs/ is what the parsers accept."""

import argparse
import ast
import importlib
import re
from pathlib import PurePosixPath

import pytest

from dsetkit.cli.main import build_parser as build_verbs
from tests.docs.commands import blocks, commands, documents, inline
from tools.build_site import REPOSITORY
from tools.command_reference import SCRIPTS, TOOLS, script, verbs

PAGES = documents()
FLAG = re.compile(r"--[a-z][a-z0-9-]*")
# Flags of other programs and of examples that pages name in their text.
OTHERS = {"--nproc-per-node", "--fuzz-inputs", "--help", "--version", "--smoke"}


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser | None, list[str]]:
    """The parser that a command is for, and the words that are for it; None for other programs."""
    if words[:3] == ["python", "-m", "dsetkit"]:
        return build_verbs(), words[3:]
    if words[:2] == ["python", "-m"]:
        return (script(words[2]) if words[2] in TOOLS else None), words[3:]
    for place, word in enumerate(words):
        name = word.removesuffix(".py")
        if word.endswith(".py") and name in SCRIPTS:
            return script(name), words[place + 1 :]
        if word == "predict.py":
            return build_verbs(), ["predict", *words[place + 1 :]]
    return None, []


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return set(parser._option_string_actions)


ALL_FLAGS = (
    OTHERS.union(*(flags_of(parser) for parser in verbs().values()))
    | flags_of(build_verbs()).union(*(flags_of(script(name)) for name in (*SCRIPTS, *TOOLS)))
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_of_a_page_is_accepted(
    page: PurePosixPath, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in commands(PAGES[page]):
        parser, rest = parser_of(words)
        if parser is None or "--help" in rest or rest[:1] in (["VERB"], ["--completion"]):
            continue
        try:
            parser.parse_args(rest)
        except SystemExit:
            pytest.fail(f"{page}: {' '.join(words)}\n{capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_scripts_and_modules_of_commands_are_there(page: PurePosixPath) -> None:
    for words in commands(PAGES[page]):
        for word in words:
            if word.endswith(".py"):
                assert (REPOSITORY / word).is_file(), word
        if words[:2] == ["python", "-m"] and words[2].partition(".")[0] in ("benchmarks", "tools"):
            assert (REPOSITORY / f"{words[2].replace('.', '/')}.py").is_file(), words[2]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_flag_that_a_page_names_is_a_flag(page: PurePosixPath) -> None:
    if page.name == "CHANGELOG.md":  # names flags that are gone
        return
    for code in inline(PAGES[page]):
        if "benchmarks" in code or "pip" in code.split():
            continue
        known = ALL_FLAGS
        words = [word for word in code.split() if word not in ("python", "-m", "dsetkit")]
        if words and words[0] in verbs():
            known = flags_of(verbs()[words[0]]) | OTHERS
        assert set(FLAG.findall(code)) <= known, code


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_python_examples_compile_and_import_what_there_is(page: PurePosixPath) -> None:
    for block in blocks(PAGES[page], "python"):
        for node in ast.walk(ast.parse(block)):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            if node.module.partition(".")[0] in ("dsetkit", "models", "training"):
                module = importlib.import_module(node.module)
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module}.{name.name}"


def test_the_small_path_is_among_the_commands() -> None:
    told = [" ".join(words) for words in commands(PAGES[PurePosixPath("README.md")])]
    for name in ("generate", "train_mask.py", "predict.py", "evaluate_depth.py", "report"):
        assert any(name in line for line in told), name


def test_loops_and_variables_of_a_block_are_expanded() -> None:
    block = '```bash\nmore="--size 64"\nfor n in 1 2; do\n    python -m x $more --n $n\ndone\n```\n'
    line = "python -m x --size 64 --n"
    assert [" ".join(words) for words in commands(block)] == [f"{line} 1", f"{line} 2"]


def test_commands_in_the_background_do_not_mix_with_others() -> None:
    block = "```bash\nfor n in {1..200}; do python -m x --n $n & done\npython -m y\n```\n"
    found = commands(block)
    assert ["python", "-m", "y"] in found and len(found) == 201
    assert {words[-1] for words in found} == {"y", *map(str, range(1, 201))}


def test_a_block_cannot_run_a_program_or_write_a_file() -> None:
    block = "```bash\npython -m x > file\n/bin/touch file\nls\npython -m y\n```\n"
    assert commands(block) == [["python", "-m", "y"]]
