"""The documentation site: pages are moved with their links, and the build is strict."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from tools.build_site import (
    DOCS,
    PLACES,
    REPOSITORY,
    SHIM,
    SHIM_ADDRESS,
    outside_code,
    read_from_disk,
    relink,
    write_pages,
)

GUIDE = PurePosixPath("docs/guides/a.md")


@pytest.mark.parametrize(
    ("link", "moved"),
    [
        ("b.md", "b.md"),
        ("../results.md#speed", "../results.md#speed"),
        ("#here", "#here"),
        ("https://example.org/x", "https://example.org/x"),
        ("../../CONTRIBUTING.md#tests", "../contributing.md#tests"),
        ("../../dsetkit/teachers/BUNDLED.md", "../bundled-teacher.md"),
        ("../../examples/train_plain.py", "../files/examples/train_plain.py"),
    ],
)
def test_links_of_a_page_go_where_the_site_has_the_file(link: str, moved: str) -> None:
    assert relink(f"[a]({link})", GUIDE) == f"[a]({moved})"


def test_links_of_pages_outside_docs_go_into_the_site() -> None:
    text = "[a](docs/explanation/architecture.md)"
    assert relink(text, PurePosixPath("CONTRIBUTING.md")) == "[a](explanation/architecture.md)"


def test_code_stays_as_it_is() -> None:
    text = "a `a` a\n\n```\na\n```\n\n    a\n\na\n"
    assert outside_code(text, str.upper) == "A `a` A\n\n```\na\n```\n\n    a\n\nA\n"


def test_pages_hold_the_reference_and_the_files_that_they_link_to(tmp_path: Path) -> None:
    write_pages(tmp_path)
    for source in (REPOSITORY / DOCS).rglob("*.md"):
        assert (tmp_path / source.relative_to(REPOSITORY / DOCS)).is_file()
    assert {str(page) for page in PLACES.values()} <= {path.name for path in tmp_path.iterdir()}
    assert "`--foregrounds`" in (tmp_path / "reference" / "command-line.md").read_text()
    assert "`--img-sizes`" in (tmp_path / "reference" / "scripts.md").read_text()
    assert (tmp_path / "files" / "examples" / "train_plain.py").is_file()
    assert not [path for path in tmp_path.rglob("*.md") if "<!-- reference" in path.read_text()]


def test_the_search_needs_no_network(tmp_path: Path) -> None:
    page = tmp_path / "guides" / "a.html"
    page.parent.mkdir()
    page.write_text(f'<script src="{SHIM_ADDRESS}"></script>')
    read_from_disk(tmp_path)
    assert page.read_text() == f'<script src="../assets/{SHIM.name}"></script>'


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("zensical", "mkdocstrings"))),
    reason="needs zensical and mkdocstrings: pip install '.[docs]'",
)
def test_the_site_builds_without_a_warning_and_a_broken_link_ends_it(tmp_path: Path) -> None:
    copy = tmp_path / "dsetkit"
    left_out = shutil.ignore_patterns(".venv", ".git", "build", "site", ".cache", "__pycache__")
    shutil.copytree(REPOSITORY, copy, ignore=left_out)
    command = [sys.executable, "-m", "tools.build_site"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    html = {path: path.read_text() for path in (copy / "site").rglob("*.html")}
    assert len(html) > 25
    elsewhere = re.compile(r'(?:src|<link[^>]*href)="https?:')
    assert not [path for path, text in html.items() if elsewhere.search(text)]  # nothing is fetched
    assert (copy / "site" / "search.js").is_file()
    assert (copy / "site" / "assets" / SHIM.name).is_file()
    assert "make_loader" in (copy / "site" / "reference" / "python.html").read_text()
    page = copy / "docs" / "index.md"
    page.write_text(page.read_text() + "\n[gone](results.md#no-such-heading)\n")
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode != 0
