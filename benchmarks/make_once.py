"""Generates one dataset, without a teacher, in a process that does nothing else; tells the times.

    python -m benchmarks.make_once '{"foregrounds": "DIR", "backgrounds": "DIR", "output": ...}'

`bench_shards` starts it anew for every figure. It imports no more than the command does, for the
processes that write shards import it too. Prints one line of JSON: the fields of `Run`.
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
    """One generation.

    Attributes:
        first: Samples that were there when it first told of some, and when that was [s].
        last: When it told of the last [s].
        ended: When the dataset was complete [s].
        cpu_s: CPU time of its process and of those it started and waited for.
        samples: In all.
    """

    first: tuple[int, float]
    last: float
    ended: float
    cpu_s: float
    samples: int

    @property
    def samples_per_s(self) -> float:
        """From the first sample to the last; nan where all was over before that was told."""
        if self.first[0] == self.samples:
            return math.nan
        return (self.samples - self.first[0]) / (self.last - self.first[1])


def settings_objects(flat: dict) -> dict:
    """Flat settings, by the names of the command line, as `generate` takes them; no teacher."""
    rest = dict(flat)
    grouped = {}
    for name, kind in (("canvas", Canvas), ("spread", Spread)):
        own = [entry.name for entry in fields(kind) if entry.name in rest]
        grouped[name] = kind(**{key: rest.pop(key) for key in own})
    batch_size = {key: rest.pop(key) for key in ("batch_size",) if key in rest}
    return rest | grouped | {"teacher": TeacherChoice(name="none", **batch_size)}


def make(settings: dict) -> Run:
    """Generates a dataset; the times are of the system's clock, which all processes share."""
    told: list[tuple[int, float]] = []

    def progress(done: int, total: int) -> None:
        if done and (not told or done > told[-1][0]):
            told.append((done, time.perf_counter()))

    manifest = generate(**settings_objects(settings), progress=progress)
    ended = time.perf_counter()
    for worker in active_children():
        worker.join()
    own, workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_s = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
    return Run(told[0], told[-1][1], ended, cpu_s, manifest.num_samples)


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    folders = {name: Path(settings[name]) for name in ("foregrounds", "backgrounds", "output")}
    print(json.dumps(astuple(make(settings | folders))))
