"""The benchmarks run on tiny worlds, and what they read is every sample, with the right pixels."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import bench_read, bench_scale, common, read_once, seeds_way
from benchmarks.peers import PEERS
from benchmarks.peers.shared import FIELDS, EncodedSamples, decode
from dsetkit.dataset import Dataset
from tests.worlds import draw_background, draw_foreground, tiny_dataset

SIZE = 16  # px
WITHOUT_INSTALLING = ("files", "lmdb_msgpack")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


@pytest.mark.parametrize("peer", WITHOUT_INSTALLING)
def test_a_peer_gives_each_sample_once(peer: str, dataset: Path, tmp_path: Path) -> None:
    read_once.build(peer, dataset, tmp_path / "store")
    batches = list(read_once.peer_batches(peer, tmp_path / "store", size=SIZE, workers=0))
    samples = EncodedSamples(dataset)
    expected = [decode(samples[index], SIZE) for index in range(len(samples))]
    for name in FIELDS:
        read = np.concatenate([batch[name].numpy() for batch in batches])
        assert sorted(map(bytes, read)) == sorted(bytes(one[name]) for one in expected), name


def test_what_peers_decode_is_what_ours_gives(dataset: Path) -> None:
    samples, ours = EncodedSamples(dataset), Dataset(dataset)
    theirs = decode(samples[3], ours.manifest.size[0])
    images = ours.images(ours.record(3), FIELDS, tuple(ours.manifest.size))
    assert np.array_equal(theirs["composite"], images["composite"])
    assert np.array_equal(theirs["mask"], images["mask"])
    valid = ours.image(ours.record(3), "depth").min() > 0
    if valid:
        assert np.allclose(theirs["depth"] / 10_000, images["depth"], atol=1e-4)


def test_every_peer_has_its_file_and_says_how_it_is_installed() -> None:
    folder = Path(read_once.__file__).parent / "peers"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "shared"}
    assert files == set(PEERS)
    assert all(peer.install for name, peer in PEERS.items() if name != "files")


def test_every_tier_is_read_whole(dataset: Path, tmp_path: Path) -> None:
    notes: dict[str, str] = {}
    tiers = [*bench_read.TIERS, "cache"]
    rendered, readers = bench_read.make_tiers(dataset, tmp_path, tiers, [SIZE], notes)
    assert rendered == dataset
    assert [one.name for one in readers] == [tiers[0], "rendered, with background", *tiers[1:]]
    for one in readers:
        cache = tmp_path / "cache" if one.name == "cache" else None
        batches = read_once.our_batches(
            one.store, size=SIZE, workers=0, threads=1, fields=FIELDS, cache=cache
        )
        found = read_once.measure(batches, workers=0, seconds=0.01)
        assert found["epoch"] == len(Dataset(dataset))
        assert 0 < found["samples"] and 0 < found["seconds"]
    assert sum(name.startswith("bytes a sample, ") for name in notes) == len(tiers)


def test_bench_read_compares_with_what_is_there(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    absent = {"ffcv_beton": PEERS["ffcv_beton"].__class__("FFCV", "no_such_module", "pip it")}
    monkeypatch.setattr(bench_read, "PEERS", PEERS | absent)
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    command = f"bench_read --data {dataset} --sizes {SIZE} --workers 0 --threads 1 --repeat 1"
    command += " --tiers recipe --peers files ffcv_beton"
    monkeypatch.setattr(sys, "argv", command.split())
    bench_read.main()
    kept = json.loads((tmp_path / "bench_read.json").read_text())
    rows = [f"{SIZE} px, 1 thread: {name}" for name in ("recipe", "plain files")]
    assert list(kept["samples_per_s"]) == rows
    assert kept["÷ fastest peer"][rows[1]] == "1.00"
    assert kept["notes"]["FFCV skipped"] == "not installed: pip it"
    assert "recipe" in capsys.readouterr().out


def test_the_seeds_way_makes_the_same_samples(dataset: Path, tmp_path: Path) -> None:
    ours = Dataset(dataset)
    for name, draw, images in (("b", draw_background, 4), ("f", draw_foreground, 4)):
        for number in range(images):
            pixels = draw(number, ours.manifest.size[0]) if name == "b" else draw(number)
            swapped = cv2.cvtColor(
                pixels, cv2.COLOR_RGB2BGR if name == "b" else cv2.COLOR_RGBA2BGRA
            )
            cv2.imwrite(str(tmp_path / f"{name}{number}.png"), swapped)
    behind = seeds_way.open_backgrounds(sorted(tmp_path.glob("b*")), ours.manifest.size[0])
    before = seeds_way.open_foregrounds(sorted(tmp_path.glob("f*")))
    records = ours.records(range(10))
    assert seeds_way.make(records, behind, before, tmp_path / "files") == 10
    assert (tmp_path / "files.zip").exists()
    for number, record in enumerate(records, start=1):
        path = tmp_path / "files" / f"composite{number}.jpg"
        theirs = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        difference = np.abs(theirs.astype(int) - ours.image(record, "composite"))
        assert difference.mean() < 12


def test_scale_measures_a_generation(tmp_path: Path) -> None:
    for name, draw in (("backgrounds", draw_background), ("foregrounds", draw_foreground)):
        (tmp_path / name).mkdir()
        pixels = draw(0, 32)
        cv2.imwrite(str(tmp_path / name / "one.png"), pixels)
    found = bench_scale.make(
        {
            "foregrounds": tmp_path / "foregrounds",
            "backgrounds": tmp_path / "backgrounds",
            "output": tmp_path / "d",
            "size": 32,
            "workers": 0,
        }
    )
    assert found["seconds"] > 0 and found["peak_mb"] > 1
    assert bench_scale.open_one(tmp_path / "d") > 0
