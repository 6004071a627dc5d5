"""Builds the documentation site into site/: the pages of docs/, and what the code itself tells.

    python -m tools.build_site                    # what `make docs` does
    python -m tools.build_site --pages DIR        # only the pages, without HTML

The pages of docs/ are written for readers of the repository: their links go to files of it. For
the site they are copied to build/site-pages, where

- a line `<!-- reference: NAME -->` becomes that part of the command line reference;
- CONTRIBUTING.md, CHANGELOG.md and the card of the bundled teacher become pages;
- other files that a page links to, scripts and notebooks, are copied below `files/`.

Zensical then makes HTML of them. A broken link or anchor ends the build. The site can be read from
the disk: its search needs no server and no network.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

from dsetkit.arguments import Parser
from tools.command_reference import sections

REPOSITORY = Path(__file__).parents[1]
DOCS = PurePosixPath("docs")
PAGES = REPOSITORY / "build" / "site-pages"  # `docs_dir` of zensical.toml
SITE = REPOSITORY / "site"
# Pages of the site that lie elsewhere in the repository.
PLACES = {
    PurePosixPath("CONTRIBUTING.md"): PurePosixPath("contributing.md"),
    PurePosixPath("CHANGELOG.md"): PurePosixPath("changelog.md"),
    PurePosixPath("dsetkit/teachers/BUNDLED.md"): PurePosixPath("bundled-teacher.md"),
    PurePosixPath("dsetkit/predicting/BUNDLED_MASK.md"): PurePosixPath("bundled-mask.md"),
    PurePosixPath("README.md"): PurePosixPath("index.md"),
}
FILES = PurePosixPath("files")  # folder of the site for files that are no pages
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
MARK = re.compile(r"^<!-- reference: (\w+) -->$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|(?:^ {4}[^\n]*\n)+|`[^`]+`", re.MULTILINE | re.DOTALL)
# Browsers start no worker from a page on the disk; this stands in for one (iframe-worker, MIT).
SHIM_ADDRESS = "https://unpkg.com/iframe-worker/shim"
SHIM = REPOSITORY / "docs" / "assets" / "iframe-worker.js"


def main() -> None:
    parser = Parser(
        prog="python -m tools.build_site",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pages", type=Path, metavar="DIR", help="write only the pages, there")
    args = parser.parse_args()
    if args.pages:
        write_pages(args.pages)
        return
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    write_pages(PAGES)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if status := subprocess.run(command, cwd=REPOSITORY).returncode:
        sys.exit(status)
    read_from_disk(SITE)
    print(f"site: open {SITE.relative_to(REPOSITORY) / 'index.html'}")


def write_pages(output: Path) -> None:
    """Writes the pages of the site and the files that they show or link to."""
    texts = pages()
    for source, text in texts.items():
        _write(output / place_of(source), outside_code(text, partial(relink, source=source)))
    shown = {PurePosixPath(path.relative_to(REPOSITORY)) for path in _files(REPOSITORY / DOCS)}
    linked = {
        file
        for source, text in texts.items()
        for link in links(text)
        if (file := file_of(link, source)) is not None
    }
    for file in (shown | linked) - texts.keys():
        target = output / place_of(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, target)


def pages() -> dict[PurePosixPath, str]:
    """The texts of all pages by their files in the repository, with the reference in its place."""
    reference = sections()
    sources = [PurePosixPath(path.relative_to(REPOSITORY)) for path in _files(REPOSITORY / DOCS)]
    sources = [source for source in sources if source.suffix == ".md"]
    return {
        source: MARK.sub(
            lambda found: reference[found.group(1)], (REPOSITORY / source).read_text("utf-8")
        )
        for source in [*sources, *PLACES]
        if source.name != "README.md"  # docs/index.md has its place
    }


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def links(text: str) -> list[str]:
    """The targets of the links and pictures of a page, those in code left out."""
    return LINK.findall(outside_code(text, str, code=""))


def relink(text: str, source: PurePosixPath) -> str:
    """A page's text with its links as the site has them."""

    def moved(found: re.Match[str]) -> str:
        target, _, anchor = found.group().partition("#")
        if not target or "://" in target:
            return found.group()
        here = place_of(source).parent
        there = os.path.relpath(place_of(resolved(target, source)), here)
        return f"{there}#{anchor}" if anchor else there

    return LINK.sub(moved, text)


def place_of(source: PurePosixPath) -> PurePosixPath:
    """Where the site has a file of the repository."""
    if source.is_relative_to(DOCS):
        return source.relative_to(DOCS)
    return PLACES.get(source, FILES / source)


def resolved(target: str, source: PurePosixPath) -> PurePosixPath:
    """The file of the repository that a link of a page goes to."""
    return PurePosixPath(os.path.normpath(source.parent / target))


def file_of(link: str, source: PurePosixPath) -> PurePosixPath | None:
    """The file of the repository that a link needs below `files/`, if it does."""
    target = link.partition("#")[0]
    if not target or "://" in target:
        return None
    path = resolved(target, source)
    return path if place_of(path).is_relative_to(FILES) else None


def outside_code(text: str, change: Callable[[str], str], *, code: str | None = None) -> str:
    """A page's text with `change` applied to everything but code, which `code` may replace."""
    parts = list[str]()
    end = 0
    for found in CODE.finditer(text):
        parts += [change(text[end : found.start()]), found.group() if code is None else code]
        end = found.end()
    return "".join([*parts, change(text[end:])])


def read_from_disk(site: Path) -> None:
    """Makes the search of a site work without a server and without a network."""
    for page in site.rglob("*.html"):
        base = os.path.relpath(site, page.parent)
        html = page.read_text("utf-8")
        _write(page, html.replace(SHIM_ADDRESS, f"{base}/assets/{SHIM.name}"))


if __name__ == "__main__":
    main()
