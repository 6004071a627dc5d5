"""Losses for depth and mask networks, by name and weight: "l1", "bce+ssim5:2", "l1:0.5+cosine:0.1".

The raw output of a network is of one of two kinds: "logits", whose sigmoid is the prediction, or
"linear", where the value is the prediction. `bce` and `focal` take logits, the other terms take the
prediction. All compute in float32, also under autocast. Depth is a share of the dataset's largest
depth, 0..1, so weights mean the same for all datasets; only its valid pixels count.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from dsetkit.errors import RunError
from training.lazy import LazyTable

if TYPE_CHECKING:  # torch takes seconds to load, and the command lines need the names alone
    import torch

DepthLoss = Callable[["torch.Tensor", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
MaskLoss = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]


def _in(module: str, names: str) -> dict[str, str]:
    """Where losses are: functions of their own names."""
    return {name: f"training.losses.{module}:{name}" for name in names.split()}


_SHARED = _in("loss_terms", "bce l1 smooth_l1 rmse dice_squared ssim3 ssim5 ssim11")
DEPTH_LOSSES: LazyTable[DepthLoss] = LazyTable(
    _SHARED | _in("depth_losses", "log_l1 berhu silog cosine grad")
)
MASK_LOSSES: LazyTable[DepthLoss] = LazyTable(_SHARED | _in("loss_terms", "dice focal"))
ON_LOGITS = ("bce", "focal")
HEADS = ("linear", "logits")
DEFAULT_MASK_LOSSES = {"linear": "l1+dice", "logits": "bce+dice"}  # by the kind of head

# for the command lines
DEPTH_LOSS_HELP = f"{', '.join(DEPTH_LOSSES)}; weighted sums as l1:0.5+silog"
MASK_LOSS_HELP = f"{', '.join(MASK_LOSSES)}; weighted sums as bce+ssim5:2"


def depth_loss(spec: str, *, head: str = "linear") -> DepthLoss:
    """Builds a depth loss from its name.

    Args:
        spec: terms joined by "+", each `name` or `name:weight`: "silog+l1", "l1:0.5+cosine:0.1".
        head: kind of the network's output, one of HEADS.

    Returns:
        A function of (output, target, valid), each (N, 1, H, W): the network's raw output (float),
        depth as a share of the largest depth (float), and which pixels of the target are valid
        (bool). It returns a scalar, 0 (with a graph) if no pixel is valid.

    Raises:
        RunError: an unknown name (the known are listed), a weight that is no positive number, or
            a loss on logits for another head.
    """
    return _build(spec, DEPTH_LOSSES, kind="depth", head=head)


def mask_loss(spec: str | None, *, head: str = "logits") -> MaskLoss:
    """Builds a mask loss from its name, with the grammar of `depth_loss`.

    Args:
        spec: as for `depth_loss`: "bce+dice", "bce+ssim5:2"; None: that of DEFAULT_MASK_LOSSES.
        head: kind of the network's output, one of HEADS.

    Returns:
        A function of (output, target), each (N, 1, H, W) float, the network's raw output and a
        target that is soft in [0, 1]. It returns a scalar.

    Raises:
        RunError: as for `depth_loss`.
    """
    import torch

    if spec is None:
        spec = DEFAULT_MASK_LOSSES.get(head, "l1")  # for an unknown head too: it is refused below
    masked_loss = _build(spec, MASK_LOSSES, kind="mask", head=head)

    def loss(output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        return masked_loss(output, target, torch.ones_like(target, dtype=torch.bool))

    return loss


def _build(spec: str, known: LazyTable[DepthLoss], *, kind: str, head: str) -> DepthLoss:
    import torch

    terms = _parse(spec, known, kind=kind)
    if head not in HEADS:
        raise RunError(f"unknown {kind} head {head!r}; known: {', '.join(HEADS)}")
    for name in ON_LOGITS:
        if name in terms and head != "logits":
            other_way = ", or --arch-options mask_head=logits" if kind == "mask" else ""
            raise RunError(
                f"{kind} loss {name!r} in {spec!r} needs logits, and the head is {head}: "
                f"choose another loss{other_way}"
            )

    def loss(
        output: "torch.Tensor", target: "torch.Tensor", valid: "torch.Tensor"
    ) -> "torch.Tensor":
        with torch.autocast(output.device.type, enabled=False):
            output, target = output.float(), target.float()
            answer = output.sigmoid() if head == "logits" else output
            total, *others = (
                weight * known[name](output if name in ON_LOGITS else answer, target, valid)
                for name, weight in terms.items()
            )
            for other in others:
                total = total + other
            return total

    return loss


def _parse(spec: str, known: Collection[str], *, kind: str) -> dict[str, float]:
    """ "l1:0.5+cosine" -> {"l1": 0.5, "cosine": 1.0}."""
    terms: dict[str, float] = {}
    for term in spec.split("+"):
        name, _, weight = (part.strip() for part in term.partition(":"))
        if name not in known:
            raise RunError(
                f"unknown {kind} loss {name!r} in {spec!r}; known: {', '.join(known)}; "
                "join them like 'A+B:0.5'"
            )
        if name in terms:
            raise RunError(
                f"{kind} loss {name!r} occurs twice in {spec!r}; give it once, with its weight"
            )
        terms[name] = _weight(weight or "1", spec)
    return terms


def _weight(text: str, spec: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = float("nan")
    if not 0 < weight < float("inf"):
        raise RunError(
            f"weight {text!r} in loss {spec!r} is not a positive number; write for example 'l1:0.5'"
        )
    return weight
