"""split: changes the split of each sample of an existing dataset; splits as CSV.

Only the split cells and the manifest's `splits` change, in one transaction; samples do not.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dsetkit.arguments import SEED, SHARE
from dsetkit.compositing import cells_by_sample, cells_of
from dsetkit.datasets import COLUMNS, Dataset, Origin, SampleTable, joined_splits, origins
from dsetkit.errors import DatasetError
from dsetkit.files import write_whole
from dsetkit.store import Record, StoreWriter, cells_entry, manifest_entry, shard_path
from dsetkit.store import manifest as m

Progress = Callable[[int, int], None]  # (samples done, samples in all)


def _no_progress(done: int, total: int) -> None: ...


# ---- ways to split -----------------------------------------------------------------------------


def split_by_asset(path: Path, *, progress: Progress = _no_progress) -> None:
    """Gives every sample the split cell it had when it was generated.

    Args:
        path: The dataset's directory.
        progress: Called with (samples done, samples in all).

    Raises:
        DatasetError: As `Dataset`, or the dataset was imported and has no assets.
    """
    dataset = Dataset(path)
    if dataset.manifest.num_foregrounds == 0:
        raise DatasetError(
            f"{path} was imported and has no assets of its own: use --split-by sample or a CSV, or "
            "import it again"
        )
    total = len(dataset)

    def records() -> Iterator[Record]:
        for number in range(total):
            yield dataset.record(number)
            progress(number + 1, total)

    asset_splits = {
        kind: [asset.split for asset in dataset.assets(kind)]
        for kind in ("backgrounds", "foregrounds")
    }
    cells, splits = cells_by_asset(records(), asset_splits, origins(dataset.manifest))
    _write(dataset, cells, splits)


def cells_by_asset(
    records: Iterable[Record],
    asset_splits: Mapping[str, Sequence[str]],
    made_from: Sequence[Origin],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Split cells that follow from the splits of the assets.

    Args:
        records: Generated samples, those of each origin in turn.
        asset_splits: The split of every asset by its id, of `backgrounds` and `foregrounds`.
        made_from: The datasets that the samples were generated for; each has its own seed.

    Returns:
        The cell of every sample, uint8 (N,), and the manifest's entry on splits.
    """
    total = sum(origin.num_samples for origin in made_from)
    index, backgrounds, foregrounds = (np.empty(total, np.int64) for _ in range(3))
    for number, record in enumerate(records):
        foreground = record.objects[0].foreground if record.objects else None
        if record.background is None or foreground is None or record.index is None:
            raise DatasetError(f"sample {number} does not name its assets: it was imported")
        index[number] = record.index
        backgrounds[number], foregrounds[number] = record.background, foreground
    behind = np.array(asset_splits["backgrounds"])[backgrounds]
    in_front = np.array(asset_splits["foregrounds"])[foregrounds]
    cells: list[np.ndarray] = []
    entries: list[dict[str, Any]] = []
    start = 0
    for origin in made_from:
        part, seed = slice(start, start + origin.num_samples), origin.recipe["seed"]
        cells.append(cells_of(index[part], behind[part], in_front[part], seed=seed))
        entries.append({"by": "asset", "seed": seed})
        start = part.stop
    return np.concatenate(cells), joined_splits(entries)


def split_by_sample(path: Path, *, shares: Sequence[float], seed: int) -> None:
    """Splits by chance: a test sample may show assets that training samples show.

    Args:
        path: The dataset's directory.
        shares: Shares of train, val and test; their sum is 1.
        seed: Key of the choice.

    Raises:
        DatasetError: As `Dataset`, numbers that are no shares, or do not add up to 1.
    """
    for share in shares:
        SHARE.check(share, "--shares", DatasetError)
    SEED.check(seed, "--seed", DatasetError)
    if len(shares) != 3 or abs(sum(shares) - 1) > 1e-6:
        given = " ".join(f"{share:g}" for share in shares)
        raise DatasetError(
            f"--shares {given}: expected shares of train, val and test with a sum of 1"
        )
    dataset = Dataset(path)
    cells = cells_by_sample(len(dataset), shares=shares, seed=seed)
    _write(dataset, cells, {"by": "sample", "shares": list(shares), "seed": seed})


# ---- CSV ---------------------------------------------------------------------------------------


def import_csv(path: Path, file: Path) -> None:
    """Reads the splits from a CSV with the columns `index`, `split` and, optionally, `cell`.

    Args:
        path: The dataset's directory.
        file: The CSV; it names every sample once, in any order.

    Raises:
        DatasetError: As `Dataset`, or a CSV that cannot be read or does not name each sample once.
    """
    dataset = Dataset(path)
    total = len(dataset)
    unnamed = len(m.CELL_NAMES)
    cells = np.full(total, unnamed, np.uint8)
    for where, row in _csv_rows(file):
        index = _csv_index(row["index"], total, where)
        if cells[index] != unnamed:
            raise DatasetError(f"{where}: index {index} is there a second time")
        cells[index] = _csv_cell(row["split"], row.get("cell") or "", where)
    missing = np.flatnonzero(cells == unnamed)
    if len(missing):
        raise DatasetError(
            f"{file} has no row for {len(missing):,} of {total:,} samples "
            f"(the first is index {missing[0]}): expected each sample once"
        )
    _write(dataset, cells, {"by": "csv", "file": file.name})


def export_csv(path: Path, file: Path, *, progress: Progress = _no_progress) -> None:
    """Writes a CSV with one row for each sample; `SampleTable` lists the columns.

    Args:
        path: The dataset's directory.
        file: The CSV to write.
        progress: Called with (samples done, samples in all).

    Raises:
        DsetkitError: As `Dataset`, or the file cannot be written.
    """
    write_whole(file, as_csv(_rows(Dataset(path), progress), COLUMNS))


def _rows(dataset: Dataset, progress: Progress) -> Iterator[dict[str, int | str]]:
    table = SampleTable(dataset)
    total = len(dataset)
    for index in range(total):
        yield table.row(index, dataset.record(index))
        progress(index + 1, total)


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Rows as a CSV file with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (line for messages, row) of a CSV file.

    Raises:
        DatasetError: The file cannot be read, or lacks a column.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except OSError as error:
        raise DatasetError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{file} is not UTF-8 text: expected a CSV file") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    if not {"index", "split"} <= set(columns):
        found = ", ".join(columns) or "none"
        raise DatasetError(
            f"{file} has the columns {found}: expected index, split and, optionally, cell"
        )
    for row in reader:
        yield f"{file}, line {reader.line_num}", row


def _csv_index(text: str, total: int, where: str) -> int:
    if not text.isdecimal() or int(text) >= total:
        raise DatasetError(f"{where}: index {text!r}, expected 0 to {total - 1}")
    return int(text)


def _csv_cell(split: str | None, cell: str, where: str) -> int:
    """The cell that a row names; if it names none, the first cell of its split."""
    if split not in m.SPLITS:
        raise DatasetError(f"{where}: split {split!r}, expected {', '.join(m.SPLITS)}")
    cells = {m.CELL_NAMES[number]: number for number in m.SPLITS[split]}
    if cell and cell not in cells:
        raise DatasetError(f"{where}: cell {cell!r}, expected for {split}: {' | '.join(cells)}")
    return cells[cell] if cell else m.SPLITS[split][0]


# ---- the store ---------------------------------------------------------------------------------


def _write(dataset: Dataset, cells: np.ndarray, splits: dict[str, Any]) -> None:
    manifest = replace(dataset.manifest, splits=splits)
    with StoreWriter(shard_path(Path(dataset.path))) as store:
        store.put([manifest_entry(manifest), cells_entry(cells)])
