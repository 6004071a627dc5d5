"""Which teacher gives the depth, and how it is asked: what the `--teacher...` flags say."""

from dataclasses import dataclass, field

from dsetkit.errors import TeacherError
from dsetkit.teachers import Teacher, TeacherOptions, load_teacher, settings_of

# For teachers known to blur: how far from an edge depth is corrected, as a share of the shorter
# side.
EDGE_REACH = {"bundled": 1 / 16}


@dataclass(frozen=True, kw_only=True)
class TeacherChoice:
    """A teacher, and how it is asked.

    Attributes:
        name: See `dsetkit.teachers`: `bundled`, `none`, `onnx:FILE`, ...
        options: What the other `--teacher-...` flags say.
        edge_reach: How far from the alpha's edges depth is corrected (see `edges`), as a share of
            the shorter side; None takes what suits the teacher.
        batch_size: Samples that the teacher sees at once. A network's answer can depend on it in
            the last bit, so it is part of what makes a dataset repeatable.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        TeacherError: A value out of its range.
    """

    name: str = "bundled"
    options: TeacherOptions = field(default_factory=TeacherOptions)
    edge_reach: float | None = None
    batch_size: int = 32
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise TeacherError(f"--batch-size {self.batch_size}: expected at least 1")
        if self.edge_reach is not None and not 0 <= self.edge_reach <= 0.5:
            raise TeacherError(
                f"--teacher-edges {self.edge_reach:g}: expected a share of the picture's shorter "
                "side, 0 to 0.5"
            )

    def load(self, *, threads: int | None = None) -> Teacher | None:
        """The teacher; None for `none`.

        Args:
            threads: As of `load_teacher`.

        Raises:
            TeacherError: As `load_teacher`.
        """
        return load_teacher(self.name, device=self.device, options=self.options, threads=threads)

    def describe(self, teacher: Teacher | None) -> dict:
        """The manifest's entry on a teacher: name, hash, batch size, settings, edge reach.

        Args:
            teacher: What `load` gave, with its range if it needs one.
        """
        if teacher is None:
            return {"name": "none", "hash": "", "batch_size": self.batch_size}
        reach = self.edge_reach
        if reach is None:
            reach = EDGE_REACH.get(teacher.name, 0)
        return {
            "name": teacher.name,
            "hash": teacher.weights_hash,
            "batch_size": self.batch_size,
            **settings_of(teacher),
            **({"edge_reach": reach} if reach else {}),
        }
