"""Teachers from `transformers`: whatever `AutoModelForDepthEstimation` can load.

Depth Anything V2 (relative and metric), DPT, GLPN, ZoeDepth, Depth Pro and others, by the model's
id or from a folder written by `save_pretrained`. `predicted_depth` goes through the processor's own
`post_process_depth_estimation`, which knows what its network needs (ZoeDepth pads pictures, Depth
Pro answers inverse depth for a canonical camera), to the composite's size. Never the picture of
`pipeline("depth-estimation")`: that is scaled anew for each image, to 8 bit.

Only safetensors weights are read, and no code that comes with a model is run.
"""

import hashlib
import inspect
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate

from dsetkit.errors import TeacherError
from dsetkit.extras import extra_module
from dsetkit.networks.resizing import fitted_size
from dsetkit.store import LARGEST_DEPTH_M
from dsetkit.teachers.licences import licence_of, warn_if_restricted
from dsetkit.teachers.options import TeacherOptions, check_height
from dsetkit.teachers.running import Runner

ALWAYS_METRIC = ("glpn", "zoedepth", "depth_pro")  # model_type of the config

log = logging.getLogger(__name__)


class HuggingFaceTeacher:
    """A frozen depth model of `transformers`.

    Args:
        source: Id of a model, or a folder with its config, processor and `.safetensors`.
        runner: Where and how it runs.
        options: kind, max_depth_m and size, where the config does not say or is not wanted.

    Raises:
        TeacherError: `transformers` is not installed, the model cannot be loaded whole, or its
            unit cannot be told.
    """

    def __init__(self, source: str, *, runner: Runner, options: TeacherOptions) -> None:
        folder = Path(source)
        self.name = f"hf:{folder.resolve().name if folder.is_dir() else source}"
        self._processor, model = _load(source, self.name)
        self.kind = _kind(model.config, options.kind, self.name)
        self.max_depth_m = 0.0
        if self.kind == "metric":
            self.max_depth_m = _max_depth_m(model.config, options.max_depth_m, self.name)
        elif options.max_depth_m is not None:
            raise TeacherError(f"teacher {self.name} is relative: leave out --teacher-max-depth")
        self.needs_range = self.kind == "relative"
        self.weights_hash = weights_hash(model)
        self._model = model.float().to(runner.device).eval().requires_grad_(False)
        self._run = runner.prepare(self._model)
        self._device, self._size = runner.device, options.size
        self._check_size()
        licence = licence_of(source)
        warn_if_restricted(self.name, licence)
        self.settings = ({"licence": licence} if licence else {}) | runner.settings
        if options.size:
            self.settings["size"] = options.size

    @torch.inference_mode()
    def __call__(self, composites: np.ndarray) -> np.ndarray:
        """Depth of uint8 (N,H,W,3) RGB: float32 (N,H,W), metres, or inverse depth in its unit."""
        count, height, width = composites.shape[:3]
        shown, sizes = self._preprocess(composites)
        inputs = shown.to(self._device)
        outputs: Any = self._run(**inputs)
        wanted = {"target_sizes": [(height, width)] * count}
        post_process = getattr(self._processor, "post_process_depth_estimation", None)
        if post_process is None:  # a processor made for other tasks too
            depth = outputs.predicted_depth[:, None]
            size = (height, width)
            depth = interpolate(depth, size=size, mode="bicubic", align_corners=False)[:, 0]
            return depth.float().cpu().numpy()
        if "source_sizes" in inspect.signature(post_process).parameters:  # ZoeDepth takes off pads
            wanted["source_sizes"] = sizes
        processed = post_process(outputs, **wanted)
        return torch.stack([one["predicted_depth"] for one in processed]).float().cpu().numpy()

    def _preprocess(self, composites: np.ndarray) -> tuple[Any, list[tuple[int, int]]]:
        """The processor's batch, and the size of each picture as the processor saw it."""
        pictures = torch.from_numpy(np.array(composites)).permute(0, 3, 1, 2)  # (N, 3, H, W)
        resized = {}
        if self._size and self._model.config.model_type == "glpn":
            # Its processor takes pictures in the size they come, down to multiples of 32.
            size = fitted_size(*pictures.shape[2:], to_height=self._size, stride=32)
            pictures = interpolate(pictures, size=size, mode="bilinear", antialias=True)
        elif self._size:
            own = dict(self._processor.size)  # ZoeDepth's is 384 x 512
            width = round(self._size * own["width"] / own["height"])
            resized["size"] = {"height": self._size, "width": width}
        shown = self._processor(
            images=list(pictures),
            return_tensors="pt",
            input_data_format="channels_first",
            **resized,
        )
        return shown, [(pictures.shape[2], pictures.shape[3])] * len(pictures)

    def _check_size(self) -> None:
        if self._size is None:
            return
        family = self._model.config.model_type
        if family == "depth_pro" or getattr(self._model.config, "is_hybrid", False):  # of DPT
            raise TeacherError(
                f"teacher {self.name} sees every picture at its own size: leave out --teacher-size"
            )
        step = {"glpn": 32, "depth_anything": 14}.get(family, 1)
        step = getattr(self._model.config, "patch_size", None) or step
        if isinstance(step, int):
            check_height(self.name, self._size, step=step)


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over names and bytes of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


# ---- loading -----------------------------------------------------------------------------------


def _load(source: str, name: str) -> tuple[Any, Any]:
    """The processor and the model, whole."""
    transformers = _transformers()
    _check_source(source, name)
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
        model, found = transformers.AutoModelForDepthEstimation.from_pretrained(
            source, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as error:  # by the place of the fault: of hub, config, safetensors, torch
        reason = " ".join(str(error).split())[:300]
        raise TeacherError(
            f"teacher {name} cannot be loaded ({reason}): expected a depth model of transformers "
            "with config.json, preprocessor_config.json and .safetensors weights"
        ) from error
    missing = sorted(found["missing_keys"])
    if missing:  # transformers would go on with random numbers
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise TeacherError(
            f"teacher {name}: its weights have no {', '.join(missing[:3])}{more}: expected a model "
            "trained for depth, download it again or take another"
        )
    return processor, model


def _transformers() -> ModuleType:
    return extra_module("transformers", extra="teachers", purpose="teacher hf", error=TeacherError)


def _check_source(source: str, name: str) -> None:
    """Tells of a folder that is not there before a model of that name is looked for on the hub."""
    folder = Path(source)
    looks_like_a_path = source.startswith((".", "/", "~")) or len(folder.parts) > 2
    if looks_like_a_path and not folder.is_dir():
        raise TeacherError(f"teacher {name}: no folder {source}: expected one, or a model's id")
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise TeacherError(
            f"teacher {name}: no .safetensors in {source}: other formats can hold code and are not "
            "read; save the model anew by save_pretrained"
        )


# ---- unit --------------------------------------------------------------------------------------


def _kind(config: Any, asked: str | None, name: str) -> str:
    """`metric` or `relative`, from the config; of DPT, trained for both, as asked."""
    told: str | None = getattr(config, "depth_estimation_type", None)
    if config.model_type in ALWAYS_METRIC:
        told = "metric"
    if told is not None and asked not in (None, told):
        raise TeacherError(
            f"teacher {name}: its config says {told}, --teacher-kind {asked}: leave the flag out"
        )
    kind = told or asked
    if kind is None and config.model_type == "dpt":
        return "relative"
    if kind is None:
        raise TeacherError(
            f"teacher {name}: its config ({config.model_type}) does not tell the unit of its "
            "depth: give --teacher-kind metric (metres) or relative (inverse depth)"
        )
    return kind


def _max_depth_m(config: Any, asked: float | None, name: str) -> float:
    """Greatest depth [m]: as asked, or of the config (of ZoeDepth: of its bins)."""
    if asked is not None:
        return asked
    bins = getattr(config, "bin_configurations", None)
    told = max(one["max_depth"] for one in bins) if bins else getattr(config, "max_depth", None)
    if not told:
        raise TeacherError(
            f"teacher {name}: its config names no greatest depth: give --teacher-max-depth M "
            "(10 for rooms)"
        )
    if told > LARGEST_DEPTH_M:
        log.warning(
            "teacher %s answers up to %g m; what is beyond %g m becomes invalid, for datasets "
            "store millimetres in 16 bits",
            name,
            told,
            LARGEST_DEPTH_M,
        )
    return min(float(told), LARGEST_DEPTH_M)
