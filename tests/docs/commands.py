"""The commands, flags and Python examples of README and docs/, as a reader would type them."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath

from tools.build_site import REPOSITORY, pages

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}[^\n]*\n)+")
INLINE = re.compile(r"`([^`]+)`")
# Words are printed in place of being run: bash itself expands variables and goes through loops.
# A restricted shell without a PATH can neither run a program nor write a file. A command is written
# at once, so that those in the background do not mix with others.
SHELL = """
say() { local IFS=$'\\037'; printf '%s\\036' "$*"; }
python() { say python "$@"; }
torchrun() { say torchrun "$@"; }
dsetkit() { say python -m dsetkit "$@"; }
"""


@cache
def documents() -> dict[PurePosixPath, str]:
    """All pages by their file in the repository, README first."""
    readme = PurePosixPath("README.md")
    return {readme: (REPOSITORY / readme).read_text("utf-8"), **pages()}


def blocks(text: str, *languages: str) -> Iterator[str]:
    """The blocks of code in some languages; "" stands for indented blocks."""
    for language, block in FENCED.findall(text):
        if language in languages:
            yield block
    if "" in languages:
        for block in INDENTED.findall(FENCED.sub("", text)):
            yield re.sub(r"^ {4}", "", block, flags=re.MULTILINE)


@cache
def commands(text: str) -> list[list[str]]:
    """The words of every command of dsetkit, of a script, a tool or torchrun in a page's blocks."""
    found = []
    for block in blocks(text, "bash", ""):
        if not re.search(r"^\s*(python|torchrun|dsetkit|\w+=)", block, re.MULTILINE):
            continue
        done = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "--restricted", "-c", SHELL + block],
            capture_output=True,
            text=True,
            env={"PATH": ""},
            cwd="/",
            timeout=60,
        )
        lines = done.stdout.split("\x1e")[:-1]
        found += [line.split("\x1f") for line in lines]
    return found


def inline(text: str) -> list[str]:
    """What stands between backticks, outside blocks."""
    plain = INDENTED.sub("", FENCED.sub("", text))
    return [" ".join(found.split()) for found in INLINE.findall(plain)]
