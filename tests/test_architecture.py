"""The house's rules: imports point down, nothing imports a script."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = sorted(REPOSITORY.glob("*.py"))
MODULES = sorted(
    path
    for package in ("dsetkit", "models", "training")
    for path in (REPOSITORY / package).rglob("*.py")
)

# Floors of dsetkit, lowest first; a module may import from its own floor and from those below.
FLOORS = (
    ("errors",),
    (
        *("encoding", "codecs", "png", "resizing", "lmdb_environments", "lmdb_store", "manifest"),
        *("pictures", "files", "console", "processes", "drawing", "shared_assets"),
        *("shard_list", "shard_cache"),
    ),
    ("remote",),
    ("shards",),
    ("assets", "recipe", "picture_sources", "foreign_pictures"),
    (
        "compositing",
        "redraw",
        "device_drawing",
        "paste",
        "selection",
        "dataset",
        "image_conventions",
    ),
    ("render", "dataset_writer", "plane_cache", "teachers", "image_tables", "image_checks"),
    ("labelling", "alpha_edges", "label_quality", "joined"),
    ("shard_jobs",),
    ("ray_engine",),
    (
        *("pipeline", "convert", "import_rgbd", "import_images", "sample_table"),
        *("torch_dataset", "loader"),
    ),
    ("merged_assets", "gather", "stats_fields"),
    ("merge_checks",),
    ("merge", "info", "verify", "stats", "splits", "show", "export", "demo", "relabel"),
    ("teacher_check",),
    ("verb_flags",),
    ("__init__", "dataset_verbs", "teacher_verbs"),
    ("__main__",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    """Every import of a file, those inside functions too, as full module names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the import in full"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & NAMES) or {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    package = module_name(path).split(".")[0]
    forbidden = {
        "models": {"dsetkit", "training"},
        "training": {"dsetkit", "models"},
        "dsetkit": {"training"},
    }[package]
    tops = {name.split(".")[0] for name in imports(path)}
    assert not tops & forbidden
    assert not tops & {script.stem for script in SCRIPTS}, "nothing imports a script"
    if package == "dsetkit" and "teachers" not in path.parts:
        assert "models" not in tops, "only the teachers know networks"


def floor(name: str) -> int:
    parts = name.split(".")
    return FLOOR_OF[parts[1] if len(parts) > 1 else "__init__"]


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.parts[-2] != "dsetkit" or path.stem != "__init__"],
    ids=module_name,
)
def test_no_floor_imports_from_above(path: Path) -> None:
    name = module_name(path)
    if not name.startswith("dsetkit"):
        return
    for target in imports(path):
        if target.startswith("dsetkit.") and target != "dsetkit":
            assert floor(target) <= floor(name), f"{name} imports {target}"


def test_there_are_no_circles() -> None:
    graph = {module_name(path): imports(path) & NAMES - {module_name(path)} for path in MODULES}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_stay_flat_and_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 250
