"""Masks by a network in an ONNX file, of the kind that rembg uses (U²-Net, IS-Net, BiRefNet).

The graph takes float32 (N, 3, S, S) RGB and gives a map (N, 1, S, S) or (N, S, S); of several
outputs, the first. As in rembg (https://github.com/danielgatis/rembg, `sessions/u2net.py`), the
pixels are divided by the largest of them before they are normalised, and the map is stretched so
that its least value is 0 and its largest 1.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dsetkit.arguments import PIXEL_MEAN, PIXEL_STD, SIDE_PX
from dsetkit.assets import Picture
from dsetkit.cutting.sources import (
    Found,
    MaskOf,
    ReadsFiles,
    Shot,
    by_stem,
    flat_name,
    stem_of,
)
from dsetkit.errors import AssetError, NetworkError, one_line, printable
from dsetkit.importing import pictures_below
from dsetkit.networks.sessions import Session, fixed_side, open_session

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT_SIDE = 320  # [px], of U²-Net, where the graph takes any size
HAZE = 0.03  # alphas this near to 0 or 1 are meant as 0 or 1
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class MattingModel(ReadsFiles):
    """A network that finds the foreground of a picture.

    Attributes:
        file: The `.onnx` file.
        mean: Subtracted from RGB in 0..1.
        std: What it is then divided by.
        side: Side of the square it sees [px]; None takes the graph's own, else DEFAULT_SIDE.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        NetworkError: A value out of its range.
    """

    file: Path
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    side: int | None = None
    device: str = "auto"
    runs_alone = True
    folders = ()

    def __post_init__(self) -> None:
        for value in self.mean:
            PIXEL_MEAN.check(value, "--mean", NetworkError)
        for value in self.std:
            PIXEL_STD.check(value, "--std", NetworkError)
        if self.side is not None:
            SIDE_PX.check(self.side, "--size", NetworkError)

    def describe(self) -> dict[str, object]:
        about: dict[str, object] = {"model": str(self.file.absolute()), "side": self.side}
        return about | {"mean": list(self.mean), "std": list(self.std)}

    def find(self, images: Path) -> Found:
        _opened(self.file, self.device)  # what is wrong with it is told before the first picture
        names = by_stem(pictures_below(images), images).values()
        masks = {name: MaskOf(flat_name(stem_of(name))) for name in names}
        return Found([Shot(images / name, (mask,)) for name, mask in masks.items()], [])

    def decode(self, picture: Picture, colours: np.ndarray, mask: MaskOf) -> np.ndarray:
        return self.alpha(colours)

    def alpha(self, picture: np.ndarray) -> np.ndarray:
        """The network's alpha: uint8 (H,W) of uint8 (H,W,3) RGB.

        Raises:
            NetworkError: It cannot take the picture, or gives no map.
            AssetError: It gives the same value everywhere.
        """
        session, fixed_side = _opened(self.file, self.device)
        side = self.side or fixed_side or DEFAULT_SIDE
        small = cv2.resize(picture, (side, side), interpolation=_filter(picture, side))
        shares = small.astype(np.float32) / max(1, int(small.max()))
        normalised = (shares - np.array(self.mean)) / np.array(self.std)
        fed = np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)
        answer = self._run(session, fed)
        low, high = float(answer.min()), float(answer.max())
        if not high > low:
            raise AssetError("the model answers the same everywhere: it finds nothing")
        stretched = (answer - low) / (high - low)
        clear = np.clip((stretched - HAZE) / (1 - 2 * HAZE), 0, 1)
        large = cv2.resize(clear, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.rint(255 * large).astype(np.uint8)

    def _run(self, session: Session, fed: np.ndarray) -> np.ndarray:
        """The map of one picture: float32 (h,w)."""
        name = session.get_inputs()[0].name
        try:
            answer = np.asarray(session.run([session.get_outputs()[0].name], {name: fed})[0])
        except Exception as error:  # ONNX Runtime's own errors share no parent but Exception
            raise NetworkError(
                f"{printable(self.file)} cannot take a picture {fed.shape}: {one_line(error)}"
            ) from None
        values = answer.reshape(answer.shape[-2:]) if _is_map(answer) else None
        if values is None or not np.isfinite(values).all():
            raise NetworkError(
                f"{printable(self.file)} gives {answer.dtype} {answer.shape}: expected one map of "
                "numbers, (1, 1, h, w)"
            )
        return values.astype(np.float32)


def _is_map(answer: np.ndarray) -> bool:
    is_one = answer.ndim >= 2 and answer.size == answer.shape[-1] * answer.shape[-2] > 0
    return is_one and answer.dtype.kind == "f"


def _filter(picture: np.ndarray, side: int) -> int:
    return cv2.INTER_AREA if min(picture.shape[:2]) > side else cv2.INTER_LINEAR


@lru_cache(maxsize=1)
def _opened(file: Path, device: str) -> tuple[Session, int | None]:
    """The session of a model, and the side that its graph fixes.

    Raises:
        NetworkError: It cannot be opened, or takes no pictures.
    """
    shown = printable(file)
    session = open_session(file, name=shown, device=device)
    inputs = session.get_inputs()
    shape: list[Any] = list(inputs[0].shape) if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type != "tensor(float)":
        came = "; ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise NetworkError(
            f"{shown} takes {came[:200] or 'nothing'}: expected one float32 (N, 3, S, S)"
        )
    return session, fixed_side(shape[2], shown)
