"""How far a measured share may be from the true one."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(share: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share of independent trials (Wilson 1927).

    Args:
        share: The share of successes found, in [0, 1].
        count: The number of trials, above 0.
        confidence: The share of such intervals that hold the true value, in (0, 1).

    Returns:
        The lower and the upper end, in [0, 1].
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    center = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    scale = 1 + z * z / count
    return max(0.0, (center - spread) / scale), min(1.0, (center + spread) / scale)
