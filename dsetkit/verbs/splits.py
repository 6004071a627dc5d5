"""split: rewrites which split each sample of an existing dataset is in; CSV in and out.

Only the split cells and the manifest's `splits` change, in one transaction; no sample is touched.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dsetkit.compositing import cells_by_sample, cells_of
from dsetkit.datasets import COLUMNS, Dataset, SampleTable, joined_splits, origins
from dsetkit.errors import DatasetError
from dsetkit.files import write_whole
from dsetkit.store import StoreWriter, shard_path
from dsetkit.store import manifest as m

Progress = Callable[[int, int], None]  # (samples done, samples in all)


def _no_progress(done: int, total: int) -> None: ...


# ---- ways to split -----------------------------------------------------------------------------


def split_by_asset(path: Path, *, progress: Progress = _no_progress) -> None:
    """Gives every sample the cell it had when it was generated.

    Raises:
        DatasetError: As `Dataset`, or the dataset was imported and has no assets.
    """
    dataset = Dataset(path)
    if dataset.manifest.num_foregrounds == 0:
        raise DatasetError(
            f"{path} was imported and has no assets of its own: use --split-by sample or a CSV, or "
            "import it anew"
        )
    total = len(dataset)
    index = np.empty(total, np.int64)
    assets = np.empty((total, 2), np.int64)  # background, foreground
    for number in range(total):
        record = dataset.record(number)
        index[number] = record.recipe["index"]
        assets[number] = record.background, record.foreground
        progress(number + 1, total)
    background_splits, foreground_splits = (
        np.array([asset["split"] for asset in dataset.assets(database)])
        for database in ("backgrounds", "foregrounds")
    )
    behind, in_front = background_splits[assets[:, 0]], foreground_splits[assets[:, 1]]
    cells, about, start = [], [], 0
    for origin in origins(dataset.manifest):  # each was chosen with a seed of its own
        some, seed = slice(start, start + origin.num_samples), origin.recipe["seed"]
        cells.append(cells_of(index[some], behind[some], in_front[some], seed=seed))
        about.append({"by": "asset", "seed": seed})
        start = some.stop
    _write(dataset, np.concatenate(cells), joined_splits(about))


def split_by_sample(path: Path, *, shares: Sequence[float], seed: int) -> None:
    """Splits by chance, whatever the assets are: a test image may show assets seen in training.

    Args:
        path: The dataset's directory.
        shares: Of train, val and test; they add up to 1.
        seed: Key of the choice.

    Raises:
        DatasetError: As `Dataset`, or shares that do not add up.
    """
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        given = " ".join(f"{share:g}" for share in shares)
        raise DatasetError(f"--shares {given}: expected those of train, val, test; their sum is 1")
    dataset = Dataset(path)
    cells = cells_by_sample(len(dataset), shares=shares, seed=seed)
    _write(dataset, cells, {"by": "sample", "shares": list(shares), "seed": seed})


def import_csv(path: Path, file: Path) -> None:
    """Takes the splits from a CSV with the columns `index`, `split` and, if there, `cell`.

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
            raise DatasetError(f"{where}: index {index} comes a second time")
        cells[index] = _csv_cell(row["split"], row.get("cell") or "", where)
    missing = np.flatnonzero(cells == unnamed)
    if len(missing):
        raise DatasetError(
            f"{file} has no row for {len(missing):,} of {total:,} samples "
            f"(the first is index {missing[0]}): expected each sample once"
        )
    _write(dataset, cells, {"by": "csv", "file": file.name})


def export_csv(path: Path, file: Path, *, progress: Progress = _no_progress) -> None:
    """Writes one row for each sample; the columns are those of `sample_table`.

    Raises:
        DsetkitError: As `Dataset`, or the file cannot be written.
    """
    write_whole(file, as_csv(_rows(Dataset(path), progress), COLUMNS))


def _rows(dataset: Dataset, progress: Progress) -> Iterator[dict]:
    table = SampleTable(dataset)
    total = len(dataset)
    for index in range(total):
        yield table.row(index, dataset.record(index))
        progress(index + 1, total)


# ---- CSV and store -----------------------------------------------------------------------------


def as_csv(rows: Iterable[dict], columns: Sequence[str]) -> bytes:
    """Rows as a CSV file with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(place for messages, row) of every row of a CSV file."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before UTF-8
    except OSError as error:
        raise DatasetError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{file} is not UTF-8 text: expected a CSV file") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    if not {"index", "split"} <= set(columns):
        found = ", ".join(columns) or "nothing"
        raise DatasetError(f"{file} has the columns {found}: expected index, split and maybe cell")
    for row in reader:
        yield f"{file}, line {reader.line_num}", row


def _csv_index(text: str, total: int, where: str) -> int:
    if not text.isdecimal() or int(text) >= total:
        raise DatasetError(f"{where}: index {text!r}, expected 0 to {total - 1}")
    return int(text)


def _csv_cell(split: str | None, cell: str, where: str) -> int:
    """The cell a row names; without one, the first cell of its split."""
    if split not in m.SPLITS:
        raise DatasetError(f"{where}: split {split!r}, expected {', '.join(m.SPLITS)}")
    cells = {m.CELL_NAMES[number]: number for number in m.SPLITS[split]}
    if cell and cell not in cells:
        raise DatasetError(f"{where}: cell {cell!r}, expected for {split}: {' | '.join(cells)}")
    return cells[cell] if cell else m.SPLITS[split][0]


def _write(dataset: Dataset, cells: np.ndarray, splits: dict) -> None:
    manifest = replace(dataset.manifest, splits=splits)
    with StoreWriter(shard_path(dataset.path)) as store:
        store.put(
            [
                ("manifest", m.MANIFEST_KEY, manifest.to_bytes()),
                ("manifest", m.CELLS_KEY, cells.tobytes()),
            ]
        )
