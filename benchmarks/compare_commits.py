"""Compares the speed of two commits, or of more: whole commands of each, in turn, in one run.

    python -m benchmarks.compare_commits --foregrounds DIR --backgrounds DIR --commits 5bb927a HEAD

Each commit is checked out into a folder of its own and runs as its users run it, with this Python
and its libraries. What is measured:

    start             `train_depth.py --help`; a training until its first step is logged
    generate ...      whole commands, start included: recipes and the rendered layout in one
                      process without a teacher, the rendered layout with the bundled teacher
    read ...          warm epochs of `make_loader`, in batches of 64, in random order: composite and
                      mask; `labelled` is the rendered layout with depth
    verify, stats     whole commands on the rendered dataset with depth, less the start of `info`;
                      `verify --quick` where a commit has it
    step ...          training steps on batches of 32 at 64 px, as the scripts do them by default:
                      the second epoch of a training that is killed after it

Every commit makes its own datasets from the same pictures. Figures are medians of the rounds; the
ratio is that of the first commit to the last, so 2 means twice as fast, or half the memory.
"""

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import tables
from benchmarks.common import REPOSITORY, keep
from dsetkit.arguments import COUNT, Parser

READ = """
import sys, time
from dsetkit import SampleDataset, make_loader
from dsetkit.devices import keep_freed_memory
store, size, threads, fields = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
keep_freed_memory()
samples = SampleDataset(store, split=None, size=size, fields=fields)
loader = make_loader(samples, 64, workers=0, threads=threads)
for _ in loader: pass
start, samples = time.perf_counter(), 0
while time.perf_counter() - start < 2:
    samples += sum(len(batch["composite"]) for batch in loader)
print((time.perf_counter() - start) / samples)
"""
BATCH, STEPS = 32, 6  # of an epoch
EPOCHS = 50  # planned: a short training does not try whether bf16 is faster


@dataclass(frozen=True)
class Checkout:
    """A commit, and a folder for what it makes.

    Attributes:
        commit: Its whole name.
        tree: The checked out files.
        work: For its datasets and runs.
    """

    commit: str
    tree: Path
    work: Path

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Starts `python WORDS`, whose stdout can be read."""
        return subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=self.tree, text=True,
            env={**os.environ, "PYTHONPATH": str(self.tree)},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, *words: object) -> tuple[float, float, str]:
        """Runs `python WORDS`; returns seconds, peak memory of the process [MB], and stdout."""
        started_at = time.perf_counter()
        process = self.start(*words)
        assert process.stdout is not None
        shown = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started_at
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise self.failed(process)
        return seconds, usage.ru_maxrss / 1024, shown

    def failed(self, process: subprocess.Popen[str]) -> SystemExit:
        words = " ".join(map(str, process.args[1:]))  # type: ignore[index]
        return SystemExit(f"{self.commit[:10]}: `{words}` ended with {process.returncode}")


@dataclass(frozen=True)
class Amounts:
    """How much each piece of work does; see the options of the same names."""

    recipes: int
    rendered: int
    labelled: int
    read: int


# ---- the pieces: each takes a checkout and returns figures by name, less is better -------------


def start(at: Checkout) -> dict[str, float]:
    return {"start: `train_depth.py --help` [s]": at.run("train_depth.py", "--help")[0]}


def generate(
    at: Checkout, name: str, samples: int, what: str, pictures: list[object], options: str
) -> dict[str, float]:
    """Generates anew; µs a sample of the whole command, and the peak memory with the teacher."""
    output = at.work / name
    shutil.rmtree(output, ignore_errors=True)
    words = ["-m", "dsetkit", "generate", *pictures, "--output", output, "--num-samples", samples]
    seconds, peak_mb, _ = at.run(*words, *options.split())
    figures = {f"generate: {what} [µs a sample]": seconds / samples * 1e6}
    if "--teacher none" not in options:
        figures[f"generate: {what}, peak memory [MB]"] = peak_mb
    return figures


def read(at: Checkout, name: str, *, size: int, threads: int) -> dict[str, float]:
    fields = ["composite", "mask", "depth"][: 3 if name == "labelled" else 2]
    seconds = float(at.run("-c", READ, at.work / name, size, threads, *fields)[2])
    what = f"read: {name}, {size} px, threads: {threads} [µs a sample]"
    return {what: seconds * 1e6}


def whole_dataset(at: Checkout, samples: int) -> dict[str, float]:
    """`verify` and `stats` of the labelled dataset, without what `info` takes to start."""
    commands = ["verify", "stats"]
    if "--quick" in at.run("-m", "dsetkit", "verify", "--help")[2]:
        commands.append("verify --quick")
    start_s = at.run("-m", "dsetkit", "info", at.work / "labelled")[0]
    figures = {}
    for command in commands:
        seconds = at.run("-m", "dsetkit", *command.split(), at.work / "labelled")[0]
        figures[f"`{command}` [µs a sample]"] = (seconds - start_s) / samples * 1e6
    return figures


def step(at: Checkout, script: str, arch: str) -> dict[str, float]:
    """The second epoch of a training: [s a step]."""
    epochs, _ = train(at, script, arch, steps=STEPS, epochs=2)
    return {f"step: `{arch}` [s]": BATCH / float(epochs[1]["samples_per_s"])}


def first_step(at: Checkout) -> dict[str, float]:
    """A training with steps of one epoch each, until the first is logged."""
    _, seconds = train(at, "train_depth.py", "depth_lite", steps=1, epochs=1)
    return {"start: the first step of `depth_lite` is done [s]": seconds}


def train(
    at: Checkout, script: str, arch: str, *, steps: int, epochs: int
) -> tuple[list[dict[str, str]], float]:
    """Trains until so many epochs are logged; returns their lines, and the seconds from the start.

    Args:
        at: The commit.
        script: The training script.
        arch: The network.
        steps: Steps of an epoch.
        epochs: Epochs until it is killed.
    """
    run = at.work / "run"
    shutil.rmtree(run, ignore_errors=True)
    started_at = time.perf_counter()
    process = at.start(
        script, "--data", at.work / "labelled", "--output", run, "--arch", arch, "--img-sizes", 64,
        "--batch-size", BATCH, "--epochs", EPOCHS, "--limit-samples", BATCH * steps,
        "--val-every", EPOCHS,
    )  # fmt: skip
    try:
        while len(logged := _log(run / "log.csv")) < epochs:
            if process.poll() is not None:
                raise at.failed(process)
            time.sleep(0.05)
        return logged, time.perf_counter() - started_at
    finally:
        process.kill()
        process.wait()


def _log(path: Path) -> list[dict[str, str]]:
    """The whole lines of a training's log."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return list(csv.DictReader(line for line in lines if line.endswith("\n")))


def pieces(pictures: list[object], amounts: Amounts) -> list[Callable[[Checkout], dict]]:
    none = "--teacher none --workers 0 --layout"
    return [
        start,
        *(
            partial(
                generate, name=name, samples=samples, what=what, pictures=pictures, options=options
            )
            for name, samples, what, options in (
                ("many", amounts.recipes, "recipes", f"{none} recipe"),
                ("rendered", amounts.rendered, "rendered", f"{none} rendered"),
                ("recipe", amounts.read, "recipes for reading", f"{none} recipe"),
                ("labelled", amounts.labelled, "with the bundled teacher", "--workers 2"),
            )
        ),
        *(
            partial(read, name=name, size=size, threads=threads)
            for name in ("rendered", "recipe", "labelled")
            for size, threads in ((64, 1), (64, 2), (224, 1))
        ),
        partial(whole_dataset, samples=amounts.labelled),
        first_step,
        partial(step, script="train_depth.py", arch="depth_lite"),
        partial(step, script="train_depth.py", arch="resnet50_upproj"),
        partial(step, script="train_mask.py", arch="mask_autoencoder"),
    ]


# ---- measuring ---------------------------------------------------------------------------------


def check_out(commit: str, folder: Path) -> Checkout:
    name = _git("rev-parse", "--verify", f"{commit}^{{commit}}")
    _git("clone", "--quiet", "--shared", REPOSITORY, folder / "tree")
    _git("-C", folder / "tree", "checkout", "--quiet", name)
    (folder / "work").mkdir()
    return Checkout(name, folder / "tree", folder / "work")


def _git(*words: object) -> str:
    command = ["git", *map(str, words)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def measure(
    checkouts: list[Checkout], works: list[Callable[[Checkout], dict]], *, rounds: int
) -> dict[str, list[list[float]]]:
    """All pieces of all commits in turn, round after round.

    Returns:
        Name -> for each commit its figures, one a round; none of a commit that lacks the command.
    """
    figures: dict[str, list[list[float]]] = {}
    for number in range(rounds):
        for work in works:
            # Every second round begins with the last commit: a drift then favours none.
            for place in list(range(len(checkouts)))[:: 1 if number % 2 == 0 else -1]:
                for name, value in work(checkouts[place]).items():
                    of_all = figures.setdefault(name, [[] for _ in checkouts])
                    of_all[place].append(value)
                    print(f"round {number + 1}: {checkouts[place].commit[:10]}: {name}: {value:g}",
                          flush=True)  # fmt: skip
    return figures


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR", help="cut-outs with alpha")
    add("--backgrounds", type=Path, required=True, metavar="DIR", help="photographs")
    add("--commits", nargs="+", required=True, metavar="COMMIT", help="the oldest first")
    add("--recipes", type=COUNT, default=60_000, help="to generate (default: %(default)s)")
    add("--rendered", type=COUNT, default=6000, help="to generate (default: %(default)s)")
    add("--labelled", type=COUNT, default=2400, help="with depth (default: %(default)s)")
    add("--read", type=COUNT, default=4096, help="recipes to read (default: %(default)s)")
    add("--rounds", type=COUNT, default=3, help="(default: %(default)s)")
    args = parser.parse_args()
    pictures = ["--foregrounds", args.foregrounds.resolve()]
    pictures += ["--backgrounds", args.backgrounds.resolve()]
    amounts = Amounts(args.recipes, args.rendered, args.labelled, args.read)
    with tempfile.TemporaryDirectory(prefix="compare_commits-") as folder:
        places = [Path(folder) / str(number) for number in range(len(args.commits))]
        for place in places:
            place.mkdir()
        checkouts = [check_out(*pair) for pair in zip(args.commits, places, strict=True)]
        figures = measure(checkouts, pieces(pictures, amounts), rounds=args.rounds)
    commits = [checkout.commit for checkout in checkouts]
    content = {"commits": commits, "rounds": args.rounds, "figures": figures}
    print("\n" + tables.compare_commits(content) + "\n")
    keep("compare_commits", content, seeds=[0])


if __name__ == "__main__":
    main()
