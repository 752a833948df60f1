"""Masks: how much each labeled row weighs, judged by what is predicted for it.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from .....errors import suggest
from ..base import Step

Mask = Callable[[Tensor, Tensor, Step], Tensor]
"""From logits (N, C), classes (N,) in [0, C) and the step to one weight per row (N,)."""

_SPEED = 5.0

SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "exp": lambda share: math.exp(_SPEED * (share - 1)),
    "log": lambda share: 1 - math.exp(-_SPEED * share),
}
"""How the share of the run that has passed raises the threshold, by name."""


class TrainingSignalAnnealing(nn.Module):
    """Leaves out labeled rows that are predicted too well already (TSA).

    Xie et al., "Unsupervised data augmentation for consistency training" (UDA), 2019,
    arXiv 1904.12848, section 3.3. A row of class y weighs 1 while p_y <= eta, else 0, with::

        eta = a (1 - 1/C) + 1/C        a = t/T (linear), exp(5 (t/T - 1)) (exp),
                                           1 - exp(-5 t/T) (log)

    The paper divides by the number of rows that are kept: reduction ``weighted_mean``.

    Args:
        schedule: ``linear``, ``exp`` (few labels) or ``log`` (many labels).
        max_iterations: T, the steps of the run: ``${app:max_iterations}``.

    Raises:
        ValueError: If there is no such schedule; at the first call, if T is not given.
    """

    def __init__(self, schedule: str = "linear", max_iterations: int | None = None) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            known = suggest(schedule, SCHEDULES, noun="schedules")
            raise ValueError(f"schedule: found {schedule!r}; {known}")
        self.schedule = SCHEDULES[schedule]
        self.max_iterations = max_iterations

    def forward(self, logits: Tensor, target: Tensor, step: Step) -> Tensor:
        """Weighs every row.

        Args:
            logits: Predictions (N, C).
            target: Classes (N,) in [0, C).
            step: Where training stands.

        Returns:
            0 for each row that is left out and 1 for the others (N,), float32.
        """
        if not self.max_iterations:
            raise ValueError("max_iterations: found none; needs the steps of the run")
        share = min(step.index / self.max_iterations, 1.0)
        least = 1 / logits.shape[1]
        threshold = self.schedule(share) * (1 - least) + least
        probabilities = logits.detach().float().softmax(dim=1)
        own = probabilities.gather(1, target[:, None])[:, 0]
        return (own <= threshold).float()
