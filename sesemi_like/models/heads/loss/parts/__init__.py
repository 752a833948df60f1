from .distances import DISTANCES, Distance, as_distance, entropy, softmax_kl, softmax_mse
from .metrics import confidence, top1
from .targets import HardTargets, SharpenedTargets
from .thresholds import FixedThreshold, as_threshold
from .transformation_prediction import TransformationPredictionLossHead

__all__ = [
    "DISTANCES",
    "Distance",
    "FixedThreshold",
    "HardTargets",
    "SharpenedTargets",
    "TransformationPredictionLossHead",
    "as_distance",
    "as_threshold",
    "confidence",
    "entropy",
    "softmax_kl",
    "softmax_mse",
    "top1",
]
