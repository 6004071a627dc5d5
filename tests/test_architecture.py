"""The architecture: packages import downwards, through each other's faces, and never scripts."""

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

# The packages of dsetkit, lowest first. A package may import those on lines above its own. Single
# files that belong to no package are the ground on which all stand.
ORDER = (
    ("store", "networks"),
    ("assets",),
    ("compositing",),
    ("datasets",),
    ("teachers", "importing"),
    ("labels", "loading", "predicting", "cutting"),
    ("generating",),
    ("verbs",),
    ("demo",),
    ("cli",),
)
LEVELS = {name: level for level, names in enumerate(ORDER, start=1) for name in names}
GROUND = {
    *("errors", "files", "console", "processes", "spawning", "stopping"),
    *("streams", "devices", "openmp", "arguments", "memory"),
    *("version", "colours", "numbers", "picture_grid", "extras", "upsampling"),
    "registration",
}
# Packages whose face is their modules: what they do is loaded only when it is asked for.
OF_MODULES = {"networks", "verbs", "cli"}


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


def package_of(name: str) -> str:
    """`store` of dsetkit.store.manifest, `training` of training.loop, `` of dsetkit itself."""
    parts = name.split(".")
    if parts[0] != "dsetkit":
        return parts[0]
    return parts[1] if len(parts) > 1 else ""


def test_the_order_names_every_package_and_every_file() -> None:
    folders = {path.parent.name for path in (REPOSITORY / "dsetkit").glob("*/__init__.py")}
    files = {path.stem for path in (REPOSITORY / "dsetkit").glob("*.py")}
    assert folders == set(LEVELS)
    assert files - {"__init__", "__main__"} == GROUND


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down(path: Path) -> None:
    name = module_name(path)
    own = package_of(name)
    for target in imports(path):
        other = package_of(target)
        if target.split(".")[0] != "dsetkit" or other == own:
            continue
        if own in GROUND:
            assert other in GROUND or other == "", f"{name} imports {target}"
        elif own in LEVELS and other in LEVELS:
            assert LEVELS[other] < LEVELS[own], f"{name} imports {target}"


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=lambda path: str(path.stem))
def test_packages_are_used_through_their_faces(path: Path) -> None:
    """Another package is imported by the names of its `__init__`, never by its inner modules."""
    own = package_of(module_name(path))
    for target in imports(path):
        other = package_of(target)
        if other not in LEVELS or other == own or other in OF_MODULES:
            continue
        inner = target.split(".")[2:]
        assert not inner or inner[0] in faces(other), f"{path}: {target} is private to {other}"


def faces(package: str) -> set[str]:
    """The names in `__all__` of a package of dsetkit."""
    tree = ast.parse((REPOSITORY / "dsetkit" / package / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"dsetkit/{package}/__init__.py has no __all__")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_what_may_know_what(path: Path) -> None:
    """models: torch alone. training: models never, of dsetkit the ground. dsetkit: itself."""
    name, targets = module_name(path), imports(path)
    tops = {target.split(".")[0] for target in targets}
    assert not tops & {script.stem for script in SCRIPTS}, "nothing imports a script"
    top = name.split(".")[0]
    if top == "models":
        assert not tops & {"dsetkit", "training"}
    if top == "training":
        assert "models" not in tops
        used = {package_of(target) for target in targets if target.startswith("dsetkit")}
        assert used <= GROUND | {""}
    if top == "dsetkit":
        assert "training" not in tops
        if name != "dsetkit.networks.repository_models":
            assert "models" not in tops, "only one module asks for the repository's networks"


def test_there_are_no_circles() -> None:
    graph = {module_name(path): imports(path) & NAMES - {module_name(path)} for path in MODULES}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize(
    "path",
    [*SCRIPTS, *(REPOSITORY / package / "__init__.py" for package in ("benchmarks", "tools"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_the_openmp_settings_come_before_torch(path: Path) -> None:
    tree = ast.parse(path.read_text())
    first = next(node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    assert isinstance(first, ast.Import) and first.names[0].name == "dsetkit.openmp"
