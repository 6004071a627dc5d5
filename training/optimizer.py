"""The optimizers by name, and `make_optimizer`, which builds one."""

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

from training.lazy import LazyTable

if TYPE_CHECKING:  # torch takes seconds to load, and the command lines need the names alone
    import torch
    from torch import nn

OPTIMIZERS: LazyTable["type[torch.optim.Optimizer]"] = LazyTable(
    {
        "adamw": "torch.optim:AdamW",
        "adam": "torch.optim:Adam",
        "sgd": "torch.optim:SGD",
        "rmsprop": "torch.optim:RMSprop",
    }
)
WITH_MOMENTUM = ("sgd", "rmsprop")
FUSED = ("adamw", "adam", "sgd")  # those that torch can run as one kernel


def make_optimizer(
    net: "nn.Module", name: str, *, lr: float, weight_decay: float, momentum: float
) -> "torch.optim.Optimizer":
    """Builds an optimizer without weight decay on biases and norm layers.

    Args:
        net: its parameters that require a gradient are trained.
        name: one of OPTIMIZERS.
        lr: base learning rate.
        weight_decay: pull of the weights towards 0 (decoupled with adamw).
        momentum: for sgd and rmsprop.
    """
    weights = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {"momentum": momentum} if name in WITH_MOMENTUM else {}
    options |= {"fused": True} if name in FUSED else {}
    kind: Any = OPTIMIZERS[name]
    return _without_compiler(kind)(groups, lr=lr, **options)


@cache
def _without_compiler(kind: Any) -> Any:
    """The same class of optimizer, without torch's compiler, which takes a second to load.

    torch wraps these methods so that its compiler leaves them alone. Here networks are compiled,
    optimizers never.
    """
    import torch

    names = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])  # as torch's wrapper does
    return type(kind.__name__, (kind,), methods)
