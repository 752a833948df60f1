"""What loss heads and evaluations ask for, merged and run: every distinct forward once."""

from .asking import ask
from .plan import ForwardPlan
from .problems import request_problems
from .requests import Requests, fields_of

__all__ = ["ForwardPlan", "Requests", "ask", "fields_of", "request_problems"]
