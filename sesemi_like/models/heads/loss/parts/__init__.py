from .alignments import Alignment, AverageAlignment, DebiasedLogits, Marginal, QueueAlignment
from .averages import RunningAverage, mean_of_all
from .base import Part, Reads
from .distances import DISTANCES, Distance, distance_function, entropy, softmax_kl, softmax_mse
from .embedding import EmbeddingLossHead, SmoothedLabels
from .interpolation import INTERPOLATE, interpolate_logits, interpolated
from .masks import Mask, TrainingSignalAnnealing
from .metrics import confidence, top1
from .mixing import Mixing, Mixup, ResizeMix
from .policies import (
    ClassSamplingPolicy,
    ComplementPolicy,
    CurriculumPolicy,
    FixedPolicy,
    GaussianPolicy,
    LossPolicy,
    Policy,
    ProductPolicy,
    RelativePolicy,
    SelfAdaptivePolicy,
    policy_module,
)
from .prediction import Prediction, PseudoLabels
from .queues import FeatureQueue, InstanceBank, products, unit_rows
from .targets import HardTargets, SharpenedTargets
from .terms import (
    EntropyTerm,
    FairnessTerm,
    FeatureDistanceTerm,
    LabelledTerm,
    Term,
    ViewKLTerm,
)
from .thresholds import FixedThreshold, threshold_module
from .transformation_prediction import TransformationPredictionLossHead

__all__ = [
    "DISTANCES",
    "INTERPOLATE",
    "Alignment",
    "AverageAlignment",
    "ClassSamplingPolicy",
    "ComplementPolicy",
    "CurriculumPolicy",
    "DebiasedLogits",
    "Distance",
    "EmbeddingLossHead",
    "EntropyTerm",
    "FairnessTerm",
    "FeatureDistanceTerm",
    "FeatureQueue",
    "FixedPolicy",
    "FixedThreshold",
    "GaussianPolicy",
    "HardTargets",
    "InstanceBank",
    "LabelledTerm",
    "LossPolicy",
    "Marginal",
    "Mask",
    "Mixing",
    "Mixup",
    "Part",
    "Policy",
    "Prediction",
    "ProductPolicy",
    "PseudoLabels",
    "QueueAlignment",
    "Reads",
    "RelativePolicy",
    "ResizeMix",
    "RunningAverage",
    "SelfAdaptivePolicy",
    "SharpenedTargets",
    "SmoothedLabels",
    "Term",
    "TrainingSignalAnnealing",
    "TransformationPredictionLossHead",
    "ViewKLTerm",
    "confidence",
    "distance_function",
    "entropy",
    "interpolate_logits",
    "interpolated",
    "mean_of_all",
    "policy_module",
    "products",
    "softmax_kl",
    "softmax_mse",
    "threshold_module",
    "top1",
    "unit_rows",
]
