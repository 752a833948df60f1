from . import collation, transforms, views
from ._version import __version__
from .config.components import register
from .data import dataset, register_dataset
from .learners import Classifier, Learner
from .learners.checkpoints.loading import load_model
from .models.backbones import PyTorchImageModels
from .schedulers import PolynomialLR

__all__ = [
    "Classifier",
    "Learner",
    "PolynomialLR",
    "PyTorchImageModels",
    "__version__",
    "collation",
    "dataset",
    "load_model",
    "register",
    "register_dataset",
    "transforms",
    "views",
]
