"""Which teacher gives the depth, and how it is asked: what the `--teacher...` flags say."""

from dataclasses import dataclass, field, replace

from dsetkit.arguments import BATCH, REACH, SIDE_PX
from dsetkit.devices import check_device_name
from dsetkit.errors import TeacherError
from dsetkit.memory import check_memory
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
        TeacherError: A value out of its range, or more memory than there is.
    """

    name: str = "bundled"
    options: TeacherOptions = field(default_factory=TeacherOptions)
    edge_reach: float | None = None
    batch_size: int = 32
    device: str = "auto"

    def __post_init__(self) -> None:
        BATCH.check(self.batch_size, "--batch-size", TeacherError)
        check_device_name(self.device)
        if self.edge_reach is not None:
            REACH.check(self.edge_reach, "--teacher-edges", TeacherError)
        if self.options.size is not None:
            SIDE_PX.check(self.options.size, "--teacher-size", TeacherError)
            check_memory(
                self.batch_size * self.options.size**2 * 3 * 4,  # square pictures, float32
                what=f"--teacher-size {self.options.size} with --batch-size {self.batch_size}",
                advice="give smaller ones",
                error=TeacherError,
            )

    def load(self, *, threads: int | None = None) -> Teacher | None:
        """The teacher; None for `none`.

        Args:
            threads: As of `load_teacher`.

        Raises:
            TeacherError: As `load_teacher`.
        """
        return load_teacher(self.name, device=self.device, options=self.options, threads=threads)

    def of_backgrounds(self) -> "TeacherChoice":
        """How it is asked about backgrounds: with flip, and without objects to have edges.

        Raises:
            TeacherError: It is `none`.
        """
        if self.name == "none":
            raise TeacherError(
                "--depth-of scene with --teacher none: expected a teacher of the backgrounds, or "
                "their measured depth (--background-depth)"
            )
        return replace(self, edge_reach=0, options=replace(self.options, flip=True))

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
