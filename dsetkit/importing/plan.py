"""Which files make which sample of an import."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dsetkit.assets import BadFile
from dsetkit.importing.sources import File


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
