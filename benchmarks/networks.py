"""Lists the networks: parameters, arithmetic, and how long a training takes for 1,000 samples.

    python -m benchmarks.networks [--size 64] [--batch-size 16] [--steps 5] [--networks NAME ...]

A step is forward, loss, backward and AdamW on random pictures, as `defaults` of bench_train, on
this machine's device; the networks take turns. GFLOP counts a forward pass of one sample, a
multiply-add as two.
"""

import statistics
import time

import torch
from torch.nn.functional import l1_loss
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import keep, markdown_table
from dsetkit.arguments import BATCH, SIDE_PX, STEPS, Parser
from dsetkit.devices import pick_device, prepare_device
from models import MODELS, create_model
from training.scoring.metrics import resize_to

BOTH = ("composite", "background")
HEADINGS = ("network", "gives", "parameters", "GFLOP a sample", "s per 1,000 training samples")


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=SIDE_PX, default=64, help="side of the pictures [px]")
    parser.add_argument("--batch-size", type=BATCH, default=16)
    parser.add_argument("--steps", type=STEPS, default=5, help="measured steps of each network")
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=MODELS,
        default=list(MODELS),
        metavar="NAME",
        help="only these (default: all, which take 4 GB of memory together)",
    )
    args = parser.parse_args()
    device = prepare_device(pick_device("auto"))
    torch.manual_seed(0)
    seconds: dict[str, list[float]] = {name: [] for name in args.networks}
    facts = {}
    steps = {}
    for name in args.networks:
        net = create_model(name, in_channels=3 * len(BOTH)).to(device)
        pictures = torch.rand(args.batch_size, 6, args.size, args.size, device=device)
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            net.eval()(pictures[:1])
        count = sum(parameter.numel() for parameter in net.parameters())
        facts[name] = (" and ".join(net.heads), count, counter.get_total_flops() / 1e9)
        steps[name] = step_of(net.train(), pictures)
    for number in range(1 + args.steps):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number:
                seconds[name].append(time.perf_counter() - start)
    rows = [
        (f"`{name}`", heads, f"{count:,}", f"{gflop:.2f}",
         f"{1000 * statistics.median(seconds[name]) / args.batch_size:.1f}")
        for name, (heads, count, gflop) in facts.items()
    ]  # fmt: skip
    print(markdown_table(HEADINGS, rows))
    content = {"arguments": vars(args), "headings": HEADINGS, "rows": rows}
    keep("networks", content, seeds=[0])


def step_of(net: torch.nn.Module, pictures: torch.Tensor):
    """A function that takes one training step and waits for its end."""
    optimizer = torch.optim.AdamW(net.parameters())
    target = torch.rand_like(pictures[:, :1])

    def step() -> None:
        outputs = net(pictures)
        maps = outputs.values() if isinstance(outputs, dict) else [outputs]
        loss = sum(l1_loss(resize_to(one, target).sigmoid(), target) for one in maps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


if __name__ == "__main__":
    main()
