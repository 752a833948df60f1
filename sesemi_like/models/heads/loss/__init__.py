from .base import Fields, Forward, LossHead, LossOutputs, LossValues, Step
from .comatch import CoMatchLossHead
from .consistency import ConsistencyLossHead
from .entropy_minimization import EntropyMinimizationLossHead
from .fixmatch import FixMatchLossHead
from .ict import ICTLossHead
from .jigsaw_prediction import JigsawPredictionLossHead
from .mean_teacher import MeanTeacherLossHead
from .mixmatch import MixMatchLossHead
from .pseudo_label import PseudoLabelLossHead
from .regmixmatch import RegMixMatchLossHead
from .remixmatch import ReMixMatchLossHead
from .rotation_prediction import RotationPredictionLossHead
from .simmatch import SimMatchLossHead
from .supervised import SupervisedLossHead
from .vat import VATLossHead

__all__ = [
    "CoMatchLossHead",
    "ConsistencyLossHead",
    "EntropyMinimizationLossHead",
    "Fields",
    "FixMatchLossHead",
    "Forward",
    "ICTLossHead",
    "JigsawPredictionLossHead",
    "LossHead",
    "LossOutputs",
    "LossValues",
    "MeanTeacherLossHead",
    "MixMatchLossHead",
    "PseudoLabelLossHead",
    "ReMixMatchLossHead",
    "RegMixMatchLossHead",
    "RotationPredictionLossHead",
    "SimMatchLossHead",
    "Step",
    "SupervisedLossHead",
    "VATLossHead",
]
