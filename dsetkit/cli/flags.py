"""What the verbs of the command line share: how one is added, and flags that several have."""

import argparse
from collections.abc import Callable
from pathlib import Path

from dsetkit.store import SPLITS, is_remote

Verbs = argparse._SubParsersAction  # argparse has no public name for it
Verb = Callable[[argparse.Namespace], None]
AddArgument = Callable[..., argparse.Action]


def add_verb(verbs: Verbs, name: str, verb: Verb, description: str) -> argparse.ArgumentParser:
    """Adds a verb: `verb` is called with the parsed arguments."""
    parser = verbs.add_parser(
        name, help=description, description=description, formatter_class=_HelpFormatter
    )
    parser.set_defaults(verb=verb)
    return parser


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, but for those that say nothing."""

    def _get_help_string(self, action: argparse.Action) -> str:
        says_nothing = action.default is None or action.default is False
        return action.help if says_nothing else super()._get_help_string(action)


def add_dataset_verb(
    verbs: Verbs, name: str, verb: Verb, description: str, *, reads_addresses: bool = True
) -> argparse.ArgumentParser:
    """Adds a verb of one dataset: `args.dataset` is its directory, or its address as text."""
    parser = add_verb(verbs, name, verb, description)
    told = "the dataset's directory" + (", or its address (s3://...)" if reads_addresses else "")
    place = directory_or_address if reads_addresses else Path
    parser.add_argument("dataset", type=place, metavar="DATASET", help=told)
    return parser


def directory_or_address(text: str) -> Path | str:
    """An address stays text: a Path would lose one of its slashes."""
    return text if is_remote(text) else Path(text)


def add_layout_flags(add: AddArgument, *, default: str | None) -> None:
    """--layout and --codec."""
    add(
        "--layout",
        default=default,
        choices=("rendered", "recipe"),
        help="rendered: composite and mask are stored, any LMDB program reads them; recipe: they "
        "are drawn again at reading, several times smaller and faster"
        + ("" if default else " (default: as it was)"),
    )
    add(
        "--codec",
        type=_field_codec,
        nargs="+",
        metavar="FIELD=NAME",
        help="composite=jpeg95|png, mask=png8|zstd8, depth=png16|zstd16|pco16 "
        "(default: jpeg95, png8, png16; of recipe: pco16)",
    )


def _field_codec(text: str) -> tuple[str, str]:
    field, is_there, name = text.partition("=")
    if not is_there:
        raise argparse.ArgumentTypeError(f"{text}: expected FIELD=NAME, as in mask=zstd8")
    return field, name


def add_split_choice(add: AddArgument) -> None:
    add("--split", choices=tuple(SPLITS), help="of its samples only (default: all splits)")


def at_least_1(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of at least 1")
    return int(text)
