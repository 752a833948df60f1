"""CoMatch and SimMatch in NumPy, row by row, as their papers write them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def unit(row: ArrayLike) -> Array:
    """A vector divided by its norm."""
    given = np.asarray(row, dtype=np.float64)
    return given / np.sqrt((given**2).sum())


def softmax(values: ArrayLike) -> Array:
    """exp(v_k) / sum_j exp(v_j)."""
    exponentials = np.exp(np.asarray(values, dtype=np.float64) - np.max(values))
    return exponentials / exponentials.sum()


def cross_entropy(target: Array, logits: ArrayLike) -> float:
    """-sum_c q_c log p_c."""
    return float(-(target * np.log(softmax(logits))).sum())


@dataclass
class CoMatch:
    """arXiv 2011.11183: equations 4 (smoothing), 6 (pseudo-labels), 8 to 10 (graph and contrast).

    Attributes:
        length: Rows of the queue.
        start: The step after which predictions are smoothed.
        queue: The newest pairs of an embedding and what is predicted, the oldest first.
        step: Steps made.
    """

    length: int
    start: int
    alpha: float = 0.9
    temperature: float = 0.2
    threshold: float = 0.95
    graph_threshold: float = 0.8
    queue: list[tuple[Array, Array]] = field(default_factory=list)
    step: int = 0

    def follow(
        self,
        weak: tuple[ArrayLike, ArrayLike],
        strong: tuple[ArrayLike, ArrayLike],
        second: ArrayLike,
        labeled: tuple[ArrayLike, ArrayLike],
    ) -> tuple[Array, Array, Array, Array]:
        """One step.

        Args:
            weak: Logits (N, C) and embeddings (N, D), of any norm.
            strong: The same of the strong view.
            second: The embeddings of the other one.
            labeled: Embeddings of labeled rows (M, D) and their classes (M,).

        Returns:
            Targets (N, C), weights, losses and contrasts (N,).
        """
        predicted = [softmax(z) for z in np.asarray(weak[0])]
        embedded = [unit(row) for row in np.asarray(weak[1])]
        targets = list(predicted)
        if self.step > self.start and self.queue:
            targets = [self._smooth(*pair) for pair in zip(predicted, embedded, strict=True)]
        weights = np.array([float(max(q) >= self.threshold) for q in targets])
        pairs = zip(targets, np.asarray(strong[0]), strict=True)
        losses = np.array([cross_entropy(q, z) for q, z in pairs])
        contrasts = self._contrasts(targets, strong[1], second)
        self.queue += list(zip(embedded, predicted, strict=True))
        for row, target in zip(np.asarray(labeled[0]), np.asarray(labeled[1]), strict=True):
            if target >= 0:
                self.queue.append((unit(row), np.eye(np.asarray(weak[0]).shape[1])[target]))
        self.queue = self.queue[-self.length :]
        self.step += 1
        shape = np.asarray(weak[0]).shape
        return np.array(targets).reshape(shape), weights, losses, contrasts

    def _smooth(self, predicted: Array, embedded: Array) -> Array:
        shares = softmax([embedded @ z / self.temperature for z, _ in self.queue])
        others = sum(a * p for a, (_, p) in zip(shares, self.queue, strict=True))
        return self.alpha * predicted + (1 - self.alpha) * others

    def _contrasts(self, targets: list[Array], first: ArrayLike, second: ArrayLike) -> Array:
        ones, others = ([unit(row) for row in np.asarray(x)] for x in (first, second))
        found = []
        for i, z in enumerate(ones):
            graph = np.array([1.0 if i == j else targets[i] @ q for j, q in enumerate(targets)])
            graph = np.where(graph >= self.graph_threshold, graph, 0)
            similar = softmax([z @ other / self.temperature for other in others])
            found.append(-(graph / graph.sum() * np.log(similar + 1e-7)).sum())
        return np.array(found)


@dataclass
class SimMatch:
    """arXiv 2203.06915: equations 4 to 12, and the bank of section 3.4.

    Attributes:
        momentum: How much of an embedding of the bank stays.
        bank: The embedding and the class of each labeled row that was seen, by its index.
    """

    momentum: float
    alpha: float = 0.9
    temperature: float = 0.1
    threshold: float = 0.95
    bank: dict[int, tuple[Array, int]] = field(default_factory=dict)

    def follow(
        self,
        weak: tuple[ArrayLike, ArrayLike],
        strong: tuple[ArrayLike, ArrayLike],
        labeled: tuple[ArrayLike, ArrayLike, ArrayLike],
        *,
        epoch: int,
    ) -> tuple[Array, Array, Array, Array]:
        """One step.

        Args:
            weak: Logits (N, C) and embeddings (N, D), of any norm.
            strong: The same of the strong view.
            labeled: Embeddings of labeled rows (M, D), their classes and indices (M,).
            epoch: Epochs completed.

        Returns:
            Targets (N, C), weights, losses and losses of similarities (N,).
        """
        targets, instances = [], []
        rows = zip(*(np.asarray(x) for x in (*weak, *strong)), strict=True)
        losses = []
        for logits, embedded, learned, moved in rows:
            p = softmax(logits)
            q, instance = p, 0.0
            if epoch > 0 and self.bank:
                a = self._shares(embedded)
                v = {k: a[k] * p[label] for k, (_, label) in self.bank.items()}
                student = self._shares(moved)
                total = sum(v.values())
                instance = -sum(v[k] / total * np.log(student[k]) for k in v)
                q = self.alpha * p
                for k, (_, label) in self.bank.items():
                    q[label] += (1 - self.alpha) * a[k]
            targets.append(q)
            instances.append(float(instance))
            losses.append(cross_entropy(q, learned))
        weights = np.array([float(max(q) >= self.threshold) for q in targets])
        self._write(*(np.asarray(x) for x in labeled))
        shape = np.asarray(weak[0]).shape
        found = np.array(targets).reshape(shape)
        return found, weights, np.array(losses), np.array(instances)

    def _shares(self, embedded: Array) -> dict[int, float]:
        z = unit(embedded)
        shares = softmax([z @ other / self.temperature for other, _ in self.bank.values()])
        return dict(zip(self.bank, shares.tolist(), strict=True))

    def _write(self, embedded: Array, target: Array, index: Array) -> None:
        newest = {}
        for row, label, k in zip(embedded, target.tolist(), index.tolist(), strict=True):
            if label >= 0:
                newest[k] = (unit(row), label)
        for k, (row, label) in newest.items():
            if k in self.bank:
                row = unit(self.momentum * self.bank[k][0] + (1 - self.momentum) * row)
            self.bank[k] = (row, label)
