"""How a mask network holds out the worse its background fits: IoU against the strength of a change.

    python -m benchmarks.mask_stress_curve --data DATASET --with-background FILE \
        --without-background FILE --output stress.png

The background is shifted, turned, exposed otherwise, or another sample's; or the object throws a
shadow that the background does not show. Backgrounds are registered with their composites, as
predict.py does, unless --no-register is given. Beside the network stand subtraction, whose
threshold is tuned on the train split for each strength anew, and the floor: the same network
trained without a background, which a wrong background cannot mislead. Scored are the test samples
whose background and foreground no training saw. Writes the picture and the numbers beside it as
JSON.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.common import keep, markdown_table
from benchmarks.line_charts import Panel, line_charts
from dsetkit import SampleDataset, make_loader
from dsetkit.arguments import BATCH, COUNT, Parser, image_size
from dsetkit.console import run
from dsetkit.devices import pick_device, prepare_device
from dsetkit.errors import RunError
from dsetkit.files import write_json
from models import ModelError, answer, load_model
from training.loop import Batch, evaluate, prepare_batch
from training.scoring import evaluation
from training.scoring.baselines import DIFFERENCES, BestThreshold, difference
from training.scoring.metrics import MaskMetrics
from training.scoring.report import BOTH_UNSEEN, write_picture
from training.scoring.stress import another, with_comparable_backgrounds

SCRIPT = "mask_stress_curve"
FIELDS = ("composite", "background", "mask")
THRESHOLD = 0.5  # probability and soft target from which a pixel is foreground
NETWORK, FLOOR, SUBTRACTION = "with background", "without background", "subtraction"
SHADOW_BLUR = 1 / 12  # of the side

Apply = Callable[[Batch, float], Batch]
Predict = Callable[[Batch], torch.Tensor]
Curves = dict[str, dict[str, dict[str, float]]]  # change -> who -> strength -> IoU


# ---- what changes ------------------------------------------------------------------------------


def moved(pictures: torch.Tensor, *, right: float = 0, degrees: float = 0) -> torch.Tensor:
    """Pictures (N, C, H, W) shifted by a share of the side and turned; the border is repeated."""
    height, width = pictures.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    theta = [[cos, -sin * height / width, -2 * right], [sin * width / height, cos, 0]]
    rows = torch.tensor(theta, device=pictures.device).expand(len(pictures), -1, -1)
    grid = F.affine_grid(rows, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def shaded(composite: torch.Tensor, mask: torch.Tensor, darkness: float) -> torch.Tensor:
    """Composites in which the object throws a soft shadow to its right and below itself.

    The shadow is the mask, moved by a twelfth of the side and blurred; the object stays as bright.

    Args:
        composite: (N, 3, H, W) in 0..1.
        mask: (N, 1, H, W) in 0..1.
        darkness: share of the light that the middle of the shadow lacks.
    """
    reach = max(1, round(SHADOW_BLUR * min(mask.shape[-2:])))
    thrown = F.pad(mask, (reach, 0, reach, 0))[..., :-reach, :-reach]
    soft = F.avg_pool2d(thrown, 2 * reach + 1, stride=1, padding=reach)
    return composite * (1 - darkness * soft * (1 - mask))


def _on_background(change: Callable[[torch.Tensor, float], torch.Tensor]) -> Apply:
    return lambda batch, strength: batch | {"background": change(batch["background"], strength)}


def _with_shadow(batch: Batch, strength: float) -> Batch:
    return batch | {"composite": shaded(batch["composite"], batch["mask"], strength)}


@dataclass(frozen=True)
class Change:
    """A change of a batch, from none to too much.

    Attributes:
        axis: what its strength is, with the unit.
        strengths: those that are scored.
        apply: (batch of floats, strength) -> batch.
    """

    axis: str
    strengths: Sequence[float]
    apply: Apply


CHANGES: dict[str, Change] = {
    "shift": Change(
        "% of the side",
        (0, 0.5, 1, 1.5, 2, 3, 4, 5),
        _on_background(lambda pictures, percent: moved(pictures, right=percent / 100)),
    ),
    "turn": Change(
        "degrees",
        (-1, -0.5, 0, 0.5, 1),
        _on_background(lambda pictures, degrees: moved(pictures, degrees=degrees)),
    ),
    "exposure": Change(
        "times the light",
        (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3),
        _on_background(lambda pictures, gain: (pictures * gain).clamp(0, 1)),
    ),
    "shadow": Change("share of the light it takes", (0, 0.1, 0.2, 0.35, 0.5), _with_shadow),
    "wrong background": Change(
        "0 = its own, 1 = another sample's",
        (0, 1),
        _on_background(lambda pictures, wrong: another(pictures) if wrong else pictures),
    ),
}


# ---- measuring ---------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    # fmt: off
    parser = Parser(prog=SCRIPT, description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, metavar="DATASET", help="with backgrounds and masks")
    add("--train-data", metavar="DATASET",
        help="whose train split tunes the threshold of subtraction (default: --data)")
    add("--with-background", required=True, type=Path, metavar="FILE",
        help="mask network that sees composite and background (.safetensors)")
    add("--without-background", type=Path, metavar="FILE",
        help="the same network trained on composites alone: the floor (default: no floor)")
    add("--output", required=True, type=Path, metavar="FILE.png",
        help="picture to write; the numbers go into FILE.json")
    add("--img-size", type=image_size, metavar="SIZE",
        help="N or HxW [px] (default: as the network with background was trained)")
    add("--no-register", dest="register", action="store_false",
        help="leave backgrounds where they lie")
    add("--limit-samples", type=COUNT, default=300, metavar="N",
        help="test samples to score, and train samples to tune on (default: 300)")
    add("--batch-size", type=BATCH, default=32, metavar="N", help="(default: 32)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    add("--keep", action="store_true", help="the numbers among the results of benchmarks, too")
    # fmt: on
    args = parser.parse_args(argv)
    if args.output.suffix != ".png":
        raise RunError(f"--output {args.output}: expected a name that ends in .png")
    device = prepare_device(pick_device(args.device))
    open_network = partial(_open, img_size=args.img_size, device=device)
    size, network = open_network(args.with_background, sees_background=True)
    networks = {NETWORK: network}
    if args.without_background:
        networks[FLOOR] = open_network(args.without_background, sees_background=False)[1]
    test, train = (
        _loader(data, split, size, at_most=args.limit_samples, batch_size=args.batch_size)
        for data, split in ((args.data, "test"), (args.train_data or args.data, "train"))
    )
    limits = tune(train, register=args.register)
    scores = score(test, networks, limits, register=args.register, device=device)
    write_picture(args.output, line_charts(_panels(scores), columns=3))
    content = {
        "with_background": str(args.with_background),
        "without_background": args.without_background and str(args.without_background),
        "dataset": args.data,
        "images": len(test.dataset),
        "size_px": list(size),
        "registered": args.register,
        "iou": scores,
        "subtraction_thresholds": limits,
    }
    write_json(args.output.with_suffix(".json"), content)
    if args.keep:
        keep(SCRIPT, content, seeds=[])
    for name, of in scores.items():
        heads = [f"{name} [{CHANGES[name].axis}]", *next(iter(of.values()))]
        rows = [[who, *(f"{iou:.3f}" for iou in line.values())] for who, line in of.items()]
        print(markdown_table(heads, rows), end="\n\n")


def _open(
    path: Path, *, img_size: Sequence[int] | None, device: torch.device, sees_background: bool
) -> tuple[tuple[int, int], Predict]:
    """Size of its pictures [px], and batch -> probability of foreground (N, 1, H, W)."""
    net, metadata = load_model(path, device=device, needs="mask")
    inputs, size = evaluation.network_input(metadata, img_size, checkpoint=path)
    if ("background" in inputs) != sees_background:
        flag = "--with-background" if sees_background else "--without-background"
        raise RunError(f"{flag} {path} is a network of {' and '.join(inputs)}")
    return size, lambda batch: evaluation.predict(
        lambda x: answer(net, net(x), "mask"), batch, inputs, "none"
    )


def _loader(dataset: str, split: str, size: tuple[int, int], *, at_most: int, batch_size: int):
    """Batches of a split; of "test" those with unseen background and foreground, if it has any."""
    samples = SampleDataset(dataset, split=split, size=size, fields=FIELDS)
    unseen = samples.indices[samples.cells == samples.CELL_NAMES.index(BOTH_UNSEEN)]
    samples.indices = unseen if len(unseen) else samples.indices
    evaluation.keep_some(samples, at_most)
    evaluation.check_has_samples(samples, dataset, split)
    return make_loader(samples, batch_size=batch_size, shuffle=False)


def tune(batches, *, register: bool) -> dict[str, dict[str, float]]:
    """Change -> strength -> the threshold of subtraction with the best IoU on these samples."""
    best = {
        name: {f"{strength:g}": BestThreshold(DIFFERENCES) for strength in change.strengths}
        for name, change in CHANGES.items()
    }

    def update(stored: Batch) -> None:
        batch = prepare_batch(stored, torch.device("cpu"))
        for name, key, changed in _changed(batch, register=register):
            values = difference(changed["composite"], changed["background"])
            best[name][key].update(values, batch["mask"] >= THRESHOLD)

    evaluate(batches, update, total=len(batches), label="subtraction on the train split")
    return {name: {key: one.compute() for key, one in of.items()} for name, of in best.items()}


def score(
    batches,
    networks: Mapping[str, Predict],
    limits: Mapping[str, Mapping[str, float]],
    *,
    register: bool,
    device: torch.device,
) -> Curves:
    """IoU, mean over images, of the networks and of subtraction.

    Args:
        batches: as stored.
        networks: who -> batch of floats -> probability of foreground.
        limits: what `tune` gave.
        register: whether backgrounds are registered with their composites first.
        device: of the networks.
    """
    metrics = {
        (name, who, key): MaskMetrics(threshold=THRESHOLD)
        for name, of in limits.items()
        for who in (*networks, SUBTRACTION)
        for key in of
    }

    def update(stored: Batch) -> None:
        batch = prepare_batch(stored, device)
        for name, key, changed in _changed(batch, register=register):
            for who, predict in networks.items():
                metrics[name, who, key].update(predict(changed), batch["mask"])
            differs = difference(changed["composite"], changed["background"]) > limits[name][key]
            metrics[name, SUBTRACTION, key].update(differs, batch["mask"])

    evaluate(batches, update, total=len(batches), label="test split")
    curves: Curves = {}
    for (name, who, key), metric in metrics.items():
        iou = metric.compute()["iou_per_image"]
        curves.setdefault(name, {}).setdefault(who, {})[key] = iou
    return curves


def _changed(batch: Batch, *, register: bool):
    """(change, strength as text, changed batch), for all strengths of all changes."""
    for name, change in CHANGES.items():
        for strength in change.strengths:
            changed = change.apply(batch, strength)
            if register:
                changed = with_comparable_backgrounds(changed)
            yield name, f"{strength:g}", changed


def _panels(scores: Curves) -> list[Panel]:
    return [
        Panel(
            title=f"IoU: {name}",
            axis=CHANGES[name].axis,
            lines={
                who: [(float(strength), iou) for strength, iou in line.items()]
                for who, line in of.items()
            },
        )
        for name, of in scores.items()
    ]


if __name__ == "__main__":
    sys.exit(run(main, ModelError, name=SCRIPT))
