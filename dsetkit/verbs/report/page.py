"""The page: facts and pictures through the template, with everything from outside escaped."""

import base64
import hashlib
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dsetkit.colours import colour_shares
from dsetkit.errors import printable
from dsetkit.store import SPLITS
from dsetkit.verbs import info
from dsetkit.verbs.field_stats import CHANNELS, COVERED_ALPHA
from dsetkit.verbs.report import charts
from dsetkit.verbs.report.asset_health import PROBLEMS
from dsetkit.verbs.report.pictures import SamplePictures, heat_map_picture
from dsetkit.verbs.show import DepthColours
from dsetkit.verbs.stats import KINDS

LONGEST = 600  # characters of a text from outside
LONGEST_NAME = 160  # of a name that stands at each sample
SKIPPED_SHOWN = 100
FIELD_NAMES = ("composite", "background", "mask", "depth", "instances")
RUN_FACTS = ("arch", "loss", "inputs", "img_sizes", "epochs", "batch_size", "lr", "seed")
MOST_CHARTS = 9
SCORE_NAMES = {"in_front": "nearer by", "boundary": "edges found"}
NOTHING = "\N{EN DASH}"


def render(
    facts: dict[str, Any],
    rows: dict[int, dict[str, Any]],
    samples: SamplePictures,
    assets: dict[tuple[str, int], str],
    runs: list[str],
) -> bytes:
    """The page as UTF-8.

    Args:
        facts: See `Report.facts`.
        rows: Of the table, by index, of the samples that are shown.
        samples: Pictures of samples.
        assets: (kind, id) -> data URI.
        runs: Data URI of each run's prediction picture, or an empty text.
    """
    environment = Environment(
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(count=_count, percent=_percent, number=_number, uri=Markup)
    folder = resources.files(__package__)
    template = environment.from_string((folder / "page.html").read_text("utf-8"))
    script = (folder / "page.js").read_text("utf-8")
    info_ = facts["info"]
    text = template.render(
        facts=facts,
        rows=rows,
        longest_name=LONGEST_NAME,
        name=printable(info_["dataset"]).rstrip("/").rpartition("/")[2] or "dataset",
        about=[(label, text) for label, text in info.as_rows(info_) if label != "skipped"],
        css=Markup((folder / "page.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=Markup(_hash(script)),
        cells=_cells(info_["splits"]["counts"]),
        splits=list(SPLITS),
        moments=_moments(facts["stats"]),
        kinds=KINDS,
        covered_alpha=COVERED_ALPHA,
        plots=_plots(facts),
        heat_map=_heat_map(facts["heat_map"]),
        aspect=_aspect(info_["size_px"]),
        fields=[one for one in FIELD_NAMES if one in info_["fields"]],
        pictures=samples,
        depth_range=_depth_range(samples.colours),
        viewer=_viewer(facts["worst_labels"], rows, samples),
        assets=assets,
        problems=PROBLEMS,
        skipped=facts["skipped"][:SKIPPED_SHOWN],
        run_pictures=runs,
        run_rows=_run_rows(facts["runs"]),
        run_scores=_run_scores(facts["runs"]),
        run_charts=_run_charts(facts["runs"]),
    )
    return text.encode()


def _hash(script: str) -> str:
    """What names the one script that the page lets the browser run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _shown(value: object) -> object:
    """Text as the page shows it: on one line, printable, and not too long. Escaping comes after."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    text = printable(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _count(value: int) -> str:
    return f"{value:,}"


def _percent(value: float | None, digits: int = 1) -> str:
    return NOTHING if value is None else f"{value:.{digits}%}"


def _number(value: float | None, digits: int = 4) -> str:
    return NOTHING if value is None else f"{value:.{digits}g}"


# ---- tables and plots --------------------------------------------------------------------------


def _cells(counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """One entry for each cell with samples: split, name, count, share of all."""
    total = max(1, sum(sum(cells.values()) for cells in counts.values()))
    return [
        {"split": split, "name": name, "count": count, "share": count / total}
        for split, cells in counts.items()
        for name, count in cells.items()
    ]


def _moments(stats: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of statistics."""
    rows = [(f"composite, {name}", stats["composite"][name]) for name in CHANNELS]
    if "mask" in stats and "pooled" in stats["mask"]:
        rows.append(("mask", stats["mask"]))
    if "depth" in stats:
        rows += [("depth, target in 0..1", stats["depth"]["share"])]
        rows += [("depth [m]", stats["depth"]["metres"])]
    return [{"name": name, **moments} for name, moments in rows if moments]


def _plots(facts: dict[str, Any]) -> list[dict[str, Any]]:
    plots = []
    histograms = facts["histograms"]
    if "coverage" in histograms:
        plots.append(
            {
                "title": "Mask coverage",
                "svg": charts.bars(
                    **histograms["coverage"],
                    title="Histogram of mask coverage",
                    unit="share of the picture",
                    percent=True,
                ),
            }
        )
        plots.append(
            {
                "title": "Object size",
                "svg": charts.bars(
                    **histograms["object_size"],
                    title="Histogram of object size",
                    unit="longer side of the object, of the picture's longer side",
                    percent=True,
                ),
            }
        )
    if "depth" in facts["stats"]:
        depth = facts["stats"]["depth"]["histogram"]
        unit = "depth [m]" if depth["unit"] == "m" else "inverse depth, of its range"
        plots.append(
            {
                "title": "Depth of the pixels",
                "svg": charts.bars(
                    depth["counts"], depth["edges"], title="Histogram of depth", unit=unit
                ),
            }
        )
    return plots


def _heat_map(rows: list[list[float]] | None) -> dict[str, Any] | None:
    if rows is None:
        return None
    places = np.array(rows)
    highest = max(float(places.max()), 1e-9)
    return {"uri": heat_map_picture(colour_shares(places / highest)), "highest": highest}


def _depth_range(colours: DepthColours | None) -> str:
    """What the ends of the colours of depth stand for."""
    if colours is None:
        return ""
    low, _, high = colours.ticks
    return f"{low} m to {high} m" if colours.metric else f"inverse depth {high} to {low}"


def _aspect(size: list[int]) -> str:
    return f"{size[1]} / {size[0]}" if size[0] else "1 / 1"


def _viewer(
    worst: dict[str, Any], rows: dict[int, dict[str, Any]], samples: SamplePictures
) -> dict[str, Any]:
    """What the script needs to show samples: texts are put into the page as text only."""
    scores: dict[int, dict[str, float]] = {}
    for kind, entries in worst.items():
        for entry in entries:
            scores.setdefault(entry["index"], {})[kind] = entry["score"]
    shown = {}
    for index, uris in samples.samples.items():
        row = rows[index]
        facts_of_row = [
            (label, printable(row[column])[:LONGEST_NAME])
            for label, column in (
                ("cell", "cell"),
                ("foreground", "foreground"),
                ("background", "background"),
                ("file", "name"),
                ("box", "box"),
            )
            if row[column] != ""
        ]
        for kind, score in scores.get(index, {}).items():
            facts_of_row.append((SCORE_NAMES[kind], f"{score:.3f}"))
        shown[str(index)] = {
            "pictures": {name: uri for name, uri in uris.items() if name != "composite"},
            "background": samples.background_of.get(index),
            "facts": facts_of_row,
        }
    return {"samples": shown, "backgrounds": samples.backgrounds}


# ---- runs --------------------------------------------------------------------------------------


def _run_rows(runs: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """What the runs were asked to do: label, and the text of each run."""
    rows = [("script", [run["script"] or NOTHING for run in runs])]
    rows.append(("epochs so far", [str(run["epochs"]) for run in runs]))
    for name in RUN_FACTS:
        values = [_setting(run["arguments"].get(name)) for run in runs]
        if any(value != NOTHING for value in values):
            rows.append((name.replace("_", " "), values))
    known = {True: "this one", False: "another one", None: "not told"}
    rows.append(("dataset", [known[run["same_dataset"]] for run in runs]))
    return rows


def _setting(value: object) -> str:
    if isinstance(value, list):
        return " ".join(
            "x".join(map(str, one)) if isinstance(one, list) else str(one) for one in value[:8]
        )[:60]
    return NOTHING if value is None else str(value)[:60]


def _scores_of(runs: list[dict[str, Any]]) -> list[str]:
    """The names of all scores, loss first, those over single images before pooled ones."""
    names = dict.fromkeys(name for run in runs for name in run["curves"])
    return sorted(names, key=lambda name: (name != "train_loss", name.endswith("_pooled")))


def _run_scores(runs: list[dict[str, Any]]) -> list[tuple[str, list[float | None]]]:
    return [(_told(name), [run["last"].get(name) for run in runs]) for name in _scores_of(runs)]


def _told(name: str) -> str:
    """The name of a column of log.csv, as in "rmse, per image" for `val_rmse_per_image`."""
    if name == "train_loss":
        return "training loss"
    name = name.removeprefix("val_")
    for ending in ("per_image", "pooled"):
        if name.endswith(f"_{ending}"):
            name = f"{name.removesuffix(f'_{ending}')}, {ending}"
    return name.replace("_", " ")


def _run_charts(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Charts of the loss and the scores; pooled scores only where there are no others."""
    names = _scores_of(runs)
    shown = [name for name in names if not name.endswith("_pooled")]
    shown = shown if len(shown) > 1 else names
    return [
        {
            "name": _told(name),
            "svg": charts.curves(
                {
                    f"{number + 1}. {run['name']}": run["curves"][name]
                    for number, run in enumerate(runs)
                    if name in run["curves"]
                },
                title=f"{_told(name)} over epochs",
            ),
        }
        for name in shown[:MOST_CHARTS]
    ]
