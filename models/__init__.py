"""The networks: create one by name, read its outputs, save and load its weights.

Names that need torch are loaded on first use: a command line needs the names of the networks alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from models.errors import ModelError
from models.registry import MODELS, create_model

if TYPE_CHECKING:
    from models.averaging import average_models
    from models.heads import answer
    from models.network import Network
    from models.pretrained import load_pretrained_encoder
    from models.weights import load_model, save_model

_MODULES = {
    "Network": "network",
    "answer": "heads",
    "average_models": "averaging",
    "load_model": "weights",
    "load_pretrained_encoder": "pretrained",
    "save_model": "weights",
}

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


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"models.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'models' has no attribute {name!r}")
