"""What loss heads and evaluations ask for, merged and run: every distinct forward once."""

from .plan import ForwardPlan
from .requests import Requests, fields_of, request_problems

__all__ = ["ForwardPlan", "Requests", "fields_of", "request_problems"]
