"""The verb report: one page without a network, and the same numbers as JSON."""

import base64
import csv
import html
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec import structs

from dsetkit.assets.folders import encode_asset
from dsetkit.cli import main
from dsetkit.colours import colour_instances
from dsetkit.console import run
from dsetkit.datasets.reader import Dataset
from dsetkit.errors import RunError
from dsetkit.store import manifest as m
from dsetkit.store.lmdb_store import StoreWriter, u32_key
from dsetkit.store.records import pack_asset
from dsetkit.store.shards import shard_path
from dsetkit.verbs.info import describe
from dsetkit.verbs.report import asset_health, making, pictures
from dsetkit.verbs.report.likeness import likeness, pairs_alike
from dsetkit.verbs.report.making import choose_gallery
from dsetkit.verbs.report.runs import read_run
from dsetkit.verbs.splits import split_by_sample
from dsetkit.verbs.stats import measure
from tests.helpers.image_sets import every_way
from tests.helpers.worlds import draw_background, tiny_dataset, tiny_rgbd

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\n\u202e{{ 7*7 }}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that no test changes."""
    return tiny_dataset(tmp_path_factory.mktemp("shared") / "world", num_samples=120)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A dataset to change."""
    return tiny_dataset(tmp_path / "world", num_samples=40)


Made = tuple[str, dict]  # the page, and its JSON twin


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Made]:
    """Runs the verb in this process."""

    def make(dataset: Path, *arguments: object) -> Made:
        files = ["--output", tmp_path / "page.html", "--json", tmp_path / "twin.json"]
        assert dsetkit("report", dataset, *files, "--jobs", 1, *arguments) == 0
        twin = json.loads((tmp_path / "twin.json").read_text(), parse_constant=pytest.fail)
        return (tmp_path / "page.html").read_text(), twin

    return make


def dsetkit(*arguments: object) -> int:
    """The exit status of a command."""
    return run(lambda: main([str(argument) for argument in arguments]))


def replace_background(dataset: Path, number: int, **changes: object) -> None:
    asset = structs.replace(list(Dataset(dataset).assets("backgrounds"))[number], **changes)
    packed = pack_asset(asset, database="backgrounds", key=u32_key(number))
    with StoreWriter(shard_path(dataset)) as store:
        store.put([("backgrounds", u32_key(number), packed)])


def change_manifest(dataset: Path, **changes: object) -> None:
    changed = replace(Dataset(dataset).manifest, **changes)
    with StoreWriter(shard_path(dataset)) as store:
        store.put([("manifest", m.MANIFEST_KEY, changed.to_bytes())])


def draw_run(folder: Path, *, rows: int = 3, fingerprint: str = "") -> Path:
    """A folder as trainings leave it."""
    folder.mkdir(parents=True)
    with (folder / "log.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "train_loss", "val_rmse_per_image", "val_rmse_pooled", "lr"])
        writer.writerows([e, 1 / e, 0.5 / e, 0.6 / e, 0.1] for e in range(1, rows + 1))
    about = {"script": "train_mask.py", "dataset_fingerprint": fingerprint}
    (folder / "args.json").write_text(json.dumps(about | {"arguments": {"arch": "mask_lite"}}))
    for number in (1, 2):
        picture = np.full((40, 60, 3), 100 * number, np.uint8)
        cv2.imwrite(str(folder / f"epoch-{number:03d}.png"), picture)
    return folder


class Tags(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, *names: str) -> Iterator[str]:
        for _, attributes in self.found:
            yield from (attributes[name] for name in names if name in attributes)


# ---- the page ----------------------------------------------------------------------------------


def test_the_page_loads_nothing_from_outside(shared: Path, tmp_path: Path, report) -> None:
    page, _ = report(shared, "--run", draw_run(tmp_path / "run"))
    tags = Tags(page)
    links = list(tags.values("src", "href", "action", "data", "poster", "srcset", "xlink:href"))
    assert len(links) > 100
    assert all(link.startswith(("data:image/", "#")) for link in links)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags.found}
    for name in ("mask", "instances"):  # data URIs that the page itself holds
        page = page.replace(f'url("${{{name}}}")', "")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|sendBeacon", page)
    assert "default-src 'none'" in page


def test_instances_are_shown_in_their_colours_where_there_are_any(
    shared: Path, tmp_path: Path, report
) -> None:
    several = tiny_dataset(
        tmp_path / "several", num_samples=40, num_foregrounds=60, placements=1, objects=(2, 3)
    )
    page, twin = report(several)
    assert '<option value="instances"' in page or ">instances</option>" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    dataset = Dataset(several)
    for row in twin["gallery"][:5]:
        uri = data["samples"][str(row["index"])]["pictures"]["instances"]
        png = np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8)
        instances = dataset.image(dataset.record(row["index"]), "instances")
        shown = cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1]
        assert np.array_equal(shown, colour_instances(instances))
    page, _ = report(shared)
    assert '"instances":' not in page and ">instances</option>" not in page


def test_every_picture_has_an_alternative_text(shared: Path, report) -> None:
    page, _ = report(shared)
    images = [attributes for tag, attributes in Tags(page).found if tag == "img"]
    unnamed = [one for one in images if not one.get("alt") and one.get("id") not in BY_SCRIPT]
    assert len(images) > 100 and not unnamed


BY_SCRIPT = ("below", "above")  # which get theirs when they are shown


def test_every_tile_is_a_button_and_ids_are_unique(shared: Path, report) -> None:
    page, twin = report(shared, "--samples", 30)
    tags = Tags(page).found
    gallery = [a for tag, a in tags if tag == "button" and a.get("data-group") == "gallery"]
    assert [int(a["data-index"]) for a in gallery] == [row["index"] for row in twin["gallery"]]
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_tags_are_closed_in_order(shared: Path, tmp_path: Path, report) -> None:
    page, _ = report(shared, "--run", draw_run(tmp_path / "run"))
    open_tags: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            if tag not in ("meta", "img", "input", "br"):
                open_tags.append(tag)

        def handle_startendtag(self, tag: str, attrs: list) -> None: ...

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag, self.getpos()

    Balance().feed(page)
    assert open_tags == []


def test_the_page_is_the_same_each_time(shared: Path, report) -> None:
    assert report(shared) == report(shared)


@pytest.mark.slow
def test_the_numbers_are_the_same_for_all_numbers_of_jobs(tmp_path: Path, report) -> None:
    dataset = tiny_dataset(tmp_path / "many", placements=20, num_samples=600)
    once = report(dataset, "--stats-samples", 300)
    files = ["--output", tmp_path / "2.html", "--json", tmp_path / "2.json"]
    assert dsetkit("report", dataset, *files, "--jobs", 2, "--stats-samples", 300) == 0
    assert json.loads((tmp_path / "2.json").read_text()) == once[1]


def test_names_from_outside_are_escaped(world: Path, tmp_path: Path, report) -> None:
    for number in range(4):
        pixels = np.full((32, 32, 3), 5, np.uint8)  # dark, and alike: shown in every section
        changes = {"name": f"{HOSTILE} {number}", "image": encode_asset(pixels)}
        replace_background(world, number, **changes)
    teacher = {"name": HOSTILE, "batch_size": 1}
    skipped = [[HOSTILE, HOSTILE]]
    change_manifest(world, skipped=skipped, teacher=teacher)
    hostile_folder = world.rename(tmp_path / "<b>'\"&\n\udcff")
    log_of_run = draw_run(tmp_path / "<i>run")
    log = (log_of_run / "log.csv").read_text()
    (log_of_run / "log.csv").write_text(log.replace("val_rmse_pooled", "val_<script>x</script>"))
    page, twin = report(hostile_folder, "--run", log_of_run)
    assert "<script>alert" not in page and "<img src=x" not in page
    assert {tag for tag, _ in Tags(page).found}.isdisjoint({"b>", "i>run"})
    assert [tag for tag, _ in Tags(page).found].count("script") == 2  # the data and the program
    assert "\u202e" not in page and "\udcff" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert "{{ 7*7 }}" in html.unescape(page)
    assert twin["skipped"] == skipped


def test_the_page_stays_below_its_cap(tmp_path: Path, report, monkeypatch) -> None:
    dataset = tiny_dataset(tmp_path / "large", size=256, num_samples=60, depth_kind="none")
    whole, twin = report(dataset, "--samples", 60)
    assert twin["report"]["picture_px"] == 256
    monkeypatch.setattr(making, "SAMPLE_BYTES", 120_000)
    page, twin = report(dataset, "--samples", 60)
    assert twin["report"]["picture_px"] < 256
    assert len(whole) - len(page) > 0 and len(page) < 120_000 + 160_000
    assert making.SAMPLE_BYTES + making.RUN_BYTES < making.CAP_BYTES


def test_the_lowest_quality_is_taken_when_none_fits(shared: Path, report, monkeypatch) -> None:
    monkeypatch.setattr(making, "SAMPLE_BYTES", 1)
    _, twin = report(shared)
    assert twin["report"]["picture_px"] == pictures.QUALITIES[-1].side_px


# ---- the numbers -------------------------------------------------------------------------------


def test_the_twin_agrees_with_info_and_stats(shared: Path, report) -> None:
    _, twin = report(shared)
    assert twin["info"] == json.loads(json.dumps(describe(shared)))
    stats = json.loads(json.dumps(measure(shared)))
    for name in ("dataset", "split", "samples", "of_samples"):
        stats.pop(name)
    assert twin["stats"] == stats
    assert twin["report"]["measured_samples"] == twin["report"]["of_samples"] == 120
    assert sum(twin["histograms"]["coverage"]["counts"]) == 120


def test_a_sample_of_the_samples_is_said_to_be_one(shared: Path, report) -> None:
    page, twin = report(shared, "--stats-samples", 50)
    assert "Measured on 50 of 120 samples" in page
    assert twin["report"]["measured_samples"] == 50
    assert sum(twin["histograms"]["coverage"]["counts"]) == 50


def test_the_map_of_places_has_the_mean_of_the_coverage(shared: Path, report) -> None:
    _, twin = report(shared)
    dataset = Dataset(shared)
    covered = [(dataset.image(dataset.record(n), "mask") >= 128).mean() for n in range(120)]
    assert np.mean(twin["heat_map"]) == pytest.approx(np.mean(covered), abs=1e-4)


def test_the_gallery_has_a_few_samples_of_each_cell(tmp_path: Path) -> None:
    dataset = Dataset(tiny_dataset(tmp_path / "d", placements=20))
    chosen = choose_gallery(dataset, count=60, seed=0)
    assert chosen == sorted(set(chosen)) and len(chosen) == 60
    counts = np.bincount(dataset.cells[chosen], minlength=7)
    there = np.bincount(dataset.cells, minlength=7)
    assert (counts >= np.minimum(there, making.FEWEST_OF_CELL)).all()
    assert choose_gallery(dataset, count=10**6, seed=0) == list(range(len(dataset)))
    assert len(choose_gallery(dataset, count=3, seed=0)) == 3


def test_the_worst_labels_come_first(shared: Path, report) -> None:
    _, twin = report(shared)
    for entries in twin["worst_labels"].values():
        scores = [entry["score"] for entry in entries]
        assert scores == sorted(scores) and len(scores) <= making.WORST
    assert twin["worst_labels"]["boundary"]


# ---- pictures that look alike ------------------------------------------------------------------


def test_a_picture_that_is_planted_twice_is_found_across_splits(world: Path, report) -> None:
    backgrounds = list(Dataset(world).assets("backgrounds"))
    first = next(n for n, one in enumerate(backgrounds) if one.split == "train")
    second = next(n for n, one in enumerate(backgrounds) if one.split == "test")
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (64, 64))
    again = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1)
    replace_background(world, first, image=encode_asset(picture))
    replace_background(world, second, image=encode_asset(cv2.resize(again, (32, 32))))
    page, twin = report(world)
    found = twin["near_duplicates"]["backgrounds"]
    planted = [
        p for p in found["pairs"] if {p["first"]["id"], p["second"]["id"]} == {first, second}
    ]
    assert planted[0]["across_splits"] and not planted[0]["same_pixels"]
    assert found["across_splits"] >= 1 and "near-duplicates across splits" in page
    replace_background(world, second, image=encode_asset(picture))
    _, twin = report(world)
    assert twin["near_duplicates"]["backgrounds"]["pairs"][0]["same_pixels"]


def test_a_mirrored_picture_is_found(world: Path, report) -> None:
    rng = np.random.default_rng(1)
    picture = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (32, 32))
    replace_background(world, 0, image=encode_asset(picture))
    replace_background(world, 1, image=encode_asset(np.ascontiguousarray(picture[:, ::-1])))
    _, twin = report(world)
    pairs = twin["near_duplicates"]["backgrounds"]["pairs"]
    turned = [pair for pair in pairs if pair["mirrored"]]
    assert [(pair["first"]["id"], pair["second"]["id"]) for pair in turned] == [(0, 1)]


def test_composites_are_compared_where_there_are_no_backgrounds(tmp_path: Path, report) -> None:
    folder = tmp_path / "d"
    tiny_rgbd(folder, num_samples=6)
    sources = folder.with_name("d-pictures")
    shutil.rmtree(folder)
    for kind in ("color", "depth"):
        shutil.copy(sources / f"0000_{kind}.png", sources / f"0005_{kind}.png")
    assert dsetkit("import-rgbd", "--root", sources, "--output", folder) == 0
    _, twin = report(folder)
    pairs = twin["near_duplicates"]["composites"]["pairs"]
    assert (0, 5) in {(pair["first"]["index"], pair["second"]["index"]) for pair in pairs}


def test_different_pictures_do_not_look_alike() -> None:
    rng = np.random.default_rng(2)
    drawn = [cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (64, 64)) for _ in range(60)]
    assert len(pairs_alike([likeness(picture) for picture in drawn])) == 0


@pytest.mark.parametrize("change", ["smaller", "brighter", "encoded"])
def test_copies_look_alike(change: str) -> None:
    picture = cv2.GaussianBlur(draw_background(3, 96), (5, 5), 0)
    copy = {
        "smaller": cv2.resize(picture, (50, 50), interpolation=cv2.INTER_AREA),
        "brighter": np.clip(picture.astype(int) + 15, 0, 255).astype(np.uint8),
        "encoded": cv2.imdecode(cv2.imencode(".jpg", picture, [1, 50])[1], 1),
    }[change]
    assert len(pairs_alike([likeness(picture), likeness(copy)])) == 1


def test_assets_in_bad_health_are_named(world: Path, report) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for number, picture in enumerate((noise // 16, 255 - noise // 16, noise * 0 + 128, noise)):
        replace_background(world, number, image=encode_asset(picture))
    _, twin = report(world)
    found = {
        one["id"]: one["problems"]
        for one in twin["assets"]["with_problems"]
        if one["kind"] == "backgrounds"
    }
    assert found[0][0] == "dark" and found[1][0] == "bright" and found[2] == ["blurred"]
    assert 3 not in found
    assert set(twin["assets"]["problems"]) == set(asset_health.PROBLEMS)


def test_a_split_by_sample_is_told(world: Path, report) -> None:
    assert "not by asset" not in report(world)[0]
    split_by_sample(world, shares=[0.8, 0.1, 0.1], seed=0)
    assert "split by sample, not by asset" in report(world)[0]


# ---- every kind of dataset ---------------------------------------------------------------------

KINDS: dict[str, dict] = {
    "rendered": {},
    "recipe": {"layout": "recipe"},
    "relative": {"depth_kind": "relative"},
    "no depth": {"depth_kind": "none"},
    "recipe without depth": {"depth_kind": "none", "layout": "recipe"},
    "shards": {"shards": 3, "num_samples": 100},
    "one sample": {"num_samples": 1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dataset_has_a_report(kind: str, tmp_path: Path, report) -> None:
    options = {"num_samples": 40} | KINDS[kind]
    _, twin = report(tiny_dataset(tmp_path / "d", **options))
    assert ("depth" in twin["stats"]) == ("depth" in twin["info"]["fields"])
    assert len(twin["gallery"]) == options["num_samples"]


def test_a_dataset_of_depths_alone_has_a_report(tmp_path: Path, report) -> None:
    page, twin = report(tiny_rgbd(tmp_path / "d"))
    assert twin["heat_map"] is None and "mask" not in twin["stats"]
    assert "stores no assets of its own" in page


@every_way
def test_imported_images_have_a_report(system: str, options: dict, imported, report) -> None:
    _, twin = report(imported(system, options))
    assert twin["gallery"]


# ---- runs --------------------------------------------------------------------------------------


def test_runs_are_shown_side_by_side(shared: Path, tmp_path: Path, report) -> None:
    fingerprint = Dataset(shared).manifest.fingerprint
    one = draw_run(tmp_path / "one", fingerprint=fingerprint)
    other = draw_run(tmp_path / "other", rows=5, fingerprint="another")
    page, twin = report(shared, "--run", one, other)
    assert [run["name"] for run in twin["runs"]] == ["one", "other"]
    assert [run["same_dataset"] for run in twin["runs"]] == [True, False]
    assert [run["epochs"] for run in twin["runs"]] == [3, 5]
    assert twin["runs"][1]["last"]["train_loss"] == pytest.approx(0.2)
    assert twin["runs"][0]["curves"]["val_rmse_per_image"][0] == [1, 0.5]
    assert twin["runs"][0]["picture"] == "epoch-002.png"
    assert page.count("Prediction picture of") == 2


def test_a_chain_is_shown_as_its_runs(shared: Path, tmp_path: Path, report) -> None:
    for number in (10, 2, 1):
        draw_run(tmp_path / "chain" / f"set-{number}")
    (tmp_path / "chain" / "args.json").write_text("{}")
    (tmp_path / "chain" / "set-11").mkdir()  # not begun
    page, twin = report(shared, "--run", tmp_path / "chain")
    assert [run["name"] for run in twin["runs"]] == ["chain/set-1", "chain/set-2", "chain/set-10"]
    assert page.count("Prediction picture of") == 3


def damaged_picture(run: Path) -> None:
    (run / "epoch-002.png").write_bytes(b"\x89PNG no picture")


def no_arguments(run: Path) -> None:
    (run / "args.json").write_bytes(b"\xff{")


def ragged_log(run: Path) -> None:
    with (run / "log.csv").open("a") as file:
        file.write("4\n5,nan,inf,1e999,x,y,z\n,,,\n")


@pytest.mark.parametrize("damage", [damaged_picture, no_arguments, ragged_log])
def test_what_is_damaged_beside_the_log_is_left_out(
    damage: Callable[[Path], None], shared: Path, tmp_path: Path, report
) -> None:
    folder = draw_run(tmp_path / "run")
    damage(folder)
    _, twin = report(shared, "--run", folder)
    assert twin["runs"][0]["last"]["train_loss"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_damaged_files_of_a_run_are_left_out_or_a_run_error(
    memory_path: Path, fuzz_inputs: int
) -> None:
    folder = draw_run(memory_path / "run")
    whole = {name: (folder / name).read_bytes() for name in ("log.csv", "args.json")}
    whole["epoch-002.png"] = (folder / "epoch-002.png").read_bytes()
    rng = np.random.default_rng(0)
    for number in range(fuzz_inputs):
        name = list(whole)[number % 3]
        content = bytearray(whole[name])
        for place in rng.integers(0, len(content), rng.integers(1, 5)):
            content[place] = rng.integers(0, 256)
        (folder / name).write_bytes(content[: rng.integers(1, len(content) + 1)])
        try:
            facts = read_run(folder, fingerprint="").facts
            json.dumps(facts, allow_nan=False)
        except RunError as error:
            assert "log.csv" in str(error) and "\n" not in str(error)
        (folder / name).write_bytes(whole[name])


BAD_LOGS = {
    "none": None,
    "empty": b"",
    "not text": b"\xff\xfe\x00epoch",
    "no epoch": b"stage,loss\n1,2\n",
    "no rows": b"epoch,train_loss\n",
    "null bytes": b"epoch\n\x00\n",
}


@pytest.mark.parametrize("kind", BAD_LOGS)
def test_a_run_without_a_log_is_one_line_and_status_2(
    kind: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = draw_run(tmp_path / "run")
    (folder / "log.csv").unlink()
    if BAD_LOGS[kind] is not None:
        (folder / "log.csv").write_bytes(BAD_LOGS[kind])
    output = tmp_path / "page.html"
    assert dsetkit("report", shared, "--output", output, "--run", folder, "--jobs", 1) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "log.csv" in line and not output.exists()


# ---- errors ------------------------------------------------------------------------------------


def test_a_dataset_that_is_none_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    unfinished = tiny_dataset(tmp_path / "unfinished", num_samples=8, stop_after=3)
    for dataset, text in ((tmp_path / "none", "no dataset at"), (unfinished, "is not complete")):
        assert dsetkit("report", dataset, "--output", tmp_path / "page.html") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert text in line


def test_the_page_and_its_twin_are_two_files(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    page = tmp_path / "page"
    assert dsetkit("report", shared, "--output", page, "--json", tmp_path / "." / "page") == 2
    assert "expected two files" in capsys.readouterr().err and not page.exists()


def test_a_file_of_another_kind_is_never_replaced(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data, page = tmp_path / "shard-00000.lmdb", tmp_path / "page.html"
    data.write_bytes(b"a dataset")
    for words, suffix in (
        (["--output", data], ".html"),
        (["--output", page, "--json", data], ".json"),
    ):
        assert dsetkit("report", shared, *words) == 2
        assert f"expected a name that ends in {suffix}" in capsys.readouterr().err
    assert data.read_bytes() == b"a dataset" and not page.exists()


@pytest.mark.parametrize("samples", ["0", "1001", "-1", "many"])
def test_the_gallery_has_bounds(samples: str, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(shared), "--output", str(tmp_path / "p"), "--samples", samples])
    assert ended.value.code == 2


# ---- in a browser ------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Headless Chromium: $CHROMIUM, one on the path, or the one that playwright has fetched."""
    api = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")
    with api.sync_playwright() as playwright:
        places = [os.environ.get("CHROMIUM"), *map(shutil.which, BROWSERS)]
        places.append(playwright.chromium.executable_path)
        found = next((place for place in places if place and Path(place).exists()), None)
        if found is None:
            pytest.skip("needs Chromium: on the path, or in $CHROMIUM")
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_works_in_a_browser(
    width: int, scheme: str, shared: Path, tmp_path: Path, report, browser
) -> None:
    _, twin = report(shared, "--run", draw_run(tmp_path / "run"))
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda asked: told.append(asked.url) if is_outside(asked.url) else None)
    page.goto((tmp_path / "page.html").as_uri())

    # Every picture shows, and nothing is wider than the window.
    assert page.evaluate(
        "[...document.querySelectorAll('main img')].every(one => one.naturalWidth > 0)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tiles = page.locator("#tiles .tile")
    assert tiles.first.locator("img").bounding_box()["width"] > 60

    # Filters filter.
    rows = twin["gallery"]
    shown = page.locator("#tiles .tile:visible")
    page.select_option("#by-split", "test")
    assert shown.count() == sum(row["split"] == "test" for row in rows)
    page.select_option("#by-cell", "test: both unseen")
    assert shown.count() == sum(row["cell"] == "test: both unseen" for row in rows)
    page.select_option("#by-split", "")
    page.select_option("#by-cell", "")
    page.fill("#by-text", "ROOM-1")
    assert shown.count() == sum("room-1" in row["background"] for row in rows)
    assert page.inner_text("#count") == f"{shown.count()} of {len(rows)}"
    page.fill("#by-text", "no such name")
    assert shown.count() == 0 and page.is_visible("#none")
    page.fill("#by-text", "")
    page.select_option("#by-field", "depth")
    assert tiles.first.locator("img").get_attribute("alt").startswith("depth of sample")
    page.select_option("#by-field", "composite")

    # The mask lies over a tile that has the focus; arrow keys move among tiles.
    tiles.first.focus()
    assert "on" in tiles.first.locator(".overlay").get_attribute("class")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.index") == str(rows[1]["index"])

    # The closer look: the slider answers arrow keys, the buttons step, Escape closes.
    page.keyboard.press("Enter")
    assert page.is_visible("#viewer") and page.inner_text("#viewer-title").startswith("Sample")
    before = page.input_value("#slider")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#slider") != before
    assert page.evaluate(
        "[...document.querySelectorAll('#viewer img')].every(one => one.naturalWidth > 0)"
    )
    page.click("#next")
    assert page.inner_text("#viewer-title") == f"Sample {rows[2]['index']}"
    page.keyboard.press("Escape")
    assert not page.is_visible("#viewer")
    page.wait_for_function(f"document.activeElement.dataset.index === '{rows[2]['index']}'")
    assert told == []
    page.close()


def is_outside(address: str) -> bool:
    return not address.startswith(("file:", "data:"))
