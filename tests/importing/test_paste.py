"""Pasted cut-outs: in front of what they hide, their depth where their alpha is, nothing leaks."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dsetkit.assets.folders import load_foregrounds
from dsetkit.compositing import OBJECT_ALPHA
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import AssetError
from dsetkit.importing.paste import NEAREST_M, Paster
from dsetkit.verbs.verify import verify
from tests.helpers.importing import import_rgbd
from tests.helpers.worlds import draw_background, draw_foreground


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pasting")
    pairs, foregrounds = root / "pairs", root / "foregrounds"
    pairs.mkdir(), foregrounds.mkdir()
    for number in range(6):
        colour = cv2.resize(draw_background(number, 64), (80, 60))
        depth = np.tile(np.linspace(2000, 9000, 80, dtype=np.uint16), (60, 1))
        depth[:5, :9] = 0
        cv2.imwrite(str(pairs / f"{number:04d}_color.png"), colour[..., ::-1])
        cv2.imwrite(str(pairs / f"{number:04d}_depth.png"), depth)
        cut_out = cv2.cvtColor(draw_foreground(number, 60, 45), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(foregrounds / f"f{number}.png"), cut_out)
    return {"root": pairs, "foregrounds": foregrounds}


def images(dataset: Dataset, index: int) -> tuple[np.ndarray, np.ndarray, tuple]:
    record = dataset.record(index)
    composite, depth = (dataset.image(record, name) for name in ("composite", "depth"))
    return composite, depth, record.objects


def test_each_pair_is_followed_by_copies_with_something_in_front(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    assert import_rgbd(**folders, output=tmp_path / "d", split="train", pastes=2) == 18
    dataset = Dataset(tmp_path / "d")
    assert verify(tmp_path / "d") == []
    for pair in range(6):
        plain, plain_depth, objects = images(dataset, 3 * pair)
        assert objects == ()
        for copy in (1, 2):
            composite, depth, (placed,) = images(dataset, 3 * pair + copy)
            changed = depth != plain_depth
            assert changed.any() and len(np.unique(depth[changed])) == 1
            known = changed & (plain_depth > 0)
            assert (depth[known] <= np.percentile(plain_depth[known], 6)).all()
            assert depth[changed][0] >= NEAREST_M * 1000
            x, y, width, height = placed.box
            assert placed.plane == depth[changed][0]
            outside = np.ones(depth.shape, bool)
            outside[y : y + height, x : x + width] = False
            assert not changed[outside].any()
            assert (composite[outside] == plain[outside]).all()


def test_the_depth_ends_where_the_alpha_does(folders: dict[str, Path]) -> None:
    found = load_foregrounds(folders["foregrounds"], max_side=512)
    image, depth = np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 5000, np.uint16)
    white = [type(one)(one.id, one.name, one.split, white_like(one.pixels)) for one in found.assets]
    for index in range(20):
        pasted = Paster(white, seed=0).paste(image, depth, split="train", index=index)
        # white over black: the composite is the alpha
        assert ((pasted.image[..., 0] >= OBJECT_ALPHA) == (pasted.depth < 5000)).all()


def white_like(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([np.full_like(pixels[..., :3], 255), pixels[..., 3]])


def test_a_cut_out_keeps_to_its_split(folders: dict[str, Path]) -> None:
    assets = load_foregrounds(folders["foregrounds"], max_side=512).assets
    split_of = {one.name: one.split for one in assets}
    image, depth = np.zeros((60, 80, 3), np.uint8), np.full((60, 80), 5000, np.uint16)
    paster = Paster(assets, seed=0)
    for split in ("train", "val", "test"):
        names = {paster.paste(image, depth, split=split, index=i).placed.name for i in range(20)}
        assert {split_of[name] for name in names} == {split}


def test_what_is_pasted_depends_on_seed_and_index_alone(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        import_rgbd(**folders, output=tmp_path / name, split="train", pastes=1, seed=seed)
    one, same, other = (Dataset(tmp_path / name) for name in ("one", "same", "other"))
    records = [[data.record(i) for i in range(12)] for data in (one, same, other)]
    assert records[0] == records[1] != records[2]


def test_a_split_without_cut_outs_is_an_error(folders: dict[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "f0.png").write_bytes((folders["foregrounds"] / "f0.png").read_bytes())
    with pytest.raises(AssetError, match="no foreground is in split test: expected at least three"):
        import_rgbd(folders["root"], tmp_path / "d", split="test", foregrounds=alone)
