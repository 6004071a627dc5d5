"""Generates one dataset without a teacher, in a process that does nothing else; prints the times.

    python -m benchmarks.make_once '{"foregrounds": "DIR", "backgrounds": "DIR", "output": ...}'

`bench_shards` starts it for every figure. It imports no more than the command does, because the
processes that write shards import it too. It prints one line of JSON: the fields of `Run`.
"""

import json
import math
import resource
import sys
import time
from dataclasses import astuple, dataclass, fields
from multiprocessing import active_children
from pathlib import Path

from dsetkit.compositing import Canvas
from dsetkit.generating import Spread, generate
from dsetkit.labels import TeacherChoice


@dataclass(frozen=True)
class Run:
    """The times of one generation.

    Attributes:
        first: Number of samples in the first progress report, and its time [s].
        last: Time of the last progress report [s].
        ended: Time at which the dataset was complete [s].
        cpu_s: CPU time of the process and of those that it started and waited for.
        samples: Number of all samples.
    """

    first: tuple[int, float]
    last: float
    ended: float
    cpu_s: float
    samples: int

    @property
    def samples_per_s(self) -> float:
        """The rate from the first report to the last; nan if the run ended before that."""
        if self.first[0] == self.samples:
            return math.nan
        return (self.samples - self.first[0]) / (self.last - self.first[1])


def settings_objects(flat: dict) -> dict:
    """Convert settings named as on the command line to those of `generate`; no teacher."""
    remaining = dict(flat)
    grouped = {}
    for name, kind in (("canvas", Canvas), ("spread", Spread)):
        own = [entry.name for entry in fields(kind) if entry.name in remaining]
        grouped[name] = kind(**{key: remaining.pop(key) for key in own})
    batch_size = {key: remaining.pop(key) for key in ("batch_size",) if key in remaining}
    return remaining | grouped | {"teacher": TeacherChoice(name="none", **batch_size)}


def make(settings: dict) -> Run:
    """Generate a dataset; times are those of the system clock, which all processes share."""
    reports: list[tuple[int, float]] = []

    def progress(done: int, total: int) -> None:
        if done and (not reports or done > reports[-1][0]):
            reports.append((done, time.perf_counter()))

    manifest = generate(**settings_objects(settings), progress=progress)
    ended = time.perf_counter()
    for worker in active_children():
        worker.join()
    own, workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_s = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
    return Run(reports[0], reports[-1][1], ended, cpu_s, manifest.num_samples)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    folders = {name: Path(settings[name]) for name in ("foregrounds", "backgrounds", "output")}
    print(json.dumps(astuple(make(settings | folders))))
