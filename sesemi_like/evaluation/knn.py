"""How well the features alone tell the classes apart: a weighted nearest-neighbor classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..predictions import Predictions
from .base import Evaluator, Predict, Value


class KNN(Evaluator):
    """Classifies by the k most similar labeled samples (Wu et al. 2018, arXiv 1805.01978).

    Each neighbor votes for its class with ``exp(cosine similarity / temperature)``. Yields
    ``model/knn_top1`` and so on for every evaluated network, and ``knn_top1`` for the headline one.

    Args:
        data: The loader whose labeled samples are the neighbors, of training or of evaluation.
        k: Neighbors that vote; all of them where there are fewer.
        temperature: How much closer neighbors count more, above 0.
        every: Validations from one evaluation to the next.
        chunk: Samples classified at a time, which bounds the memory.
        on: val | test | both.
        sets: Loaders of evaluation that are measured likewise, under their names.

    Raises:
        ValueError: If a setting is out of range.
    """

    needs = ("features", "target")

    def __init__(
        self,
        data: str = "supervised",
        k: int = 20,
        temperature: float = 0.07,
        every: int = 1,
        chunk: int = 1024,
        on: str = "both",
        sets: Sequence[str] = (),
    ) -> None:
        super().__init__(every, on, sets)
        for name, value in {"k": k, "temperature": temperature, "chunk": chunk}.items():
            if value <= 0:
                raise ValueError(f"{name}: found {value}; must be above 0")
        self.data = data
        self.reads = (data,)
        self.k = k
        self.temperature = temperature
        self.chunk = chunk

    def evaluate(
        self, predict: Predict, data: Mapping[str, Predictions]
    ) -> Iterator[tuple[str, Value]]:
        """Measures the features of every evaluated network."""
        bank = predict(self.data).labeled()
        if not len(bank):
            raise ValueError(f"{self.data} has no labeled sample; kNN needs some")
        for predictions in data.values():
            queries = predictions.labeled()
            value = 0.0
            neighbors = bank.of("features")
            for network, features in queries.of("features").items():
                guesses = self.classify(features, neighbors[network], bank.labels)
                value = float((guesses == queries.labels).double().mean())
                yield f"{network}/knn_top1", value
            yield "knn_top1", value

    def classify(self, queries: Tensor, bank: Tensor, target: Tensor) -> Tensor:
        """Classifies features.

        Args:
            queries: Features (N, D).
            bank: Features of the neighbors (M, D).
            target: Their classes (M,).

        Returns:
            The classes (N,).
        """
        bank = F.normalize(bank.float(), dim=1)
        one_hot = F.one_hot(target).float()
        guesses = []
        for rows in F.normalize(queries.float(), dim=1).split(self.chunk):
            similarity, nearest = (rows @ bank.T).topk(min(self.k, len(bank)), dim=1)
            votes = (similarity / self.temperature).exp()[:, :, None] * one_hot[nearest]
            guesses.append(votes.sum(dim=1).argmax(dim=1))
        return torch.cat(guesses)
