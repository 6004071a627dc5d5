"""Which depth labels teach more: the teacher's of each composite, or those of the scene?

    python -m benchmarks.compare_labels --foregrounds DIR --backgrounds DIR --nyu DIR --work DIR

One small network, `depth_lite`, learns from the same composites with labels of several kinds
(`KINDS`), and from composites on measured backgrounds. It is scored on real depth: test frames of
NYU Depth V2 as they are, and with cut-outs that no training saw pasted in front of them.

The backgrounds are pieces of the photographs. `--nyu` holds `train` and `test_dev`, each with files
NNNN_color.jpg and NNNN_depth.png [mm]. Datasets, arrays and trainings are kept in `--work`: the
same command goes on after an interruption. `--only KIND:SEED …` trains some alone, so that several
processes can share the work.
"""

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.common import keep, link_into, markdown_table, run_python
from dsetkit import SampleDataset
from dsetkit.arguments import COUNT, Parser
from dsetkit.assets import central_square, load_foregrounds
from dsetkit.compositing.planes import OBJECT_ALPHA
from dsetkit.compositing.resizing import resize_image
from dsetkit.files import write_json
from dsetkit.importing.paste import Paster
from models import answer, create_model, save_model
from training.augment import make_augment
from training.loop import Batch, prepare_batch, seed_step
from training.losses.specs import depth_loss
from training.network import heads_of
from training.optimizer import make_optimizer
from training.schedule import make_schedule

SIDE = 64  # px, of the pictures that networks see
MAX_DEPTH_M = 10.0
PIECES = 10  # of each photograph
PIECE_PX = 480  # side of a piece, larger than the pictures that the teacher sees
PIECE_SIDES = (0.45, 1.0)  # of the shorter side of a photograph
HELD_OUT = 5  # every fifth cut-out is kept for the test pictures
PASTE_SEED = 1
RING_PX = 20  # around an object, in a picture of 240 px
SHAPE_LIMITS = (0.67, 1.5)  # of a depth inside an object to their median

KINDS = {
    "composite": "the teacher's answer to the composite",
    "scene": "the teacher's depth of the background, the object as a plane of drawn nearness",
    "shape": "scene; inside the object the teacher's shape, scaled to the plane",
    "sized": "scene; how near the plane is follows from the object's size, the default",
    "weighted": "scene; the loss counts the object a second time",
    "measured": "measured depth of NYU frames behind, the object as in sized",
}
REGIONS = ("plain", "whole", "ring", "inside", "elsewhere")


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--foregrounds", type=Path, required=True, metavar="DIR")
    add("--backgrounds", type=Path, required=True, metavar="DIR")
    add("--nyu", type=Path, required=True, metavar="DIR", help="with train/ and test_dev/")
    add("--work", type=Path, required=True, metavar="DIR", help="what is made on the way")
    add("--samples", type=COUNT, default=12_800, help="composites (default: %(default)s)")
    add("--steps", type=COUNT, default=8_000, help="of training (default: %(default)s)")
    add("--batch-size", type=COUNT, default=8, help="(default: %(default)s)")
    add("--lr", type=float, default=1e-3, help="(default: %(default)s)")
    add("--seeds", type=int, nargs="+", default=[0, 1], help="(default: 0 1)")
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="(default: all)")
    add("--only", nargs="+", metavar="KIND:SEED", help="train these alone, and print no table")
    args = parser.parse_args()

    everything = [f"{kind}:{seed}" for kind in args.kinds for seed in args.seeds]
    make_datasets(args.foregrounds, args.backgrounds, args.nyu, args.work, samples=args.samples)
    scenes = test_scenes(args.nyu / "test_dev", args.work / "held-out")
    scores = {}
    for name in args.only or everything:
        run = args.work / f"{name.replace(':', '-')}.json"
        if not run.exists():
            kind, _, seed = name.partition(":")
            began = time.perf_counter()
            net = train(
                load_arrays(args.work, kind),
                seed=int(seed),
                steps=args.steps,
                batch_size=args.batch_size,
                lr=args.lr,
                object_weight=float(kind == "weighted"),
            )
            save_model(run.with_suffix(".safetensors"), net, metadata={})
            seconds = round(time.perf_counter() - began)
            write_json(run, {"seconds": seconds} | score(net, scenes))
        scores[name] = json.loads(run.read_text())
    if args.only:
        return
    print(table(scores, args.kinds, args.seeds))
    settings = {name: getattr(args, name) for name in ("samples", "steps", "batch_size", "lr")}
    kinds = {kind: KINDS[kind] for kind in args.kinds}
    content = {"settings": settings, "kinds": kinds, "scores": scores}
    keep("compare_labels", content, seeds=args.seeds)


# ---- datasets ----------------------------------------------------------------------------------


def make_datasets(
    foregrounds: Path, backgrounds: Path, nyu: Path, work: Path, *, samples: int
) -> None:
    """Makes what networks learn from: the same samples with two kinds of depth, and a third set."""
    cut_outs = sorted(foregrounds.iterdir())
    kept = cut_outs[::HELD_OUT]
    link_into(work / "held-out", kept)
    link_into(work / "foregrounds", [file for file in cut_outs if file not in kept])
    if not (work / "pieces").exists():
        cut_pieces(sorted(backgrounds.iterdir()), work / "pieces-new")
        (work / "pieces-new").rename(work / "pieces")
    for frame in sorted((nyu / "train").glob("*_color.jpg")):
        number = frame.name.removesuffix("_color.jpg")
        _link(frame, work / "measured-pictures" / f"{number}.jpg")
        _link(frame.with_name(f"{number}_depth.png"), work / "measured-depth" / f"{number}.png")
    dsetkit = ("-m", "dsetkit")
    common = ("--foregrounds", work / "foregrounds", "--num-samples", samples, "--layout", "recipe")
    run_python(
        *(*dsetkit, "generate", *common, "--backgrounds", work / "pieces"),
        *("--output", work / "composite"),
    )
    for name, nearness_by in (("scene", "chance"), ("sized", "size")):
        run_python(
            *(*dsetkit, "relabel", work / "composite", "--output", work / name),
            *("--teacher", "bundled", "--depth-of", "scene", "--nearness-by", nearness_by),
        )
    run_python(
        *(*dsetkit, "generate", *common, "--backgrounds", work / "measured-pictures"),
        *("--depth-of", "scene", "--background-depth", work / "measured-depth"),
        *("--output", work / "measured"),
    )


def cut_pieces(photographs: Sequence[Path], folder: Path) -> None:
    """Cuts square pieces at random places out of photographs: each is another scene."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for photograph in photographs:
        picture = cv2.imread(str(photograph), cv2.IMREAD_COLOR)
        height, width = picture.shape[:2]
        for number in range(PIECES):
            side = round(draw.uniform(*PIECE_SIDES) * min(height, width))
            x, y = (round(draw.uniform(0, most - side)) for most in (width, height))
            piece = resize_image(picture[y : y + side, x : x + side], (PIECE_PX, PIECE_PX))
            cv2.imwrite(str(folder / f"{photograph.stem}-{number}.png"), piece)


def _link(file: Path, link: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(file.resolve())


# ---- what a network learns from ----------------------------------------------------------------


def load_arrays(work: Path, kind: str) -> Batch:
    """The training set with one kind of labels, at SIDE px.

    Returns:
        `composite` and `mask` uint8 (N,3|1,H,W), `depth` float32 (N,1,H,W), a share of
        MAX_DEPTH_M, 0 = invalid.
    """
    if kind in ("composite", "sized", "measured"):
        return read_all(work / kind)
    batch = read_all(work / "scene")
    if kind == "shape":
        batch["depth"] = shaped(batch, read_all(work / "composite", ("depth",))["depth"])
    return batch


def read_all(
    path: Path, fields: tuple[str, ...] = ("composite", "mask", "depth"), at_once: int = 256
) -> Batch:
    """Every sample of a dataset, of all splits."""
    data = SampleDataset(path, split=None, size=SIDE, fields=fields)
    parts = [
        data.read_batch(range(start, min(start + at_once, len(data))))
        for start in range(0, len(data), at_once)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in fields}


def shaped(scene: Batch, teacher: torch.Tensor) -> torch.Tensor:
    """Scene depth, with the teacher's shape of each object in place of its plane."""
    inside = scene["mask"] >= OBJECT_ALPHA
    counted = torch.where(inside & (teacher > 0), teacher, torch.nan).flatten(1)
    middle = counted.nanmedian(dim=1).values[:, None, None, None]
    shape = (teacher / middle).clamp(*SHAPE_LIMITS)
    usable = inside & (teacher > 0) & middle.isfinite()
    return torch.where(usable, scene["depth"] * shape, scene["depth"]).clamp(max=1)


# ---- training ----------------------------------------------------------------------------------


def train(
    data: Batch, *, seed: int, steps: int, batch_size: int, lr: float, object_weight: float
) -> torch.nn.Module:
    """Trains `depth_lite` for a number of steps; returns it ready to predict."""
    torch.manual_seed(seed)
    net = create_model("depth_lite", in_channels=3).train()
    loss_of = depth_loss("silog+l1", head=heads_of(net)["depth"])
    augment = make_augment("flip+colour")
    optimizer = make_optimizer(net, "adamw", lr=lr, weight_decay=1e-4, momentum=0.9)
    share = make_schedule("cosine", total_steps=steps, warmup_steps=100, gamma_steps=0, gamma=1.0)
    count = len(data["depth"])
    order = torch.empty(0, dtype=torch.int64)
    for step in range(steps):
        if len(order) < batch_size:
            order = torch.randperm(count, generator=torch.Generator().manual_seed(seed + step))
        chosen, order = order[:batch_size], order[batch_size:]
        seed_step(seed, step)
        raw = {name: values[chosen] for name, values in data.items()}
        batch = augment(prepare_batch(raw, torch.device("cpu")))
        for group in optimizer.param_groups:
            group["lr"] = lr * share(step)
        output = F.interpolate(net(batch["composite"]), (SIDE, SIDE), mode="bilinear")
        depth = batch["depth"]
        loss = loss_of(output, depth, depth > 0)
        if object_weight:
            inside = (depth > 0) & (batch["mask"] * 255 >= OBJECT_ALPHA)
            loss = loss + object_weight * loss_of(output, depth, inside)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 500 == 0:
            print(f"step {step:,} of {steps:,}: loss {loss.item():.4f}", flush=True)
    return net.eval()


# ---- scores ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TestScene:
    """A picture with true depth.

    Attributes:
        picture: uint8 (H,W,3) RGB.
        depth_m: float32 (H,W), 0 = invalid.
        inside: bool (H,W), where an object was pasted, or None: the frame as it is.
    """

    picture: np.ndarray
    depth_m: np.ndarray
    inside: np.ndarray | None = None


def test_scenes(folder: Path, cut_outs: Path) -> list[TestScene]:
    """The central squares of the frames: each as it is, and with a cut-out in front."""
    frames = sorted(folder.glob("*_color.jpg"))
    loaded = load_foregrounds(cut_outs, max_side=240)
    paster = Paster([replace(one, split="test") for one in loaded.assets], seed=PASTE_SEED)
    scenes = []
    for number, frame in enumerate(frames):
        picture = cv2.imread(str(frame), cv2.IMREAD_COLOR)[..., ::-1]
        depth = cv2.imread(str(frame).replace("_color.jpg", "_depth.png"), cv2.IMREAD_UNCHANGED)
        picture = np.ascontiguousarray(central_square(picture))
        depth = np.ascontiguousarray(central_square(depth))
        scenes.append(TestScene(picture, depth / np.float32(1000)))
        pasted = paster.paste(picture, depth, split="test", index=number)
        inside = (pasted.depth != depth) & (pasted.depth == pasted.placed.plane)
        scenes.append(TestScene(pasted.image, pasted.depth / np.float32(1000), inside))
    return scenes


@torch.inference_mode()
def score(net: torch.nn.Module, scenes: Sequence[TestScene]) -> dict[str, float]:
    """RMSE [m] and AbsRel by region, mean over the pictures, and the contrast of objects."""
    found: dict[str, list[float]] = {}

    def add(region: str, predicted: np.ndarray, true: np.ndarray, where: np.ndarray) -> None:
        where = where & (true > 0)
        if where.any():
            error = predicted[where] - true[where]
            found.setdefault(f"rmse {region}", []).append(math.sqrt((error**2).mean()))
            found.setdefault(f"abs_rel {region}", []).append((abs(error) / true[where]).mean())

    for scene in scenes:
        predicted = predict(net, scene.picture)
        everywhere = np.ones(predicted.shape, bool)
        if scene.inside is None:
            add("plain", predicted, scene.depth_m, everywhere)
            continue
        reach = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)
        near = cv2.dilate(scene.inside.astype(np.uint8), reach) > 0
        ring = near & ~scene.inside
        for region, where in zip(REGIONS[1:], (everywhere, ring, scene.inside, ~near), strict=True):
            add(region, predicted, scene.depth_m, where)
        for name, depth in (("contrast", predicted), ("true contrast", scene.depth_m)):
            known = scene.depth_m > 0
            outside, inside = depth[ring & known], depth[scene.inside & known]
            if len(outside) and len(inside):
                step = math.log(np.median(outside) / np.median(inside))
                found.setdefault(name, []).append(step)
    return {name: round(float(np.mean(values)), 4) for name, values in found.items()}


def predict(net: torch.nn.Module, picture: np.ndarray) -> np.ndarray:
    """Depth of a picture [m], float32, of its size."""
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    depth = answer(net, net(batch), "depth")
    large = F.interpolate(depth, picture.shape[:2], mode="bilinear")[0, 0].numpy()
    return np.clip(large * MAX_DEPTH_M, 0.01, MAX_DEPTH_M)


def table(scores: dict[str, dict[str, float]], kinds: Sequence[str], seeds: Sequence[int]) -> str:
    """Mean over the seeds, and the largest distance from it, of each score by kind."""
    columns = [*(f"rmse {region}" for region in REGIONS), "abs_rel plain", "abs_rel inside"]
    columns.append("contrast")

    def cell(kind: str, column: str) -> str:
        values = [scores[f"{kind}:{seed}"][column] for seed in seeds]
        mean = statistics.mean(values)
        return f"{mean:.3f} ± {max(abs(value - mean) for value in values):.3f}"

    rows = [[kind, *(cell(kind, column) for column in columns)] for kind in kinds]
    return markdown_table(["labels", *columns], rows)


if __name__ == "__main__":
    main()
