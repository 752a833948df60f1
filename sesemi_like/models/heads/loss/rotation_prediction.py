"""Rotation prediction: which way up is this image?"""

from __future__ import annotations

from .parts.transformation_prediction import TransformationPredictionLossHead


class RotationPredictionLossHead(TransformationPredictionLossHead):
    """Learns features from unlabeled images by telling how they were turned.

    Gidaris et al., "Unsupervised representation learning by predicting image rotations", 2018,
    arXiv 1803.07728; as a regularizer beside the supervised loss: Tran, "Exploring self-supervised
    regularization for supervised and semi-supervised learning" (SESEMI), 2019, arXiv 1906.10343.

    An image turned by ``k * 90`` degrees, k in {0, 1, 2, 3}, has the target k. With features f(x)
    and this head's own linear layer g::

        loss = -log softmax(g(f(rotate(x, k))))_k

    The supervised head and this one share the backbone alone. Both papers average over all
    rotated images: reduction ``mean``; SESEMI adds the loss with weight 1.

    Args:
        input_data: The loader (``rotation_prediction``) or view (``unlabeled.rotation``) that
            offers `image` and `target` (N,) in [0, num_rotations).
        input_backbone: The network that returns `features` (N, D).
        num_rotations: How many rotations there are; 4 are the multiples of 90 degrees.
        hidden_layers: Layers of D units with ReLU before g; CRMatch (Fan et al., 2021,
            arXiv 2112.05825) has one.

    Raises:
        ValueError: If there are fewer than two rotations, or fewer than no hidden layers.

    Example::

        regularization_loss_heads:
          rotation_prediction:
            head:
              _target_: sesemi_like.models.heads.loss.RotationPredictionLossHead
              input_data: unlabeled.rotation
    """

    def __init__(
        self,
        input_data: str,
        input_backbone: str = "backbone",
        num_rotations: int = 4,
        hidden_layers: int = 0,
    ) -> None:
        super().__init__(input_data, input_backbone, num_rotations, hidden_layers)
