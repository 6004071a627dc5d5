"""How fast a dataset is read as training batches, at several sizes and numbers of workers.

python -m benchmarks.bench_read --data DATASET [--sizes 64 224] [--workers 0 2]
"""

import argparse
from pathlib import Path

from benchmarks.common import report, rounds
from dsetkit import SampleDataset, make_loader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224], help="[px]")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5, help="rounds (default: %(default)s)")
    args = parser.parse_args()

    def reader(size: int, workers: int):
        data = SampleDataset(args.data, split=None, size=size)
        loader = make_loader(data, args.batch_size, workers=workers)
        return lambda: sum(len(batch["composite"]) for batch in loader)

    cases = {
        f"{size} px, {workers} workers": reader(size, workers)
        for size in args.sizes
        for workers in args.workers
    }
    count = len(SampleDataset(args.data, split=None))
    notes = {"note": "background, composite, mask and depth; warm page cache; start of workers in"}
    title = f"bench_read: {count:,} samples, batches of {args.batch_size}, random order"
    report(title, rounds(cases, repeat=args.repeat), notes)


if __name__ == "__main__":
    main()
