from .base import Policy
from .class_sampling import ClassSamplingPolicy
from .complement import ComplementPolicy
from .curriculum import CurriculumPolicy
from .fixed import FixedPolicy, policy_module
from .loss_threshold import LossPolicy
from .product import ProductPolicy
from .relative import RelativePolicy

__all__ = [
    "ClassSamplingPolicy",
    "ComplementPolicy",
    "CurriculumPolicy",
    "FixedPolicy",
    "LossPolicy",
    "Policy",
    "ProductPolicy",
    "RelativePolicy",
    "policy_module",
]
