from .base import Policy
from .curriculum import CurriculumPolicy
from .fixed import FixedPolicy, policy_module

__all__ = ["CurriculumPolicy", "FixedPolicy", "Policy", "policy_module"]
