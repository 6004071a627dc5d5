"""The tables of the documents are those that the kept JSON gives."""

import json
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.common import RESULTS
from benchmarks.documents import BLOCK, documents, is_measured, names_in, with_tables
from benchmarks.provenance import REPOSITORY, without_folders
from benchmarks.stages import STAGES
from benchmarks.tables import TABLES
from dsetkit.errors import RunError

DOCUMENTS = documents()
KEPT = sorted(RESULTS.glob("*.json"))
# Pages of figures: there every table with a number that was measured has a source.
EVIDENCE = ("docs/results.md", "docs/reference-systems.md", "docs/reliability.md",
            "dsetkit/teachers/BUNDLED.md", "dsetkit/predicting/BUNDLED_MASK.md")  # fmt: skip
TABLE = re.compile(r"(?:^\|[^\n]*\n)+", re.MULTILINE)
MEASURED = re.compile(r"\| *\**\d+\.\d+\** *\|")  # a cell with decimals
NO_SOURCE = re.compile(
    r"Measured by hand.*no stage\s+of `benchmarks.reproduce` makes it\.", re.DOTALL
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_tables_are_as_their_json_says(document: Path) -> None:
    text = document.read_text("utf-8")
    assert text == with_tables(text), "python -m benchmarks.documents makes them anew"


def test_every_table_stands_in_a_document() -> None:
    found = names_in(document.read_text("utf-8") for document in DOCUMENTS)
    assert set(found) == set(TABLES)


@pytest.mark.parametrize("file", KEPT, ids=lambda path: path.stem)
def test_kept_figures_are_of_whole_stages_and_of_no_machines_folders(file: Path) -> None:
    assert any(file.stem in stage.results for stage in STAGES.values())
    text = file.read_text("utf-8")
    assert not json.loads(text).get("stage", {}).get("quick")
    assert without_folders(text) == text and "/home/" not in text and "/tmp/" not in text


@pytest.mark.parametrize("page", EVIDENCE)
def test_every_measured_table_says_where_it_is_from(page: str) -> None:
    text = BLOCK.sub("", (REPOSITORY / page).read_text("utf-8"))
    for table in TABLE.finditer(text):
        if MEASURED.search(table[0]):
            below = text[table.end() :].strip().split("\n\n")[0]
            assert NO_SOURCE.fullmatch(below), table[0].splitlines()[0]


def test_another_figure_makes_another_table(tmp_path: Path) -> None:
    for file in KEPT:
        shutil.copy(file, tmp_path)
    text = (REPOSITORY / "docs/results.md").read_text("utf-8")
    assert with_tables(text, tmp_path) == text
    scores = json.loads((tmp_path / "chain_or_all.json").read_text())
    scores["scores"]["all at once"]["mask_iou"] = 0.12345
    scores["made"] = {"commit": "0123456789abcdef", "dirty": True}
    (tmp_path / "chain_or_all.json").write_text(json.dumps(scores))
    changed = with_tables(text, tmp_path)
    assert "| all at once | 0.123 |" in changed
    assert "From `chain_or_all.json`, commit 0123456789 with changes." in changed
    assert with_tables(changed, tmp_path) == changed


def test_rows_of_several_commits_name_all_of_them(tmp_path: Path) -> None:
    rows = [{"made": {"commit": 40 * letter, "dirty": letter == "b"}} for letter in "aab"]
    for name in TABLES["busy"].results:
        shutil.copy(RESULTS / f"{name}.json", tmp_path)
        content = json.loads((tmp_path / f"{name}.json").read_text())
        (tmp_path / f"{name}.json").write_text(json.dumps(content | {"rows": rows}))
    made = with_tables("<!-- table: busy -->\n<!-- end of table -->", tmp_path)
    assert f"From `bench_busy.json`, commit {10 * 'a'} and commit {10 * 'b'} with changes." in made


def test_a_table_without_json_stays_as_it_is_and_says_so(tmp_path: Path) -> None:
    block = "<!-- table: kills -->\n| what | lost |\n|---|--:|\n| a | 0 |\n<!-- end of table -->"
    made = with_tables(f"before\n\n{block}\n\nafter", tmp_path)
    assert "| what | lost |\n|---|--:|\n| a | 0 |\n\nMeasured by hand" in made
    assert "`benchmarks.reproduce --only kills` makes it anew." in made
    assert made.startswith("before\n\n") and made.endswith("\n\nafter")
    assert with_tables(made, tmp_path) == made


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(RunError, match="no table is called nothing: expected stages, "):
        with_tables("<!-- table: nothing -->\n<!-- end of table -->")


def test_a_table_without_rows_or_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="neither a table nor its JSON: kill_runs"):
        with_tables("<!-- table: kills -->\n<!-- end of table -->", tmp_path)
    assert not is_measured(TABLES["kills"], tmp_path)
