"""The `dsetkit` command: a parser with all verbs."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from dsetkit.arguments import Parser
from dsetkit.cli.dataset_verbs import add_dataset_verbs
from dsetkit.cli.making_verbs import add_making_verbs
from dsetkit.cli.predict_verb import add_predict_verb
from dsetkit.cli.teacher_verbs import add_teacher_verbs
from dsetkit.console import BEGINS_ANEW, GOES_ON, run
from dsetkit.stopping import leave
from dsetkit.version import VERSION

SHELLS = ("bash", "zsh", "fish")
# What a verb ends with when it is interrupted, if the same command does not begin anew.
ON_INTERRUPT = {
    **dict.fromkeys(("generate", "relabel", "import-rgbd", "import-images"), GOES_ON),
    **dict.fromkeys(("cut-outs", "convert", "merge", "export"), GOES_ON),
    "demo": "interrupted; it begins anew in a folder of its own: remove this one, or choose "
    "another --output",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and calls the verb."""
    args = build_parser().parse_args(argv)
    args.verb(args)


def build_parser() -> Parser:
    """The parser of all verbs."""
    parser = Parser(
        prog="dsetkit",
        description="Makes LMDB datasets of composites, masks and depths from two folders of "
        "pictures, and reads, checks and converts them.",
    )
    parser.add_argument("--version", action="version", version=f"dsetkit {VERSION}")
    parser.add_argument(
        "--completion",
        action=_Completion,
        choices=SHELLS,
        help="print what makes a shell complete verbs, flags and files: "
        "`dsetkit --completion bash >> ~/.bashrc`",
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    add_making_verbs(verbs)
    add_teacher_verbs(verbs)
    add_dataset_verbs(verbs)
    add_predict_verb(verbs)
    return parser


class _Completion(argparse.Action):
    """Prints the code of a shell and ends, as --version does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        import argcomplete

        print(argcomplete.shellcode(["dsetkit"], shell=values))
        parser.exit()


def entry_point() -> NoReturn:
    """The installed `dsetkit` command."""
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could follow
        import argcomplete

        argcomplete.autocomplete(build_parser())
    verb = next(iter(sys.argv[1:]), "")
    leave(run(main, on_interrupt=ON_INTERRUPT.get(verb, BEGINS_ANEW)))
