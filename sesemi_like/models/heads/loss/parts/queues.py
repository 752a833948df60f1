"""Memories of embeddings: of the newest rows, and of every labeled row.

Shapes: N rows, D features, C classes, L rows of a queue, K rows of a bank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .....distributed import gather_rows


def unit_rows(features: Tensor) -> Tensor:
    """Divides features (N, D) by their norms, in float32 at least."""
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)


def products(rows: Tensor, others: Tensor) -> Tensor:
    """The inner products (N, K) of rows (N, D) with others (K, D), in mixed precision too exact."""
    device = "cpu" if rows.is_meta else rows.device.type
    with torch.autocast(device, enabled=False):
        return rows @ others.T


class FeatureQueue(nn.Module):
    """The newest embeddings and what is predicted for them, of all processes.

    It is the memory bank of CoMatch (Li et al., 2021, arXiv 2011.11183, section 3.3).

    Args:
        length: L.
        features: D.
        classes: C.

    Attributes:
        features: The embeddings (L, D), float32.
        probabilities: What is predicted for them (L, C), float32.
        num_rows: How many rows were put in so far, a tensor of no dimension.

    Raises:
        ValueError: If the length is below 1.
    """

    features: Tensor
    probabilities: Tensor
    num_rows: Tensor

    def __init__(self, length: int, features: int, classes: int) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"queue_length: found {length}; needs 1 row at least")
        self.register_buffer("features", torch.zeros(length, features))
        self.register_buffer("probabilities", torch.zeros(length, classes))
        self.register_buffer("num_rows", torch.tensor(0))

    @torch.no_grad()
    def push(self, features: Tensor, probabilities: Tensor, counted: Tensor | None = None) -> None:
        """Puts the rows of all processes in; the oldest make room.

        Args:
            features: Embeddings (N, D); N may differ between processes and be zero.
            probabilities: What is predicted for them (N, C).
            counted: Which of them are put in (N,), bool; None puts in all.
        """
        counted = features.new_ones(len(features)) if counted is None else counted
        parts = [part.to(self.features) for part in (features, probabilities, counted[:, None])]
        sizes = [part.shape[1] for part in parts]
        new, predicted, counts = gather_rows(torch.cat(parts, dim=1)).split(sizes, dim=1)
        is_counted, length = counts[:, 0] > 0, len(self.features)
        number, total = is_counted.cumsum(0), is_counted.sum()
        is_kept = is_counted & (number > total - length)
        # Selecting rows would have a GPU wait for their number: others go into a place of no row.
        place = ((self.num_rows + number - 1) % length).where(is_kept, length)
        for buffer, rows in ((self.features, new), (self.probabilities, predicted)):
            buffer.copy_(_with_zeros(buffer).index_copy(0, place, rows)[:length])
        self.num_rows += total

    def smooth(
        self, probabilities: Tensor, features: Tensor, *, alpha: float, temperature: float
    ) -> Tensor:
        """Moves predictions towards those of similar rows in the queue.

        With the rows f and P of the queue, ``alpha p + (1 - alpha) softmax(z f' / t) P``: equation
        4 of CoMatch. An empty queue changes nothing.

        Args:
            probabilities: p (N, C).
            features: z, of norm 1 (N, D).
            alpha: How much a prediction keeps of itself, in [0, 1].
            temperature: t, above 0.

        Returns:
            Probabilities (N, C).
        """
        is_filled = torch.arange(len(self.features), device=features.device) < self.num_rows
        similarities = products(features.to(self.features), self.features) / temperature
        shares = similarities.masked_fill(~is_filled, _LEAST).softmax(dim=1)
        others = products(shares, self.probabilities.T).to(probabilities)
        smoothed = alpha * probabilities + (1 - alpha) * others
        return torch.where(self.num_rows > 0, smoothed, probabilities)


class InstanceBank(nn.Module):
    """An embedding and the class of every labeled row, which its `index` tells from others.

    It is the memory of SimMatch (Zheng et al., 2022, arXiv 2203.06915, section 3.4). Rows have
    their places in the order in which they are seen, for few of a data set's rows may be labeled;
    places that are still free are not similar to anything.

    Args:
        size: K, the labeled rows; 1 at least.
        features: D.
        indices: How many values there are of `index`.

    Attributes:
        features: The embeddings (K, D), float32, of norm 1.
        label: Their classes (K,), int64, -1 for places that are free.
        place: The place of each `index` (indices,), int64, -1 for those not seen yet.
    """

    features: Tensor
    label: Tensor
    place: Tensor

    def __init__(self, size: int, features: int, indices: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(size, features))
        self.register_buffer("label", torch.full((size,), -1))
        self.register_buffer("place", torch.full((indices,), -1))

    @torch.no_grad()
    def write(self, index: Tensor, features: Tensor, label: Tensor, momentum: float) -> None:
        """Writes the labeled rows of all processes; of rows with one index the last one counts.

        Args:
            index: Which rows they are (N,), int64; N may differ between processes and be zero.
            features: Embeddings of norm 1 (N, D).
            label: Classes (N,), int64, -1 for rows that have none and are left out.
            momentum: How much of an embedding stays, in [0, 1): the new one is
                ``momentum old + (1 - momentum) new``, divided by its norm.
        """
        index, label = gather_rows(torch.stack([index, label], dim=1)).unbind(dim=1)
        features = gather_rows(features.to(self.features))
        if not len(index):
            return
        # Selecting rows would have a GPU wait for their number: others go into a place of no row.
        indices, nowhere = len(self.place), len(self.label)
        of_index = index.where(label >= 0, indices)
        position = torch.arange(len(index), device=index.device)
        last = position.new_full((indices + 1,), -1)
        last = last.scatter_reduce(0, of_index, position, "amax")
        self._give_places(last[:indices] >= 0)
        is_last = (label >= 0) & (last[of_index] == position)
        place = self.place[index].where(is_last, nowhere).clamp(max=nowhere)
        before, labels = _with_zeros(self.features), _with_zeros(self.label)
        mixed = F.normalize(momentum * before[place] + (1 - momentum) * features, dim=1)
        is_known = labels[place] >= 0
        new = torch.where(is_known[:, None], mixed, features)
        self.features.copy_(before.index_copy(0, place, new)[:nowhere])
        self.label.copy_(labels.index_copy(0, place, label)[:nowhere])

    def _give_places(self, is_seen: Tensor) -> None:
        """Gives those of the indices (indices,) that have no place yet the next free ones."""
        is_new = is_seen & (self.place < 0)
        numbers = (self.place >= 0).sum() + is_new.cumsum(0) - 1
        self.place.copy_(torch.where(is_new, numbers, self.place))

    @property
    def is_begun(self) -> Tensor:
        """Whether any row was seen, a tensor of no dimension."""
        return self.label[0] >= 0

    def similarities(self, features: Tensor, temperature: float) -> Tensor:
        """What a softmax over the bank is taken of: ``z f' / t``, tiny for places that are free.

        Args:
            features: z, of norm 1 (N, D).
            temperature: t, above 0.

        Returns:
            (N, K), in the dtype of the embeddings or a larger one.
        """
        # A backward pass comes after the bank has changed.
        bank = self.features.to(features.dtype, copy=True)
        similarities = products(features, bank) / temperature
        return similarities.masked_fill(self.label < 0, _LEAST)

    def of_rows(self, probabilities: Tensor) -> Tensor:
        """What is predicted for the class of each row of the bank.

        Args:
            probabilities: (N, C).

        Returns:
            (N, K), zero for places that are free.
        """
        return probabilities[:, self.label.clamp(min=0)] * (self.label >= 0)

    def by_class(self, shares: Tensor, classes: int) -> Tensor:
        """Adds up what rows of the bank have by their classes.

        Args:
            shares: (N, K), zero for places that are free.
            classes: C.

        Returns:
            (N, C).
        """
        place = self.label.clamp(min=0).expand(len(shares), -1)
        return shares.new_zeros(len(shares), classes).scatter_add(1, place, shares)


def _with_zeros(rows: Tensor) -> Tensor:
    """One row more, of zeros."""
    return torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])


_LEAST = -1e9
"""A similarity of which no softmax keeps anything, and which is finite."""
