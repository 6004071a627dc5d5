"""Measures how work on the CPU fares beside other programs that keep the cores busy.

    python -m benchmarks.bench_busy [--busy 1 3] [--data DATASET]

What is measured, each on the quiet machine and beside so many processes that spin:

    teacher              the bundled teacher by ONNX Runtime on pictures of 224 px
    teacher, spinning    the same, with waiting threads that spin, ONNX Runtime's own default
    step                 training steps of depth_lite at 64 px, batches of 32, as the scripts do
    read                 a dataset, every sample of it decoded at 64 px, in batches of 32

All take turns, round after round, and a time is the median of the rounds. Of p processes on c cores
one that could use them all gets a fair share of c / p: beside n busy ones its time should grow by
(n + 1), and its CPU time not at all. Wall times mean nothing on a machine that is not quiet at the
start; CPU times mean a little then.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime
import torch

from benchmarks import tables
from benchmarks.bench_train import Case, draw_dataset, make_step
from benchmarks.common import keep
from dsetkit.arguments import COUNT, JOBS, Parser
from dsetkit.datasets import Dataset
from dsetkit.devices import prepare_device
from dsetkit.teachers import Teacher, TeacherOptions, load_teacher

BATCH, SIZE, TEACHER_SIZE = 32, 64, 224  # samples, [px], [px]
# Ends when the benchmark does, however that ends.
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(10**6))"

Times = dict[str, dict[int, list[tuple[float, float]]]]  # work -> busy processes -> (wall, CPU) [s]


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--busy", nargs="+", type=JOBS, default=[1, 3], metavar="N",
        help="processes that spin (default: 1 3)")  # fmt: skip
    add("--data", type=Path, metavar="DATASET", help="to read (default: one that is drawn)")
    add("--pictures", type=COUNT, default=16, help="for the teacher (default: %(default)s)")
    add("--steps", type=COUNT, default=3, help="of training (default: %(default)s)")
    add("--samples", type=COUNT, default=2048, help="to read (default: %(default)s)")
    add("--rounds", type=COUNT, default=5, help="one more goes first (default: %(default)s)")
    args = parser.parse_args()
    prepare_device(torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or draw_dataset(Path(folder), 256, TEACHER_SIZE)
        works = {
            "teacher": teacher_work(args.pictures, spinning=False),
            "teacher, spinning": teacher_work(args.pictures, spinning=True),
            "step": step_work(args.steps),
            "read": read_work(data, args.samples),
        }
        times = measure(works, args.busy, rounds=args.rounds)
    amounts = {"pictures": args.pictures, "steps": args.steps, "samples": args.samples}
    content = {"amounts": amounts, "rounds": args.rounds, "wall and CPU [s]": times}
    print(tables.bench_busy(content))
    keep("bench_busy", content, seeds=[0])


# ---- the work ----------------------------------------------------------------------------------


def teacher_work(pictures: int, *, spinning: bool) -> Callable[[], object]:
    """Depths of so many pictures, four at a time."""
    teacher = _spinning_teacher() if spinning else _teacher()
    shape = (4, TEACHER_SIZE, TEACHER_SIZE, 3)
    batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return lambda: [teacher(batch) for _ in range(max(1, pictures // 4))]


def _teacher() -> Teacher:
    return load_teacher("bundled", options=TeacherOptions(engine="onnxruntime"))


def _spinning_teacher() -> Teacher:
    options = onnxruntime.SessionOptions
    with mock.patch.object(options, "add_session_config_entry", lambda *entry: None):
        return _teacher()


def step_work(steps: int) -> Callable[[], object]:
    case = Case("defaults", "depth_lite", SIZE, BATCH, torch.get_num_threads(), "cpu")
    step = make_step(case, torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    fields = {"composite": 3, "background": 3, "mask": 1, "depth": 1}
    batch = {name: torch.rand(BATCH, n, SIZE, SIZE, generator=rng) for name, n in fields.items()}
    return lambda: [step(batch).item() for _ in range(steps)]


def read_work(data: Path, samples: int) -> Callable[[], object]:
    dataset = Dataset(data)
    fields = list(dataset.manifest.fields)
    indices = [index % len(dataset) for index in range(samples)]

    def read() -> None:
        for start in range(0, samples, BATCH):
            for _ in dataset.samples(indices[start : start + BATCH], fields, (SIZE, SIZE)):
                pass

    return read


# ---- measuring ---------------------------------------------------------------------------------


def measure(works: dict[str, Callable[[], object]], busy: list[int], *, rounds: int) -> Times:
    """Wall and CPU seconds of each work beside 0 and each number of busy processes."""
    counts = [0, *busy]
    times: Times = {name: {count: [] for count in counts} for name in works}
    for number in range(rounds + 1):
        for count in counts:
            with spinning(count):
                for name, work in works.items():
                    wall, cpu = time.perf_counter(), time.process_time()
                    work()
                    found = time.perf_counter() - wall, time.process_time() - cpu
                    if number:
                        times[name][count].append(found)
    return times


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keeps so many processes busy within a block."""
    processes = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
