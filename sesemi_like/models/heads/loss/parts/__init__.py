from .distances import DISTANCES, Distance, distance_function, entropy, softmax_kl, softmax_mse
from .metrics import confidence, top1
from .targets import HardTargets, SharpenedTargets
from .thresholds import FixedThreshold, threshold_module
from .transformation_prediction import TransformationPredictionLossHead

__all__ = [
    "DISTANCES",
    "Distance",
    "FixedThreshold",
    "HardTargets",
    "SharpenedTargets",
    "TransformationPredictionLossHead",
    "confidence",
    "distance_function",
    "entropy",
    "softmax_kl",
    "softmax_mse",
    "threshold_module",
    "top1",
]
