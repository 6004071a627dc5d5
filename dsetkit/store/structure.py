"""Checks the pages of an LMDB file before LMDB reads them.

LMDB trusts its pages: a flipped bit in one can end the process with an assertion, or lead a reader
to other bytes. This module walks all pages that a reader can reach and compares them with what LMDB
writes: the two meta pages, the header of each page, the place of each entry, the pages that large
values occupy, and the counts of each database. After that, LMDB can read the file safely.

The walk goes level by level, with arrays of pages, so that it takes about as long as reading the
leaf pages: 1 % of a dataset. It does not look at values, which carry checksums of their own.

Source: LMDB 0.9, `mdb.c` (MDB_page, MDB_node, MDB_db, MDB_meta), on little-endian 64-bit machines.
"""

import mmap
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dsetkit.errors import DatasetError, UnfinishedError, one_line

MAGIC = 0xBEEFC0DE
DATA_VERSION = 1  # of LMDB 0.9; LMDB 1.0 writes another format

HEADER = 16  # bytes of a page before its entries
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4  # flags of a page
_LARGE, _DATABASE = 1, 2  # flags of an entry: its value lies on overflow pages; it is a database
_NOTHING = 2**64 - 1  # root of an empty database
_MOST_LEVELS = 32  # LMDB's limit of a database's depth
_BLOCK = 1 << 20  # bytes read at once
# Flags of the database of free pages: integer keys, and whether the file has no folder of its own.
_FREE_FLAGS = (0x0008, 0x4008)

_META = struct.Struct("<IIQQ48s48sQQ")  # magic, version, address, map size, 2 databases, last, txn
_DATABASE_ENTRY = struct.Struct("<IHHQQQQQ")


@dataclass(frozen=True)
class _Database:
    """LMDB's description of one database: counts and the root page."""

    page_size: int  # only in that of free pages
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


@dataclass(frozen=True)
class _Meta:
    """What a meta page says about one state of the file."""

    free: _Database
    main: _Database
    last_page: int
    transaction: int


@dataclass(frozen=True)
class _Entries:
    """The entries of all leaf pages of a database.

    Attributes:
        page: Index of the page that holds each entry, into `pages`.
        key_start, key_size: Where each key is within its page.
        flags: Of each entry.
        size: Bytes of each value.
        pages: The leaf pages, uint8 (N, page size).
    """

    page: np.ndarray
    key_start: np.ndarray
    key_size: np.ndarray
    flags: np.ndarray
    size: np.ndarray
    pages: np.ndarray

    def key(self, number: int) -> bytes:
        start = int(self.key_start[number])
        return self.pages[self.page[number], start : start + int(self.key_size[number])].tobytes()

    def value_start(self, number: int) -> int:
        return int(self.key_start[number] + self.key_size[number])


def check_structure(path: Path, databases: Sequence[str], *, thorough: bool = False) -> None:
    """Checks the pages of an LMDB file.

    Args:
        path: The file. Its size must have been checked, see `promised_size`.
        databases: Names of the databases to check; those of other programs are passed over.
        thorough: Whether to look also at the headers of large values, which takes one access to the
            disk for each. Readers do not need them, writers do.

    Raises:
        DatasetError: The file is damaged; the message names the page. If a writer changes the file
            meanwhile, the message may be wrong: see `transaction_of`.
    """
    metas = _read_metas(path)
    try:
        file = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise DatasetError(f"cannot read {path}: {one_line(error)}") from None
    try:
        _Walk(file, metas, databases, thorough=thorough).check()
    except _DamageError as damage:
        raise DatasetError(
            f"{path} is damaged ({damage}): copy it again from its source, or generate it again"
        ) from None


def transaction_of(path: Path) -> int:
    """The number of the last transaction that was committed to an LMDB file.

    Raises:
        DatasetError: It is not an LMDB file.
    """
    return max(meta.transaction for meta in _read_metas(path))


def promised_size(path: Path) -> int:
    """The size of an LMDB file by its newer meta page [bytes].

    Raises:
        UnfinishedError: The file is empty.
        DatasetError: It is not an LMDB file.
    """
    metas = _read_metas(path)
    newer = max(metas, key=lambda meta: meta.transaction)
    return (newer.last_page + 1) * newer.free.page_size


def is_unborn(path: Path) -> bool:
    """Whether a file was cut off before LMDB had created it, so that it holds nothing.

    LMDB begins a file with two meta pages, which it writes at once. A file that is shorter, or has
    zeros alone, has seen no transaction.

    Raises:
        DatasetError: The file cannot be read.
    """
    try:
        with _opened(path) as file:
            start = file.read(2 * mmap.PAGESIZE)
            if len(start) < 2 * mmap.PAGESIZE:
                is_ours = start[HEADER : HEADER + 4] == MAGIC.to_bytes(4, "little")
                return is_ours or not any(start)
            while start and not any(start):
                start = file.read(_BLOCK)
            return not start
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None


# ---- meta pages --------------------------------------------------------------------------------


def _opened(path: Path) -> BinaryIO:
    """Opens a file for reading; never waits for a pipe.

    Raises:
        DatasetError: It is no file, but a folder, a pipe or a device.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise DatasetError(f"{path} is no regular file: expected a dataset shard")
    return open(path, "rb")


class _DamageError(Exception):
    """The file is not as LMDB writes it."""


def _read_metas(path: Path) -> tuple[_Meta, _Meta]:
    try:
        with _opened(path) as file:
            first = file.read(HEADER + _META.size)
            if not first:
                raise UnfinishedError(
                    f"{path} is empty, not an LMDB file: run the command that makes it again"
                )
            page_size = struct.unpack_from("<I", first, HEADER + 24)[0] if len(first) > 44 else 0
            file.seek(page_size)
            second = file.read(HEADER + _META.size)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None
    return _unpack_metas(first, second, path)


def _unpack_metas(first: bytes, second: bytes, path: Path) -> tuple[_Meta, _Meta]:
    metas = []
    for page in (first, second):
        if len(page) < HEADER + _META.size or _META.unpack_from(page, HEADER)[0] != MAGIC:
            raise DatasetError(
                f"{path} is not an LMDB file (no LMDB header): expected a dataset shard"
            )
        _, version, _, _, free, main, last_page, transaction = _META.unpack_from(page, HEADER)
        if version != DATA_VERSION:
            raise DatasetError(
                f"{path} has LMDB data version {version}, expected {DATA_VERSION}: convert it with "
                "the LMDB that wrote it"
            )
        metas.append(_Meta(_database(free), _database(main), last_page, transaction))
    sizes = {meta.free.page_size for meta in metas}
    size = sizes.pop()
    if sizes or size not in (2**bits for bits in range(9, 17)):
        raise DatasetError(f"{path} is damaged (its page size): copy it again from its source")
    return metas[0], metas[1]


def _database(packed: bytes) -> _Database:
    return _Database(*_DATABASE_ENTRY.unpack(packed))


# ---- the walk ----------------------------------------------------------------------------------


class _Walk:
    """Walks the pages of one state of the file.

    Args:
        file: The mapped file, uint8 (N,).
        metas: Its two meta pages.
        databases: As of `check_structure`.
        thorough: As of `check_structure`.
    """

    def __init__(
        self,
        file: np.ndarray,
        metas: tuple[_Meta, _Meta],
        databases: Sequence[str],
        *,
        thorough: bool,
    ) -> None:
        self._databases = {name.encode() for name in databases}
        self._metas, self._thorough = metas, thorough
        self._size = metas[0].free.page_size
        count = len(file) // self._size
        self._pages = np.asarray(file[: count * self._size]).reshape(count, self._size)
        self._used: list[np.ndarray] = []  # numbers of the pages that were reached

    def check(self) -> None:
        """Checks the newer state.

        Raises:
            _DamageError: Something is not as LMDB writes it.
        """
        even, odd = (meta.transaction for meta in self._metas)
        # Transaction N writes the meta page N modulo 2. In a new file both say 0.
        if even % 2 or not (odd % 2 or odd == 0) or abs(even - odd) > 1:
            raise _DamageError(f"its meta pages have the transactions {even} and {odd}")
        newer, older = sorted(self._metas, key=lambda meta: -meta.transaction)
        if newer.free.flags != older.free.flags or newer.free.flags not in _FREE_FLAGS:
            raise _DamageError("the flags of a meta page")
        if newer.last_page >= len(self._pages):
            raise _DamageError("its end is missing")
        self._last = newer.last_page
        self._check_main(newer.main)
        self._check_free(newer, older)

    def _check_main(self, main: _Database) -> None:
        """Checks the database of databases, and each of these."""
        if main.flags or main.page_size:
            raise _DamageError("the flags of the main database")
        entries = self._entries(main, "the main database")
        for number in range(len(entries.size)):
            name = entries.key(number)
            if name not in self._databases:
                continue  # of another program
            start = entries.value_start(number)
            if entries.flags[number] != _DATABASE or entries.size[number] != _DATABASE_ENTRY.size:
                raise _DamageError(f"the entry of database {name!r}")
            packed = entries.pages[entries.page[number], start : start + _DATABASE_ENTRY.size]
            database = _database(packed.tobytes())
            if database.flags or database.page_size:
                raise _DamageError(f"the flags of database {name!r}")
            self._entries(database, f"database {name!r}")

    def _check_free(self, newer: _Meta, older: _Meta) -> None:
        """Checks the free pages, and that the newer state is the one that was written last.

        A transaction lists the pages that it freed under its own number, so the list shows which
        transaction wrote it.
        """
        free, last = self._free_pages(newer.free)
        if newer.transaction > 2 and last != newer.transaction:
            raise _DamageError(f"the free pages of transaction {newer.transaction} are missing")
        used, self._used = self._used, []
        try:
            _, last_of_older = self._free_pages(older.free)
        except _DamageError:  # a writer that was killed had begun to use its pages again
            last_of_older = 0
        if last_of_older > newer.transaction:
            raise _DamageError(f"its meta pages hide the transaction {last_of_older}")
        # A page with an older state of a database is as sound as the newest, but it is free.
        times = np.bincount(np.concatenate([np.arange(2), *used, free]), minlength=2)
        if (times > 1).any():
            raise _DamageError(f"page {times.argmax()} is used twice, or is used and free")

    def _free_pages(self, database: _Database) -> tuple[np.ndarray, int]:
        """The numbers of the free pages, and the last transaction that freed one."""
        entries = self._entries(database, "the free pages")
        lists, last = [np.empty(0, np.uint64)], 0
        for number in range(len(entries.size)):
            key = entries.key(number)
            if len(key) != 8 or entries.size[number] % 8 or not entries.size[number]:
                raise _DamageError("an entry of the free pages")
            last = int.from_bytes(key, "little")
            numbers = np.frombuffer(self._value(entries, number), np.uint64)
            # LMDB may reserve more room than it fills.
            if numbers[0] > len(numbers) - 1:
                raise _DamageError("the length of a list of free pages")
            listed = numbers[1 : 1 + int(numbers[0])]
            if len(listed) and (listed.max() > self._last or listed.min() < 2):
                raise _DamageError("a free page that the file does not have")
            lists.append(listed)
        return np.concatenate(lists).astype(np.int64), last

    def _value(self, entries: _Entries, number: int) -> bytes:
        start, size = entries.value_start(number), int(entries.size[number])
        page = entries.pages[entries.page[number]]
        if entries.flags[number] & _LARGE:
            first = int.from_bytes(page[start : start + 8].tobytes(), "little")
            flat = self._pages[first : first + self._pages_of(size)].reshape(-1)
            return flat[HEADER : HEADER + size].tobytes()
        return page[start : start + size].tobytes()

    def _pages_of(self, size: int) -> int:
        return -(-(HEADER + size) // self._size)

    def _entries(self, database: _Database, what: str) -> _Entries:
        """The entries of a database, after all its pages were checked."""
        if database.root == _NOTHING:
            if database.entries or database.depth:
                raise _DamageError(f"the counts of {what}")
            nothing = np.empty(0, np.int64)
            pages = np.empty((0, self._size), np.uint8)
            return _Entries(nothing, nothing, nothing, nothing, nothing, pages)
        if not 1 <= database.depth <= _MOST_LEVELS:
            raise _DamageError(f"the depth of {what}")
        numbers = np.array([database.root], np.uint64)
        branch_pages = 0
        for _ in range(database.depth - 1):
            pages = self._checked_pages(numbers, _BRANCH, what)
            branch_pages += len(pages)
            numbers = self._children(pages, numbers, what)
            if len(numbers) > len(self._pages):
                raise _DamageError(f"the number of pages of {what}")
        pages = self._checked_pages(numbers, _LEAF, what)
        entries = self._leaf_entries(pages, numbers, what)
        overflow_pages = self._check_large(entries, what)
        found = (branch_pages, len(pages), overflow_pages, len(entries.size))
        promised = (database.branch_pages, database.leaf_pages, database.overflow_pages)
        if found != (*promised, database.entries):
            raise _DamageError(f"the counts of {what}")
        return entries

    def _checked_pages(self, numbers: np.ndarray, kind: int, what: str) -> np.ndarray:
        """The pages with some numbers, uint8 (N, page size), after their headers were checked."""
        if numbers.max() > self._last or numbers.min() < 2:
            raise _DamageError(f"{what} leads to a page that the file does not have")
        numbers = numbers.astype(np.int64)
        pages = self._pages[numbers]
        own = pages[:, :8].copy().view("<u8")[:, 0]
        flags, lower, upper = pages[:, 10:16].copy().view("<u2").astype(np.int64).T
        bad = (own != numbers) | (flags != kind) | (lower < HEADER) | (lower > upper)
        bad |= (upper > self._size) | (lower % 2 != 0)
        if bad.any():
            raise _DamageError(f"page {numbers[bad][0]}, its header")
        self._used.append(numbers)
        return pages

    def _slots(
        self, pages: np.ndarray, numbers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(page, first byte, four 16-bit words) of each entry of some pages."""
        words = pages.view("<u2")
        lower, upper = words[:, 6].astype(np.int64), words[:, 7].astype(np.int64)
        counts = (lower - HEADER) // 2
        page = np.repeat(np.arange(len(pages)), counts)
        slot = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        start = words[page, HEADER // 2 + slot].astype(np.int64)
        bad = (start < upper[page]) | (start > self._size - 8) | (start % 2 != 0)
        if bad.any():
            raise _DamageError(f"page {int(numbers[page[bad][0]])}, the place of an entry")
        entry = words[page[:, None], start[:, None] // 2 + np.arange(4)].astype(np.int64)
        return page, start, entry

    def _children(self, pages: np.ndarray, numbers: np.ndarray, what: str) -> np.ndarray:
        page, start, entry = self._slots(pages, numbers)
        if (np.bincount(page, minlength=len(pages)) < 2).any():
            raise _DamageError(f"a branch page of {what} with one child")
        low, high, highest, key_size = entry.T
        if (start + 8 + key_size > self._size).any():
            raise _DamageError(f"a branch page of {what}, the length of a key")
        return (low | high << 16 | highest << 32).astype(np.uint64)

    def _leaf_entries(self, pages: np.ndarray, numbers: np.ndarray, what: str) -> _Entries:
        page, start, entry = self._slots(pages, numbers)
        if (np.bincount(page, minlength=len(pages)) < 1).any():
            raise _DamageError(f"a leaf page of {what} without entries")
        low, high, flags, key_size = entry.T
        size = low | high << 16
        inline = np.where(flags & _LARGE, 8, size)
        bad = (flags > _DATABASE) | (start + 8 + key_size + inline > self._size) | (key_size == 0)
        if bad.any():
            raise _DamageError(f"page {int(numbers[page[bad][0]])}, the length of an entry")
        return _Entries(page, start + 8, key_size, flags, size, pages)

    def _check_large(self, entries: _Entries, what: str) -> int:
        """Checks the pages of large values; returns how many there are."""
        large = np.flatnonzero(entries.flags & _LARGE)
        if not len(large):
            return 0
        start = (entries.key_start + entries.key_size)[large]
        octets = entries.pages[entries.page[large][:, None], start[:, None] + np.arange(8)]
        first = np.ascontiguousarray(octets).view("<u8")[:, 0]
        count = -(-(HEADER + entries.size[large]) // self._size)
        bad = (first < 2) | (first > self._last)
        bad |= first.astype(np.float64) + count > self._last + 1
        if bad.any():
            raise _DamageError(f"a value of {what} lies beyond the end")
        numbers = first.astype(np.int64)
        self._used.append(np.repeat(numbers - np.cumsum(count) + count, count))
        self._used[-1] += np.arange(count.sum())
        if self._thorough:
            self._check_headers(numbers, count)
        return int(count.sum())

    def _check_headers(self, numbers: np.ndarray, counts: np.ndarray) -> None:
        heads = self._pages[numbers, :HEADER]
        own = heads[:, :8].copy().view("<u8")[:, 0]
        flags = heads[:, 10:12].copy().view("<u2")[:, 0]
        pages = heads[:, 12:16].copy().view("<u4")[:, 0]
        bad = (own != numbers) | (flags != _OVERFLOW) | (pages != counts)
        if bad.any():
            raise _DamageError(f"page {numbers[bad][0]}, its header")
