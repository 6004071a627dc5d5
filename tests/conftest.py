"""One thread for each test process: they run side by side, one for each core (see pyproject).

On pictures as small as these, several threads mostly wait for each other.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Before torch and numba are loaded; for commands that tests start, too.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-inputs",
        type=int,
        default=10_000,
        metavar="N",
        help="damaged inputs that each fuzz test makes (default: 10000)",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Processes inherit which signals are ignored, as those of `nohup make test &` are.
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    os.environ["FUZZ_INPUTS"] = str(config.getoption("--fuzz-inputs"))


@pytest.fixture(scope="session")
def fuzz_inputs(request: pytest.FixtureRequest) -> int:
    """Damaged inputs that a fuzz test makes."""
    return request.config.getoption("--fuzz-inputs")


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: for tests that write thousands of small files."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict], Path]:
    """A dataset of import-images that no test changes, of (system, options)."""
    from tests.helpers.image_sets import ImportedSets  # loads torch

    return ImportedSets(tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of five drawn foregrounds and five backgrounds, as arguments of `generate`."""
    import cv2

    from tests.helpers.worlds import draw_background, draw_foreground

    root = tmp_path_factory.mktemp("pictures")
    folders = {name: root / name for name in ("foregrounds", "backgrounds")}
    for folder in folders.values():
        folder.mkdir()
    for number in range(5):
        foreground = cv2.cvtColor(draw_foreground(number, 60, 45), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(folders["foregrounds"] / f"f{number}.png"), foreground)
        background = draw_background(number, 80)[..., ::-1]
        cv2.imwrite(str(folders["backgrounds"] / f"b{number}.jpg"), background)
    return folders


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A depth network with random weights: what it says means nothing, but it is a network."""
    import torch

    from models import create_model, save_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "depth.safetensors"
    about = {"inputs": ["composite"], "depth_kind": "metric", "max_depth_m": 10.0}
    about["img_size"] = [64, 64]
    net = create_model("depth_lite")
    torch.nn.init.normal_(net.head.weight, std=0.5)  # or every map would be flat
    save_model(path, net, about)
    return f"checkpoint:{path}"


@pytest.fixture(scope="session")
def options(pictures: dict, teacher: str) -> dict:
    """Arguments of `generate` for a small dataset of 60 samples, with depth."""
    small = {"size": 64, "placements": 5, "batch_size": 8, "workers": 0}
    return {**pictures, "num_samples": 60, "teacher": teacher, **small}
