from .durations import Duration, steps
from .lr import CosineLR, PolynomialLR
from .weight import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    SigmoidSchedule,
    StepSchedule,
)

__all__ = [
    "ConstantSchedule",
    "CosineLR",
    "CosineSchedule",
    "Duration",
    "LinearSchedule",
    "PolynomialLR",
    "SigmoidSchedule",
    "StepSchedule",
    "steps",
]
