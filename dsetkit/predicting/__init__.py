"""What trained networks see in new pictures: masks, cut-outs and depths at the pictures' size."""

from dsetkit.predicting.bundled import bundled_networks
from dsetkit.predicting.predictor import Prediction, Predictor
from dsetkit.predicting.shots import Shot, find_shots
from dsetkit.predicting.writing import FORMATS, ResultWriter, formats_of

__all__ = [
    "FORMATS",
    "Prediction",
    "Predictor",
    "ResultWriter",
    "Shot",
    "bundled_networks",
    "find_shots",
    "formats_of",
]
