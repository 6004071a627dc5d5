"""The command line reference says what the parsers say."""

import argparse
from pathlib import Path

import pytest

from dsetkit.arguments import Parser, Real, Whole
from tools.command_reference import _section, sections, verbs

SECTIONS = sections()


def rows(parser: argparse.ArgumentParser) -> list[list[str]]:
    """The cells of each flag of a parser."""
    lines = _section("x", parser).splitlines()
    lines = [line for line in lines if line.startswith("| ") and not line.startswith("| flag")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("verb", verbs())
def test_every_flag_of_a_verb_has_a_row(verb: str) -> None:
    section = SECTIONS["verbs"].split(f"## {verb}\n")[1].split("\n## ")[0]
    for flag in set(verbs()[verb]._option_string_actions) - {"-h", "--help"}:
        assert f"`{flag}`" in section
    assert f"python -m dsetkit {verb}" in section


def test_values_show_bounds_units_and_defaults() -> None:
    parser = Parser()
    parser.add_argument("--side", type=Whole(16, 8192, "px"), default=224, help="a side [px]")
    parser.add_argument("--share", type=Real(0, 1, above=True), help="of <all> | none (default: 1)")
    parser.add_argument("--many", type=Whole(1, 10**12), nargs="+", required=True)
    parser.add_argument("--seed", type=Whole(0, 2**64), default=0)
    parser.add_argument("--kind", choices=("a", "b"), default="a")
    parser.add_argument("--fast", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("file", type=Path)
    assert rows(parser) == [
        ["`file`", "`FILE`", "required", ""],
        ["`--side`", r"integer ≥ 16, ≤ 8,192 \[px\]", "`224`", r"a side \[px\]"],
        ["`--share`", "number &gt; 0, ≤ 1", "1", r"of &lt;all&gt; \| none"],
        ["`--many`", "several: integer ≥ 1", "required", ""],
        ["`--seed`", "integer ≥ 0", "`0`", ""],
        ["`--kind`", "`a`, `b`", "`a`", ""],
        ["`--fast`, `--no-fast`", "", "`--fast`", ""],
    ]


def test_groups_and_choices_of_one_are_told() -> None:
    parser = Parser(description="do it")
    either = parser.add_mutually_exclusive_group(required=True)
    either.add_argument("--this", action="store_true")
    either.add_argument("--that", action="store_true")
    parser.add_argument_group("speed").add_argument("--amp")
    section = _section("x", parser)
    assert "Do it." in section
    assert "Exactly one of `--this`, `--that`." in section
    assert "**Speed**" in section
