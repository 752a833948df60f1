from .base import Policy
from .fixed import FixedPolicy, policy_module

__all__ = ["FixedPolicy", "Policy", "policy_module"]
