"""Cut-outs for `generate`: pictures and their masks become RGBA pictures with clean edges."""

from dsetkit.cutting.coco import CocoMasks
from dsetkit.cutting.edges import cut_out
from dsetkit.cutting.hugging_face import HuggingFaceMasks
from dsetkit.cutting.mask_folder import MaskFolder
from dsetkit.cutting.matting_model import MattingModel
from dsetkit.cutting.run import CutOuts, Cutting, cut_outs

__all__ = [
    "CocoMasks",
    "CutOuts",
    "Cutting",
    "HuggingFaceMasks",
    "MaskFolder",
    "MattingModel",
    "cut_out",
    "cut_outs",
]
