from .base import Policy, weigh
from .class_sampling import ClassSamplingPolicy
from .complement import ComplementPolicy
from .curriculum import CurriculumPolicy
from .fixed import FixedPolicy, policy_module
from .gaussian import GaussianPolicy
from .loss_threshold import LossPolicy
from .product import ProductPolicy
from .relative import RelativePolicy
from .self_adaptive import SelfAdaptivePolicy

__all__ = [
    "ClassSamplingPolicy",
    "ComplementPolicy",
    "CurriculumPolicy",
    "FixedPolicy",
    "GaussianPolicy",
    "LossPolicy",
    "Policy",
    "ProductPolicy",
    "RelativePolicy",
    "SelfAdaptivePolicy",
    "policy_module",
    "weigh",
]
