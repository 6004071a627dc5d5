"""Every relative link and anchor of README, docs/ and the pages of the site resolves."""

import re
import tomllib
from collections import Counter
from pathlib import PurePosixPath

import pytest

from tests.docs.commands import FENCED, INDENTED, documents
from tools.build_site import PLACES, REPOSITORY, links, pages, place_of, resolved

PAGES = documents()
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
LONGEST_README, LONGEST_TREE = 120, 20  # lines


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found = set[str]()
    seen = Counter[str]()
    for heading in HEADING.findall(FENCED.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_go_to_files_and_headings_that_are_there(page: PurePosixPath) -> None:
    for link in links(PAGES[page]):
        target, _, anchor = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = resolved(target, page) if target else page
        assert (REPOSITORY / file).is_file(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(PAGES[file]), f"{page}: {link}"


def test_the_navigation_has_every_page_once() -> None:
    project = tomllib.loads((REPOSITORY / "zensical.toml").read_text("utf-8"))["project"]

    def files(entries: list) -> list[str]:
        found = []
        for entry in entries:
            (target,) = entry.values()
            found += [target] if isinstance(target, str) else files(target)
        return found

    assert sorted(files(project["nav"])) == sorted(str(place_of(page)) for page in pages())


def test_the_site_has_one_place_for_each_page() -> None:
    places = [place_of(page) for page in (*pages(), *PLACES) if page.name != "README.md"]
    assert len(set(places)) == len({*pages(), *PLACES} - {PurePosixPath("README.md")})


def test_anchors_are_those_of_headings() -> None:
    text = "# One `two`\n\n## A, b: c (`--d`)\n\n```\n# no\n```\n\n## One two\n"
    assert anchors(text) == {"one-two", "a-b-c---d", "one-two-1"}


def test_links_in_code_are_none() -> None:
    text = "[a](b.md)\n\n```\n[c](d.md)\n```\n\n    [e](f.md)\n\n`[g](h.md)` ![i](j.jpg)\n"
    assert links(text) == ["b.md", "j.jpg"]


def test_the_readme_is_short_and_shows_the_tree_of_the_repository() -> None:
    readme = PAGES[PurePosixPath("README.md")]
    lines = [line for line in readme.splitlines() if not line.startswith("<!--")]
    assert len(lines) <= LONGEST_README
    (tree,) = INDENTED.findall(readme.split("## The repository")[1])
    assert len(tree.splitlines()) <= LONGEST_TREE
    top = {path.name for path in REPOSITORY.iterdir() if path.is_dir()}
    packages = {path.parent.name for path in (REPOSITORY / "dsetkit").glob("*/__init__.py")}
    named = set(re.findall(r"([\w]+)/", tree))
    assert packages <= named
    assert named <= packages | top
