from .alignments import Alignment
from .base import Part, Reads
from .distances import DISTANCES, Distance, distance_function, entropy, softmax_kl, softmax_mse
from .masks import Mask, TrainingSignalAnnealing
from .metrics import confidence, top1
from .policies import FixedPolicy, Policy, policy_module
from .prediction import Prediction, PseudoLabels
from .targets import HardTargets, SharpenedTargets
from .terms import Term
from .thresholds import FixedThreshold, threshold_module
from .transformation_prediction import TransformationPredictionLossHead

__all__ = [
    "DISTANCES",
    "Alignment",
    "Distance",
    "FixedPolicy",
    "FixedThreshold",
    "HardTargets",
    "Mask",
    "Part",
    "Policy",
    "Prediction",
    "PseudoLabels",
    "Reads",
    "SharpenedTargets",
    "Term",
    "TrainingSignalAnnealing",
    "TransformationPredictionLossHead",
    "confidence",
    "distance_function",
    "entropy",
    "policy_module",
    "softmax_kl",
    "softmax_mse",
    "threshold_module",
    "top1",
]
