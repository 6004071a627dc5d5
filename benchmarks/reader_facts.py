"""What a reader gives besides speed, each found out by a small trial.

    exact      the fields whose pixels are those that were composited, to the bit, at the size at
               which they are stored
    flips      bytes of the store are changed one at a time: `noticed` by an error, `silent` where
               samples differ and there is no error, `died` where the process ended or hung. Bytes
               that change nothing do not count.
    resumes    whether a second loader goes on after the first batch of an epoch, with the batches
               that the first loader gives from there on

`bench_read` has `read_once --facts` try each reader on a small dataset that is drawn for it.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from benchmarks.peers.shared import FIELDS
from dsetkit.datasets import Dataset

FLIPS = 20  # that change something
MOST_FLIPS = 200
LONGEST_S = 60  # for one flip; longer counts as died

OpenBatches = Callable[..., Iterable[dict]]  # called with `size`; each iteration is one epoch


def facts(open_batches: OpenBatches, store: Path, dataset: Dataset, *, flips: int = FLIPS) -> dict:
    """Return the facts of a reader, see the top of this file.

    Args:
        open_batches: Opens its loader at a size [px].
        store: The folder whose bytes are changed.
        dataset: The rendered dataset that the store was made from, with recipes.
        flips: How many flips are to count.
    """
    size = dataset.manifest.size[0]
    return {
        "flips": flipped(lambda: open_batches(size=size), store, flips=flips),
        "exact": exact_fields(open_batches, dataset),
        "resumes": resumes(lambda: open_batches(size=size)),
    }


def exact_fields(open_batches: OpenBatches, dataset: Dataset) -> list[str]:
    """Return the fields of which every sample has the pixels that were composited."""
    records = dataset.records(range(len(dataset)))
    drawn = [dataset.compositor.composite(record) for record in records]
    stored = [dataset.image(record, "depth") for record in records]
    expected = {
        "composite": [[image for image, _ in drawn]],
        "mask": [[mask for _, mask in drawn]],
        # Peers give depth in the stored unit, dsetkit in 0..1.
        "depth": [[d.astype(np.float32) for d in stored], [dataset.depth_share(d) for d in stored]],
    }
    return [
        name
        for name in FIELDS
        if any(
            sorted(map(bytes, _pixels(open_batches(size=images[0].shape[0]), name)))
            == sorted(map(bytes, images))
            for images in expected[name]
        )
    ]


def flipped(
    open_batches: Callable[[], Iterable[dict]], store: Path, *, flips: int, seed: int = 0
) -> dict[str, int]:
    """Change random bytes of a store, one at a time, and count what a reader makes of each."""
    expected = _in_child(lambda: _epoch(open_batches()))  # a cache is made here
    files = [path for path in sorted(store.rglob("*")) if path.is_file()]
    files = [path for path in files if "lock" not in path.name]  # of LMDB and of caches
    ends = np.cumsum([path.stat().st_size for path in files])
    rng, found = np.random.default_rng(seed), Counter(noticed=0, silent=0, died=0)
    for _ in range(MOST_FLIPS):
        if found.total() == flips:
            break
        place = int(rng.integers(ends[-1]))
        number = int(np.searchsorted(ends, place, side="right"))
        offset = place - int(ends[number] - files[number].stat().st_size)
        with open(files[number], "r+b", buffering=0) as file:
            byte = os.pread(file.fileno(), 1, offset)[0]
            os.pwrite(file.fileno(), bytes([byte ^ int(rng.integers(1, 256))]), offset)
            seen = _in_child(lambda: _epoch(open_batches()))
            os.pwrite(file.fileno(), bytes([byte]), offset)
        outcome = seen if seen in ("noticed", "died") else "silent"
        if seen != expected:
            found[outcome] += 1
    return dict(found)


def resumes(open_batches: Callable[[], Iterable[dict]]) -> bool:
    """Return whether a loader can go on after the first batch of an epoch."""
    first: Any = open_batches()
    second: Any = open_batches()
    if hasattr(first, "set_position"):  # ours
        second.set_position(0, 1)
        _, *rest = first
    elif hasattr(first, "state_dict") and hasattr(first, "load_state_dict"):
        batches = iter(first)
        next(batches)
        second.load_state_dict(first.state_dict())
        rest = list(batches)
    else:
        return False
    return len(rest) > 0 and list(map(_samples, rest)) == list(map(_samples, second))


def _pixels(batches: Iterable[dict], name: str) -> list[np.ndarray]:
    """A field of all samples: (H,W,3) or (H,W)."""
    return [image for batch in batches for image in _images(batch[name])]


def _images(values: Any) -> np.ndarray:
    """(N,H,W,3) or (N,H,W) of a peer's batch, or of ours, which has channels first."""
    array = np.asarray(values)
    if array.ndim == 4 and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    return array[..., 0] if array.shape[-1] == 1 else array


def _samples(batch: dict) -> list[bytes]:
    """A checksum of each sample of a batch."""
    fields = zip(*(_images(batch[name]) for name in FIELDS), strict=True)
    return [xxhash.xxh3_64_digest(b"".join(map(bytes, images))) for images in fields]


def _epoch(batches: Iterable[dict]) -> str:
    """A checksum of the samples of an epoch in any order."""
    samples = sorted(sample for batch in batches for sample in _samples(batch))
    return xxhash.xxh3_64_hexdigest(b"".join(samples))


def _in_child(read: Callable[[], str]) -> str:
    """What `read` returns in a forked process; "noticed" if it raises, "died" if that ends."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # LMDB's and Python's last words
        try:
            sender.send(read())
        except BaseException:
            sender.send("noticed")

    child = context.Process(target=work)
    child.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(LONGEST_S) else "died"
    except EOFError:
        return "died"
    finally:
        child.kill()
        child.join()
