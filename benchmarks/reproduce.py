"""Makes every figure of the documents, in stages that go on after an interruption.

    python -m benchmarks.reproduce --foregrounds DIR --backgrounds DIR --nyu DIR [--rgbd DIR]
        [--encoders DIR] --work DIR [--only STAGE ...] [--quick] [--list]
    python -m benchmarks.documents         then writes the figures into the documents

`benchmarks/stages.py` is the table of stages. Each writes JSON into benchmarks/results, with the
commit, versions, CPU, seeds and seconds. A stage that has finished is left out the next time,
unless its commands, its folders of pictures, or those of a stage that it needs have changed. A
stage that was interrupted goes on: with the command that was cut off, trainings from their last
saved step.

--quick runs every command with tiny amounts and keeps its JSON in the work folder alone. It shows
that all of them run; its figures mean nothing. --drawn draws the pictures, where none are at hand.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks.common import RESULTS, continued
from benchmarks.provenance import REPOSITORY, commit
from benchmarks.stages import PICTURES, STAGES, Stage
from dsetkit.arguments import Parser
from dsetkit.console import GOES_ON, run
from dsetkit.errors import BusyError, RunError
from dsetkit.files import read_json, write_json, write_whole
from dsetkit.spawning import bound_command

SCRIPT = "reproduce"
SECONDS_TO_SAVE = 60  # that a training has to end its step and save it
NOT_NEEDED = {"rgbd", "encoders"}  # stages that need these are left out without them
DONE, BEGUN, TO_DO = "done", "begun", "to do"


def build_parser() -> Parser:
    # fmt: off
    parser = Parser(prog=SCRIPT, description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--foregrounds", type=Path, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, metavar="DIR", help="photographs")
    add("--nyu", type=Path, metavar="DIR",
        help="NYU Depth V2: train/ and test_dev/, each with NNNN_color.jpg and NNNN_depth.png [mm]")
    add("--rgbd", type=Path, metavar="DIR", help="pairs of other cameras")
    add("--encoders", type=Path, metavar="DIR",
        help="ImageNet weights of EfficientNet-Lite, named as published (.pth)")
    add("--drawn", action="store_true", help="pictures drawn for it, in place of these folders")
    add("--work", type=Path, required=True, metavar="DIR", help="what is made on the way is kept")
    add("--only", nargs="+", choices=STAGES, metavar="STAGE",
        help="these stages, and those that they need (default: all)")
    add("--again", action="store_true", help="the stages of --only anew, although they are done")
    add("--quick", action="store_true", help="tiny amounts; the JSON goes into the work folder")
    add("--list", action="store_true", help="show the stages and their state, and run nothing")
    # fmt: on
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    if args.again and not args.only:
        raise RunError("--again needs --only STAGE ...: which stages are to be made anew?")
    work = args.work.resolve() / ("quick" if args.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    folders = {name: getattr(args, name) for name in PICTURES}
    pictures = draw_pictures(work.parent / "drawn") if args.drawn else check_folders(folders)
    published = None if args.quick else RESULTS
    reproduction = Reproduction(STAGES, pictures, work, quick=args.quick, published=published)
    names = with_needed(args.only or STAGES, STAGES)
    if args.list:
        print(reproduction.overview(names))
        return
    try:
        with FileLock(work / "lock", timeout=0):
            for name in args.only if args.again else ():
                reproduction.forget(STAGES[name])
            failed = reproduction.run(names)
    except Timeout:
        raise BusyError(f"--work {args.work}: another process works there") from None
    if failed:
        raise RunError(f"failed: {', '.join(failed)}; the same command tries them again")
    if not args.quick:
        print("python -m benchmarks.documents writes the figures into the documents")


# ---- what is given -----------------------------------------------------------------------------


def check_folders(folders: Mapping[str, Path | None]) -> dict[str, Path]:
    """Return the folders that were given, as absolute paths.

    Raises:
        RunError: One is missing that every run needs, or is no folder.
    """
    found = {}
    for name, folder in folders.items():
        if folder is None and name not in NOT_NEEDED:
            raise RunError(f"--{name} DIR is missing; --drawn draws pictures, to see that it runs")
        if folder is not None:
            if not folder.is_dir():
                raise RunError(f"--{name} {folder}: no such folder")
            found[name] = folder.resolve()
    return found


def draw_pictures(folder: Path) -> dict[str, Path]:
    """Draw a few pictures of each kind, once."""
    from dsetkit.demo.scenes import write_pictures, write_rgbd

    places = {name: folder / name for name in ("foregrounds", "backgrounds", "nyu", "rgbd")}
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        write_pictures(part, rooms=12, cutouts=12)
        pairs = {"nyu/train": 120, "nyu/test_dev": 8, "rgbd": 4}  # train: 5 stretches of 25 frames
        for seed, (name, count) in enumerate(pairs.items()):
            write_rgbd(part / name, count, seed=seed)
        part.rename(folder)
    return places


def with_needed(names: Iterable[str], stages: Mapping[str, Stage]) -> list[str]:
    """Return names of stages and of all that they need, in the order of the table."""
    wanted = set(names)
    for name in reversed(stages):  # what a stage needs stands above it
        if name in wanted:
            wanted.update(stages[name].needs)
    return [name for name in stages if name in wanted]


# ---- stages ------------------------------------------------------------------------------------


class Reproduction:
    """Stages in a work folder: one folder, one log and one record of each.

    Args:
        stages: All stages, by name; a stage stands below those that it needs.
        pictures: The folders of pictures that there are.
        work: An absolute path.
        quick: Whether the amounts are tiny.
        published: Where the JSON files of a finished stage are copied to; None keeps them in the
            work folder alone.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        pictures: Mapping[str, Path],
        work: Path,
        *,
        quick: bool,
        published: Path | None,
    ) -> None:
        self._stages, self._pictures, self._work = stages, pictures, work
        self._quick, self._published = quick, published
        self._results = work / "results"

    def overview(self, names: Iterable[str]) -> str:
        """Return a line for each stage: its state, how long it takes, what it makes."""
        lines, hours = [], 0.0
        for name in names:
            stage, state = self._stages[name], self.state(self._stages[name])
            hours += 0 if state == DONE or state.startswith("no ") else stage.hours
            lines.append(f"{name:16} {state:13} {stage.hours:5.2f} h  {stage.makes}")
        text = "as quick ones all together about 20 minutes" if self._quick else f"{hours:.1f} h"
        return "\n".join([*lines, f"left: {text}, on two cores with AVX-512"])

    def state(self, stage: Stage) -> str:
        """Return DONE, BEGUN, TO_DO, or what is missing for it."""
        missing = [name for name in stage.pictures if name not in self._pictures]
        if missing:
            return f"no --{missing[0]}"
        record = self._record(stage)
        if not record:
            return TO_DO
        return DONE if record["done"] else BEGUN

    def forget(self, stage: Stage) -> None:
        """Delete what a stage has made in the work folder, so that it begins anew."""
        for file in (self._record_file(stage), *map(self._result, stage.results)):
            file.unlink(missing_ok=True)
        shutil.rmtree(self._folder(stage), ignore_errors=True)

    def run(self, names: Sequence[str]) -> list[str]:
        """Run the stages that are not done; return those that failed, or that needed one such."""
        failed: list[str] = []
        for number, name in enumerate(names, start=1):
            stage = self._stages[name]
            state, where = self.state(stage), f"{number} of {len(names)}, {name}"
            needed = [other for other in stage.needs if other in failed]
            if state == DONE or state.startswith("no "):
                print(f"{where}: {state}", flush=True)
            elif needed:
                print(f"{where}: left out, it needs {needed[0]}", flush=True)
                failed.append(name)
            elif error := self._run(stage, where):
                print(f"{where}: {error}", flush=True)
                failed.append(name)
        return failed

    def _run(self, stage: Stage, where: str) -> str:
        """Run what is left of a stage; return what went wrong, or nothing."""
        record = self._record(stage)
        if not record:
            self.forget(stage)
            record = {"key": self._key(stage), "done": False, "seconds": 0.0, "commands": []}
            write_json(self._record_file(stage), record)  # a kill may come before the next time
        self._folder(stage).mkdir(parents=True, exist_ok=True)
        print(f"{where}: {stage.makes}", flush=True)
        log = self._work / f"{stage.name}.log"
        begun = list(zip(stage.texts(quick=self._quick), self._commands(stage), strict=True))
        for text, words in begun[len(record["commands"]) :]:
            start, status, code = time.perf_counter(), None, commit()
            try:
                status = self._call(words, log)
            finally:
                record["seconds"] = round(record["seconds"] + time.perf_counter() - start, 1)
                if status == 0:
                    seconds = record["seconds"] - sum(one["seconds"] for one in record["commands"])
                    told = {"command": text, "seconds": round(seconds, 1)}
                    record["commands"].append(told | code)
                write_json(self._record_file(stage), record)
            if status:
                return f"a command ended with status {status}: see {log}"
        for name in stage.results:
            if not self._result(name).exists():
                self._record_file(stage).unlink()  # to begin anew the next time
                return f"{name}.json was not written: see {log}"
        for name in stage.results:
            self._complete(self._result(name), stage, record)
        write_json(self._record_file(stage), record | {"done": True})
        print(f"{where}: done in {timedelta(seconds=round(record['seconds']))}", flush=True)
        return ""

    def _call(self, words: list[str], log: Path) -> int:
        """Run `python WORDS` with its output in a log; return its exit status."""
        words = continued(words)
        # Trainings and verbs end with this process, however it ends.
        is_ours = words[0].endswith(".py") or words[:2] == ["-m", "dsetkit"]
        options = bound_command() if is_ours else {"env": dict(os.environ)}
        options["env"]["DSETKIT_RESULTS"] = str(self._results)
        with log.open("a") as file:
            file.write(f"$ python {' '.join(words)}\n")
            file.flush()
            child = subprocess.Popen(
                [sys.executable, *words], cwd=REPOSITORY, stdout=file, stderr=file,
                start_new_session=True, **options,
            )  # fmt: skip
            try:
                return child.wait()
            except BaseException:
                os.killpg(child.pid, signal.SIGTERM)  # benchmarks start trainings, too
                try:
                    child.wait(SECONDS_TO_SAVE)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                raise

    def _complete(self, file: Path, stage: Stage, record: Mapping) -> None:
        """Add to a result what its whole stage was and took, and publish it."""
        content = json.loads(file.read_text())
        told = {"name": stage.name, "quick": self._quick, "seconds": record["seconds"]}
        content["stage"] = told | {"commands": record["commands"]}
        text = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
        for folder in filter(None, (self._results, self._published)):
            write_whole(folder / file.name, text)

    # ---- places and records --------------------------------------------------------------------

    def _folder(self, stage: Stage) -> Path:
        return self._work / stage.name

    def _result(self, name: str) -> Path:
        return self._results / f"{name}.json"

    def _record_file(self, stage: Stage) -> Path:
        return self._work / f"{stage.name}.json"

    def _record(self, stage: Stage) -> dict:
        """Return the record of a stage; nothing if it has not begun, or has to begin anew."""
        file = self._record_file(stage)
        record = read_json(file) if file.exists() else {}
        if record.get("key") != self._key(stage):
            return {}
        is_lost = record["done"] and not all(self._result(one).exists() for one in stage.results)
        return {} if is_lost else record

    def _commands(self, stage: Stage) -> list[list[str]]:
        needed = {name: self._folder(self._stages[name]) for name in stage.needs}
        places = {**self._pictures, **needed, "here": self._folder(stage)}
        return stage.words(places, quick=self._quick)

    def _key(self, stage: Stage) -> str:
        """Return a checksum over all that decides whether a stage has to run again."""
        told = [
            stage.texts(quick=self._quick),
            [listing(self._pictures[name]) for name in stage.pictures if name in self._pictures],
            [self._key(self._stages[name]) for name in stage.needs],
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def listing(folder: Path) -> str:
    """Return a checksum over the names and sizes of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder)} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


if __name__ == "__main__":
    sys.exit(run(main, name=SCRIPT, on_interrupt=GOES_ON, seconds_to_stop=None))
