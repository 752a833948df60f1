"""Jigsaw prediction: in which order are the tiles of this image?"""

from __future__ import annotations

from .parts.transformation_prediction import TransformationPredictionLossHead


class JigsawPredictionLossHead(TransformationPredictionLossHead):
    """Learns features from unlabeled images by telling how their tiles were shuffled.

    Noroozi & Favaro, "Unsupervised learning of visual representations by solving jigsaw puzzles",
    2016, arXiv 1603.09246; with the shuffled tiles put back into one image, so that any backbone
    can read them: Carlucci et al., "Domain generalization by solving jigsaw puzzles" (JiGen),
    2019, arXiv 1903.06864.

    An image whose tiles are in the k-th of P orders has the target k. With features f(x) and this
    head's own linear layer g::

        loss = -log softmax(g(f(shuffle(x, k))))_k

    JiGen averages over all shuffled images: reduction ``mean``.

    Args:
        input_data: The loader or view (``unlabeled.jigsaw``) that offers `image` and `target`
            (N,) in [0, num_permutations).
        input_backbone: The network that returns `features` (N, D).
        num_permutations: P; 24 are all orders of 2 x 2 tiles.

    Raises:
        ValueError: If there are fewer than two permutations.

    Example::

        regularization_loss_heads:
          jigsaw_prediction:
            head:
              _target_: sesemi_like.models.heads.loss.JigsawPredictionLossHead
              input_data: unlabeled.jigsaw
    """

    def __init__(
        self, input_data: str, input_backbone: str = "backbone", num_permutations: int = 24
    ) -> None:
        super().__init__(input_data, input_backbone, num_permutations)
