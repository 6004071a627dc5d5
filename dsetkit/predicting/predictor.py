"""`Predictor`: one or two networks, and what they see in pictures of any size."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from dsetkit.arguments import BATCH, JOBS, SIDE_PX
from dsetkit.compositing import resize_image
from dsetkit.errors import AssetError, NetworkError
from dsetkit.memory import check_memory
from dsetkit.networks.network import INPUTS, MAPS, Network, NetworkFacts
from dsetkit.networks.opening import open_network
from dsetkit.predicting.bundled import FILES, network_file
from dsetkit.registration import comparable_background
from dsetkit.upsampling import enlarge_along_edges

BATCH_SIZE = 8
MAX_BATCH_PIXELS = 2**25  # of the pictures of a batch, which are in memory at once
# Variances of colour, in 0..1, that count as flat. Depth is smooth where colours are not, so it
# follows strong edges alone.
SMOOTHNESS = {"mask": 1e-4, "depth": 1e-2}
BYTES_TO_FIT = 400  # for each pixel that a network sees, while its map is fitted to the picture
LONGEST = 8  # times the longer trained side that a network sees of a strip
LONGEST_PX = 2**14  # of what a network sees; OpenCV remaps fewer than 2**15
MOST_APART = 1.02  # how much the shape of a background may differ from that of its composite

Pair = tuple[np.ndarray, np.ndarray | None]  # composite and background, uint8 (H, W, 3) RGB


@dataclass(frozen=True)
class Prediction:
    """What the networks see in a picture, at its own size.

    Attributes:
        mask: float32 (H, W) in 0..1, the share of the foreground; None without a mask network.
        depth: float32 (H, W): metres, or inverse depth in 0..1 (larger is nearer) if the network's
            depth is relative; None without a depth network.
        same_view: Whether the background shows the same view. If not, the networks did not see it.
            None if that cannot be told, or if backgrounds are not seen or not registered.
    """

    mask: np.ndarray | None = None
    depth: np.ndarray | None = None
    same_view: bool | None = None


class Predictor:
    """Runs networks on pictures.

        predictor = Predictor("runs/mask/best.safetensors", "runs/depth/best.safetensors")
        prediction = predictor(picture, background=empty_room)
        prediction.mask, prediction.depth

    Pictures are shown to a network at the size it was trained at, in their own shape; its answers
    are brought back to the size of the picture along the picture's edges. A background is moved
    first to where the composite shows the scene, because a hand-held camera moves a little. One of
    another view is left out: the networks see black.

    Args:
        networks: Checkpoints of trainings (`.safetensors`, in a clone), files of `export-model`
            (`.onnx`), or the names of networks that come with dsetkit (`bundled:mask`,
            `bundled:depth`); together they give a mask, a depth, or one of each.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        size: Height and width of what the networks see [px]; None = as they were trained.
        batch_size: Pictures that a network sees at once.
        register: Whether backgrounds are registered with their composites.
        threads: Threads on a CPU; None = `OMP_NUM_THREADS`, or one for each core.

    Attributes:
        inputs: The pictures that the networks need, of `composite` and `background`.
        maps: What they give, of `mask` and `depth`.
        depth_kind: `metric` or `relative`; None without depth.
        max_depth_m: The greatest metric depth [m]; 0 otherwise.

    Raises:
        NetworkError: A file cannot be used, or two networks give the same map.
        DsetkitError: There is no such device.
    """

    def __init__(
        self,
        *networks: str | Path,
        device: str = "auto",
        size: tuple[int, int] | None = None,
        batch_size: int = BATCH_SIZE,
        register: bool = True,
        threads: int | None = None,
    ) -> None:
        if not networks:
            raise NetworkError(
                "no network: expected one or two files, .safetensors or .onnx, or "
                f"{' and '.join(FILES)}"
            )
        BATCH.check(batch_size, "batch_size", NetworkError)
        if threads is not None:
            JOBS.check(threads, "threads", NetworkError)
        if size is not None and not (isinstance(size, tuple) and len(size) == 2):
            raise NetworkError(f"size {size!r}: expected (height, width) in px")
        for side in size or ():
            SIDE_PX.check(side, "size", NetworkError)
        self._networks = [
            open_network(network_file(one), device=device, threads=threads) for one in networks
        ]
        self._size, self._batch_size, self._register = size, batch_size, register
        facts = [network.facts for network in self._networks]
        giver: dict[str, NetworkFacts] = {}
        for one in facts:
            for name in one.maps:
                if giver.setdefault(name, one) is not one:
                    raise NetworkError(
                        f"{giver[name].name} and {one.name} both give a {name}: leave one out"
                    )
        self.maps = tuple(name for name in MAPS if name in giver)
        self.inputs = tuple(name for name in INPUTS if any(name in one.inputs for one in facts))
        depth = giver.get("depth")
        self.depth_kind = depth.depth_kind if depth else None
        self.max_depth_m = depth.max_depth_m if depth else 0.0
        for one in facts:
            self._check_size(one)

    def __call__(self, composite: np.ndarray, background: np.ndarray | None = None) -> Prediction:
        """What the networks see in one picture.

        Args:
            composite: uint8 (H, W, 3) RGB.
            background: The same view without the foreground, uint8 (H', W', 3) RGB of the same
                shape; for networks that see it.

        Raises:
            AssetError: A picture is missing or is not as expected.
            NetworkError: A network cannot be run on it.
        """
        (prediction,) = self.predict([(composite, background)])
        return prediction

    def predict(self, pairs: Iterable[Pair]) -> Iterator[Prediction]:
        """What the networks see in many pictures, in batches, in the order of the pictures.

        Args:
            pairs: Composite and background of each, as of `__call__`; read as they are needed.

        Raises:
            AssetError: A picture is missing or is not as expected.
            NetworkError: A network cannot be run on it.
        """
        checked = (self.check(*pair) for pair in pairs)
        for size, group in groupby(checked, key=lambda pair: pair[0].shape[:2]):
            most = max(1, min(self._batch_size, MAX_BATCH_PIXELS // (size[0] * size[1])))
            while batch := list(islice(group, most)):
                yield from self._run(batch)

    def check(self, composite: np.ndarray, background: np.ndarray | None = None) -> Pair:
        """The pictures of `__call__` that the networks use.

        Raises:
            AssetError: A picture is missing or is not as expected.
        """
        if "background" not in self.inputs:
            background = None
        elif background is None:
            needs = next(one.facts for one in self._networks if "background" in one.facts.inputs)
            raise AssetError(
                f"{needs.name} sees the background, too: expected the same view without the "
                "foreground"
            )
        _check_pixels("composite", composite)
        if background is not None:
            _check_pixels("background", background)
        if background is not None:
            (height, width), (b_height, b_width) = composite.shape[:2], background.shape[:2]
            ratio = (height * b_width) / (width * b_height)
            if not 1 / MOST_APART <= ratio <= MOST_APART:
                raise AssetError(
                    f"the background has {b_width} x {b_height} px, the composite {width} x "
                    f"{height} px: expected the same view in the same shape"
                )
        return composite, background

    def _check_size(self, facts: NetworkFacts) -> None:
        """Raises NetworkError if a network does not take the size that is asked for."""
        if self._size is None:
            return
        height, width = self._size
        if not facts.takes_any_size and (height, width) != facts.size:
            fixed = "x".join(map(str, facts.size))
            raise NetworkError(f"{facts.name} takes {fixed} px alone, not {height}x{width}")
        if height % facts.stride or width % facts.stride:
            raise NetworkError(
                f"size {height}x{width}: expected multiples of {facts.stride}, the stride of "
                f"{facts.name}"
            )
        _check_memory(facts, (height, width), self._batch_size)

    def _run(self, batch: list[Pair]) -> Iterator[Prediction]:
        """Predictions for pictures of one size."""
        composites = [composite for composite, _ in batch]
        maps: dict[str, list[np.ndarray]] = {}
        same_view: list[bool | None] = [None] * len(batch)
        for network in self._networks:
            size = self._size or shown_size(composites[0].shape[:2], network.facts)
            _check_memory(network.facts, size, len(batch))
            seen = _seen(batch, network, size)
            if self._register and "background" in seen:
                registered = map(comparable_background, seen["background"], seen["composite"])
                backgrounds, same_view = zip(*registered, strict=True)
                seen["background"] = np.stack(backgrounds)
            for name, answers in network(seen).items():
                if not np.isfinite(answers).all():
                    raise NetworkError(
                        f"{network.facts.name} gives a {name} with values that are no numbers: "
                        "its training has failed, or the file is damaged"
                    )
                maps[name] = [
                    enlarge_along_edges(answer, small, large, smoothness=SMOOTHNESS[name])
                    for answer, small, large in zip(
                        answers, seen["composite"], composites, strict=True
                    )
                ]
        for index in range(len(batch)):
            found = {name: answers[index] for name, answers in maps.items()}
            yield Prediction(**found, same_view=same_view[index])


def _check_memory(facts: NetworkFacts, size: tuple[int, int], pictures: int) -> None:
    """Raises NetworkError if there is no memory for what a network sees at once."""
    height, width = size
    check_memory(
        (12 * len(facts.inputs) * pictures + BYTES_TO_FIT) * height * width,
        what=f"{facts.name}: a size of {height}x{width} px with batches of {pictures}",
        advice="take less",
        error=NetworkError,
    )


def _check_pixels(name: str, pixels: object) -> None:
    """Raises AssetError unless something is a picture, uint8 (H, W, 3)."""
    if not isinstance(pixels, np.ndarray):
        raise AssetError(f"{name} {type(pixels).__name__}: expected an array, uint8 (H, W, 3) RGB")
    is_picture = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    if not is_picture or not pixels.size:
        raise AssetError(f"{name} {pixels.dtype} {pixels.shape}: expected uint8 (H, W, 3) RGB")


def shown_size(picture: tuple[int, ...], facts: NetworkFacts) -> tuple[int, int]:
    """The size at which a network sees pictures of a size: (height, width) [px].

    Objects must appear as large as in training, where the picture covered the network's size: a
    square network sees a wide picture at its own height. Sides are multiples of its stride.
    """
    if not facts.takes_any_size:
        return facts.size
    scale = max(trained / side for trained, side in zip(facts.size, picture, strict=True))
    longest = min(LONGEST * max(facts.size), LONGEST_PX)
    scale = min(scale, longest / max(picture))  # of a strip
    height, width = (max(1, round(side * scale / facts.stride)) * facts.stride for side in picture)
    return height, width


def _seen(batch: list[Pair], network: Network, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """What a network sees of pictures: uint8 (N, h, w, 3) by input; composites in any case."""
    seen = {"composite": np.stack([resize_image(composite, size) for composite, _ in batch])}
    if "background" in network.facts.inputs:
        backgrounds = [background for _, background in batch if background is not None]
        seen["background"] = np.stack([resize_image(one, size) for one in backgrounds])
    return seen
