"""Writes the tables of benchmarks/results into the documents.

    python -m benchmarks.documents            after a benchmark has written its JSON
    python -m benchmarks.documents --check    names the tables that differ, and changes nothing

In a document a table stands between two lines:

    <!-- table: NAME -->
    ...
    <!-- end of table -->

NAME is one of `benchmarks.tables.TABLES`. Below the table a line says which JSON it is from, and
at which commit that was made. A table whose JSON nobody has made yet stays as it was written by
hand, and the line says so.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from benchmarks.common import RESULTS
from benchmarks.provenance import REPOSITORY
from benchmarks.stages import stage_of
from benchmarks.tables import TABLES, Table
from dsetkit.arguments import Parser
from dsetkit.errors import RunError
from dsetkit.files import write_whole

PLACES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "dsetkit/**/BUNDLED*.md")
BLOCK = re.compile(
    r"^<!-- table: (?P<name>[^\n]+) -->\n(?P<content>.*?)^<!-- end of table -->$",
    re.MULTILINE | re.DOTALL,
)
ROWS = re.compile(r"^\|.*^\|[^\n]*$", re.MULTILINE | re.DOTALL)  # first to last row
COMMIT_LETTERS = 10


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; status 2 on a change")
    args = parser.parse_args()
    differing = []
    for document in documents():
        text = document.read_text("utf-8")
        made = with_tables(text)
        if text == made:
            continue
        differing.append(str(document.relative_to(REPOSITORY)))
        if not args.check:
            write_whole(document, made.encode())
    if args.check and differing:
        parser.error(f"{', '.join(differing)}: python -m benchmarks.documents makes them anew")
    print("\n".join(differing) or "all tables are as the JSON says")


def documents() -> list[Path]:
    """Return the files that may hold tables."""
    return [path for place in PLACES for path in sorted(REPOSITORY.glob(place))]


def with_tables(text: str, results: Path = RESULTS) -> str:
    """Return a document with its tables made anew from the JSON in a folder.

    Raises:
        RunError: It names a table that there is not.
    """

    def made(block: re.Match) -> str:
        name = block["name"]
        if name not in TABLES:
            raise RunError(f"no table is called {name}: expected {', '.join(TABLES)}")
        rows = rows_of(TABLES[name], block["content"], results)
        source = source_of(TABLES[name], results)
        content = f"{rows}\n\n{source}\n" if source else f"{rows}\n"
        return f"<!-- table: {name} -->\n\n{content}\n<!-- end of table -->"

    return BLOCK.sub(made, text)


def rows_of(table: Table, written: str, results: Path) -> str:
    """Return a table from its JSON, or, if there is none, as it is written."""
    if is_measured(table, results):
        return table.make(*(_content(results, name) for name in table.results))
    found = ROWS.search(written)
    if found is None:
        raise RunError(f"neither a table nor its JSON: {', '.join(table.results)}")
    return found[0]


def source_of(table: Table, results: Path) -> str:
    """Return the line that says where a table is from, or nothing."""
    if not (table.results and table.has_source):
        return ""
    if not is_measured(table, results):
        stage = stage_of(table.results[0])
        return (
            "Measured by hand with the commands shown, commit not recorded; "
            f"`benchmarks.reproduce --only {stage}` makes it anew."
        )
    files = " and ".join(f"`{name}.json`" for name in table.results)
    commits = dict.fromkeys(
        commit for name in table.results for commit in _commits(_content(results, name))
    )
    return f"From {files}, {' and '.join(commits)}."


def is_measured(table: Table, results: Path) -> bool:
    return all((results / f"{name}.json").exists() for name in table.results)


def _content(results: Path, name: str) -> dict:
    return json.loads((results / f"{name}.json").read_text("utf-8"))


def _commits(content: dict) -> list[str]:
    """Those of the rows, where rows were added one by one, or that of the whole content."""
    rows = [row for row in content.get("rows", []) if isinstance(row, dict) and "made" in row]
    return list(dict.fromkeys(map(_commit, rows or [content])))


def _commit(content: dict) -> str:
    made = content.get("made", {})
    if not made.get("commit"):
        return "commit not recorded"
    changed = " with changes" if made["dirty"] else ""
    return f"commit {made['commit'][:COMMIT_LETTERS]}{changed}"


def names_in(texts: Iterable[str]) -> list[str]:
    """Return the names of the tables of documents, in their order."""
    return [block["name"] for text in texts for block in BLOCK.finditer(text)]


if __name__ == "__main__":
    main()
