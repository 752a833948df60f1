from .distances import DISTANCES, Distance, distance_function, entropy, softmax_kl, softmax_mse
from .masks import Mask, TrainingSignalAnnealing
from .metrics import confidence, top1
from .targets import HardTargets, SharpenedTargets
from .thresholds import FixedThreshold, threshold_module
from .transformation_prediction import TransformationPredictionLossHead

__all__ = [
    "DISTANCES",
    "Distance",
    "FixedThreshold",
    "HardTargets",
    "Mask",
    "SharpenedTargets",
    "TrainingSignalAnnealing",
    "TransformationPredictionLossHead",
    "confidence",
    "distance_function",
    "entropy",
    "softmax_kl",
    "softmax_mse",
    "threshold_module",
    "top1",
]
