"""The losses of a learner's heads on evaluated data, a row for each sample.

Shapes: N samples of a batch, M rows of a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..distributed import world_size
from ..models.heads.loss.base import LossHead, LossValues, Step
from ..models.heads.loss.requests import Forward
from .forwards import ask, fields_of
from .forwards.canonical import CanonicalRequests
from .forwards.requests import with_fields
from .terms import LossTerm


class EvaluatedLosses:
    """Applies the loss heads to evaluated data, as if these were the loader that a head reads.

    A head is asked for its requests as in training, with the fields of the evaluated loader in
    place of each train loader's. One that these do not satisfy is left out, and one that reads
    several loaders, for their data are not the same.

    Args:
        terms: The loss terms that are not switched off.
        shared: The parts that heads share.

    Attributes:
        left_out: Why heads were left out, by their names, of the data that were asked for last.
        canonical: What brings requests of a loader with some fields into canonical form.
    """

    canonical: Callable[[Collection[str], Mapping[str, Any]], CanonicalRequests]

    def __init__(self, terms: Mapping[str, LossTerm], shared: nn.Module) -> None:
        self.terms, self._shared = dict(terms), shared
        self.left_out: dict[str, str] = {}
        self._asked: dict[frozenset[str], tuple[dict[str, dict[str, Forward]], dict[str, str]]] = {}
        self._loaders: dict[str, str] = {}

    def requests(self, fields: Collection[str]) -> dict[str, dict[str, Forward]]:
        """The requests of every head that fields satisfy, by head; data are these fields.

        Args:
            fields: The names of an evaluated loader's fields.
        """
        key = frozenset(fields)
        if key not in self._asked:
            self._asked[key] = self._ask(key)
        requests, self.left_out = self._asked[key]
        return requests

    def _ask(self, fields: frozenset[str]) -> tuple[dict[str, dict[str, Forward]], dict[str, str]]:
        found: dict[str, dict[str, Forward]] = {}
        left_out = {}
        for name, term in self.terms.items():
            asked, problems = ask({name: term}, _SameFields(fields))
            requests = asked.get(name, {})
            named = {field for request in requests.values() for field in fields_of(request)}
            loaders = {field.partition(".")[0] for field in named}
            requests = {key: with_fields(r, _bare) for key, r in requests.items()}
            lacking = self._read(name, requests, fields) - fields
            if problems:
                left_out[name] = problems[0].expected
            elif lacking:
                left_out[name] = f"there is no {' and no '.join(sorted(lacking))}"
            elif len(loaders) > 1:
                left_out[name] = f"it reads several loaders: {', '.join(sorted(loaders))}"
            else:
                self._loaders[name] = next(iter(loaders), "")
                found[name] = requests
        return found, left_out

    def _read(self, name: str, requests: Mapping[str, Forward], fields: Set[str]) -> set[str]:
        """The fields that a head's requests read, where some are answered by others."""
        canonical = self.canonical(fields, {name: self.terms[name].head})
        asked = canonical.of({name: requests})[name]
        return {field for request in asked.values() for field in fields_of(request)}

    def of(
        self, outputs: Mapping[str, Mapping[str, Any]], batch: Mapping[str, Any], step: Step
    ) -> dict[str, dict[str, Tensor]]:
        """The losses of the heads that a batch's fields satisfy.

        Args:
            outputs: What their requests answered, by head.
            batch: The fields of the batch.
            step: Where training stands.

        Returns:
            ``{head: {term: (N, 4)}}``, float64; the columns are what a sample adds to the sum over
            all samples and to what that is divided by, the term's coefficient, and the weight of
            the head. Where a loss has not a row for each sample, its sums are spread evenly over
            the samples of the batch, and one number of all rows counts once for each sample.
        """
        count, found = len(batch["index"]), {}
        for name, given in outputs.items():
            term, loader = self.terms[name], self._loaders[name]
            fields = {f"{loader}.{field}": value for field, value in batch.items()}
            losses = term.head(given, replace(step, batch=fields))
            weight = term.weight(step.index)
            found[name] = {
                key: _per_sample(values, term.reduction, count, weight)
                for key, values in losses.terms.items()
            }
        return found

    def unchanged(self) -> AbstractContextManager[None]:
        """Restores the state of heads after what is run inside: their requests and :meth:`of`."""
        return _unchanged(*(term.head for term in self.terms.values()), self._shared)

    @property
    def heads(self) -> dict[str, LossHead]:
        """The heads by name."""
        return {name: term.head for name, term in self.terms.items()}


def _per_sample(values: LossValues, reduction: str, count: int, weight: float) -> Tensor:
    shares = torch.stack((_reduced if values.reduced else SHARES[reduction])(values), dim=1)
    if values.reduced:
        shares = shares.expand(count, 2)
    elif len(shares) != count:
        shares = shares.sum(dim=0).expand(count, 2) / max(count, 1)
    coefficient = torch.as_tensor(values.coefficient, dtype=shares.dtype, device=shares.device)
    constants = torch.stack([coefficient.detach(), torch.full_like(coefficient, weight)])
    return torch.cat([shares, constants.expand(count, 2)], dim=1)


def _reduced(values: LossValues) -> tuple[Tensor, Tensor]:
    """A number that no reduction changes, as that of a single row."""
    own = values.losses.double().reshape(1)
    return own, torch.ones_like(own)


def _mean(values: LossValues) -> tuple[Tensor, Tensor]:
    losses = values.losses.double()
    total = len(losses) if values.count is None else values.count.double()
    return _weighted(values), torch.ones_like(losses) * total / max(len(losses), 1)


def _weighted_mean(values: LossValues) -> tuple[Tensor, Tensor]:
    if values.weights is None:
        return _mean(values)
    return _weighted(values), values.weights.double()


def _sum(values: LossValues) -> tuple[Tensor, Tensor]:
    """A sum belongs to the batch of all processes: they are averaged."""
    losses = values.losses.double()
    return _weighted(values), torch.ones_like(losses) / (max(len(losses), 1) * world_size())


def _weighted(values: LossValues) -> Tensor:
    losses = values.losses.double()
    return losses if values.weights is None else losses * values.weights.double()


SHARES: dict[str, Callable[[LossValues], tuple[Tensor, Tensor]]] = {
    "mean": _mean,
    "weighted_mean": _weighted_mean,
    "sum": _sum,
}
"""What each row (M,) adds to the sum of a reduction and to its divisor."""


class _SameFields(Mapping[str, Set[str]]):
    """Offers the same fields of whatever loader is asked for, and lists none."""

    def __init__(self, fields: frozenset[str]) -> None:
        self.fields = fields

    def __getitem__(self, loader: str) -> Set[str]:
        return self.fields

    def __contains__(self, loader: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@contextmanager
def _unchanged(*modules: nn.Module) -> Iterator[None]:
    """Restores the buffers of modules afterwards, also those that were replaced."""
    parts = {id(part): part for module in modules for part in module.modules()}
    kept = [
        (part, name, value, value.clone())
        for part in parts.values()
        for name, value in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for part, name, value, before in kept:
                setattr(part, name, value.copy_(before))


def _bare(field: str) -> str:
    return field.partition(".")[2]
