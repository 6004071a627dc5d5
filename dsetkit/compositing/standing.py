"""The settings of `--placement scene`: how high objects are, and through which lens one looks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import radians, tan
from typing import Any

import msgpack
import xxhash

from dsetkit.arguments import DEPTH_M, Real
from dsetkit.errors import DsetkitError, printable

HEIGHT_RANGE = (0.3, 1.8)  # from a cat to a person [m]
FIELD_OF_VIEW = 50.0  # NYU's camera has 48 across its central square, those of telephones 53
ANGLES = Real(5, 150, "degrees")
FOCAL_STEPS = 1000  # a focal length is a whole number of thousandths of a pixel


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The heights of cut-outs, and the camera.

    Attributes:
        height_range: (lowest, highest) height of a cut-out that `heights` does not name [m].
        heights: Height of each cut-out that is known [m], by the name of its file without suffix.
        field_of_view: Angle across the canvas [degrees].

    Raises:
        DsetkitError: A value outside its range.
    """

    height_range: tuple[float, float] = HEIGHT_RANGE
    heights: Mapping[str, float] = field(default_factory=dict)
    field_of_view: float = FIELD_OF_VIEW

    def __post_init__(self) -> None:
        low, high = self.height_range
        for height in (low, high):
            DEPTH_M.check(height, "--height-range")
        if low > high:
            raise DsetkitError(f"--height-range {low:g} {high:g}: expected LOW <= HIGH")
        for name, height in self.heights.items():
            DEPTH_M.check(height, f"--heights: {printable(name)}")
        ANGLES.check(self.field_of_view, "--field-of-view")

    def heights_mm(self, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
        """(lowest, highest) height of each of some cut-outs, at least 1 [mm].

        Args:
            names: Their names.

        Raises:
            DsetkitError: `heights` names a cut-out that is none of them.
        """
        unknown = sorted(self.heights.keys() - set(names))
        if unknown:
            more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
            raise DsetkitError(
                f"--heights names {printable(unknown[0])}{more}: expected names of the files of "
                "--foregrounds, without suffix"
            )
        ranges = (
            (self.heights[name],) * 2 if name in self.heights else self.height_range
            for name in names
        )
        return tuple((_mm(low), _mm(high)) for low, high in ranges)

    def focal_px(self, side: int) -> float:
        """Focal length on a canvas of that side [px]."""
        focal = side / 2 / tan(radians(self.field_of_view) / 2)
        return round(focal * FOCAL_STEPS) / FOCAL_STEPS

    def describe(self) -> dict[str, Any]:
        """The entries of a manifest's recipe; of a table of heights only a checksum."""
        entries = {"height_range": list(self.height_range), "field_of_view": self.field_of_view}
        if not self.heights:
            return entries
        table = msgpack.packb(sorted(self.heights.items()))
        return entries | {"heights": xxhash.xxh3_128_hexdigest(table)}


def _mm(metres: float) -> int:
    return max(1, round(metres * 1000))
