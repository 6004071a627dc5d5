"""What is kept says where it is from, and tells no folders of the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import common, keep_scores, provenance
from dsetkit.errors import RunError


def test_kept_results_say_how_they_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["/a/benchmarks/bench_x.py", "--data", "/b/c", "d=/b/c"])
    content = {"path": "/b/c/d.json", "rows": [("scored on /b/c", 1.5, None)], "÷": {"a/b": True}}
    common.keep("x", content, seeds=range(2))
    kept = json.loads((tmp_path / "results/x.json").read_text())
    assert kept["made"]["command"] == "python -m benchmarks.bench_x --data c d=c"
    assert kept["made"]["seeds"] == [0, 1] and kept["made"]["seconds"] >= 0
    assert kept["made"].keys() >= {"commit", "dirty"}
    assert kept["machine"]["cores"] and kept["machine"]["torch"]
    assert kept["path"] == "d.json" and kept["÷"] == {"a/b": True}
    assert kept["rows"] == [["scored on c", 1.5, None]]


def test_rates_are_kept_under_the_name_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    for name in (None, "other"):
        common.report("bench_x: of y", {"a": (1.0, 1.0, 1.0)}, {"n": "m"}, seeds=[0], name=name)
    assert {file.stem for file in tmp_path.iterdir()} == {"bench_x", "other"}


def test_rows_are_added_to_those_of_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    settings = {"epochs": 2}
    common.mark_done(tmp_path)
    content = common.earlier("x", settings)
    assert content == {"settings": settings, "rows": []}
    for seed, score in ((0, 0.1), (1, 0.2)):
        common.add_row(content["rows"], {"seed": seed, "score": score}, keys=["seed"], run=tmp_path)
    common.keep("x", content, seeds=[0, 1])
    again = common.earlier("x", settings)
    assert again == content
    common.add_row(again["rows"], {"seed": 0, "score": 0.3}, keys=["seed"], run=tmp_path)
    assert [(row["seed"], row["score"]) for row in again["rows"]] == [(1, 0.2), (0, 0.3)]
    assert {row["made"]["commit"] for row in again["rows"]} == {provenance.made(seeds=[])["commit"]}
    with pytest.raises(RunError, match="has rows of .*'epochs': 2.* differs from .*'epochs': 3"):
        common.earlier("x", {"epochs": 3})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checkpoint:/a/b.pt", "checkpoint:b.pt"),
        ("seen/unseen at 5/255", "seen/unseen at 5/255"),
        ("x=/a/b/c y", "x=c y"),
        ("samples/s ÷ bytes/s", "samples/s ÷ bytes/s"),
    ],
)
def test_of_a_path_the_last_part_stays(text: str, expected: str) -> None:
    assert provenance.without_folders(text) == expected


def test_changed_code_is_dirty_and_changed_figures_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    monkeypatch.setattr(provenance, "REPOSITORY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == {"commit": None, "dirty": None}
    files = [tmp_path / name for name in ("code.py", "page.md", "benchmarks/results/a.json")]
    files[2].parent.mkdir(parents=True)
    for file in files:
        file.write_text("1")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "untracked").touch()
    for file in files[1:]:
        file.write_text("2")
    found = provenance.commit()
    assert len(str(found["commit"])) == 40 and found["dirty"] is False
    files[0].write_text("2")
    assert provenance.commit() == found | {"dirty": True}


def test_scores_of_evaluations_are_kept_with_the_seeds_of_their_trainings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    words = ["keep_scores", "pair"]
    for seed, name in ((7, "mask"), (3, "depth")):
        run = tmp_path / name
        run.mkdir()
        (run / "args.json").write_text(json.dumps({"arguments": {"seed": seed}}))
        evaluation = {key: {} for key in keep_scores.KEPT} | {"scores": {"model": {"images": 5}}}
        evaluation["checkpoint"] = {"path": str(run / "best.safetensors")}
        (tmp_path / f"{name}.json").write_text(json.dumps(evaluation))
        words.append(f"{name}={tmp_path / name}.json")
    monkeypatch.setattr(sys, "argv", words)
    keep_scores.main()
    kept = json.loads((tmp_path / "results/pair.json").read_text())
    scores = {"scores": {"model": {"images": 5}}}
    assert kept["parts"] == {"mask": scores, "depth": scores}
    assert kept["made"]["seeds"] == [3, 7]


@pytest.mark.parametrize("part", ["mask", "mask=nothing.json", "=x"])
def test_a_part_without_an_evaluation_is_refused(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["keep_scores", "pair", part])
    with pytest.raises(SystemExit) as ended:
        keep_scores.main()
    assert ended.value.code == 2
    assert "expected NAME=FILE of an evaluation" in capsys.readouterr().err
