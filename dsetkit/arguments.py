"""Numbers that come from outside, checked where they enter: flags, settings, the environment.

A kind of number has bounds and a unit. One object reads the text of a flag (`type` of argparse),
the text of an environment variable, and checks a value that Python code gives:

    SIZE = Whole(16, 8192, "px")
    parser.add_argument("--size", type=SIZE, default=224)
    SIZE.check(canvas.size, "--size")

`Parser` reports what is wrong with a command line in one line.
"""

import argparse
import math
import numbers
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from dsetkit.devices import check_device_name
from dsetkit.errors import DsetkitError

LONGEST_SHOWN = 40  # characters of a value in a message
LONGEST_MESSAGE = 600  # characters
WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


Value = TypeVar("Value", int, float)


class _Kind(ABC, Generic[Value]):
    """A kind of number: the type of a flag, and the check of a value."""

    @abstractmethod
    def has(self, value: Any) -> bool:
        """Whether a value is one of these numbers."""

    @abstractmethod
    def _read(self, text: str) -> Value | None:
        """The number that a text shows, in bounds or not; None if it shows none."""

    def __call__(self, text: str) -> Value:
        """The number of a text.

        Raises:
            argparse.ArgumentTypeError: It is none of these numbers.
        """
        value = self._read(text)
        if value is None or not self.has(value):
            raise argparse.ArgumentTypeError(f"expected {self}, got {shown(text)}")
        return value

    def check(self, value: object, name: str, error: type[Exception] = DsetkitError) -> None:
        """Raises `error`, which names the flag or the setting, unless `has(value)`."""
        if not self.has(value):
            raise error(f"{name} {shown(value)}: expected {self}")


@dataclass(frozen=True)
class Whole(_Kind[int]):
    """Whole numbers.

    Attributes:
        low: The smallest one.
        high: The largest one.
        unit: What they count, for messages.
    """

    low: int
    high: int
    unit: str = ""

    def _read(self, text: str) -> int | None:
        return int(text) if WHOLE.fullmatch(text) else None

    def has(self, value: object) -> bool:
        """Whether a value is one of these numbers."""
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            return False
        return self.low <= int(value) <= self.high

    def __str__(self) -> str:
        return f"a whole number from {self.low:,} to {self.high:,}{_bracketed(self.unit)}"


@dataclass(frozen=True)
class Real(_Kind[float]):
    """Finite numbers between two bounds.

    Attributes:
        low: The lower bound.
        high: The upper bound.
        unit: What they measure, for messages.
        above: Whether the lower bound itself is excluded.
        below: Whether the upper bound itself is excluded.
    """

    low: float
    high: float
    unit: str = ""
    above: bool = False
    below: bool = False

    def _read(self, text: str) -> float | None:
        return float(text) if REAL.fullmatch(text) else None

    def has(self, value: Any) -> bool:
        """Whether a value is one of these numbers; nan and infinity never are."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        number: Any = value  # compares with float, which the type does not say
        fits_low = number > self.low if self.above else number >= self.low
        fits_high = number < self.high if self.below else number <= self.high
        return bool(fits_low and fits_high and abs(number) < math.inf)

    def __str__(self) -> str:
        unit = _bracketed(self.unit)
        if not self.above and not self.below:
            return f"a number from {self.low:g} to {self.high:g}{unit}"
        low = "above" if self.above else "at least"
        high = "below" if self.below else "at most"
        return f"a number {low} {self.low:g} and {high} {self.high:g}{unit}"


Number = Whole | Real

# ---- of all programs ----
SEED = Whole(0, 2**64 - 1)
COUNT = Whole(1, 10**12)
INDEX = Whole(0, 2**63 - 1)
SIDE_PX = Whole(1, 8192, "px")
BATCH = Whole(1, 10**6)  # samples
JOBS = Whole(1, 1024)  # threads, or processes
WORKERS = Whole(0, 1024)  # processes beside this one
SHARE = Real(0, 1)
DEPTH_M = Real(0, 65.535, "m", above=True)  # datasets store millimetres in 16 bits

# ---- of dsetkit ----
CANVAS_PX = Whole(16, 8192, "px")
PLACEMENTS = Whole(1, 10**6)
OBJECTS = Whole(1, 32)  # of a sample
NEARNESS = Real(0, 1, above=True)  # a share of the nearest depth behind
SCALE = Real(0, 1, above=True)
UNITS_PER_M = Real(1e-3, 1e9)  # of depth files
COPIES = Whole(1, 1000)  # of a pair, with a cut-out
SHARDS = Whole(1, 100_000)  # their names have five digits
ROWS = Whole(1, 1000)  # of a contact sheet
GPUS = Real(0, 1024)
REACH = Real(0, 0.5)  # a share of the shorter side
INVERSE_DEPTH = Real(-1e9, 1e9)  # in the unit of a model
PIXEL_MEAN = Real(-1e6, 1e6)
PIXEL_STD = Real(0, 1e6, above=True)
CUT_OUT_PX = Whole(8, 8192, "px")  # foregrounds are at least 8 px each way
MARGIN_PX = Whole(0, 1024, "px")
FEATHER_PX = Real(0, 32, "px")

# ---- of trainings ----
STEPS = Whole(0, 10**12)
PATIENCE = Whole(0, 10**9)
MINUTES = Real(0, 525_600, "min")
RATE = Real(0, 1000)  # of learning, and of weight decay
MOMENTUM = DECAY = Real(0, 1, below=True)
GAMMA = Real(0, 1, above=True)
POSITIVE = Real(0, 1e12, above=True)
NOT_NEGATIVE = Real(0, 1e12)
WEIGHT = Real(0, 1e6)  # of a loss
PROCESSES = Whole(1, 10**6)
RANK = Whole(0, 10**6)
PORT = Whole(0, 65_535)


def device(text: str) -> str:
    """The name of a device, for `type` of an argument."""
    try:
        check_device_name(text)
    except DsetkitError:
        raise argparse.ArgumentTypeError(
            f"expected auto, cpu, cuda or cuda:N, got {shown(text)}"
        ) from None
    return text


def image_size(text: str) -> list[int]:
    """Reads "64" as [64, 64], "48x64" as [48, 64]: height and width [px], for `type`."""
    sides = text.split("x")
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected N or HxW, got {shown(text)}")
    height, width = (SIDE_PX(side) for side in (sides[0], sides[-1]))
    return [height, width]


def from_environment(name: str, kind: Number) -> Any:
    """The number in an environment variable; None if it is not set, or empty.

    Raises:
        DsetkitError: It is no such number.
    """
    text = os.environ.get(name, "")
    if not text:
        return None
    try:
        return kind(text)
    except argparse.ArgumentTypeError as error:
        raise DsetkitError(f"environment variable {name}: {error}") from None


def path(text: str) -> Path:
    """A path, for `type` of an argument; `Parser` takes it for every argument of type Path."""
    if not text:  # as of a variable that is not set; Path would take it for the current folder
        raise argparse.ArgumentTypeError("expected a path, got '' (. is the current folder)")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """A parser that reports what is wrong with a command line in one line, with status 2."""

    _file: Path | None = None  # that the words are from, not from the command line

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", Path, path)

    def error(self, message: str) -> NoReturn:
        """Ends the process, or raises DsetkitError for words from a file."""
        words = " ".join(message.removeprefix("argument ").split())
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
        if len(line) > LONGEST_MESSAGE:
            line = f"{line[:LONGEST_MESSAGE]}..."
        if self._file is not None:
            raise DsetkitError(f"{self._file}: {line}")
        self.exit(2, f"{self.prog}: error: {line} (see {self.prog} --help)\n")

    def parse_file(self, words: Sequence[str], file: Path) -> argparse.Namespace:
        """Parses words that a file gave.

        Raises:
            DsetkitError: They are wrong; the message names the file.
        """
        self._file = file
        try:
            return self.parse_args(words)
        finally:
            self._file = None


def shown(value: object) -> str:
    """A value that came from outside, as a message shows it: on one line, and not too long."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return f"a number of {value.bit_length():,} bits" if isinstance(value, int) else "..."
    if len(text) <= LONGEST_SHOWN:
        return text
    return f"{text[:LONGEST_SHOWN]}... ({len(text):,} characters)"


def _bracketed(unit: str) -> str:
    return f" [{unit}]" if unit else ""
