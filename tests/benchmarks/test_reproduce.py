"""reproduce: what is done is left out, what was cut off goes on, what has changed runs again."""

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks import documents, reproduce
from benchmarks.common import continued
from benchmarks.provenance import REPOSITORY
from benchmarks.reproduce import Reproduction, with_needed
from benchmarks.stages import PICTURES, STAGES, Stage, stage_of
from benchmarks.tables import TABLES
from dsetkit.console import run
from tests.docs.test_commands import parser_of

# Commands note that they ran; {here} is the folder of the stage.
NOTE = "-c \"open('{{here}}/../ran', 'a').write('{} ')\""
FILE = "open(os.environ['DSETKIT_RESULTS'] + '/{}.json', 'w')"
KEEP = f'-c "import os; print(dict(), file={FILE})"'
IF_THERE = "-c \"import os; os.stat('{here}/../go')\""


class Small:
    """A few stages in a folder: `first`, `second`, which needs it, and `other`."""

    def __init__(self, folder: Path, **changed: Stage) -> None:
        self.pictures = folder / "pictures"
        self.work, self.published = folder / "work", folder / "published"
        for place in (self.pictures, self.work / "results", self.published):
            place.mkdir(parents=True, exist_ok=True)
        stages = (
            Stage("first", "", (NOTE.format("1"), KEEP.format("a")), ("nyu",), results=("a",)),
            Stage("second", "", (NOTE.format("2"), KEEP.format("b")), needs=("first",),
                  results=("b",)),
            Stage("other", "", (NOTE.format("3"),)),
        )  # fmt: skip
        self.stages = {stage.name: stage for stage in stages} | changed
        self.reproduction = Reproduction(
            self.stages, {"nyu": self.pictures}, self.work, quick=False, published=self.published
        )

    def run(self, *names: str) -> list[str]:
        return self.reproduction.run(with_needed(names or self.stages, self.stages))

    def ran(self) -> str:
        """The numbers of the commands that have run since the last question."""
        file = self.work / "ran"
        numbers = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return "".join(numbers)


def test_what_is_done_is_left_out(tmp_path: Path) -> None:
    small = Small(tmp_path)
    assert small.run() == [] and small.ran() == "123"
    assert small.run() == [] and small.ran() == ""
    assert Small(tmp_path).run() == [] and small.ran() == ""


def test_a_stage_brings_those_that_it_needs(tmp_path: Path) -> None:
    small = Small(tmp_path)
    assert small.run("second") == [] and small.ran() == "12"
    assert small.run() == [] and small.ran() == "3"


def test_a_stage_goes_on_with_the_command_that_failed(tmp_path: Path) -> None:
    longer = Stage("other", "", (NOTE.format("4"), IF_THERE, NOTE.format("5")))
    small = Small(tmp_path, other=longer)
    assert small.run("other") == ["other"] and small.ran() == "4"
    assert "FileNotFoundError" in (small.work / "other.log").read_text()
    (small.work / "go").touch()
    assert small.run("other") == [] and small.ran() == "5"


def test_an_interrupted_stage_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    interrupt = (
        "-c \"import os, signal; os.path.exists('{here}/../go') or "
        f'(os.kill({os.getpid()}, signal.SIGINT), signal.pause())"'
    )
    small = Small(tmp_path, other=Stage("other", "", (NOTE.format("4"), interrupt)))
    with pytest.raises(KeyboardInterrupt):
        small.run("other")
    assert small.ran() == "4"
    assert small.reproduction.state(small.stages["other"]) == reproduce.BEGUN
    (small.work / "go").touch()
    assert small.run("other") == [] and small.ran() == ""
    record = json.loads((small.work / "other.json").read_text())
    assert record["done"] and record["seconds"] >= 0 and len(record["commands"]) == 2


def test_a_stage_is_known_to_have_begun_before_its_first_command_ends(tmp_path: Path) -> None:
    look = "-c \"import os; os.stat('{here}/../other.json')\""  # so a kill loses no training
    assert Small(tmp_path, other=Stage("other", "", (look,))).run("other") == []


def test_what_failed_does_not_stop_others_but_those_that_need_it(tmp_path: Path) -> None:
    small = Small(tmp_path, first=Stage("first", "", (IF_THERE, NOTE.format("1"))))
    assert small.run() == ["first", "second"] and small.ran() == "3"
    (small.work / "go").touch()
    assert small.run() == [] and small.ran() == "12"


def test_a_stage_must_write_its_results(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = Small(tmp_path, other=Stage("other", "", (NOTE.format("3"),), results=("none",)))
    assert small.run("other") == ["other"]
    assert "none.json was not written" in capsys.readouterr().out
    assert small.ran() == "3"
    assert small.run("other") == ["other"] and small.ran() == "3"  # not taken for done


def test_a_change_of_commands_runs_a_stage_and_those_that_need_it_anew(tmp_path: Path) -> None:
    small = Small(tmp_path)
    small.run()
    small.ran()
    (small.work / "first" / "old").touch()
    first = small.stages["first"]
    other = Small(tmp_path, first=replace(first, commands=(NOTE.format("9"), *first.commands)))
    assert other.run() == [] and other.ran() == "912"
    assert not (small.work / "first" / "old").exists()


def test_a_change_of_pictures_runs_a_stage_anew(tmp_path: Path) -> None:
    small = Small(tmp_path)
    small.run()
    small.ran()
    (small.pictures / "new.jpg").touch()
    assert small.run() == [] and small.ran() == "12"


def test_a_result_of_before_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    small = Small(tmp_path)
    small.run()
    forgetful = replace(small.stages["second"], commands=(NOTE.format("2"),))
    assert Small(tmp_path, second=forgetful).run() == ["second"]


def test_a_lost_result_is_made_again(tmp_path: Path) -> None:
    small = Small(tmp_path)
    small.run()
    small.ran()
    (small.work / "results" / "b.json").unlink()
    assert small.run() == [] and small.ran() == "2"


def test_forgotten_stages_run_anew(tmp_path: Path) -> None:
    small = Small(tmp_path)
    small.run()
    small.ran()
    small.reproduction.forget(small.stages["second"])
    assert small.run() == [] and small.ran() == "2"


def test_without_a_folder_that_is_not_needed_a_stage_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    small = Small(tmp_path, other=Stage("other", "", (NOTE.format("3"),), ("rgbd",)))
    assert small.run("other") == [] and small.ran() == ""
    assert "no --rgbd" in capsys.readouterr().out
    assert "no --rgbd" in small.reproduction.overview(["other"])


def test_results_carry_what_their_stage_was_and_are_published(tmp_path: Path) -> None:
    small = Small(tmp_path)
    small.run("first")
    told = json.loads((small.published / "a.json").read_text())["stage"]
    assert told["name"] == "first" and told["quick"] is False and told["seconds"] >= 0
    assert [one["command"] for one in told["commands"]] == list(small.stages["first"].commands)
    assert str(tmp_path) not in json.dumps(told)


def test_quick_results_are_not_published(tmp_path: Path) -> None:
    small = Small(tmp_path)
    places = {"nyu": small.pictures}
    quick = Reproduction(small.stages, places, small.work, quick=True, published=None)
    assert quick.run(["first"]) == []
    assert (small.work / "results" / "a.json").exists()
    assert not list(small.published.iterdir())


def test_a_training_that_was_cut_off_is_resumed(tmp_path: Path) -> None:
    words = ["-m", "torch.distributed.run", "train_mask.py", "--output", str(tmp_path), "--lr", "1"]
    assert continued(words) == words
    (tmp_path / "state.pt").touch()
    assert continued(words) == [*words[:3], "--output", str(tmp_path), "--resume"]
    assert continued(["-m", "dsetkit", "info"]) == ["-m", "dsetkit", "info"]


# ---- the command line --------------------------------------------------------------------------


def refusal(words: Sequence[object], capsys: pytest.CaptureFixture) -> str:
    """The one line that a command ends with, with status 2."""
    try:
        status = run(lambda: reproduce.main([str(word) for word in words]), name="reproduce")
    except SystemExit as ended:
        status = ended.code
    shown = capsys.readouterr().err
    assert status == 2 and shown.count("\n") == 1, shown
    return shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "nothing"], "nothing"),
        ([], "--foregrounds DIR is missing"),
        (["--foregrounds", "no-such-place"], "--foregrounds no-such-place: no such folder"),
        (["--again"], "--again needs --only"),
    ],
)
def test_what_can_be_mended_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert message in refusal([*words, "--work", tmp_path / "work"], capsys)


def test_two_at_once_in_a_folder_are_refused(
    tmp_path: Path, pictures: dict[str, Path], capsys: pytest.CaptureFixture
) -> None:
    words = ["--foregrounds", pictures["foregrounds"], "--backgrounds", pictures["backgrounds"]]
    words += ["--nyu", tmp_path, "--work", tmp_path / "work", "--only", "flips"]
    (tmp_path / "work/full").mkdir(parents=True)
    with FileLock(tmp_path / "work/full/lock"):
        assert "another process works there" in refusal(words, capsys)


# ---- the stages --------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_commands_of_a_stage_are_accepted(
    stage: Stage, quick: bool, capsys: pytest.CaptureFixture
) -> None:
    places = {name: Path("/place") / name for name in (*stage.pictures, *stage.needs, "here")}
    for words in stage.words(places, quick=quick):
        parser, rest = parser_of(["python", *words])
        if parser:
            parser.parse_args(rest)
        else:
            assert words[0] == "-m", words
        if words[1].startswith("benchmarks."):
            assert (REPOSITORY / f"{words[1].replace('.', '/')}.py").is_file()


def test_stages_name_what_there_is() -> None:
    seen: list[str] = []
    for name, stage in STAGES.items():
        assert name == stage.name and set(stage.needs) <= set(seen)
        assert set(stage.pictures) <= set(PICTURES)
        text = " ".join(stage.commands)
        assert all(f"{{{amount}}}" in text for amount in stage.amounts), name
        seen.append(name)
    results = [result for stage in STAGES.values() for result in stage.results]
    assert len(results) == len(set(results))
    assert all(stage_of(result) for table in TABLES.values() for result in table.results)


def test_every_benchmark_that_keeps_figures_is_in_a_stage() -> None:
    commands = " ".join(text for stage in STAGES.values() for text in stage.commands).split()
    for file in (REPOSITORY / "benchmarks").glob("*.py"):
        if re.search(r"from benchmarks.common import .*\b(keep|report)\b", file.read_text()):
            assert f"benchmarks.{file.stem}" in commands, file.stem


def test_all_stages_fit_into_a_night() -> None:
    assert sum(stage.hours for stage in STAGES.values()) < 17


@pytest.mark.slow
def test_quick_stages_run_and_their_tables_are_made(
    tmp_path: Path, pictures: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [word for name, folder in pictures.items() for word in (f"--{name}", str(folder))]
    words += ["--nyu", str(tmp_path), "--work", str(tmp_path / "work"), "--quick"]
    kept = {file: file.read_bytes() for file in reproduce.RESULTS.iterdir()}
    began = time.monotonic()
    stages = ("small-pair", "flips")
    reproduce.main([*words, "--only", *stages])
    results = tmp_path / "work/quick/results"
    promised = {name for stage in stages for name in STAGES[stage].results}
    assert {file.stem for file in results.iterdir()} == promised
    for file in results.iterdir():
        content = json.loads(file.read_text())
        assert content["made"]["seeds"] == [0] and content["stage"]["quick"]
        assert content["machine"]["torch"] and str(tmp_path) not in file.read_text()
        assert 0 < content["stage"]["seconds"] < time.monotonic() - began
    assert kept == {file: file.read_bytes() for file in reproduce.RESULTS.iterdir()}
    for name in ("small pair: mask", "small pair: depth", "small pair by cell", "flipped bits"):
        block = f"<!-- table: {name} -->\n<!-- end of table -->"
        made = documents.with_tables(block, results)
        assert made.count("\n| ") > 4 and "From `" in made and ".json`, commit " in made
