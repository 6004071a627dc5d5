"""The tables of the documents, each made from the JSON of benchmarks/results by one function.

A function takes the contents of its JSON files in the order of `Table.results` and returns
Markdown. It selects, names and rounds; it does not measure. `benchmarks/documents.py` puts the
tables into the documents.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.common import markdown_table
from benchmarks.stages import STAGES

Content = Mapping[str, Any]  # of a JSON file

SEEN_BOTH, UNSEEN_BACKGROUND = "test: seen background, seen foreground", "test: unseen background"
UNSEEN_FOREGROUND, UNSEEN_BOTH = "test: unseen foreground", "test: both unseen"
OWN_MEAN = "each image's own mean (an oracle: it has seen the target)"


@dataclass(frozen=True)
class Table:
    """A table of the documents.

    Attributes:
        make: See above.
        results: Names of the JSON files, without `.json`; none for what no JSON holds.
        has_source: Whether a line below it says where it is from. If not, the text around it has a
            link to the page where such a line stands.
    """

    make: Callable[..., str]
    results: tuple[str, ...]
    has_source: bool = True


# ---- how numbers are written -------------------------------------------------------------------


def bold(text: object) -> str:
    return f"**{text}**"


def ratio(value: float) -> str:
    """Two decimals; none from ten on."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def three_digits(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def both(scores: Content, score: str, form: str = ".3f") -> str:
    """A score as the mean over images, and in brackets that of all pixels pooled."""
    return f"{scores[f'{score}_per_image']:{form}} ({scores[f'{score}_pooled']:{form}})"


def mean(scores: Content, score: str, form: str = ".3f") -> str:
    return format(scores[f"{score}_per_image"], form)


def middle_and_reach(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and the largest distance from it: how seeds are told."""
    middle = statistics.mean(values)
    return middle, max(abs(value - middle) for value in values)


# ---- stages of reproduce -----------------------------------------------------------------------


def stages() -> str:
    headings = ["stage", "makes", "needs", "about [h]"]
    rows = [
        [f"`{stage.name}`", stage.makes, " ".join(stage.needs), f"{stage.hours:g}"]
        for stage in STAGES.values()
    ]
    total = sum(stage.hours for stage in STAGES.values())
    return markdown_table(headings, [*rows, ["in all", "", "", f"{total:.0f}"]], left=3)


# ---- trained networks --------------------------------------------------------------------------

MASK_SCORES = ("RMSE", "MAE", "IoU", "Dice", "boundary F (2 px)")


def mask_autoencoder(size: str) -> Callable[[Content], str]:
    """Makes the table of one size: the network, and the best threshold on the difference."""

    def make(content: Content) -> str:
        scores = content["parts"][size]["scores"]
        rows = [
            [
                label,
                both(scores[who], "rmse"),
                mean(scores[who], "mae"),
                both(scores[who], "iou"),
                mean(scores[who], "dice"),
                mean(scores[who], "boundary_f"),
            ]
            for label, who in (("composite + background", "model"), ("difference", "difference"))
        ]
        return markdown_table([f"at {size} px", *MASK_SCORES], rows)

    return make


def mask_autoencoder_cells(content: Content) -> str:
    cells = (SEEN_BOTH, UNSEEN_BACKGROUND, UNSEEN_FOREGROUND, UNSEEN_BOTH)
    rows = []
    for size in ("224", "128", "64"):
        of = content["parts"][size]["cells"]
        rows.append(
            [
                f"{size} px",
                *(
                    f"{mean(of[cell]['model'], 'iou')} ({mean(of[cell]['difference'], 'iou')})"
                    for cell in cells
                ),
            ]
        )
    return markdown_table(["", *(cell.removeprefix("test: ") for cell in cells)], rows)


def resnet50_upproj(content: Content) -> str:
    scores = content["parts"]["network"]["scores"]
    lines = {
        bold("network"): scores["model"],
        "after the second training": content["parts"]["second"]["scores"]["model"],
        "after the first": content["parts"]["first"]["scores"]["model"],
        "mean depth map of the training set": scores["mean map"],
        OWN_MEAN: scores["own mean"],
    }
    rows = [
        [
            label,
            both(of, "rmse"),
            both(of, "rmse_m"),
            mean(of, "abs_rel"),
            mean(of, "delta_1"),
            mean(of, "silog", ".1f"),
        ]
        for label, of in lines.items()
    ]
    headings = ["", "RMSE [0..1]", "RMSE [m]", "AbsRel", "δ1", "SILog"]
    return markdown_table(headings, rows)


def resnet50_upproj_cells(content: Content) -> str:
    cells = content["parts"]["network"]["cells"]

    def text(cell: str) -> str:
        network, map_, own = (
            mean(cells[cell][who], "rmse_m") for who in ("model", "mean map", "own mean")
        )
        return f"{network} ({map_}; {own})"

    rows = [
        ["seen background", text(SEEN_BOTH), text(UNSEEN_FOREGROUND)],
        ["unseen background", text(UNSEEN_BACKGROUND), text(UNSEEN_BOTH)],
    ]
    return markdown_table(["", "seen foreground", "unseen foreground"], rows)


# As `training/scoring/stress.py` names them.
STRESSES = (
    "exact", "shifted 1 px", "shifted 2 px", "8 % brighter", "noise 5/255", "JPEG 60", "wrong",
)  # fmt: skip


def small_pair_mask(content: Content) -> str:
    rows = [
        *_stressed(content, {"`mask_lite`": "model"}, "iou"),
        *_stressed(content, {"best threshold on the difference": "difference"}, "iou"),
        *_stressed(content, {"`mask_lite`, boundary F (2 px)": "model"}, "boundary_f"),
        *_stressed(content, {"threshold, boundary F": "difference"}, "boundary_f"),
    ]
    return markdown_table(["mask: IoU with a background that is", *STRESSES], rows)


def _stressed(content: Content, labels: Mapping[str, str], score: str) -> list[list[str]]:
    stress = content["parts"]["mask"]["stress"]
    return [
        [label, *(mean(stress[name][who], score) for name in STRESSES)]
        for label, who in labels.items()
    ]


def small_pair_depth(content: Content) -> str:
    return _small_pair_depth(
        content,
        {
            "`depth_lite`": "model",
            "each picture's own mean (an oracle)": "own mean",
            "mean depth map of the train split": "mean map",
        },
        "depth: RMSE on the test split [m]",
    )


def small_pair_short(content: Content) -> str:
    """Two tables: the networks and their baselines."""
    labels = {
        "`mask_lite`": "model",
        "baseline: best threshold on the difference": "difference",
    }
    headings = ["mask: IoU with a background that is", *STRESSES]
    mask = markdown_table(headings, _stressed(content, labels, "iou"))
    depth = _small_pair_depth(
        content,
        {
            "`depth_lite`": "model",
            "baseline: each picture's own mean (it has seen the target)": "own mean",
            "baseline: mean depth map of the train split": "mean map",
        },
        "depth: RMSE [m]",
    )
    return f"{mask}\n\n{depth}"


def _small_pair_depth(content: Content, labels: Mapping[str, str], heading: str) -> str:
    depth = content["parts"]["depth"]
    rows = [
        [
            label,
            mean(depth["scores"][who], "rmse_m"),
            mean(depth["cells"][UNSEEN_BOTH][who], "rmse_m"),
        ]
        for label, who in labels.items()
    ]
    return markdown_table([heading, "all", "unseen backgrounds and cut-outs"], rows)


def small_pair_cells(content: Content) -> str:
    mask, depth = (content["parts"][task]["cells"] for task in ("mask", "depth"))
    rows = [
        [
            cell.removeprefix("test: "),
            mean(mask[cell]["model"], "iou"),
            mean(mask[cell]["difference"], "iou"),
            mean(depth[cell]["model"], "rmse_m"),
            mean(depth[cell]["own mean"], "rmse_m"),
        ]
        for cell in (SEEN_BOTH, UNSEEN_FOREGROUND, UNSEEN_BACKGROUND, UNSEEN_BOTH)
    ]
    return markdown_table(["cell", "mask IoU", "difference", "depth RMSE [m]", "own mean"], rows)


def bundled_mask(content: Content) -> str:
    stress = content["parts"]["mask"]["stress"]
    columns = [(who, score) for score in ("iou", "boundary_f") for who in ("model", "difference")]
    rows = [
        [name, *(mean(stress[name][who], score) for who, score in columns)] for name in STRESSES
    ]
    headings = ["background", "IoU", "best threshold on the difference", "boundary F (2 px)"]
    return markdown_table([*headings, "threshold, boundary F"], rows)


TEACHER_SCORES = (
    ("δ1", "delta_1", ".3f"),
    ("δ2", "delta_2", ".3f"),
    ("δ3", "delta_3", ".3f"),
    ("RMSE [m]", "rmse_m", ".3f"),
    ("AbsRel", "abs_rel", ".3f"),
    ("log10", "log10", ".3f"),
    ("SILog", "silog", ".1f"),
)


def bundled_teacher(content: Content) -> str:
    scores = content["parts"]["nyu"]["scores"]
    lines = (
        ("bundled, mean over images", "model", "per_image"),
        ("bundled, all pixels pooled", "model", "pooled"),
        ("mean depth map of the training frames", "mean map", "per_image"),
        ("each image's own mean (an oracle)", "own mean", "per_image"),
    )
    rows = [
        [label, *(format(scores[who][f"{key}_{how}"], form) for _, key, form in TEACHER_SCORES)]
        for label, who, how in lines
    ]
    return markdown_table(["", *(heading for heading, *_ in TEACHER_SCORES)], rows)


def bundled_teacher_protocols(content: Content) -> str:
    parts = {
        "full, none": "full",
        "eigen, none": "eigen",
        "nyu, median": "nyu-median",
        "nyu, scale-shift": "nyu-scale-shift",
    }
    rows = []
    for label, part in parts.items():
        scores = content["parts"][part]["scores"]["model"]
        rows.append(
            [
                label,
                *(
                    both(scores, key, form) if key == "rmse_m" else mean(scores, key, form)
                    for _, key, form in TEACHER_SCORES
                ),
            ]
        )
    headings = ["`--protocol`, `--align`", *(heading for heading, *_ in TEACHER_SCORES)]
    return markdown_table(headings, rows)


CAMERAS = {
    "nyu": "NYU Depth V2 (Kinect), toolbox crop",
    "7scenes_redkitchen": "7-Scenes, red kitchen (Kinect)",
    "hololens_office": "HoloLens, an office",
    "replica_office0": "Replica, a scanned office, rendered",
    "uoc_tabletop": "table tops, seen from near",
}


def teacher_card(content: Content) -> str:
    rows = []
    for name, camera in content["cameras"].items():
        medians = (f"{camera[key]:.2f}" for key in ("median_m", "answered_m"))
        first = [CAMERAS.get(name, name), str(camera["frames"]), *medians]
        for way, label in (("once", "no"), ("flip", "yes")):
            metres, shape = camera[way]["metres"], camera[way]["shape"]
            scores = (metres["delta_1"], metres["rmse_m"], shape["delta_1"])
            row = [label, f"{camera[way]['cpu_ms']:.1f}", *map(_interval, scores)]
            rows.append([*(first if way == "once" else [""] * len(first)), *row])
    headings = ["camera", "frames", "median depth [m]", "answered [m]", "flip", "CPU [ms/frame]"]
    return markdown_table([*headings, "δ1", "RMSE [m]", "δ1, scale fitted"], rows)


def _interval(value: Sequence[float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*value)


# ---- comparisons that train --------------------------------------------------------------------


SYSTEM_BASELINES = {  # name and score in the evaluations -> what they are called
    "difference: iou": "best threshold on the difference",
    "mean map: rmse_m": "mean depth map of the train split",
    "own mean: rmse_m": "each image's own mean depth (an oracle)",
}
CELLS = {
    SEEN_BOTH: "seen",
    UNSEEN_FOREGROUND: "unseen foreground",
    UNSEEN_BACKGROUND: "unseen background",
    UNSEEN_BOTH: "both unseen",
}


def by_system(content: Content) -> dict[tuple[str, str], list[Content]]:
    """(form, system) -> its rows, one for each seed."""
    found: dict[tuple[str, str], list[Content]] = {}
    for row in content["rows"]:
        found.setdefault((row["form"], row["system"]), []).append(row)
    return found


def over_seeds(rows: Sequence[Content], cell: str, score: str) -> str:
    """Mean over the seeds, the largest distance from it, and the mean 95 % interval by images."""
    values, lows, highs = zip(*(row["cells"][cell][score] for row in rows), strict=True)
    middle, reach = middle_and_reach(values)
    spread = f" ± {reach:.3f}" if len(values) > 1 else ""
    return f"{middle:.3f}{spread} ({statistics.mean(lows):.3f} to {statistics.mean(highs):.3f})"


def compare_systems(content: Content) -> str:
    """Samples whose background and foreground are both unseen; the baselines first."""
    headings = ["system", "form", "parameters", "pictures in", "loss", "seeds", "mask IoU"]
    headings += ["depth RMSE [m]", "depth δ1", "s / 1,000"]
    rows = []
    for label, name in SYSTEM_BASELINES.items():
        shown = _interval(content["rows"][0]["cells"][UNSEEN_BOTH][label])
        is_mask = label.endswith("iou")
        rows.append([name, "", "", "", "", "", *(["", shown][:: -1 if is_mask else 1]), "", ""])
    for (form, system), seeds in by_system(content).items():
        first = seeds[0]
        scores = [
            over_seeds(seeds, UNSEEN_BOTH, f"model: {score}")
            for score in ("iou", "rmse_m", "delta_1")
        ]
        rows.append(
            [system, form, f"{first['parameters']:,}", first["inputs"] // 3, first["loss"]]
            + [len(seeds), *scores, f"{content['seconds'][system]:.0f}"]
        )
    return markdown_table(headings, rows, left=2)


def compare_systems_cells(content: Content) -> str:
    """Means over the seeds in each cell of the test split: mask IoU; depth RMSE [m]."""

    def line(rows: Sequence[Content], *scores: str) -> list[str]:
        return [
            "; ".join(
                f"{statistics.mean(row['cells'][cell][score][0] for row in rows):.3f}"
                for score in scores
            )
            for cell in CELLS
        ]

    baselines = line(content["rows"][:1], "difference: iou", "own mean: rmse_m")
    rows = [["threshold; own mean", "", *baselines]]
    rows += [
        [system, form, *line(seeds, "model: iou", "model: rmse_m")]
        for (form, system), seeds in by_system(content).items()
    ]
    return markdown_table(["system", "form", *CELLS.values()], rows, left=2)


def ablations(content: Content) -> str:
    """Scores of each change, and the distance to the mean of the base in its spreads over seeds."""
    bases = [row for row in content["rows"] if not row["question"]]
    rows = []
    means, spreads = {}, {}
    for score in ("iou", "rmse_m", "iou_shifted"):
        means[score], spreads[score] = middle_and_reach([row[score][0] for row in bases])
    shown = [f"{means[score]:.3f} ± {spreads[score]:.3f}" for score in means]
    rows.append(["", f"base, {len(bases)} seeds", *shown])
    for row in content["rows"]:
        if row["question"]:
            cells = [
                f"{row[score][0]:.3f} ({row[score][0] - means[score]:+.3f})" if score in row else ""
                for score in means
            ]
            rows.append([row["question"], row["change"], *cells])
    headings = ["question", "change", "mask IoU", "depth RMSE [m]", "mask IoU, shifted 1 px"]
    return markdown_table(headings, rows, left=2)


def chain_or_all(content: Content) -> str:
    labels = {
        "chain, rate begun anew": "chained, learning rate restarted in each set",
        "chain, rate carried on": "chained, learning rate continued",
        "all at once": "all at once",
    }
    rows = [
        [label, f"{scores['mask_iou']:.3f}", f"{scores['depth_rmse_m']:.3f}"]
        for name, label in labels.items()
        for scores in (content["scores"][name],)
    ]
    return markdown_table(["", "mask IoU", "depth RMSE [m]"], rows)


LABEL_KINDS = {
    "weighted": "`weighted`: `scene`, the object counts twice in the loss",
    "shape": "`shape`: `scene`, the object in the teacher's own shape, scaled to its plane",
    "sized": "`sized`: `scene`, the plane as near as the object is large",
    "measured": "`measured`: `sized`, before real depth of 795 other NYU frames",
}
LABEL_SCORES = {  # heading -> (key, whether the lowest is best; None: no best)
    "RMSE, frames as they are [m]": ("rmse plain", min),
    "pasted: whole picture": ("rmse whole", min),
    "within 20 px": ("rmse ring", min),
    "inside": ("rmse inside", min),
    "elsewhere": ("rmse elsewhere", min),
    "AbsRel, as they are": ("abs_rel plain", min),
    "AbsRel inside": ("abs_rel inside", min),
    "contrast": ("contrast", max),
}


def compare_labels(content: Content) -> str:
    kinds = list(content["kinds"])
    found = {
        kind: [score for name, score in content["scores"].items() if name.split(":")[0] == kind]
        for kind in kinds
    }
    columns: list[list[str]] = []
    for key, best in LABEL_SCORES.values():
        middles = [middle_and_reach([one[key] for one in found[kind]]) for kind in kinds]
        best_middle = best(middle for middle, _ in middles)
        column = []
        for middle, reach in middles:
            text = f"{middle:.3f}"
            column.append(f"{bold(text) if middle == best_middle else text} ± {reach:.3f}")
        columns.append(column)
    names = [LABEL_KINDS.get(kind, f"`{kind}`") for kind in kinds]
    return markdown_table(["labels", *LABEL_SCORES], zip(names, *columns, strict=True))


LEVERS = {
    "twice as long": "twice as long (12 epochs)",
    "augment flip": "augmentation flip alone",
    "augment flip+colour": "augmentation flip + colour",
    "augment none": "no augmentation",
    "encoder lite2": "encoder Lite2",
    "loss silog": "loss SILog alone",
    "augment flip+scale": "augmentation flip + scale",
    "pasted cut-outs": "each frame also with a cut-out pasted in front",
    "encoder lite1": "encoder Lite1",
    "loss with multi-scale gradients": "loss with multi-scale gradients added",
    "head linear": "head gives depth in place of its logarithm",
    "base": "base: Lite0, SILog + log L1, flip + scale + colour, EMA 0.99",
    "loss l1": "loss L1",
    "augment full+cutdepth": "augmentation with CutDepth added",
    "head inverse": "head gives inverse depth",
    "drawn rooms": "with 600 drawn rooms, whose depth is exact",
    "loss berhu": "loss berHu",
    "pairs of other cameras": "with 245 pairs of other cameras",
    "self-training": "with 600 composites of photographs, labelled by base",
}


def teacher_levers(content: Content) -> str:
    best_first = sorted(content["scores"].items(), key=lambda item: -item[1]["delta_1"])
    rows = [
        [LEVERS.get(name, name), f"{scores['delta_1']:.3f}", f"{scores['rmse_m']:.3f}"]
        for name, scores in best_first
    ]
    return markdown_table(["setting", "δ1", "RMSE [m]"], rows)


# ---- speed -------------------------------------------------------------------------------------


def networks(content: Content) -> str:
    return markdown_table(content["headings"], content["rows"], left=2)


READERS = {  # name in the JSON -> label, ours bold
    "cache": bold("cache"),
    "recipe": bold("recipe"),
    "rendered, zstd and pco": bold("rendered, zstd and Pco"),
    "rendered, half, zstd and pco": bold("rendered, also at half size, zstd and Pco"),
    "rendered, with background": bold("rendered, with background"),
    "rendered": bold("rendered"),
}


def bench_read(one: Content, workers: Content) -> str:
    """Rows by the rate of one process at 64 px; ratios are to the fastest peer of each column."""
    columns = (
        ("64 px, one process", one, "64 px, 1 thread"),
        ("224 px, one process", one, "224 px, 1 thread"),
        ("64 px, 2 workers", workers, "64 px, 2 workers"),
        ("224 px, 2 workers", workers, "224 px, 2 workers"),
    )
    first = {
        name.split(": ", 1)[1]: rates[0]
        for name, rates in one["samples_per_s"].items()
        if name.startswith("64 px, 1 thread: ")
    }
    rows = []
    for reader in sorted(first, key=lambda name: -first[name]):
        cells = []
        for _, content, how in columns:
            rate = _rate(content, how, reader)
            share = float(content["÷ fastest peer"].get(f"{how}: {reader}", 0))
            cells.append(f"{rate:,.0f} ({ratio(share)})" if rate else "failed")
        notes, store = one["notes"], _store(one, reader)
        version = notes.get(f"version, {store}", "")
        label = READERS.get(reader, reader.replace(store, f"{store} {version}".strip()))
        if reader == "cache":
            small, large = (notes[f"bytes a sample, cache, {px} px"] for px in (64, 224))
            stored = f"{small}; {large} at 224 px"
        else:
            stored = notes[f"bytes a sample, {store}"]
        rows.append([label, *cells, stored])
    fastest = {
        max(
            (name for name in first if name not in READERS),
            key=lambda name: _rate(content, how, name),
        )
        for _, content, how in columns
    }
    peer = fastest.pop() if len(fastest) == 1 else "the fastest peer"
    headings = [f"samples/s (÷ {peer})", *(heading for heading, *_ in columns), "bytes a sample"]
    return markdown_table(headings, rows)


def bench_read_facts(content: Content) -> str:
    """What each store gives besides speed, as trials found it out."""
    columns = ("exact pixels", "flipped bytes noticed", "resumes in an epoch")
    rows: dict[str, list[str]] = {}
    for case in content["samples_per_s"]:
        reader = case.split(": ", 1)[1]
        store = _store(content, reader)
        # Both decoders read the same store; the first is the one that its users take.
        facts = (content[one][case].split(": ")[0] for one in columns)  # without the error
        rows.setdefault(store, [READERS.get(store, store), *facts])
    return markdown_table(["", *columns], rows.values())


def _store(content: Content, reader: str) -> str:
    """The store of a reader, as the notes name it: without the decoder or the fields."""
    names = (reader, reader.rsplit(", ", 1)[0])
    return next((name for name in names if f"bytes a sample, {name}" in content["notes"]), reader)


def bench_read_ffcv(content: Content) -> str:
    """Ours with one thread and two, and FFCV's own threads, as many."""
    rows = []
    for reader, label in {**READERS, "FFCV": "FFCV"}.items():
        ways = ("1 thread", "2 workers" if reader == "FFCV" else "2 threads")
        names = [f"{size} px, {way}: {reader}" for size in (64, 224) for way in ways]
        if names[0] in content["samples_per_s"]:
            rates = [content["samples_per_s"][name][0] for name in names]
            shares = [ratio(float(content["÷ fastest peer"][name])) for name in names]
            cells = (f"{rate:,.0f} ({share})" for rate, share in zip(rates, shares, strict=True))
            rows.append([label, *cells, content["notes"].get(f"bytes a sample, {reader}", "")])
    columns = [f"{size} px, {cores}" for size in (64, 224) for cores in ("1 core", "2 cores")]
    return markdown_table(["samples/s (÷ FFCV)", *columns, "bytes a sample"], rows)


def bench_read_starts(content: Content) -> str:
    """Samples/s of the peers with two workers: forked, and spawned."""
    rates = content["samples_per_s"]
    first, others = "64 px, 2 workers: ", "64 px, 2 workers, spawned: "
    readers = [name.removeprefix(others) for name in rates if name.startswith(others)]
    rows = []
    for reader in sorted(readers, key=lambda name: -rates[first + name][0]):
        forked, spawned = rates[first + reader][0], rates[others + reader][0]
        rows.append([reader, f"{forked:,.0f}", f"{spawned:,.0f}", ratio(spawned / forked)])
    return markdown_table(["64 px, 2 workers, samples/s", "forked", "spawned", "ratio"], rows)


def bench_decoders(content: Content) -> str:
    """µs of one thread for the three pictures of a sample, slowest first."""
    rates = content["samples_per_s"]
    sizes = list(dict.fromkeys(case.split(": ", 1)[0] for case in rates))
    names = list(dict.fromkeys(case.split(": ", 1)[1] for case in rates))
    rows = []
    for name in sorted(names, key=lambda name: rates[f"{sizes[0]}: {name}"][0]):
        version = content["notes"].get(f"version, {name}", "")
        cells = (f"{1e6 / rates[f'{size}: {name}'][0]:,.0f}" for size in sizes)
        rows.append([f"{name} {version}".strip(), *cells])
    return markdown_table(["µs a sample", *sizes], rows)


def _rate(content: Content, how: str, reader: str) -> float:
    """Samples per second; 0 if the reader failed."""
    return content["samples_per_s"].get(f"{how}: {reader}", [0.0])[0]


def bench_generate_parts(content: Content) -> str:
    labels = {
        "composite": "composite",
        "encode composite": "encode composite (JPEG)",
        "encode mask": "encode mask (PNG)",
        "encode depth": "encode depth (PNG, a smooth one)",
        "write": "write",
        "no teacher, this process": "all but write and depth: rendered",
        "no teacher, this process, recipe": "the same: recipe",
        "teacher alone": "bundled teacher, both cores",
    }
    rows = [
        [label, f"{rate:,.0f}", f"{1e6 / rate:,.0f}"]
        for name, label in labels.items()
        for rate in (content["samples_per_s"][name][0],)
    ]
    return markdown_table(["stage, one core", "samples/s", "µs a sample"], rows)


def bench_generate_runs(content: Content) -> str:
    rates = content["samples_per_s"]
    ours = [name for name in rates if name.startswith("generate, no teacher, ")]
    order = [name for layout in ("recipe", "rendered") for name in ours if layout in name]
    theirs, labelled = "the seeds' way: Pillow, JPEG files, zip", "generate, teacher, 2 workers"
    labels = {name: name.removeprefix("generate, ") for name in order} | {
        theirs: "the way of the reference systems: Pillow, a JPEG file each, one zip; no depth",
        labelled: "with the bundled teacher, 2 workers",
    }
    rows = []
    for name, label in labels.items():
        share = rates[name][0] / rates[theirs][0]
        shown = f"{share:.0f}" if share >= 10 else f"{share:.1f}"
        # Theirs makes no depth, so a run with a teacher is not compared with it.
        rows.append([label, f"{rates[name][0]:,.0f}", "" if name == labelled else shown])
    headings = ["whole runs", "samples/s", "ratio to the reference systems' way"]
    return markdown_table(headings, rows)


def bench_scale(content: Content) -> str:
    columns = {
        "layout": ("layout", ""),
        "samples": ("samples", ",d"),
        "seconds": ("seconds", ",.1f"),
        "MB": ("megabytes", ",.0f"),
        "bytes a sample": ("bytes_per_sample", ",.0f"),
        "peak MB, writer": ("peak_mb", ",.0f"),
        "a worker": ("worker_peak_mb", ",.0f"),
        "open [ms]": ("open_ms", ".1f"),
        "`info` [ms]": ("info_ms", ".0f"),
    }
    rows = [
        [format(row[key], form) for key, form in columns.values()]
        for layout in ("rendered", "recipe")
        for row in content["rows"]
        if row["layout"] == layout
    ]
    return markdown_table(list(columns), rows)


def bench_shards_short(content: Content) -> str:
    labels = {
        "1 shard, no worker": "1 shard, no worker (one core)",
        "2 shards, 2 workers": bold("2 shards, 2 workers"),
        "2 shards, 2 commands": "2 shards by 2 commands (`--shard-index`)",
    }
    made = content["making, rendered"]
    worker, core = made["1 shard, 1 worker"], made["1 shard, no worker"]
    rows = []
    for name, one in made.items():
        rate = one["then_samples_per_s"][0]
        whole = f"{worker['whole_s'] / one['whole_s']:.2f}"
        rows.append(
            [
                labels.get(name, name),
                f"{one['whole_s']:.1f}",
                bold(whole) if name == "2 shards, 2 workers" else whole,
                f"{one['start_s']:.1f}",
                f"{rate:,.0f}",
                f"{rate / worker['then_samples_per_s'][0]:.2f}",
                f"{rate / core['then_samples_per_s'][0]:.2f}",
            ]
        )
    headings = ["", "whole command [s]", "÷ one worker", "start [s]", "then samples/s"]
    return markdown_table([*headings, "÷ one worker", "÷ one core"], rows)


def bench_shards(layout: str) -> Callable[[Content], str]:
    """Makes the table of one layout, as the benchmark prints it."""

    def make(content: Content) -> str:
        made = content[f"making, {layout}"]
        core = made["1 shard, no worker"]
        rows = []
        for name, one in made.items():
            rate, low, high = one["then_samples_per_s"]
            rows.append(
                [
                    name,
                    f"{one['whole_s']:.1f}",
                    f"{one['whole_samples_per_s'][0]:,.0f}",
                    f"{core['whole_s'] / one['whole_s']:.2f}",
                    f"{one['start_s']:.1f}",
                    f"{rate:,.0f}",
                    f"{low:,.0f}..{high:,.0f}",
                    f"{rate / core['then_samples_per_s'][0]:.2f}",
                    "" if one["cpu_s"] is None else f"{one['cpu_s']:.1f}",
                    "yes" if one["bytes_equal"] else "NO",
                ]
            )
        headings = [f"{layout}, {core['samples']:,} samples", "whole [s]", "samples/s"]
        headings += ["÷ one core", "start [s]", "then samples/s", "lowest..highest"]
        return markdown_table([*headings, "÷ one core", "CPU [s]", "bytes equal"], rows)

    return make


def bench_shards_reading(content: Content) -> str:
    columns = {
        "shards": ("shards", ",d"),
        "make [s]": ("make_s", ".1f"),
        "open [ms]": ("open_ms", ".1f"),
        "a new shard's first sample [ms]": ("first_ms", ".2f"),
        "its next [ms]": ("next_ms", ".3f"),
        "handles a shard": ("handles", ".1f"),
        "memory a shard [kB]": ("memory_kb", ".0f"),
        "address space a shard [kB]": ("address_kb", ".0f"),
        "handles, all read": ("handles_of_all", ".0f"),
        "random reads/s": ("random_per_s", ",.0f"),
        "in blocks/s": ("in_blocks_per_s", ",.0f"),
        "list [ms]": ("list_ms", ".1f"),
    }
    rows = [
        [format(row[key], form) if key in row else "" for key, form in columns.values()]
        for row in content["reading"]
    ]
    return markdown_table(list(columns), rows)


def bench_shards_bytes(content: Content) -> str:
    found = content["bytes"]
    size = found["gigabytes"]
    rows = [["hash for the shard list", f"{found['list_ms'] / 1e3 / size:.2f}", ""]]
    if "fetch_s" in found:
        per_gb = [f"{found[name] / size:.2f}" for name in ("fetch_s", "fetch_cpu_s")]
        rows.append(["into the cache, from a folder in place of a network", *per_gb])
    return markdown_table(["what", "s/GB", "CPU s/GB"], rows)


def bench_train(small: Content, large: Content) -> str:
    labels = {
        "defaults": bold("as our scripts run it"),
        "loader": "the same, fed by the loader",
        "eager": "plain PyTorch",
    }
    found = {
        (row["model"], row["variant"]): (row, other)
        for row, other in zip(small["rows"], large["rows"], strict=True)
    }
    rows = []
    for model in dict.fromkeys(model for model, _ in found):
        variants = [variant for own, variant in found if own == model]
        ours = [variant for variant in labels if variant in variants]
        for variant in (*ours, *(one for one in variants if one not in labels)):
            cells = []
            for row in found[model, variant]:
                rate = row["samples_per_s"][0]
                per_s = f"{rate * row['gflop_per_sample']:.0f}"
                cells += [f"{rate:.3g}", f"{row['ratio_to_defaults']:.2f}", per_s]
            rows.append([f"`{model}`", labels.get(variant, variant), *cells])
    headings = ["network", ""]
    for settings in (small["settings"], large["settings"]):
        headings += [f"{settings['sizes'][0]} px", "÷ ours", "GFLOP/s"]
    return markdown_table(headings, rows, left=2)


def bench_train_formats(content: Content) -> str:
    """Each network by the variants of its step: samples/s, and their ratio to the first."""
    by_model: dict[str, list[Content]] = {}
    for row in content["rows"]:
        by_model.setdefault(row["model"], []).append(row)
    labels = {
        "defaults": "channels-last, the default",
        "contiguous": "contiguous",
        "compiled": "channels-last, `--compile`",
    }
    headings = ["samples/s (÷ default)", *(labels[one] for one in content["settings"]["variants"])]
    rows = []
    for model, found in by_model.items():
        cells = (
            f"{three_digits(row['samples_per_s'][0])} ({ratio(row['ratio_to_defaults'])})"
            for row in found
        )
        starts = [f"{row['first_step_s']:.0f}" for row in found if row["variant"] == "compiled"]
        rows.append([f"`{model}`", *cells, *starts])
    if "compiled" in content["settings"]["variants"]:
        headings.append("first compiled step [s]")
    return markdown_table(headings, rows)


def headline(content: Content) -> str:
    """The last column is in proportion to samples, and for trainings to ten epochs of a stage."""
    seconds, notes = content["seconds"], content["notes"]
    share, epochs = notes["share"], notes["epochs"]
    parts = {
        "generate": ["generate"],
        "caches of 32 and 64 px": ["cache 32 px", "cache 64 px"],
        "train depth, an epoch each at 32 and 64 px": ["train depth"],
        "evaluate depth": ["evaluate depth"],
        "train mask, an epoch each at 32 and 64 px": ["train mask"],
        "evaluate mask": ["evaluate mask"],
    }
    rows, total = [], 0.0
    for label, names in parts.items():
        taken = sum(seconds[name] for name in names)
        full = taken * share * (10 / epochs if label.startswith("train") else 1)
        total += full
        rows.append([label, f"{taken:,.0f}", _duration(full)])
    whole = f"{_duration(total)} of one core"
    rows.append(["in all", f"{sum(seconds.values()):,.0f}", whole])
    headings = ["stage", f"{notes['samples']:,} samples, measured [s]"]
    full_set = f"{424_320:,} samples, 10 + 10 epochs, **extrapolated**"
    return markdown_table([*headings, full_set], rows)


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds / 60:.0f} min"
    return f"{hours:.0f} h" if hours >= 10 else f"{hours:.1f} h"


def scene(content: Content) -> str:
    rates = content["samples_per_s"]
    labels = {
        "generate, recipe layout, samples/s": "generate recipe, {}",
        "generate, rendered layout, depth as `png16`": "generate rendered, {}",
        "read recipes at 64 px": "read recipe, {}, 64 px",
        "read recipes at 224 px": "read recipe, {}, 224 px",
        "read the rendered layout at 224 px": "read rendered, {}, 224 px",
    }
    rows = []
    for label, name in labels.items():
        without, with_depth = (rates[name.format(kind)][0] for kind in ("no depth", "scene depth"))
        rows.append([label, f"{without:,.0f}", f"{with_depth:,.0f}", f"{with_depth / without:.2f}"])
    return markdown_table(["", "no depth", "scene depth", "ratio"], rows)


# ---- labels and reliability --------------------------------------------------------------------


def object_alpha(content: Content) -> str:
    sizes = list(content["scores"])
    names = {
        "recall, edge at 26": "recall, edge at 26",
        "recall, edge at 128": "recall, edge at 128",
        "area of the object beyond its alpha": "area beyond alpha",
    }
    rows = []
    for drawn in content["scores"][sizes[0]]:
        cells = []
        for name in names.values():
            shares = (content["scores"][size][drawn][name] for size in sizes)
            cells.append(" / ".join(f"{100 * share:.1f}" for share in shares) + " %")
        rows.append([bold(drawn) if drawn == "26" else drawn, *cells])
    return markdown_table(["drawn from alpha", *names], rows)


def flip_bits(content: Content) -> str:
    outcomes = ("detected", "harmless", "wrong", "died")
    rows = [
        [kind, *(counts[outcome] for outcome in outcomes)]
        for kind, counts in content["outcomes"].items()
    ]
    return markdown_table(["bit in", *outcomes], rows)


def kill_runs(content: Content) -> str:
    columns = {  # key -> heading
        "kills": "SIGKILL",
        "stops": "other stops",
        "before_the_end": "stopped before the end",
        **{name: name for name in ("lost", "left", "unequal", "loud")},
    }
    rows = [[f"`{row['what']}`", *(row[key] for key in columns)] for row in content["rows"]]
    return markdown_table(["what", *columns.values()], rows)


# ---- simulated ---------------------------------------------------------------------------------


def simulated_shards(work: str) -> Callable[[Content], str]:
    """Makes the table of drawing or of labelling."""

    def make(content: Content) -> str:
        workers = content["settings"]["cores" if work == "drawing" else "gpus"]
        ways = ("workers that stay", "a job for each shard", "without resuming")
        rows = [
            [
                f"{row['samples_a_shard']:,}",
                f"{row['shards']:,}",
                f"{row['shards'] / workers:.1f}",
                *(f"{row[way]:.2f}" for way in ways),
            ]
            for row in content["shards"][work]
        ]
        return markdown_table(["samples a shard", "shards", "shards a worker", *ways], rows)

    return make


def simulated_cache(content: Content) -> str:
    rooms = sorted((key for key in content["cache"][0] if key != "shuffle"), key=int)
    shards = int(rooms[-1])  # the largest cache holds all of them
    headings = [f"room for {room} ({int(room) / shards:.0%})" for room in rooms]
    rows = [
        [
            row["shuffle"],
            *(f"{row[room]['later']:,.2f} ({row[room]['hits']:.1%})" for room in rooms),
        ]
        for row in content["cache"]
    ]
    return markdown_table(["shuffle", *headings], rows)


def simulated_nodes(content: Content) -> str:
    ways = [key for key in content["nodes"][0] if key != "nodes"]
    rows = [
        [row["nodes"], *(f"{row[way]:.2f} ({row['nodes'] * row[way]:,.1f})" for way in ways)]
        for row in content["nodes"]
    ]
    return markdown_table(["nodes", *ways], rows)


def counted_memory(content: Content) -> str:
    rows = [
        [row["what"], *(f"{row[key]:.1f}" for key in ("kept", "most", "kept", "most"))]
        for row in content["memory"]
    ]  # bytes a sample are GB for 10^9 samples
    headings = ["in each process", "kept [bytes a sample]", "at most", "kept [GB]", "at most [GB]"]
    return markdown_table(headings, rows)


# ---- what was to be reached --------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """How fast a piece of work should be. One of the three bounds is given.

    Attributes:
        what: As the table names it.
        figure: Its name in the JSON.
        ratio: The least ratio of before to now.
        most: The largest figure now.
        least: The least figure now.
    """

    what: str
    figure: str
    ratio: float | None = None
    most: float | None = None
    least: float | None = None

    def row(self, now: float, before: float | None = None) -> list[str]:
        ratio = before / now if before else None
        if self.ratio is not None:
            assert ratio is not None
            text, reached = f"ratio ≥ {self.ratio:g}", ratio / self.ratio
        elif self.most is not None:
            text, reached = f"≤ {self.most:g}", self.most / now
        else:
            assert self.least is not None
            text, reached = f"≥ {self.least:g}", now / self.least
        # A ratio of 1.996 is 2.00 in the table, and so reaches 2.
        verdict = "met" if round(reached, 2) >= 1 else bold(f"missed, {reached:.2f} of it")
        shown = ["" if figure is None else three_digits(figure) for figure in (before, now)]
        return [self.what, *shown, "" if ratio is None else f"{ratio:.2f}", text, verdict]


GOALS_OF_COMMITS = (
    Goal("training step, `resnet50_upproj`, 64 px, 32 samples [s]",
         "step: `resnet50_upproj` [s]", ratio=2),
    Goal("training step, `mask_autoencoder` [s]", "step: `mask_autoencoder` [s]", ratio=2.45),
    Goal("`train_depth.py --help` [s]", "start: `train_depth.py --help` [s]", most=0.4),
    Goal("a training, until its first step is done [s]",
         "start: the first step of `depth_lite` is done [s]", most=4),
    Goal("`generate` with the bundled teacher: memory [MB]",
         "generate: with the bundled teacher, peak memory [MB]", most=600),
    Goal("`verify --quick` [µs a sample]", "`verify --quick` [µs a sample]", most=10),
    Goal("`stats` [µs a sample]", "`stats` [µs a sample]", most=250),
)  # fmt: skip
GOALS_OF_READING = (  # times FFCV on as many cores
    Goal("recipes ÷ FFCV, 64 px, 1 core", "64 px, 1 thread: recipe", least=5),
    Goal("recipes ÷ FFCV, 64 px, 2 cores", "64 px, 2 threads: recipe", least=5),
    Goal("recipes ÷ FFCV, 224 px, 1 core", "224 px, 1 thread: recipe", least=3),
    Goal("rendered ÷ FFCV, 64 px, 1 core", "64 px, 1 thread: rendered", least=1.5),
    Goal("rendered, also at half size, zstd and Pco ÷ FFCV, 64 px, 1 core",
         "64 px, 1 thread: rendered, half, zstd and pco", least=1.5),
)  # fmt: skip
RENDERED = Goal("rendered generation, 1 worker [samples/s]",
                "generate, no teacher, rendered, 1 worker", least=4000)  # fmt: skip
LABELLED = Goal("whole pipeline ÷ teacher alone", "generate, teacher, 2 workers", least=0.95)


def speed_goals(commits: Content, reading: Content, generation: Content) -> str:
    rows = []
    for goal in GOALS_OF_COMMITS:
        of_both = commits["figures"][goal.figure]
        before, now = (statistics.median(found) if found else None for found in of_both)
        assert now is not None
        rows.append(goal.row(now, before))
    rows += [goal.row(float(reading["÷ fastest peer"][goal.figure])) for goal in GOALS_OF_READING]
    rates = {name: found[0] for name, found in generation["samples_per_s"].items()}
    rows.append(RENDERED.row(rates[RENDERED.figure]))
    rows.append(LABELLED.row(rates[LABELLED.figure] / rates["teacher alone"]))
    return markdown_table(["what", "before", "now", "ratio", "goal", ""], rows, left=1)


# ---- two commits, two precisions ---------------------------------------------------------------


def compare_commits(content: Content) -> str:
    headings = ["what", *(f"`{commit[:10]}`" for commit in content["commits"]), "ratio"]
    rows = []
    for what, of_all in content["figures"].items():
        medians = [statistics.median(figures) if figures else None for figures in of_all]
        shown = ["" if median is None else three_digits(median) for median in medians]
        first, last = medians[0], medians[-1]
        ratio = f"{first / last:.2f}" if first and last else ""
        rows.append([what, *shown, ratio])
    return markdown_table(headings, rows)


def bench_busy(content: Content) -> str:
    """Medians, and their ratios to those of the quiet machine."""
    rows = []
    for name, of_counts in content["wall and CPU [s]"].items():
        medians = {
            int(count): [statistics.median(column) for column in zip(*found, strict=True)]
            for count, found in of_counts.items()
        }
        for count, (wall, cpu) in medians.items():
            ratios = (
                f"{a / max(b, 1e-9):.2f}" for a, b in zip((wall, cpu), medians[0], strict=True)
            )
            rows.append([name, count, f"{wall:.2f}", f"{cpu:.2f}", *ratios])
    headings = [
        "what",
        "busy processes",
        "seconds",
        "CPU seconds",
        "seconds ÷ quiet",
        "CPU ÷ quiet",
    ]
    return markdown_table(headings, rows)


PRECISION_SCORES = {
    "resnet50_upproj": {"rmse_m": "RMSE [m]", "delta_1": "δ1"},
    "mask_autoencoder": {"rmse": "RMSE", "iou": "IoU"},
}


def compare_precisions(content: Content) -> str:
    """Scores of each seed, and the medians of the speeds with their ratio."""
    rows = []
    for network, scores in PRECISION_SCORES.items():
        of = {
            name: [
                row
                for row in content["rows"]
                if row["network"] == network and row["precision"] == name
            ]
            for name in ("float32", "bf16")
        }
        speeds = {
            name: statistics.median(row["samples_per_s"] for row in trained)
            for name, trained in of.items()
        }
        for name, trained in of.items():
            shown = [
                f"{title}: " + ", ".join(f"{row[score]:.3f}" for row in trained)
                for score, title in scores.items()
            ]
            speed = f"{speeds[name]:.1f} ({speeds[name] / speeds['float32']:.2f})"
            rows.append([f"`{network}`", name, speed, *shown])
    headings = ["network", "precision", "samples/s (ratio)", "each seed", "each seed"]
    return markdown_table(headings, rows, left=2)


# ---- all of them -------------------------------------------------------------------------------


def _of(make: Callable[..., str], *results: str) -> Table:
    return Table(make, results)


TABLES: dict[str, Table] = {
    "stages": _of(stages),
    "mask_autoencoder at 224 px": _of(mask_autoencoder("224"), "mask_autoencoder"),
    "mask_autoencoder at 128 px": _of(mask_autoencoder("128"), "mask_autoencoder"),
    "mask_autoencoder at 64 px": _of(mask_autoencoder("64"), "mask_autoencoder"),
    "mask_autoencoder by cell": _of(mask_autoencoder_cells, "mask_autoencoder"),
    "resnet50_upproj": _of(resnet50_upproj, "resnet50_upproj"),
    "resnet50_upproj by cell": _of(resnet50_upproj_cells, "resnet50_upproj"),
    "small pair: mask": _of(small_pair_mask, "small_pair"),
    "small pair, short": Table(small_pair_short, ("small_pair",), has_source=False),
    "small pair: depth": _of(small_pair_depth, "small_pair"),
    "small pair by cell": _of(small_pair_cells, "small_pair"),
    "bundled mask": _of(bundled_mask, "bundled_mask"),
    "bundled teacher": _of(bundled_teacher, "bundled_teacher"),
    "bundled teacher by protocol": _of(bundled_teacher_protocols, "bundled_teacher"),
    "bundled teacher by camera": _of(teacher_card, "teacher_card"),
    "systems": _of(compare_systems, "compare_systems"),
    "systems by cell": _of(compare_systems_cells, "compare_systems"),
    "chain or all": _of(chain_or_all, "chain_or_all"),
    "labels": _of(compare_labels, "compare_labels"),
    "levers": _of(teacher_levers, "teacher_levers"),
    "networks": _of(networks, "networks"),
    "reading": _of(bench_read, "bench_read", "bench_read_workers"),
    "generation: parts": _of(bench_generate_parts, "bench_generate"),
    "generation: runs": _of(bench_generate_runs, "bench_generate"),
    "scale": _of(bench_scale, "bench_scale"),
    "shards, short": _of(bench_shards_short, "bench_shards"),
    "shards, rendered": _of(bench_shards("rendered"), "bench_shards"),
    "shards, recipe": _of(bench_shards("recipe"), "bench_shards"),
    "shards, reading": _of(bench_shards_reading, "bench_shards"),
    "shards, bytes": _of(bench_shards_bytes, "bench_shards"),
    "training": _of(bench_train, "bench_train", "bench_train_224"),
    "training: formats": _of(bench_train_formats, "bench_train_formats"),
    "speed goals": _of(speed_goals, "compare_commits", "bench_read_ffcv", "bench_generate"),
    "commits": _of(compare_commits, "compare_commits"),
    "readers: facts": _of(bench_read_facts, "bench_read"),
    "decoders": _of(bench_decoders, "bench_decoders"),
    "workers by start": _of(bench_read_starts, "bench_read_workers"),
    "reading beside FFCV": _of(bench_read_ffcv, "bench_read_ffcv"),
    "busy": _of(bench_busy, "bench_busy"),
    "precisions": _of(compare_precisions, "compare_precisions"),
    "headline": _of(headline, "headline"),
    "scene": _of(scene, "scene"),
    "object alpha": _of(object_alpha, "object_alpha"),
    "flipped bits": _of(flip_bits, "flip_bits"),
    "every bit flipped": _of(flip_bits, "flip_every_bit"),
    "kills": _of(kill_runs, "kill_runs"),
    "simulated: drawing": _of(simulated_shards("drawing"), "simulate_scale"),
    "simulated: labelling": _of(simulated_shards("labelling"), "simulate_scale"),
    "simulated: cache": _of(simulated_cache, "simulate_scale"),
    "simulated: nodes": _of(simulated_nodes, "simulate_scale"),
    "counted: memory": _of(counted_memory, "simulate_scale"),
}
