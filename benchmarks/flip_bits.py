"""Flips bits of a dataset's file and says whether each flip was found.

    python -m benchmarks.flip_bits --flips 10000        random bits, as many of each kind of byte
    python -m benchmarks.flip_bits --every-bit          each bit of a smaller file once

After each flip, `verify --quick` and a reader of all samples look at the file in a child process. A
flip is

    detected    verify names it, and a reader meets an error or nothing that differs
    harmless    verify finds nothing, and a reader gets what it got before: unused bytes
    wrong       a reader gets something else without an error, or verify finds nothing although a
                reader gets something else
    died        the child ended by a signal or by an error that is not DatasetError

The dataset is drawn for it. The table goes to stdout, and with counts to results/flip_bits.json.
"""

import argparse
import multiprocessing
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import xxhash

from benchmarks.common import keep, markdown_table
from dsetkit.console import progress_bar
from dsetkit.datasets import Dataset
from dsetkit.errors import DatasetError
from dsetkit.store import StoreReader, shard_path, structure
from dsetkit.store.environments import DATABASES, close_environments
from dsetkit.verbs.verify import verify
from tests.helpers.worlds import tiny_dataset

PAGE = 4096  # bytes
HEADER = 16  # bytes of a page before its entries
LONGEST_S = 60  # for one flip; longer counts as died
KINDS = {1: "branch page", 2: "leaf page", 4: "header of a large value", 8: "meta page"}
OUTCOMES = ("detected", "harmless", "wrong", "died")


def main() -> None:
    """Parses the command line, flips, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--flips", type=int, default=10_000, metavar="N", help="random flips (default: %(default)s)"
    )
    add("--every-bit", action="store_true", help="flip each bit of a smaller file once")
    add("--part", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="part I of N alone")
    add("--seed", type=int, default=0, help="of the choice of bits (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.every_bit:
            few = {"num_samples": 4, "num_backgrounds": 1, "num_foregrounds": 1}
            path = tiny_dataset(Path(folder) / "d", size=16, **few)
        else:
            path = tiny_dataset(Path(folder) / "d", size=64)
        content = shard_path(path).read_bytes()
        kinds = kinds_of_bytes(path, content)
        bits = range(8 * len(content))
        if not args.every_bit:
            bits = chosen_bits(kinds, args.flips, seed=args.seed)
        outcomes = flip_all(path, bits[args.part[0] :: args.part[1]])
    table = Counter((kinds[bit // 8], outcome) for bit, outcome in outcomes)
    rows = [
        [kind, *(f"{table[kind, outcome]:,}" for outcome in OUTCOMES)]
        for kind in dict.fromkeys(kind for kind, _ in sorted(table))
    ]
    sums = {outcome: sum(table[kind, outcome] for kind, *_ in rows) for outcome in OUTCOMES}
    rows.append(["all", *(f"{count:,}" for count in sums.values())])
    print(markdown_table(["bit in", *OUTCOMES], rows))
    bad = [(bit, kinds[bit // 8], outcome) for bit, outcome in outcomes if outcome in OUTCOMES[2:]]
    for bit, kind, outcome in bad[:20]:
        print(f"bit {bit} (byte {bit // 8}, {kind}): {outcome}")
    counts = {kind: dict(zip(OUTCOMES, row, strict=True)) for kind, *row in rows}
    found = {"flips": sum(sums.values()), "file_bytes": len(content), "outcomes": counts}
    found |= {"part": args.part} if args.part[1] > 1 else {}
    keep("flip_every_bit" if args.every_bit else "flip_bits", found, seeds=[args.seed])


def kinds_of_bytes(path: Path, content: bytes) -> list[str]:
    """What each byte of a dataset's file belongs to."""
    kinds = []
    used = used_pages(shard_path(path))
    for start in range(0, len(content), PAGE):
        flags = int.from_bytes(content[start + 10 : start + 12], "little")
        kind = KINDS.get(flags, "unused page") if start // PAGE in used else "unused page"
        kinds += [kind] * HEADER
        kinds += ["unused page" if flags == 4 else kind] * (PAGE - HEADER)
    store = StoreReader(shard_path(path))
    for database in ("samples", "backgrounds", "foregrounds", "manifest"):
        for key, value in store.items(database):
            start = content.find(value)
            while not is_current(content, start, key, used):  # an older copy
                start = content.find(value, start + 1)
            name = key.decode() if database == "manifest" else database
            kinds[start : start + len(value)] = [f"value in {name}"] * len(value)
    for start in range(0, len(content), PAGE):  # values of several pages have one header
        if int.from_bytes(content[start + 10 : start + 12], "little") == 4:
            kinds[start : start + HEADER] = [
                kinds[start + HEADER] if kinds[start - 1] == kinds[start + HEADER] else kinds[start]
            ] * HEADER
    return kinds


def is_current(content: bytes, start: int, key: bytes, used: set[int]) -> bool:
    """Whether a value at `start` is one that its page points to, or lies on pages of its own."""
    page = start // PAGE
    if page not in used or start % PAGE == HEADER:
        return page in used
    lower = int.from_bytes(content[page * PAGE + 12 : page * PAGE + 14], "little")
    places = np.frombuffer(content[page * PAGE + HEADER : page * PAGE + lower], "<u2")
    return start % PAGE - len(key) - 8 in places


def used_pages(file: Path) -> set[int]:
    """The numbers of the pages that a reader can reach."""
    walk = structure._Walk(
        np.memmap(file, np.uint8, "r"), structure._read_metas(file), DATABASES, thorough=False
    )
    reached = [np.arange(2)]
    walk._check_free = lambda *metas: reached.extend(walk._used)  # before it looks at free pages
    walk.check()
    return set(np.concatenate(reached).tolist())


def chosen_bits(kinds: list[str], flips: int, *, seed: int) -> list[int]:
    """Random bits, as many of each kind of byte."""
    rng = np.random.default_rng(seed)
    names = np.array(kinds)
    each = -(-flips // len(set(kinds)))
    chosen = []
    for kind in sorted(set(kinds)):
        places = np.flatnonzero(names == kind)
        picked = rng.choice(8 * len(places), min(each, 8 * len(places)), replace=False)
        chosen += (8 * places[picked // 8] + picked % 8).tolist()
    return sorted(chosen)


def flip_all(path: Path, bits: Iterable[int]) -> list[tuple[int, str]]:
    """(bit, outcome) of each flip."""
    expected = everything(path)
    context = multiprocessing.get_context("fork")
    bits, outcomes = list(bits), []
    with progress_bar("flips") as progress:
        while len(outcomes) < len(bits):
            receiver, sender = context.Pipe(duplex=False)
            left = bits[len(outcomes) :]
            child = context.Process(target=_flip_some, args=(path, left, expected, sender))
            child.start()
            sender.close()
            with suppress(EOFError):
                while receiver.poll(LONGEST_S):
                    outcome = receiver.recv()
                    outcomes.append((bits[len(outcomes)], outcome))
                    progress(len(outcomes), len(bits))
            child.kill()
            child.join()
            if len(outcomes) < len(bits):  # the child died, or took too long
                outcomes.append((bits[len(outcomes)], "died"))
                _restore(path)
    return outcomes


def everything(path: Path) -> dict[str, bytes | str]:
    """A checksum of each thing that a reader can see, or the error that it meets."""
    try:
        dataset = Dataset(path)
        seen: dict[str, bytes | str] = {"manifest": dataset.manifest.to_bytes()}
    except DatasetError:
        return {}
    seen |= {f"sample {index}": _or_error(dataset, index) for index in range(len(dataset))}
    for kind in ("backgrounds", "foregrounds"):
        try:
            seen[kind] = xxhash.xxh3_64_digest(repr(list(dataset.assets(kind))).encode())
        except DatasetError:
            seen[kind] = "error"
    try:
        seen["cells"] = dataset.cells.tobytes()
    except DatasetError:
        seen["cells"] = "error"
    return seen


def _or_error(dataset: Dataset, index: int) -> bytes | str:
    try:
        record = dataset.record(index)
    except DatasetError:
        return "error"
    return xxhash.xxh3_64_digest(repr((record, sorted(record.fields.items()))).encode())


def _flip_some(path: Path, bits: list[int], expected: dict, sender) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # LMDB's and Python's last words
    file = shard_path(path)
    with open(file, "r+b", buffering=0) as opened:
        for bit in bits:
            byte = os.pread(opened.fileno(), 1, bit // 8)[0]
            os.pwrite(opened.fileno(), bytes([byte ^ 1 << bit % 8]), bit // 8)
            (path / "flipped").write_text(f"{bit // 8} {byte}")
            sender.send(_outcome(path, expected))
            os.pwrite(opened.fileno(), bytes([byte]), bit // 8)


def _outcome(path: Path, expected: dict) -> str:
    close_environments(shard_path(path).resolve())
    try:
        is_found = bool(verify(path, quick=True, jobs=1))
    except DatasetError:
        is_found = True
    seen = everything(path)
    if any(seen[name] not in (expected.get(name), "error") for name in seen):
        return "wrong"
    if is_found:
        return "detected"
    return "harmless" if seen == expected else "wrong"


def _restore(path: Path) -> None:
    """Undoes the flip of a child that died."""
    place, byte = map(int, (path / "flipped").read_text().split())
    with open(shard_path(path), "r+b") as file:
        os.pwrite(file.fileno(), bytes([byte]), place)


if __name__ == "__main__":
    main()
