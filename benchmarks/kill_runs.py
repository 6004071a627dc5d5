"""Stops each verb that writes and each training at random moments, and looks at what is left.

    python -m benchmarks.kill_runs                           200 kills and 60 other stops of each
    python -m benchmarks.kill_runs --only generate cache --kills 20 --stops 12
    python -m benchmarks.kill_runs --fresh                   each run in a new Python
    python -m benchmarks.kill_runs --work DIR                keeps each row there when it is done

Several processes can share one --work, each with its --only; without --only all rows are printed.

A run is stopped at a moment that is equally likely anywhere within the time that an uninterrupted
one takes: by SIGKILL (`--kills`), or by SIGTERM or Ctrl-C (`--stops`), sent in turn to its process
group and to its main process alone. Then

    lost        what was committed cannot be read, or differs from what an uninterrupted run wrote
    left        a process of the run lives after 5 s, or a file of it lies in /dev/shm
    loud        a stopped run (not a killed one) has printed something but its one line, has another
                status than 128 + the signal's number, or has taken more than 2 s (a training: ends
                after its step)
    unequal     the same command (a training: with --resume) does not finish after it, or leaves
                other content than an uninterrupted run: records, assets, split cells and manifest
                of a dataset; files of an export or a cache; weights and scores of a training

A run is a fork of this process, which has loaded everything, so that moments do not fall into the
seconds in which Python imports; --fresh has these too.
"""

import argparse
import csv
import functools
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.common import REPOSITORY, keep, markdown_table
from dsetkit.files import write_json
from dsetkit.stopping import end_while_loading, leave

SECONDS_FOR_ALL_TO_END = 5.0
SECONDS_TO_STOP = 2.0
LONGEST_RUN_S = 300
MARK = "DSETKIT_KILL_RUN"
TIMES = ("seconds", "samples_per_s", "data_wait_share")  # columns of log.csv that tell the speed


@dataclass(frozen=True)
class Job:
    """A command that is stopped.

    Attributes:
        command: A verb, or a script without `.py`.
        arguments: With {out} for what it writes, and the names of a `tests.helpers.verbs.World`.
        content: Of a folder: what decides its content, by name; raises when that is unreadable.
        begin: Puts what the command changes into its folder; None for an empty folder.
        resumes: Whether the run goes on with `--resume` once it has saved a state.
        stops_in_s: How long it may take to stop; None for a training.
    """

    command: str
    arguments: str
    content: Callable[[Path], dict[str, str]]
    begin: Callable[[Path], None] | None = None
    resumes: bool = False
    stops_in_s: float | None = SECONDS_TO_STOP


@dataclass
class Row:
    """What happened to the runs of a job.

    Attributes:
        what: The job.
        duration_s: Of an uninterrupted run.
        faults: One text for each fault, with the run's number and moment.
        slowest_stop_s: Longest time from a signal to the end of all processes.
    """

    what: str
    duration_s: float
    kills: int = 0
    stops: int = 0
    before_the_end: int = 0
    lost: int = 0
    left: int = 0
    loud: int = 0
    unequal: int = 0
    slowest_stop_s: float = 0.0
    seconds_per_run: float = 0.0
    faults: list[str] = field(default_factory=list)


# ---- what is compared --------------------------------------------------------------------------


def dataset_content(folder: Path) -> dict[str, str]:
    """Hashes of the records, assets and cells of a dataset and its manifest, whole or not."""
    from dsetkit.errors import UnfinishedError
    from dsetkit.store import StoreReader
    from dsetkit.store import manifest as m

    found: dict[str, str] = {}
    for file in sorted(folder.glob("shard-*.lmdb")):
        try:
            reader = StoreReader(file)
        except UnfinishedError:  # stopped before its first commit
            continue
        packed = reader.get("manifest", m.MANIFEST_KEY)
        if packed is None:
            continue
        manifest = m.Manifest.from_bytes(packed)
        decides = {k: v for k, v in asdict(manifest).items() if k not in m.TOOLING}
        found[f"{file.name} manifest"] = _hash(json.dumps(decides, sort_keys=True).encode())
        found[f"{file.name} cells"] = _hash(reader.get("manifest", m.CELLS_KEY) or b"")
        for database in ("backgrounds", "foregrounds", "samples"):
            for key, value in reader.items(database):
                found[f"{file.name} {database} {key.hex()}"] = _hash(value)
    return found


def file_content(folder: Path) -> dict[str, str]:
    """Hashes of all files that have their final names."""
    return {
        str(file.relative_to(folder)): _hash(file.read_bytes())
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not _is_temporary(file)
    }


def listed_content(folder: Path) -> dict[str, str]:
    """Hash of shards.json, if it is there."""
    file = folder / "shards.json"
    return {"shards.json": _hash(file.read_bytes())} if file.exists() else {}


def split_content(folder: Path) -> dict[str, str]:
    """Hashes of a dataset's samples, and of cells and splits, which are changed together."""
    found = dataset_content(folder)
    changed = [name for name in found if name.endswith((" manifest", " cells"))]
    together = _hash("".join(found.pop(name) for name in changed).encode())
    return found | {"splits": together}


def training_content(folder: Path) -> dict[str, str]:
    """Hashes of weights, bit for bit, and of what log.csv says but for the speed."""
    import torch
    from safetensors.torch import load_file

    found: dict[str, str] = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights = load_file(file)
        flat = [weights[name].reshape(-1).view(torch.uint8) for name in sorted(weights)]
        found[file.name] = _hash(b"".join(one.numpy().tobytes() for one in flat))
    if (folder / "log.csv").exists():
        with open(folder / "log.csv", newline="") as file:
            for row in csv.DictReader(file):
                said = {k: v for k, v in row.items() if k not in TIMES}
                found[f"log.csv {row['epoch']}"] = _hash(json.dumps(said).encode())
    return found


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _is_temporary(file: Path) -> bool:
    """Files that a kill may leave, and that the next run deletes, takes over or ignores."""
    return file.name.endswith((".part", ".lock"))


# ---- the jobs ----------------------------------------------------------------------------------


def all_jobs(world: Any) -> dict[str, Job]:
    """Every verb that writes, and every training."""
    pictures = "--foregrounds {foregrounds} --backgrounds {backgrounds} --size 64 --output {out}"
    labelled = f"{pictures} --teacher onnx:{{teacher}} --batch-size 8 --num-samples"
    generate = f"{labelled} 200"
    short = "--data {data} --output {out} --img-sizes 32 --epochs 3 --batch-size 16"
    short += " --limit-samples 32 --device cpu --checkpoint-every 0"
    training = functools.partial(Job, content=training_content, resumes=True, stops_in_s=None)
    several = functools.partial(Job, content=dataset_content)
    files = functools.partial(Job, content=file_content)
    copied = functools.partial(shutil.copytree, world.places["data"], dirs_exist_ok=True)

    def half(out: Path) -> None:
        """Puts the first half of what `generate` makes into a folder."""
        made = world.root / "half"
        if not made.exists():
            words = world.fill(f"{labelled} 100".replace("{out}", str(made)))
            subprocess.run([sys.executable, "-m", "dsetkit", "generate", *words], check=True)
        shutil.copytree(made, out, dirs_exist_ok=True)

    return {
        "generate": several("generate", f"{generate} --workers 2"),
        "generate --depth-of scene": several(
            "generate", f"{generate} --workers 2 --depth-of scene --harmonise colour noise"
        ),
        "generate, growing": several("generate", f"{generate} --workers 2", begin=half),
        "generate --shards": several("generate", f"{generate} --workers 2 --shards 3"),
        "import-rgbd": several("import-rgbd", "--root {pairs} --output {out}"),
        "import-images": several("import-images", "--system 001 --root {images} --output {out}"),
        "convert": several("convert", "{data} --layout recipe --jobs 2 --output {out}"),
        "relabel": several("relabel", "{data} --teacher onnx:{teacher} --output {out}"),
        "merge": several("merge", "{data} {other} --split-by sample --output {out}"),
        "split": Job("split", "{out} --split-by sample", split_content, begin=copied),
        "export": files("export", "{data} --output {out}"),
        "cache": files("cache", "{data} --size 32 --jobs 2 --output {out}"),
        "cut-outs": files(
            "cut-outs", "--images {backgrounds} --masks {masks} --min-side 8 --output {out}"
        ),
        "predict": files(
            "predict", "--checkpoint {mask} --composite {backgrounds} --device cpu --output {out}"
        ),
        "report": files("report", "{data} --samples 20 --jobs 2 --output {out}/report.html"),
        "export-model": files("export-model", "{depth} --size 32 32 --output {out}/depth.onnx"),
        "list-shards": Job("list-shards", "{out}", listed_content, begin=copied),
        "train_depth": training("train_depth", f"{short} --arch depth_lite"),
        "train_mask": training("train_mask", f"{short} --arch mask_lite"),
        "train_joint": training("train_joint", f"{short} --arch dual_unet --mask-loss l1"),
    }


# ---- runs --------------------------------------------------------------------------------------


class Run:
    """A command in a process group of its own.

    Args:
        job: What to run.
        words: Its arguments.
        log: Where stdout and stderr go.
        fresh: In a new Python, not in a fork of this process.
    """

    def __init__(self, job: Job, words: Sequence[str], log: Path, *, fresh: bool) -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self.started_at = time.monotonic()
        self._log = log
        if fresh:
            self.pid = self._in_new_python(job.command, words)
        else:
            self.pid = self._in_fork(job.command, words)
        self.status: int | None = None

    def _in_new_python(self, command: str, words: Sequence[str]) -> int:
        script = ["-m", "dsetkit", command]
        if (REPOSITORY / f"{command}.py").exists():
            script = [f"{command}.py"]
        with open(self._log, "wb") as log:
            return subprocess.Popen(
                [sys.executable, *script, *words],
                cwd=REPOSITORY, env=os.environ | {MARK: self.mark}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            ).pid  # fmt: skip

    def _in_fork(self, command: str, words: Sequence[str]) -> int:
        # Until the child is a command, it ends of a signal as a new Python does.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        if pid := os.fork():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            with suppress(PermissionError, ProcessLookupError):
                os.setpgid(pid, pid)  # whoever is first: the child does it as well
            return pid
        try:
            os.setpgid(0, 0)
            end_while_loading("__main__")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for number in (1, 2):
                os.dup2(log, number)
            os.environ[MARK] = self.mark  # for processes that it starts
            _become(command, list(words))
        except SystemExit as ended:
            sys.stdout.flush()
            os._exit(int(ended.code or 0))
        finally:
            os._exit(1)

    def wait(self, seconds: float) -> bool:
        """Whether the main process has ended within so many seconds."""
        until = time.monotonic() + seconds
        while self.status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > until:
                return False
            else:
                time.sleep(0.002)
        return True

    def processes(self) -> list[int]:
        """Processes of the run that live."""
        own = [] if self.status is not None else [self.pid]
        return own + [
            int(folder.name)
            for folder in Path("/proc").iterdir()
            if folder.name.isdecimal() and self._is_own(folder)
        ]

    def _is_own(self, folder: Path) -> bool:
        if int(folder.name) == self.pid:
            return False
        try:
            is_marked = f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            return False
        is_in_group = state[2] == str(self.pid)
        return (is_marked or is_in_group) and state[0] not in "ZX"

    def shown(self) -> str:
        return self._log.read_text(errors="replace")


def _become(command: str, words: list[str]) -> None:
    """Makes a fork of this process the command; never returns."""
    from dsetkit.console import run

    if (REPOSITORY / f"{command}.py").exists():
        from models import ModelError
        from training.cli import run_training

        script = importlib.import_module(command)
        main = functools.partial(script.main, words)
        leave(run_training(main, ModelError, script=f"{command}.py"))
    from dsetkit.cli import main as verbs

    leave(run(functools.partial(verbs, [command, *words])))


def in_child(work: Callable[[Path], dict[str, str]], folder: Path) -> dict[str, str] | str:
    """The result of a function in a fork, so that this process loads and opens nothing.

    Returns:
        What it returned, or the text of its error.
    """
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        try:
            with os.fdopen(writer, "w") as answer:
                try:
                    json.dump(work(folder), answer)
                except Exception as error:
                    json.dump(f"{type(error).__name__}: {error}", answer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else "the reader died"


# ---- one job -----------------------------------------------------------------------------------


class Campaign:
    """Runs of one job that are stopped, one after another."""

    def __init__(self, name: str, job: Job, world: Any, folder: Path, *, fresh: bool) -> None:
        self.job, self._world, self._folder, self._fresh = job, world, folder, fresh
        folder.mkdir()
        self._words = self._fill(job.arguments, folder / "whole")
        durations = [self._whole_run() for _ in range(3)]
        self.row = Row(name, statistics.median(durations))
        expected = in_child(job.content, folder / "whole")
        if not isinstance(expected, dict) or not expected:
            raise SystemExit(f"{name}: nothing to compare: {expected}")
        self._expected = expected
        self._before = None if job.begin is None else in_child(job.content, self._begun("before"))

    def _fill(self, arguments: str, out: Path) -> list[str]:
        return self._world.fill(arguments.replace("{out}", str(out)))

    def _begun(self, name: str) -> Path:
        out = self._folder / name
        shutil.rmtree(out, ignore_errors=True)
        if self.job.begin:
            self.job.begin(out)
        return out

    def _whole_run(self) -> float:
        self._begun("whole")
        run = self._start(self._words)
        run.wait(LONGEST_RUN_S)
        if run.status != 0:
            raise SystemExit(f"{self.job.command} ended with {run.status}: {run.shown()}")
        return time.monotonic() - run.started_at

    def _start(self, words: Sequence[str]) -> Run:
        return Run(self.job, words, self._folder / "log", fresh=self._fresh)

    def stop_one(self, number: signal.Signals, *, group: bool, share: float) -> None:
        """Stops a run after a share of its duration, and judges what is left."""
        row, out = self.row, self._begun("out")
        shm = set(os.listdir("/dev/shm"))
        words = self._fill(self.job.arguments, out)
        run = self._start(words)
        if not run.wait(share * row.duration_s - (time.monotonic() - run.started_at)):
            row.before_the_end += 1
        is_kill = number == signal.SIGKILL
        row.kills, row.stops = row.kills + is_kill, row.stops + (not is_kill)
        what = f"{number.name} to {'the group' if group else 'main'} after {share:.3f}"
        sent_at = time.monotonic()
        if run.status is None:  # otherwise the number may be another process's by now
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(run.pid, number)
        run.wait(LONGEST_RUN_S)
        main_s = time.monotonic() - sent_at
        while (living := run.processes()) and time.monotonic() - sent_at < SECONDS_FOR_ALL_TO_END:
            time.sleep(0.01)
        row.slowest_stop_s = max(row.slowest_stop_s, time.monotonic() - sent_at)
        left_in_shm = _unused(set(os.listdir("/dev/shm")) - shm)
        if living or left_in_shm:
            row.left += 1
            row.faults.append(f"{what}: left {living} {left_in_shm}")
            for pid in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if not is_kill and (reason := self._loudness(run, number, main_s)):
            row.loud += 1
            row.faults.append(f"{what}: {reason}")
        if reason := self._loss(out):
            row.lost += 1
            row.faults.append(f"{what}: {reason}")
        if reason := self._difference(out, words):
            row.unequal += 1
            row.faults.append(f"{what}: {reason}")

    def _loudness(self, run: Run, number: signal.Signals, seconds: float) -> str:
        if run.status in (0, -number):  # it was faster, or Python had not begun with the command
            return ""
        lines = [
            line for line in run.shown().splitlines() if "stopping after this step" not in line
        ]
        said = [line for line in lines if "interrupted; " in line or "stopped; " in line]
        if run.status != 128 + number:
            return f"status {run.status}: {run.shown()[-500:]}"
        if len(said) != 1 or lines[-1] != said[0] or "Traceback" in run.shown():
            return f"said {run.shown()[-2000:]}"
        if self.job.stops_in_s is not None and seconds > self.job.stops_in_s:
            return f"took {seconds:.1f} s"
        return ""

    def _loss(self, out: Path) -> str:
        found = in_child(self.job.content, out) if out.exists() else {}
        if isinstance(found, str):
            return f"cannot be read: {found}"
        if found == self._before:
            return ""
        allowed = self._expected
        if self.job.resumes:  # last.safetensors changes from epoch to epoch
            found = {name: value for name, value in found.items() if name.startswith("log.csv")}
        wrong = [name for name, value in found.items() if allowed.get(name) != value]
        if isinstance(self._before, dict):
            wrong = [name for name in wrong if found[name] != self._before.get(name)]
        return f"{len(wrong)} differ, as {wrong[0]}" if wrong else ""

    def _difference(self, out: Path, words: Sequence[str]) -> str:
        if self.job.resumes and (out / "state.pt").exists():
            words = ["--resume", "--output", str(out)]
        again = self._start(words)
        again.wait(LONGEST_RUN_S)
        if again.status != 0:
            return f"the same command ends with {again.status}: {again.shown()[-500:]}"
        found = in_child(self.job.content, out)
        if found != self._expected:
            if isinstance(found, str):
                return f"cannot be read after it: {found}"
            names = found.keys() | self._expected.keys()
            wrong = [name for name in sorted(names) if found.get(name) != self._expected.get(name)]
            return f"{len(wrong)} differ after it, as {wrong[:3]}"
        left = [file.name for file in out.rglob("*") if file.name.endswith(".part")]
        return f"leaves {left}" if left else ""


def _unused(names: set[str]) -> list[str]:
    """Those files of /dev/shm that no process has open: others use the machine too."""
    for folder in Path("/proc").iterdir() if names else ():
        with suppress(OSError):
            if folder.name.isdecimal():
                maps = (folder / "maps").read_text(errors="replace")  # names may be no UTF-8
                links = [os.readlink(link) for link in (folder / "fd").iterdir()]
                used = {name for name in names if f"/dev/shm/{name}" in maps or any(
                    link == f"/dev/shm/{name}" for link in links)}  # fmt: skip
                names = names - used
    return sorted(name for name in names if Path("/dev/shm", name).exists())


# ---- all of them -------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    headings = ["what", "uninterrupted [s]", "kills", "other stops", "before the end"]
    headings += ["lost", "left", "loud", "unequal", "slowest end [s]", "s/run"]
    return markdown_table(
        headings,
        [
            [r.what, f"{r.duration_s:.2f}", r.kills, r.stops, r.before_the_end, r.lost, r.left]
            + [r.loud, r.unequal, f"{r.slowest_stop_s:.2f}", f"{r.seconds_per_run:.1f}"]
            for r in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", metavar="WHAT", help="these alone (default: all)")
    add("--kills", type=int, default=200, metavar="N", help="SIGKILLs of each (default: 200)")
    add("--stops", type=int, default=60, metavar="N", help="SIGTERM and SIGINT of each, 60")
    add("--fresh", action="store_true", help="start a new Python for each run, which takes longer")
    add("--seed", type=int, default=0, help="of the moments (default: 0)")
    add("--work", type=Path, metavar="DIR", help="for the rows that are done (default: none)")
    add("--output", type=Path, metavar="FILE.json", help="(default: benchmarks/results)")
    args = parser.parse_args()
    # What is ignored is inherited, as from `nohup` or a job in the background: nothing would stop.
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    _load_everything()
    with tempfile.TemporaryDirectory(prefix="kill_runs-") as folder:
        world = _draw(Path(folder) / "world")
        jobs = all_jobs(world)
        unknown = set(args.only or ()) - jobs.keys()
        if unknown:
            parser.error(f"--only {' '.join(unknown)}: expected {', '.join(jobs)}")
        rows = []
        for name in args.only or jobs:
            done = args.work and args.work / f"{name}.json"
            if done and done.exists():
                rows.append(Row(**json.loads(done.read_text())))
            else:
                rows.append(_campaign(name, jobs[name], world, Path(folder), args))
                if done:
                    args.work.mkdir(parents=True, exist_ok=True)
                    write_json(done, asdict(rows[-1]))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
            for fault in rows[-1].faults[:10]:
                print(f"  {name}: {fault}", flush=True)
    print("\n" + table(rows) + "\n")
    if args.only and args.work:
        return
    content = {"fresh": args.fresh, "seed": args.seed, "rows": [asdict(row) for row in rows]}
    if args.output:
        args.output.write_text(json.dumps(content, indent=2) + "\n")
    else:
        keep("kill_runs", content, seeds=[args.seed])


def _campaign(name: str, job: Job, world: Any, folder: Path, args: argparse.Namespace) -> Row:
    rng = random.Random(f"{args.seed} {name}")
    campaign = Campaign(name, job, world, folder / "job", fresh=args.fresh)
    numbers = [signal.SIGKILL] * args.kills
    numbers += [(signal.SIGTERM, signal.SIGINT)[n // 2 % 2] for n in range(args.stops)]
    started_at = time.monotonic()
    for n, number in enumerate(numbers):
        campaign.stop_one(number, group=n % 2 == 0, share=rng.random())
    campaign.row.seconds_per_run = (time.monotonic() - started_at) / max(1, len(numbers))
    shutil.rmtree(folder / "job")
    return campaign.row


def _draw(folder: Path) -> Any:
    """The pictures, datasets and networks that the jobs read, made in a fork."""
    from tests.helpers.verbs import World

    folder.mkdir()
    drawn = in_child(lambda root: _as_text(World.draw(root, samples=600)), folder)
    if not isinstance(drawn, dict):
        raise SystemExit(drawn)
    return World(folder, {name: Path(path) for name, path in drawn.items()})


def _as_text(world: Any) -> dict[str, str]:
    return {name: str(path) for name, path in world.places.items()}


def _load_everything() -> None:
    """Imports what runs need, and starts no thread: forks take none with them."""
    for name in ("dsetkit.cli", "dsetkit.generating", "dsetkit.importing", "dsetkit.loading",
                 "dsetkit.verbs.convert", "dsetkit.verbs.export", "dsetkit.verbs.relabel",
                 "dsetkit.verbs.merging.merge", "dsetkit.verbs.splits", "dsetkit.teachers",
                 "dsetkit.cutting", "dsetkit.predicting", "dsetkit.verbs.report",
                 "dsetkit.networks.onnx_export", "onnxruntime", "onnxscript", "torch.export",
                 "torch.onnx", "train_depth", "train_mask", "train_joint",
                 "torch.utils.tensorboard", "tests.helpers.verbs"):  # fmt: skip
        importlib.import_module(name)


if __name__ == "__main__":
    main()
