"""`generate` with flat keywords, as the command line gives them."""

from dataclasses import fields
from pathlib import Path

from dsetkit import generating
from dsetkit.compositing import Canvas
from dsetkit.generating import Spread
from dsetkit.labels import TeacherChoice
from dsetkit.store import Manifest

_TEACHER = {"teacher": "name", "teacher_options": "options", "edge_reach": "edge_reach"} | {
    name: name for name in ("batch_size", "device")
}


def teacher_choice(**flat: object) -> TeacherChoice:
    """A TeacherChoice of `teacher`, `teacher_options`, `edge_reach`, `batch_size`, `device`."""
    return TeacherChoice(**{_TEACHER[name]: value for name, value in flat.items()})


def generate(**flat: object) -> Manifest:
    """Calls `dsetkit.generating.generate` with its settings objects made of flat keywords."""
    settings: dict[str, object] = {}
    for name, kind in (("canvas", Canvas), ("spread", Spread)):
        names = {entry.name for entry in fields(kind)} & flat.keys()
        settings[name] = kind(**{one: flat.pop(one) for one in names})
    teacher = {name: flat.pop(name) for name in list(flat) if name in _TEACHER}
    return generating.generate(**flat, **settings, teacher=teacher_choice(**teacher))


def relabel(path: Path, output: Path, **flat: object) -> Manifest:
    """Calls `dsetkit.verbs.relabel.relabel` likewise."""
    from dsetkit.verbs import relabel as verb

    teacher = {name: flat.pop(name) for name in list(flat) if name in _TEACHER}
    return verb.relabel(path, output, **flat, teacher=teacher_choice(**teacher))
