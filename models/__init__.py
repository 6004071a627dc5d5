"""The networks: create one by name, read its outputs, save and load its weights."""

from models.averaging import average_models
from models.errors import ModelError
from models.heads import answer
from models.network import Network
from models.pretrained import load_pretrained_encoder
from models.registry import MODELS, create_model
from models.weights import load_model, save_model

__all__ = [
    "MODELS",
    "ModelError",
    "Network",
    "answer",
    "average_models",
    "create_model",
    "load_model",
    "load_pretrained_encoder",
    "save_model",
]
