"""Writes the command line reference: every verb and script with its flags, from their parsers.

    python -m tools.command_reference             # all of it, to read in a terminal

`tools.build_site` puts it into the pages of the site. What a flag accepts, its unit and its
default are read from the parser itself, so the reference cannot differ from `--help`.
"""

import argparse
import importlib
import os
import re
from collections.abc import Iterator
from functools import cache

from dsetkit.arguments import Real, Whole
from dsetkit.cli.main import build_parser as build_verbs

SCRIPTS = ("train_mask", "train_depth", "train_joint", "evaluate_mask", "evaluate_depth")
TOOLS = ("tools.average_models", "tools.score_teacher")
SHOWN_DEFAULT = re.compile(r"\s*\(default: (.+)\)$")
MET = 10**6  # bounds beyond it are there to catch slips of the keyboard
HEADER = "| flag | value | default | meaning |\n|---|---|---|---|\n"


def main() -> None:
    for text in sections().values():
        print(text)


@cache
def sections() -> dict[str, str]:
    """The parts of the reference by the name that a page asks for them."""
    return {
        "verbs": "\n".join(_section(name, parser) for name, parser in verbs().items()),
        "scripts": "\n".join(_section(f"{name}.py", script(name)) for name in SCRIPTS),
        "tools": "\n".join(_section(f"python -m {name}", script(name)) for name in TOOLS),
    }


@cache
def verbs() -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb of `dsetkit`, in alphabetical order."""
    actions = build_verbs()._actions  # argparse has no public list of them
    (choice,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))
    return dict(sorted(choice.choices.items()))


@cache
def script(name: str) -> argparse.ArgumentParser:
    """The parser of a script at the root, or of a tool, by the name of its module."""
    parser: argparse.ArgumentParser = importlib.import_module(name).build_parser()
    return parser


def _section(title: str, parser: argparse.ArgumentParser) -> str:
    """A heading, what the command does, an example, and a table for each group of flags."""
    lines = [f"## {title}", "", _cell(_sentence(parser.description or "")), ""]
    if parser.epilog:
        lines += ["```bash", *_example(parser.epilog), "```", ""]
    for choice in parser._mutually_exclusive_groups:
        flags = ", ".join(f"`{_name(action)}`" for action in choice._group_actions)
        count = "Exactly one" if choice.required else "At most one"
        lines += [f"{count} of {flags}.", ""]
    tables = dict[str, list[str]]()
    for group in parser._action_groups:
        title = "" if group.title in ("options", "positional arguments") else group.title or ""
        rows = [_row(parser, action) for action in group._group_actions if _is_shown(action)]
        tables.setdefault(title, []).extend(rows)
    for title, rows in tables.items():
        lines += [f"**{title.capitalize()}**", ""] if title and rows else []
        lines += [HEADER + "\n".join(rows), ""] if rows else []
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _example(epilog: str) -> Iterator[str]:
    """The commands of an epilog `example:\\n  dsetkit ...`, as a clone types them."""
    for line in epilog.splitlines()[1:]:
        yield re.sub(r"^\s*dsetkit ", "python -m dsetkit ", line)


def _is_shown(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = argparse.HelpFormatter(parser.prog)._expand_help(action) if action.help else ""
    found = SHOWN_DEFAULT.search(text)
    is_told = found is not None and found.group(1) != str(action.default)
    default = found.group(1) if found and is_told else _default(action)
    names = ", ".join(f"`{name}`" for name in action.option_strings or [_name(action)])
    meaning = _cell(SHOWN_DEFAULT.sub("", text))
    return f"| {names} | {_value(action)} | {_cell(default)} | {meaning} |"


def _name(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else str(action.metavar or action.dest)


def _value(action: argparse.Action) -> str:
    """What a flag accepts: nothing, names, or a number with its bounds and unit."""
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        kind = ", ".join(f"`{choice}`" for choice in action.choices)
    elif isinstance(action.type, Whole | Real):
        kind = _bounds(action.type)
    else:
        shown = action.metavar or action.dest.upper()
        kind = " ".join(f"`{word}`" for word in ([shown] if isinstance(shown, str) else shown))
    if action.nargs in ("+", "*"):
        return _cell(f"several: {kind}")
    if isinstance(action.nargs, int) and action.nargs > 1:
        return _cell(f"{action.nargs}: {kind}")
    return _cell(kind)


def _bounds(kind: Whole | Real) -> str:
    """The bounds and the unit of a number; a bound that nobody meets is left out."""
    name = "integer" if isinstance(kind, Whole) else "number"
    above, below = (kind.above, kind.below) if isinstance(kind, Real) else (False, False)
    low = f"{'>' if above else '≥'} {kind.low:,}"
    high = f"{'<' if below else '≤'} {kind.high:,}"
    bounds = [low] if kind.low > -MET else []
    bounds += [high] if kind.high < MET else []
    unit = f" [{kind.unit}]" if kind.unit else ""
    return f"{name} {', '.join(bounds)}".rstrip() + unit


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    if action.default is None or action.default is False:
        return ""
    if action.default in ([], argparse.SUPPRESS):
        return ""
    if action.dest in ("jobs", "workers") and action.default == os.cpu_count():
        return "one for each core"
    if action.default is True:
        return f"`{action.option_strings[0]}`"
    if isinstance(action.default, list | tuple):
        return " ".join(f"`{value}`" for value in action.default)
    return f"`{action.default}`"


def _cell(text: str) -> str:
    """Text as Markdown shows it in a cell: one line, without marks that would be read as others."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    for number in range(0, len(parts), 2):  # what is not code
        text = parts[number].replace("<", "&lt;").replace(">", "&gt;")
        parts[number] = re.sub(r"([*_\[\]])", r"\\\1", text)
    return "".join(parts).replace("|", "\\|")


if __name__ == "__main__":
    main()
