"""The benchmarks run on tiny worlds, and what they read is every sample, with the right pixels."""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import (
    bench_read,
    bench_scale,
    bench_shards,
    bench_train,
    common,
    kill_runs,
    networks,
    read_once,
    reader_facts,
    seeds_way,
    simulate_scale,
    tables,
)
from benchmarks.peers import PEERS
from benchmarks.peers.shared import DECODERS, FIELDS, OURS, EncodedSamples
from dsetkit.datasets.reader import Dataset
from dsetkit.loading.loader import EpochBatches
from dsetkit.store.shard_cache import ShardCache
from dsetkit.store.shard_list import Shard
from dsetkit.verbs.convert import convert
from tests.helpers.verbs import World
from tests.helpers.worlds import draw_background, draw_foreground, tiny_dataset

SIZE = 16  # px
WITHOUT_INSTALLING = ("files", "lmdb_msgpack")
DEPRECATED = "ignore:The image decoding and encoding capabilities of TorchVision:DeprecationWarning"


@pytest.fixture(params=DECODERS)
def decoder(request: pytest.FixtureRequest) -> str:
    if request.param == "TorchCodec":
        pytest.importorskip("torchcodec", reason="pip install torchcodec")
    return request.param


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset(tmp_path_factory.mktemp("data") / "d")


@pytest.mark.filterwarnings(DEPRECATED)
@pytest.mark.parametrize("peer", WITHOUT_INSTALLING)
def test_a_peer_gives_each_sample_once(
    peer: str, decoder: str, dataset: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    read_once.build(peer, dataset, store)
    batches = list(read_once.peer_batches(peer, store, size=SIZE, workers=0, decoder=decoder))
    samples = EncodedSamples(dataset)
    expected = [DECODERS[decoder](samples[index], SIZE) for index in range(len(samples))]
    for name in FIELDS:
        read = np.concatenate([batch[name].numpy() for batch in batches])
        assert sorted(map(bytes, read)) == sorted(bytes(one[name]) for one in expected), name


@pytest.mark.filterwarnings(DEPRECATED)
def test_what_peers_decode_is_what_ours_gives(decoder: str, dataset: Path) -> None:
    samples, ours = EncodedSamples(dataset), Dataset(dataset)
    record, decode = ours.record(3), DECODERS[decoder]
    theirs = decode(samples[3], ours.manifest.size[0])
    images = ours.images(record, FIELDS, tuple(ours.manifest.size))
    assert {name: image.dtype for name, image in theirs.items()} == {
        "composite": np.uint8, "mask": np.uint8, "depth": np.float32
    }  # fmt: skip
    # Each library has its own libjpeg, and they may differ in how they enlarge colour.
    assert np.abs(theirs["composite"].astype(int) - images["composite"]).mean() < 0.5
    assert np.array_equal(theirs["mask"], images["mask"])
    stored = ours.image(record, "depth")
    assert np.array_equal(decode(samples[3], len(stored))["depth"], stored)


@pytest.mark.parametrize("side", [SIZE, 12, 24, 32, 40])
def test_peers_with_our_decoders_give_our_pixels(side: int, dataset: Path) -> None:
    samples, ours = EncodedSamples(dataset), Dataset(dataset)
    for index in range(5):
        theirs = DECODERS[OURS](samples[index], side)
        images = ours.images(ours.record(index), FIELDS, (side, side))
        for name in ("composite", "mask"):
            assert np.array_equal(theirs[name], images[name]), name
        share = theirs["depth"] / (1000 * ours.manifest.max_depth_m)
        np.testing.assert_allclose(share, images["depth"], atol=1e-6)


def test_facts_of_readers_are_found_out(dataset: Path, tmp_path: Path) -> None:
    recipe, files = tmp_path / "recipe", tmp_path / "files"
    convert(dataset, recipe, layout="recipe")
    read_once.build("files", dataset, files)
    reading = {"workers": 0, "threads": 0, "fields": FIELDS, "cache": None}
    facts = {
        "rendered": partial(read_once.our_batches, dataset, **reading),
        "recipe": partial(read_once.our_batches, recipe, **reading),
        "cache": partial(read_once.our_batches, recipe, **reading | {"cache": tmp_path / "cache"}),
        "files": partial(read_once.peer_batches, "files", files, workers=0),
    }
    exact = {name: reader_facts.exact_fields(one, Dataset(dataset)) for name, one in facts.items()}
    drawn = ["composite", "mask"]
    assert exact["recipe"] == [*drawn, "depth"] and exact["cache"] == drawn
    assert exact["rendered"] == exact["files"] == ["mask", "depth"]
    resumes = {name: reader_facts.resumes(partial(one, size=SIZE)) for name, one in facts.items()}
    assert resumes == {"rendered": True, "recipe": True, "cache": True, "files": False}


@pytest.mark.slow
def test_flips_are_made_in_a_copy_and_ours_are_all_noticed(dataset: Path, tmp_path: Path) -> None:
    read_once.build("files", dataset, tmp_path / "files")
    found = {}
    for name, store, arguments in (
        ("ours", dataset, ()),
        ("files", tmp_path / "files", ("--peer", "files", "--decoder", "Pillow")),
    ):
        before = {path: path.read_bytes() for path in store.rglob("*")}
        found[name] = bench_read.run_once(store, *arguments, "--facts", dataset)["flips"]
        assert {path: path.read_bytes() for path in store.rglob("*")} == before
    assert found["ours"] == {"noticed": reader_facts.FLIPS, "silent": 0, "died": 0}
    assert found["files"]["silent"] > 0


def test_every_peer_has_its_file_and_says_how_it_is_installed() -> None:
    folder = Path(read_once.__file__).parent / "peers"
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "shared"}
    assert files == set(PEERS)
    assert all(peer.install for name, peer in PEERS.items() if name != "files")
    assert {peer.decoder for peer in PEERS.values()} <= {"", *DECODERS}


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
        assert min(found["samples"], found["seconds"], found["cpu_s"]) > 0
    assert sum(name.startswith("bytes a sample, ") for name in notes) == len(tiers)


@pytest.mark.slow
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
    names = ("recipe", "plain files, Pillow", f"plain files, {OURS}")
    rows = [f"{SIZE} px, 1 thread: {name}" for name in names]
    assert list(kept["samples_per_s"]) == rows
    assert "1.00" in [kept["÷ fastest peer"][row] for row in rows[1:]]
    assert [kept["exact pixels"][row] for row in rows] == ["all", *["mask, depth"] * 2]
    assert [kept["resumes in an epoch"][row] for row in rows] == ["yes", "no", "no"]
    flips = reader_facts.FLIPS
    assert kept["flipped bytes noticed"][rows[0]] == f"{flips} of {flips}"
    assert kept["notes"]["FFCV skipped"] == "not installed: pip it"
    assert "recipe" in capsys.readouterr().out


def rates(*names: str) -> dict[str, list[float]]:
    return {name: [100.0 * (place + 1)] * 3 for place, name in enumerate(names)}


def test_peers_are_compared_forked_and_spawned() -> None:
    names = ("64 px, 2 workers: {}", "64 px, 2 workers, spawned: {}")
    peer = [name.format("plain files, Pillow") for name in names]
    content = {"samples_per_s": rates(*peer, names[0].format("recipe"))}
    rows = tables.bench_read_starts(content).splitlines()[2:]
    assert rows == ["| plain files, Pillow | 100 | 200 | 2.00 |"]


def test_facts_are_told_once_for_each_store() -> None:
    names = ["64 px, 1 thread: recipe"]
    names += [f"64 px, 1 thread: LitData, {decoder}" for decoder in ("torchvision", OURS)]
    facts = {name: f"fact {place}" for place, name in enumerate(names)}
    columns = dict.fromkeys(bench_read.FACTS, facts)
    notes = {f"bytes a sample, {store}": "1" for store in ("recipe", "LitData")}
    content = {"samples_per_s": rates(*names), "notes": notes, **columns}
    assert tables.bench_read_facts(content).splitlines()[2:] == [
        "| **recipe** | fact 0 | fact 0 | fact 0 |",
        "| LitData | fact 1 | fact 1 | fact 1 |",
    ]


def test_decoders_are_told_by_their_time() -> None:
    content = {"samples_per_s": rates("64 px: A", "64 px: B", "224 px: A", "224 px: B")}
    content["notes"] = {"version, B": "1.2"}
    assert tables.bench_decoders(content).splitlines()[2:] == [
        "| A | 10,000 | 3,333 |",
        "| B 1.2 | 5,000 | 2,500 |",
    ]


def test_variants_of_a_training_step_are_those_that_are_asked_for() -> None:
    usual, other = bench_train.USUAL, ("defaults", "compiled")
    kin = bench_train.KIN["mask_autoencoder"]
    found = bench_train.variants_of("mask_autoencoder", usual, with_loader=True)
    assert found == ["defaults", "eager", *kin, "loader"]
    assert bench_train.variants_of("depth_lite", other, with_loader=True) == [*other]
    assert "loader" not in bench_train.variants_of("mask_autoencoder", usual, with_loader=False)


def test_variants_of_a_step_stand_side_by_side() -> None:
    variants = ["defaults", "contiguous", "compiled"]
    rows = [
        {"model": "unet", "variant": one, "samples_per_s": [10.0 * (place + 1)] * 3,
         "ratio_to_defaults": place + 1.0, "first_step_s": 60.4}
        for place, one in enumerate(variants)
    ]  # fmt: skip
    table = tables.bench_train_formats({"settings": {"variants": variants}, "rows": rows})
    assert table.splitlines()[-1] == "| `unet` | 10 (1.00) | 20 (2.00) | 30 (3.00) | 60 |"


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


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """Folders of three pictures each."""
    for name, draw in (("backgrounds", draw_background), ("foregrounds", draw_foreground)):
        (tmp_path / name).mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), draw(number, 32))
    return {name: tmp_path / name for name in ("backgrounds", "foregrounds")}


def test_scale_measures_a_generation(pictures: dict[str, Path], tmp_path: Path) -> None:
    found = bench_scale.make({**pictures, "output": tmp_path / "d", "size": 32, "workers": 0})
    assert found["seconds"] > 0 and found["peak_mb"] > 1
    assert bench_scale.open_one(tmp_path / "d") > 0


@pytest.mark.slow
def test_bench_shards_measures_and_compares(
    pictures: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    quick = (bench_shards.ONE, bench_shards.TWO, bench_shards.BESIDE)
    monkeypatch.setattr(bench_shards, "CASES", {name: bench_shards.CASES[name] for name in quick})
    # All in this process, one after another: starting others takes seconds each.
    monkeypatch.setattr(bench_shards, "in_fresh_process", lambda work, *given: work(*given))
    monkeypatch.setattr(bench_shards, "ThreadPoolExecutor", lambda _: ThreadPoolExecutor(1))
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    command = "bench_shards --samples 70 --recipe-samples 1000 --shards 1 3 --read-samples 48"
    command += f" --no-ray --repeat 1 --work {tmp_path}"
    command += "".join(f" --{name} {path}" for name, path in pictures.items())
    monkeypatch.setattr(sys, "argv", command.split())
    bench_shards.main()
    kept = json.loads((tmp_path / "bench_shards.json").read_text())
    for layout, samples in (("rendered", 70), ("recipe", 360)):  # 360 is the full set
        made = kept[f"making, {layout}"]
        assert list(made) == list(quick)
        assert all(one["bytes_equal"] and one["samples"] == samples for one in made.values())
        assert made[bench_shards.ONE]["then_samples_per_s"][0] > 0
    one, three = kept["reading"]
    assert "first_ms" not in one and {"handles", "memory_kb"} <= three.keys()
    assert three["random_per_s"] > 0 and three["first_ms"] > 0
    assert kept["bytes"]["list_ms"] > 0
    printed = capsys.readouterr().out
    assert "| 2 shards, 2 workers |" in printed and "(goal 1.8)" in printed
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


def test_bench_shards_sees_another_sample(dataset: Path, tmp_path: Path) -> None:
    same = tiny_dataset(tmp_path / "same", shards=3)
    other = tiny_dataset(tmp_path / "other", seed=1)
    assert bench_shards.content_of(same) == bench_shards.content_of(dataset)
    assert bench_shards.content_of(other) != bench_shards.content_of(dataset)


# ---- simulations -------------------------------------------------------------------------------


def test_the_simulated_cache_is_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    size, room, per_shard = 4096, 3, 16
    real, simulated = ShardCache(tmp_path, room * size), simulate_scale.LeastRecent(room)
    batches = EpochBatches(
        9 * per_shard, batch_size=8, seed=0, shuffle=True, drop_last=False, shuffle_block=4
    )
    fetched = asked = 0
    for batches.epoch in range(2):
        for numbers in simulate_scale.asked_shards(batches, per_shard):
            for number in numbers:
                simulated.ask(number)
                shard, asked = Shard(f"{number}", size, f"{number:032x}"), asked + 1
                if not real.has(shard):
                    fetched += 1
                    with real.writing(), real.new_file(shard) as (file, part):
                        real.keep(file, part, shard)
                # The clock of files may stand still between two questions.
                os.utime(real.path(shard), ns=(asked, asked))
    assert (simulated.fetched, simulated.asked) == (fetched, asked)
    assert room < fetched < asked


def test_what_an_epoch_fetches() -> None:
    world = {"shards": 40, "per_shard": 16}
    assert simulate_scale.fetched_per_epoch(**world, room=40, block=None)["first"] == 1
    assert simulate_scale.fetched_per_epoch(**world, room=40, block=None)["later"] == 0
    by_blocks = simulate_scale.fetched_per_epoch(**world, room=20, block=16)
    whole = simulate_scale.fetched_per_epoch(**world, room=20, block=None)
    assert by_blocks["later"] <= 1 < whole["later"]
    apart = simulate_scale.fetched_per_epoch(**world, room=20, block=16, place=(1, 2))
    assert apart["later"] > 0.5  # half of the samples, and yet nearly all shards


def test_a_run_without_faults_takes_as_long_as_reckoned() -> None:
    settings = {"start_s": 10.0, "shard_s": 2.0, "spread": 0.0, "slow_share": 0.0}
    fleet = simulate_scale.Fleet(4, 10.0, **settings, deaths_per_hour=0.0)
    reckon = simulate_scale.makespan_over_ideal
    ideal_s = 4000 / 40
    assert reckon(4000, 8, fleet, 0) * ideal_s == pytest.approx(10 + 2 * (2 + 50))
    assert reckon(4000, 8, fleet, 0, is_job=True) * ideal_s == pytest.approx(2 * (10 + 2 + 50))
    assert reckon(4000, 1, fleet, 0) * ideal_s == pytest.approx(10 + 2 + 400)
    dying = simulate_scale.Fleet(4, 10.0, **settings, deaths_per_hour=36.0)
    resumed, anew = (
        np.median([reckon(4000, 8, dying, seed, resumes=resumes) for seed in range(20)])
        for resumes in (True, False)
    )
    assert reckon(4000, 8, fleet, 0) < resumed < anew


def test_simulations_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["simulate_scale", "--small", "--parts", "shards", "memory"])
    monkeypatch.setattr(simulate_scale, "SEEDS", 1)
    simulate_scale.main()
    kept = json.loads((tmp_path / "simulate_scale.json").read_text())
    assert all(row["workers that stay"] >= 1 for row in kept["shards"]["labelling"])
    held = {row["what"]: row["kept"] for row in kept["memory"]}
    assert held["train: order, whole"] == pytest.approx(8, abs=0.1)
    assert "makespan ÷ ideal" in capsys.readouterr().out


@pytest.mark.slow
def test_a_campaign_of_kills_finds_nothing_and_notices_a_loss(tmp_path: Path) -> None:
    world = World.draw(tmp_path / "world")
    campaigns = {
        name: kill_runs.Campaign(
            name, replace(job, stops_in_s=None), world, tmp_path / name, fresh=True
        )
        for name, job in kill_runs.all_jobs(world).items()
        if name in ("split", "merge")
    }
    for campaign in campaigns.values():
        for number in (signal.SIGKILL, signal.SIGTERM):
            campaign.stop_one(number, group=False, share=0.9)
        row = campaign.row
        assert (row.lost, row.left, row.loud, row.unequal) == (0, 0, 0, 0), row.faults
        assert (row.kills, row.stops) == (1, 1)
    spoiled = campaigns["merge"]
    spoiled._expected.popitem()
    spoiled.stop_one(signal.SIGKILL, group=True, share=1e6)  # that is: when it has ended
    assert (spoiled.row.lost, spoiled.row.unequal) == (1, 1)


@pytest.mark.slow
def test_the_table_of_networks_names_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("benchmarks.common.RESULTS", tmp_path)
    small = ["mask_lite", "depth_lite"]  # all networks together take 4 GB
    words = ["--size", "32", "--batch-size", "2", "--steps", "1", "--networks", *small]
    monkeypatch.setattr(sys, "argv", ["networks", *words])
    networks.main()
    printed = capsys.readouterr().out
    assert all(f"| `{name}` |" in printed for name in small)
