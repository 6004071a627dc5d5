"""Pictures as they stand in the page: data URIs, as small as the page's limit asks for.

Composites, backgrounds and depths are JPEG. A mask is a white PNG whose alpha is the mask, so that
the browser can lay it over the composite in any colour. Instances are a PNG, each in its colour.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from PIL import Image

from dsetkit.assets import encode_asset
from dsetkit.colours import colour_instances
from dsetkit.compositing import resize_labels
from dsetkit.datasets import Dataset
from dsetkit.numbers import evenly_spread
from dsetkit.processes import in_jobs
from dsetkit.store import Record
from dsetkit.verbs.show import DepthColours, depth_colours

SAMPLES_PER_CHUNK = 64
SAMPLES_TRIED = 24  # on which the bytes of a quality are estimated
MARGIN = 1.1  # by which an estimate may be too low
COLOURED_SAMPLES = 64  # over whose depths the colours reach
MASK_LEVELS = 16  # of alpha that are told apart
ASSET_PX, ASSET_QUALITY = 112, 75


@dataclass(frozen=True)
class Quality:
    """How large and how fine pictures are.

    Attributes:
        side_px: Longer side [px].
        jpeg: JPEG quality, 1 to 100.
    """

    side_px: int
    jpeg: int


QUALITIES = tuple(
    Quality(*both) for both in ((256, 84), (224, 80), (192, 76), (160, 70), (128, 65), (96, 60))
) + (Quality(64, 50), Quality(48, 30))


@dataclass(frozen=True)
class SamplePictures:
    """The pictures of the samples that a page shows.

    Attributes:
        quality: Of all of them.
        samples: Index -> field -> data URI; without backgrounds, which many samples share.
        backgrounds: Id -> data URI.
        background_of: Index -> id of its background, if it has one.
        colours: Of depth; None without depths.
    """

    quality: Quality
    samples: dict[int, dict[str, str]]
    backgrounds: dict[int, str]
    background_of: dict[int, int]
    colours: DepthColours | None

    @property
    def num_bytes(self) -> int:
        """How much of the page they take [bytes]."""
        uris = [uri for one in self.samples.values() for uri in one.values()]
        return sum(map(len, [*uris, *self.backgrounds.values()]))


def sample_pictures(
    dataset: Dataset,
    indices: Sequence[int],
    *,
    at_most: int,
    jobs: int,
    progress: Callable[[int], None],
) -> SamplePictures:
    """The pictures of samples, in the best quality that fits.

    Args:
        dataset: The dataset.
        indices: Which samples, ascending.
        at_most: Bytes that they may take; more only if the lowest quality takes more.
        jobs: Processes.
        progress: Called with the number of samples done since the last call.

    Raises:
        DatasetError: A damaged sample.
    """
    few = [indices[n] for n in evenly_spread(len(indices), COLOURED_SAMPLES)]
    has_depth = "depth" in dataset.manifest.fields
    colours = depth_colours(dataset, dataset.records(few)) if has_depth else None
    tried = [indices[n] for n in evenly_spread(len(indices), SAMPLES_TRIED)]
    for quality in QUALITIES:
        trial = _pictures(dataset, tried, quality, colours)
        share = len(indices) / len(tried)
        backgrounds = min(dataset.manifest.num_backgrounds, len(indices))
        backgrounds_share = backgrounds / max(1, len(trial.backgrounds))
        size = sum(len(uri) for one in trial.samples.values() for uri in one.values()) * share
        size += sum(map(len, trial.backgrounds.values())) * backgrounds_share
        if size * MARGIN > at_most and quality is not QUALITIES[-1]:
            continue
        starts = range(0, len(indices), SAMPLES_PER_CHUNK)
        chunks = [indices[start : start + SAMPLES_PER_CHUNK] for start in starts]
        made = SamplePictures(quality, {}, {}, {}, colours)
        work = partial(_pictures, dataset, quality=quality, colours=colours)
        for part in in_jobs(work, chunks, jobs=jobs):
            made.samples.update(part.samples)
            made.backgrounds.update(part.backgrounds)
            made.background_of.update(part.background_of)
            progress(len(part.samples))
        if made.num_bytes <= at_most or quality is QUALITIES[-1]:
            return made
    raise AssertionError("the last quality is always taken")


def _pictures(
    dataset: Dataset, indices: Sequence[int], quality: Quality, colours: DepthColours | None
) -> SamplePictures:
    made = SamplePictures(quality, {}, {}, {}, colours)
    for index, record in zip(indices, dataset.records(indices), strict=True):
        made.samples[index] = _fields(dataset, record, quality, colours)
        if "background" in dataset.manifest.fields and record.background is not None:
            number = record.background
            made.background_of[index] = number
            if number not in made.backgrounds:
                made.backgrounds[number] = jpeg(dataset.background(number), quality)
    return made


def _fields(
    dataset: Dataset, record: Record, quality: Quality, colours: DepthColours | None
) -> dict[str, str]:
    images = dataset.stored_images(record)
    uris = {"composite": jpeg(images["composite"], quality)}
    if "mask" in images:
        uris["mask"] = _mask(images["mask"], quality)
    if "instances" in images:
        uris["instances"] = _instances(images["instances"], quality)
    if colours is not None:
        uris["depth"] = jpeg(colours.picture(dataset.depth(record)), quality)
    return uris


# ---- data URIs ---------------------------------------------------------------------------------


def jpeg(picture: np.ndarray, quality: Quality) -> str:
    """A picture, uint8 (h,w,3) RGB, as the data URI of a JPEG that is no larger than asked."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality.jpeg, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    small = np.ascontiguousarray(_fit(picture, quality.side_px)[..., ::-1])
    return data_uri(cv2.imencode(".jpg", small, options)[1].tobytes(), "image/jpeg")


def _mask(mask: np.ndarray, quality: Quality) -> str:
    small = _fit(mask, quality.side_px).astype(np.uint16)
    step = 255 // (MASK_LEVELS - 1)
    alpha = ((small + step // 2) // step * step).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([np.full_like(alpha, 255), alpha]), "LA").save(buffer, "PNG")
    return data_uri(buffer.getvalue(), "image/png")


def _instances(instances: np.ndarray, quality: Quality) -> str:
    small = resize_labels(instances, _fitting_size(instances, quality.side_px))
    return data_uri(encode_asset(colour_instances(small)), "image/png")


def heat_map_picture(colours: np.ndarray) -> str:
    """A small map, uint8 (h,w,3) RGB, as the data URI of a PNG with its very pixels."""
    return data_uri(encode_asset(colours), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """A file as a data URI; `kind` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _fit(picture: np.ndarray, side_px: int) -> np.ndarray:
    """Shrinks a picture until its longer side is at most `side_px`."""
    size = _fitting_size(picture, side_px)
    if size == picture.shape[:2]:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _fitting_size(picture: np.ndarray, side_px: int) -> tuple[int, int]:
    """Height and width of a picture that is shrunk until its longer side is at most `side_px`."""
    height, width = picture.shape[:2]
    zoom = min(1, side_px / max(height, width))
    return max(1, round(height * zoom)), max(1, round(width * zoom))
