"""The view that reads features in place of computing a view and its way through a network.

Shapes: B rows of a batch, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...views.draws import randint
from .store import FeatureStore


class StoredFeatures:
    """Reads the features of a batch's rows: of each row one of the draws that are kept, at random.

    Args:
        part: The name of what it returns, a part of the field that it stands for.

    Attributes:
        store: The features, once they are there.
        source: The field that tells the rows of a batch.
    """

    source = "index"

    def __init__(self, part: str) -> None:
        self.part = part
        self.store: FeatureStore | None = None

    def __call__(
        self, index: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Reads features.

        Args:
            index: The positions of the rows, int64 (B,).
            generator: Source of the draws, on the CPU.

        Returns:
            ``{part: (B, D)}`` on the device of `index`.
        """
        assert self.store is not None, "features are opened before the first batch"
        draws = randint(self.store.draws, (len(index),), generator).numpy()
        features = self.store.take(index.cpu().numpy(), draws)
        return {self.part: features.to(index.device, non_blocking=True)}
