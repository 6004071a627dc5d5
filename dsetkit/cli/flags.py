"""How a verb is added to the command line; flags and answers that several verbs have."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from dsetkit.arguments import path
from dsetkit.cli.examples import EXAMPLES
from dsetkit.errors import DsetkitError
from dsetkit.store import SPLITS, is_remote

REASONS_SHOWN = 10  # of pictures that are left out
# argparse has no public name for this class.
Verbs = argparse._SubParsersAction
Verb = Callable[[argparse.Namespace], None]
AddArgument = Callable[..., argparse.Action]


def add_verb(verbs: Verbs, name: str, verb: Verb, description: str) -> argparse.ArgumentParser:
    """Adds a verb.

    Args:
        verbs: The parser's verbs.
        name: Name of the verb, a key of EXAMPLES.
        verb: Called with the parsed arguments.
        description: One line for --help.
    """
    parser = verbs.add_parser(
        name,
        help=description,
        description=description,
        epilog=f"example:\n  dsetkit {EXAMPLES[name]}",
        formatter_class=_HelpFormatter,
    )
    parser.set_defaults(verb=verb)
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Shows defaults where a text does not say them; keeps the lines of an example."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if not action.help or "(default" in action.help or default in (None, argparse.SUPPRESS):
            return action.help
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        if isinstance(default, bool) or not shown:
            return action.help
        return f"{action.help} (default: {shown})"


def add_dataset_verb(
    verbs: Verbs, name: str, verb: Verb, description: str, *, reads_addresses: bool = True
) -> argparse.ArgumentParser:
    """Adds a verb that reads one dataset, `args.dataset`.

    Args:
        verbs: The parser's verbs.
        name: Name of the verb.
        verb: Called with the parsed arguments.
        description: One line for --help.
        reads_addresses: Whether `args.dataset` may be an address in object storage, which stays
            text; otherwise it is always a Path.
    """
    parser = add_verb(verbs, name, verb, description)
    text = "the dataset's directory" + (", or its address (s3://...)" if reads_addresses else "")
    kind = directory_or_address if reads_addresses else Path
    parser.add_argument("dataset", type=kind, metavar="DATASET", help=text)
    return parser


def directory_or_address(text: str) -> Path | str:
    """A directory as a Path; an address as text, because a Path would lose one of its slashes."""
    return text if is_remote(text) else path(text)


def add_layout_flags(add: AddArgument, *, default: str | None) -> None:
    """Adds --layout and --codec; a `default` of None keeps the layout of a dataset."""
    add(
        "--layout",
        default=default,
        choices=("rendered", "recipe"),
        help="rendered: composite and mask are stored, any LMDB program can read them; recipe: "
        "they are composited when they are read, which is several times smaller and faster"
        + ("" if default else " (default: the dataset's own)"),
    )
    add(
        "--codec",
        type=_field_codec,
        nargs="+",
        metavar="FIELD=NAME",
        help="composite=jpeg95|jpeg95+half|png, mask=png8|zstd8, depth=png16|zstd16|pco16 "
        "(default: jpeg95, png8, png16; pco16 in the recipe layout)",
    )


def _field_codec(text: str) -> tuple[str, str]:
    field, equals, name = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: expected FIELD=NAME, as in mask=zstd8")
    return field, name


def add_split_choice(add: AddArgument) -> None:
    """Adds --split."""
    add("--split", choices=tuple(SPLITS), help="only samples of this split (default: all)")


def refuse_flags(args: argparse.Namespace, names: Sequence[str], *, without: str) -> None:
    """Refuses flags that mean nothing without another.

    Args:
        args: The parsed arguments; a flag that is not given is None there.
        names: The flags, as attributes of `args`.
        without: The flag that they need, as it is written.

    Raises:
        DsetkitError: One of them is given.
    """
    for name in names:
        if getattr(args, name) is not None:
            raise DsetkitError(f"--{name.replace('_', '-')} needs {without}")


def print_left_out(reasons: Sequence[str]) -> None:
    """Prints the first of the reasons for which --skip-bad has left pictures out."""
    for reason in reasons[:REASONS_SHOWN]:
        print(f"left out: {reason}")
    if len(reasons) > REASONS_SHOWN:
        print(f"... and {len(reasons) - REASONS_SHOWN:,} more")
