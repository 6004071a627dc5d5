"""Measures how fast the networks train, compared with plain PyTorch and with similar networks.

    python -m benchmarks.bench_train [--models resnet50_upproj ...] [--sizes 64 224] [--threads 2]

A step is forward, loss, backward, gradient clipping and AdamW, on random pictures. The variants,
of which --variants chooses:

    defaults   channels-last, fused AdamW, bf16 on CUDA; on the CPU, freed memory is kept
    contiguous "defaults", but not channels-last (only if asked for)
    compiled   "defaults" with --compile, whose first step takes minutes (only if asked for)
    eager      the same network, float32, contiguous, PyTorch's own AdamW
    kin        a network of torchvision or segmentation_models_pytorch, run as "defaults"
    loader     "defaults", fed by make_loader from a small dataset that is drawn for it

Each variant is a process of its own, because memory settings apply to a whole process. All variants
of a network and size take turns, round after round. Ratios are those of medians. Arithmetic is the
number of operations of forward and backward; the share of peak is relative to dense bf16.
"""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from benchmarks.common import keep, rounds
from dsetkit import SampleDataset, make_loader
from dsetkit.arguments import BATCH, COUNT, JOBS, SIDE_PX, STEPS, Parser
from dsetkit.devices import pick_device, prepare_device
from models import MODELS, create_model
from training import loop
from training.losses.specs import depth_loss, mask_loss
from training.network import mixed_precision, use_memory_format
from training.optimizer import make_optimizer
from training.run_files import BF16, FLOAT32
from training.scoring.metrics import resize_to

# Similar networks of other libraries; "encoder alone" is an upper bound.
KIN = {
    "resnet50_upproj": ("smp Unet resnet50", "torchvision resnet50, encoder alone"),
    "fcrn": ("torchvision resnet50, encoder alone",),
    "mask_autoencoder": ("torchvision fcn_resnet50",),
    "depth_lite": ("torchvision lraspp_mobilenet_v3_large",),
    "mask_lite": ("torchvision lraspp_mobilenet_v3_large",),
}
OURS = ("defaults", "contiguous", "compiled", "eager", "loader")
CONTIGUOUS = ("contiguous", "eager")
USUAL = ("defaults", "eager", "kin", "loader")
FED_BY_LOADER = ("resnet50_upproj", "mask_autoencoder")
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "RTX 4090": 165}


@dataclass(frozen=True)
class Case:
    """One variant of one network at one size: everything that its process has to know."""

    variant: str  # one of OURS or a name in KIN
    model: str
    size: int  # [px]
    batch_size: int
    threads: int
    device: str
    data: Path | None = None


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    add("--sizes", nargs="+", type=SIDE_PX, default=[64, 224], help="[px] (default: 64 224)")
    add(
        "--variants", nargs="+", choices=("kin", *OURS), default=USUAL,
        help=f"the first is what others are compared with (default: {' '.join(USUAL)})",
    )  # fmt: skip
    add("--batch-size", type=BATCH, default=16, help="(default: %(default)s)")
    add("--steps", type=COUNT, default=3, help="of each variant in a round (default: %(default)s)")
    add("--rounds", type=COUNT, default=5, help="one more goes first (default: %(default)s)")
    add("--threads", type=JOBS, default=torch.get_num_threads(), help="(default: %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: %(default)s)")
    add(
        "--samples", type=STEPS, default=256, help="that are drawn for the loader; 0 = leave it out"
    )
    add("--name", default="bench_train", help="of the JSON (default: %(default)s)")
    args = parser.parse_args()
    device = pick_device(args.device).type
    rows, left_out, data = [], set(), None
    with tempfile.TemporaryDirectory() as folder:
        fed = "loader" in args.variants and set(args.models) & set(FED_BY_LOADER)
        if args.samples and fed:
            data = draw_dataset(Path(folder), args.samples, max(args.sizes))
        for model in args.models:
            variants = variants_of(model, args.variants, with_loader=data is not None)
            left_out |= {variant for variant in variants if not is_installed(variant)}
            variants = [variant for variant in variants if is_installed(variant)]
            for size in args.sizes:
                settings = (model, size, args.batch_size, args.threads, device, data)
                cases = [Case(variant, *settings) for variant in variants]
                rows += measure(cases, steps=args.steps, repeat=args.rounds)
    show(rows)
    print("goal: loader ÷ defaults >= 0.97; not installed:", *sorted(left_out or ["none"]))
    content = {"settings": vars(args), "rows": rows, "left_out": sorted(left_out)}
    keep(args.name, content, seeds=[0])


def variants_of(model: str, wanted: Sequence[str], *, with_loader: bool) -> list[str]:
    """Return the variants of a network, with the names of its kin in place of "kin"."""
    found: list[str] = []
    for variant in wanted:
        if variant == "kin":
            found += KIN.get(model, ())
        elif variant != "loader" or (with_loader and model in FED_BY_LOADER):
            found.append(variant)
    return found


def draw_dataset(folder: Path, samples: int, size: int) -> Path:
    """Draw rooms and cut-outs and make a dataset of them, with the bundled teacher's depth."""
    from dsetkit.compositing import Canvas
    from dsetkit.demo.scenes import write_pictures
    from dsetkit.generating import generate

    foregrounds, backgrounds = write_pictures(folder / "pictures", rooms=8, cutouts=8)
    folders = {"foregrounds": foregrounds, "backgrounds": backgrounds}
    generate(**folders, output=folder / "dataset", num_samples=samples, canvas=Canvas(size=size))
    return folder / "dataset"


def is_installed(variant: str) -> bool:
    found = importlib.util.find_spec("segmentation_models_pytorch")
    return found is not None or not variant.startswith("smp")


# ---- measuring ---------------------------------------------------------------------------------


def measure(cases: list[Case], *, steps: int, repeat: int) -> list[dict]:
    """Run all variants of a network at a size in turn.

    Returns:
        A row per variant: speed (median, lowest, highest [samples/s]), its ratio to the first
        variant's, the time of the first step [s], arithmetic [GFLOP/sample] and, on a known GPU,
        the share of its peak.
    """
    context = get_context("spawn")
    servers, processes, gflop, starts = {}, [], {}, {}
    try:
        for case in cases:
            servers[case.variant], theirs = context.Pipe()
            processes.append(context.Process(target=serve, args=(theirs, case), daemon=True))
            processes[-1].start()
            gflop[case.variant], starts[case.variant] = servers[case.variant].recv()

        turns = {name: partial(take_turn, server, steps) for name, server in servers.items()}
        rates = rounds(turns, repeat=repeat)
    finally:
        for process in processes:
            process.kill()
            process.join()
    first = rates[cases[0].variant][0]
    return [
        {
            "model": case.model,
            "size_px": case.size,
            "variant": case.variant,
            "samples_per_s": rates[case.variant],
            "ratio_to_defaults": rates[case.variant][0] / first,
            "first_step_s": starts[case.variant],
            "gflop_per_sample": gflop[case.variant],
            "share_of_peak": share_of_peak(case, rates[case.variant][0] * gflop[case.variant]),
        }
        for case in cases
    ]


def take_turn(server: Connection, steps: int) -> tuple[int, float]:
    """Return samples and seconds of some steps in a variant's process."""
    server.send(steps)
    return server.recv()


def share_of_peak(case: Case, gflop_per_s: float) -> float | None:
    if case.device != "cuda" or case.variant == "eager":  # which has another peak
        return None
    name = torch.cuda.get_device_name()
    peaks = [peak for gpu, peak in PEAK_TFLOPS.items() if gpu in name]
    return gflop_per_s / 1000 / peaks[0] if peaks else None


def serve(client: Connection, case: Case) -> None:
    """Run a variant's process: report its arithmetic, then run steps when asked to."""
    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    plain = case.variant == "eager"
    device = pick_device(case.device)
    if not plain:
        prepare_device(device)
    step = make_step(case, device)
    batches = make_batches(case, device)
    begin = time.perf_counter()
    step(next(batches)).item()  # the first one also chooses algorithms, and compiles
    first_step_s = time.perf_counter() - begin
    # A counter cannot see into compiled code; the network does the same without the compiler.
    plain_case = replace(case, variant="defaults")
    counted = make_step(plain_case, device) if case.variant == "compiled" else step
    with count_flop() as counter:
        counted(next(batches))
    client.send((counter.get_total_flops() / case.batch_size / 1e9, first_step_s))
    while True:
        steps = client.recv()
        start = time.perf_counter()
        for batch in islice(batches, steps):
            loss = step(batch)
        loss.item()  # waits for the device
        client.send((steps * case.batch_size, time.perf_counter() - start))


def count_flop() -> FlopCounterMode:
    """Count the FLOP of the code in this context, with a correct count for grouped convolutions.

    In the backward pass torch counts depthwise convolutions as full ones.
    """

    def convolution_backward(gradient, pictures, weight, *others, **named) -> int:
        transposed, wanted = others[4], others[7]
        once = conv_flop_count(pictures, weight, gradient, transposed=transposed)
        return once * sum(wanted[:2])  # of pictures and of weight

    mapping = {torch.ops.aten.convolution_backward: convolution_backward}
    return FlopCounterMode(display=False, custom_mapping=mapping)


# ---- what is measured --------------------------------------------------------------------------


def make_step(case: Case, device: torch.device) -> Callable[[loop.Batch], torch.Tensor]:
    """Build the training step of a variant, as the training scripts do."""
    plain, is_ours = case.variant == "eager", case.variant in OURS
    memory_format = torch.contiguous_format if case.variant in CONTIGUOUS else torch.channels_last
    net, loss_fn = our_network(case.model) if is_ours else their_network(case.variant)
    use_memory_format(net.to(device).train(), memory_format)
    settings = {"lr": 1e-4, "weight_decay": 1e-2}
    if plain:
        optimizer = torch.optim.AdamW(net.parameters(), **settings)
    else:
        optimizer = make_optimizer(net, "adamw", momentum=0.9, **settings)
    run = torch.compile(net) if case.variant == "compiled" else net
    in_bf16 = device.type == "cuda" and not plain
    precision = mixed_precision(BF16 if in_bf16 else FLOAT32, device)
    clip = loop.make_clip(norm=1.0, value=None)

    def loss_of(batch: loop.Batch) -> torch.Tensor:
        pictures = [batch["composite"], batch["background"]]
        pictures = torch.cat(pictures if is_ours else pictures[:1], dim=1)
        with precision:
            outputs = run(pictures.contiguous(memory_format=memory_format))
        return loss_fn(outputs, batch)

    def step(batch: loop.Batch) -> torch.Tensor:
        batch = loop.prepare_batch(batch, device)
        return loop.update_weights(net, optimizer, loss_of, batch, lr=1e-4, clip=clip)

    return step


def our_network(name: str) -> tuple[nn.Module, Callable]:
    """Build a network of the registry for composite and background, and its losses."""
    net = create_model(name, in_channels=6)
    losses = {}
    if "mask" in net.heads:
        spec = "bce+dice" if net.heads["mask"] == "logits" else "l1"
        losses["mask"] = mask_loss(spec, head=net.heads["mask"])
    if "depth" in net.heads:
        of_depth = depth_loss("l1", head=net.heads["depth"])
        losses["depth"] = lambda output, target: of_depth(output, target, target > 0)

    def loss_fn(outputs: torch.Tensor | dict, batch: loop.Batch) -> torch.Tensor:
        maps = outputs if isinstance(outputs, dict) else {net.task: outputs}
        return sum(
            losses[name](resize_to(maps[name].float(), batch[name]), batch[name]) for name in maps
        )

    return net, loss_fn


def their_network(variant: str) -> tuple[nn.Module, Callable]:
    """Build a network of another library, which sees the composite alone, and a loss."""
    if variant.startswith("smp"):
        import segmentation_models_pytorch as smp

        net = smp.Unet("resnet50", encoder_weights=None, classes=1)
    else:
        from torchvision.models import get_model

        name = variant.split()[1].rstrip(",")
        options = {"num_classes": 1} | ({} if name == "resnet50" else {"weights_backbone": None})
        net = get_model(name, weights=None, **options)

    def loss_fn(outputs: torch.Tensor | dict, batch: loop.Batch) -> torch.Tensor:
        output = outputs["out"] if isinstance(outputs, dict) else outputs
        return output.float().square().mean()

    return net, loss_fn


def make_batches(case: Case, device: torch.device) -> Iterator[loop.Batch]:
    """Yield batches endlessly: those of the dataset, or one random batch on the device."""
    if case.variant == "loader":
        data = SampleDataset(case.data, split=None, size=case.size)
        loader = make_loader(data, case.batch_size, drop_last=True)
        while True:
            yield from loader
    shape = (case.batch_size, 1, case.size, case.size)
    batch = {name: torch.rand(shape, device=device) for name in ("mask", "depth")}
    for name in ("composite", "background"):
        batch[name] = torch.rand(shape, device=device).expand(-1, 3, -1, -1).contiguous()
    while True:
        yield batch


def show(rows: list[dict]) -> None:
    """Print the rows as a table."""
    table = Table(title="bench_train: samples/s of a training step")
    for heading in ("network", "variant"):
        table.add_column(heading)
    for heading in ("px", "median", "lowest..highest", "÷ defaults", "GFLOP", "of peak"):
        table.add_column(heading, justify="right")
    for row in rows:
        median, low, high = row["samples_per_s"]
        peak = row["share_of_peak"]
        table.add_row(
            row["model"], row["variant"], str(row["size_px"]), f"{median:,.1f}",
            f"{low:,.1f}..{high:,.1f}", f"{row['ratio_to_defaults']:.2f}",
            f"{row['gflop_per_sample']:,.1f}", "" if peak is None else f"{peak:.0%}",
        )  # fmt: skip
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
