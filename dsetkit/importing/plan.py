"""Which files make which sample of an import."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dsetkit.assets import BadFile
from dsetkit.errors import AssetError
from dsetkit.importing.sources import File

PROBLEMS_SHOWN = 20  # with reasons of their own
NAMES_SHOWN = 5  # that share a reason


@dataclass(frozen=True, slots=True)
class PlannedSample:
    """A sample to import.

    Attributes:
        files: The picture of each field.
        where: The table line that names the sample, for messages; empty without a table.
        foreground: Identifies its foreground among those of the set; None if unknown.
        flip: Whether the foreground is mirrored; None if unknown.
        split: The split the table gives; None if it gives none.
        path: The composite's path in the table; empty if the file name is enough.
    """

    files: dict[str, File]
    where: str = ""
    foreground: str | None = None
    flip: bool | None = None
    split: str | None = None
    path: str = ""

    @property
    def name(self) -> str:
        """Identifies the sample in its set."""
        return self.path or self.files["composite"].name

    def label(self, name: str) -> str:
        """A field's file for messages, with the table line if there is one."""
        return ": ".join(part for part in (self.where, self.files[name].path) if part)


@dataclass(frozen=True)
class Plan:
    """The samples of a set in index order.

    Attributes:
        samples: All samples whose files were found.
        bad: Files and table lines that cannot be used.
        tables: Names of the tables; empty if file names were read.
    """

    samples: Sequence[PlannedSample]
    bad: list[BadFile]
    tables: list[str] = field(default_factory=list)


def raise_if_bad(bad: list[BadFile], *, num_usable: int, skip_bad: bool) -> None:
    """Raises one error for all bad files, unless they may be skipped and usable samples remain.

    Raises:
        AssetError: A summary, then a line for each of the first bad files.
    """
    if num_usable and (skip_bad or not bad):
        return
    advice = " (--skip-bad leaves out their samples)" if num_usable else ", no sample is left"
    what = f"{len(bad):,} file{'s' * (len(bad) != 1)} cannot be used" if bad else "nothing found"
    raise AssetError(summary_and_lines(f"{what}{advice}", bad))


def summary_and_lines(summary: str, bad: Sequence[BadFile]) -> str:
    """A summary and the first bad files: in one line if they share a reason, else a line each."""
    if len({file.reason for file in bad}) == 1:
        names = ", ".join(file.name for file in bad[:NAMES_SHOWN])
        more = f" and {len(bad) - NAMES_SHOWN:,} more" if len(bad) > NAMES_SHOWN else ""
        return f"{summary}: {names}{more}: {bad[0].reason}"
    lines = [f"{file.name}: {file.reason}" for file in bad[:PROBLEMS_SHOWN]]
    if len(bad) > PROBLEMS_SHOWN:
        lines.append(f"... and {len(bad) - PROBLEMS_SHOWN:,} more")
    return "\n  ".join([f"{summary}:", *lines]) if lines else summary
