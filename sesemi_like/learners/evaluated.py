"""What of a learner is evaluated: the requests that a loader's fields allow, and whole loaders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..distributed import rank, world_size
from ..gathering import gather
from ..models.heads.loss.base import Step
from ..models.heads.loss.requests import Fields, Forward, Given
from ..models.networks import Networks
from ..predictions import LOSSES, Predictions, rows_of
from ..trees import to_device
from .evaluated_losses import EvaluatedLosses
from .forwards import ForwardPlan, fields_of
from .forwards.callables import Callables
from .forwards.canonical import CanonicalRequests
from .forwards.requests import with_fields
from .steps import next_step

if TYPE_CHECKING:
    from .base import Learner
    from .built import BuiltLearner

Names = tuple[str, ...]
Outputs = dict[str, Any]
Needs = Collection[str] | None
"""The names of fields and outputs that are kept of predictions; None keeps all outputs."""

_EVALUATED = ""  # the reader of the evaluated requests; the others are heads
_LOADER = "evaluated"  # what the loader is called where fields have full names


class EvaluatedForwards:
    """The evaluated requests of a learner, and a plan for each set of them that is run together.

    Args:
        requests: The requests by name, the headline last; data are fields of the evaluated loader.
        networks: The networks they go through.
        functions: The functions that they go through, by name.
        given: ``{loader: its fields} -> {request: what answers it}``, see
            :meth:`LearnerDefinition.given`.
        losses: The losses of the heads.

    Attributes:
        answers: The outputs that each request was seen to answer: names of a dict's keys.
    """

    def __init__(
        self,
        requests: Mapping[str, Forward],
        networks: Networks,
        functions: Mapping[str, Callable[..., Any]],
        given: Callable[[Fields], Given],
        losses: EvaluatedLosses,
    ) -> None:
        self.requests, self.losses = dict(requests), losses
        self.answers: dict[str, frozenset[str]] = {}
        self._networks, self._functions, self._given = networks, functions, given
        self._read: dict[frozenset[str], dict[str, list[str]]] = {}
        self._plans: dict[tuple[frozenset[str], Names, bool], ForwardPlan] = {}

    @classmethod
    def of(cls, learner: BuiltLearner) -> EvaluatedForwards:
        """Those of a learner whose networks and loss heads are built."""
        losses = EvaluatedLosses(learner.terms, learner.shared_parts)
        requests, functions = learner.evaluated_forwards(), learner.functions()
        found = cls(requests, learner.networks, functions, learner.given, losses)
        losses.canonical = found.canonical
        return found

    @property
    def fields(self) -> set[str]:
        """The fields that all requests together read, where none is given."""
        return {field for request in self.requests.values() for field in fields_of(request)}

    def given(self, fields: Collection[str]) -> Given:
        """The requests that a field of an evaluated loader answers, or another request of it."""
        found = self._given({_LOADER: set(fields)})
        return {
            with_fields(request, _bare): _with_bare_fields(answer)
            for request, answer in found.items()
            if all(field.startswith(f"{_LOADER}.") for field in _fields_of(answer))
        }

    def canonical(
        self, fields: Collection[str], heads: Mapping[str, Any] | None = None
    ) -> CanonicalRequests:
        """What brings requests of a loader with some fields into canonical form.

        Args:
            fields: The names of its fields.
            heads: Those who ask that have methods to go through.
        """
        callables = Callables(self._networks, heads, self._functions)
        return CanonicalRequests(callables, self.given(fields))

    def fields_read(self, fields: Collection[str], *, has_losses: bool) -> set[str]:
        """The fields that are read of a loader's batches.

        Args:
            fields: The names of its fields.
            has_losses: Whether the losses of the heads are wanted too.
        """
        return {*self._plan(frozenset(fields), self.names(fields), has_losses).fields}

    def names(self, fields: Collection[str], needs: Needs = None) -> Names:
        """Names the requests that fields allow, and that answer something needed.

        Args:
            fields: The names of a batch's fields.
            needs: Names of outputs, see :meth:`Predictions.of_batch`; None needs all. A request of
                which it is not known yet what it answers is named.
        """
        read = self._fields_read(frozenset(fields))
        return tuple(name for name in read if needs is None or self._is_needed(name, needs))

    def _is_needed(self, name: str, needs: Collection[str]) -> bool:
        if name in needs or name not in self.answers:
            return True
        return any(key in needs or f"{name}.{key}" in needs for key in self.answers[name])

    def _fields_read(self, fields: frozenset[str]) -> dict[str, list[str]]:
        """The fields that each possible request reads, by request."""
        if fields not in self._read:
            asked = self.canonical(fields).of({_EVALUATED: self.requests})[_EVALUATED]
            read = {name: fields_of(request) for name, request in asked.items()}
            self._read[fields] = {n: names for n, names in read.items() if fields.issuperset(names)}
        return self._read[fields]

    def offered(self, fields: Collection[str]) -> set[str] | None:
        """The names that evaluators may give to outputs: of requests, of outputs, and of both.

        Args:
            fields: The names of a loader's fields.

        Returns:
            The names, or None where a request has not been run yet.
        """
        possible = self.names(fields)
        if not all(name in self.answers for name in possible):
            return None
        own = {(name, key) for name in possible for key in self.answers[name]}
        keys = {key for _, key in own} | ({LOSSES} if self.losses.requests(fields) else set())
        return {*possible, *keys, *(f"{name}.{key}" for name, key in own)}

    def run(self, batch: Mapping[str, Any], names: Names, step: Step | None = None) -> Outputs:
        """Runs some of the requests on a batch.

        Args:
            batch: The fields of the batch.
            names: The requests, of those that its fields allow.
            step: Where training stands, if the losses of the heads are wanted too.

        Returns:
            ``{name: output}``; the losses of :meth:`EvaluatedLosses.of` are called ``losses``.
        """
        if not names and step is None:
            return {}
        plan = self._plan(frozenset(batch), names, step is not None)
        with nullcontext() if step is None else self.losses.unchanged():
            answers = plan.run(batch)
            outputs = answers.pop(_EVALUATED, {})
            for name in names:
                self.answers[name] = frozenset(_keys(outputs[name]))
            if step is not None:
                outputs[LOSSES] = self.losses.of(answers, batch, step)
        return outputs

    def _plan(self, fields: frozenset[str], names: Names, has_losses: bool) -> ForwardPlan:
        """One plan for all, so that what a head and an evaluator both need is run once."""
        key = (fields, names, has_losses)
        if key not in self._plans:
            heads = self.losses.requests(fields) if has_losses else {}
            requests = {_EVALUATED: {name: self.requests[name] for name in names}, **heads}
            known: dict[str, Any] = {"functions": self._functions, "given": self.given(fields)}
            known["heads"] = {name: self.losses.heads[name] for name in heads}
            self._plans[key] = ForwardPlan(requests, self._networks, **known)
        return self._plans[key]

    def rows(self, batch: Mapping[str, Any], names: Names) -> dict[str, Tensor]:
        """The rows of a batch that requests are answered for, of those that read partial fields.

        Args:
            batch: The fields of the batch.
            names: The requests that were run.
        """
        read = self._fields_read(frozenset(batch))
        found = ((name, rows_of(field, batch)) for name in names for field in read[name])
        return {name: rows for name, rows in found if rows is not None}


def _fields_of(answer: str | Forward) -> list[str]:
    return fields_of(answer) if isinstance(answer, Forward) else [answer]


def _with_bare_fields(answer: str | Forward) -> str | Forward:
    return with_fields(answer, _bare) if isinstance(answer, Forward) else _bare(answer)


def _bare(field: str) -> str:
    return field.removeprefix(f"{_LOADER}.")


def _keys(output: Any) -> Iterable[str]:
    return output if isinstance(output, Mapping) else ()


def predict_samples(learner: Learner, batch: Mapping[str, Any], needs: Needs) -> Predictions:
    """Predicts a batch, as far as its fields allow.

    Args:
        learner: The learner, in evaluation mode.
        batch: The fields of the batch, on the learner's device.
        needs: What is kept, see :meth:`Predictions.of_batch`.
    """
    names = learner.evaluated.names(batch, needs)
    step = _last_step(learner, batch) if LOSSES in (needs or ()) else None
    with torch.no_grad():
        outputs = learner.evaluated.run(batch, names, step)
    return Predictions.of_batch(batch, outputs, needs, learner.evaluated.rows(batch, names))


def _last_step(learner: Learner, batch: Mapping[str, Any]) -> Step:
    """The last step that was taken: the weights of losses are those that it was trained with."""
    step = next_step(learner, batch)
    return replace(step, index=max(step.index - 1, 0))


def predict_loader(learner: Learner, name: str, needs: Needs = None) -> Predictions:
    """Predicts the data of a named loader: each process its share, each sample once.

    Networks are in evaluation mode meanwhile. All processes must call it.

    Args:
        learner: The learner, within a run.
        name: The loader, as users name it.
        needs: What is kept, see :meth:`Predictions.of_batch`.

    Returns:
        The predictions by ascending index, the same on every process.

    Raises:
        KeyError: If there is no such loader.
        ValueError: If it has no sample.
    """
    data: Any = learner.trainer.datamodule  # type: ignore[attr-defined]
    parts = []
    with evaluation_mode(learner):
        for batch in data.evaluation_loader(name, rank(), world_size()):
            moved = to_device(batch, learner.device)
            parts.append(learner.through_strategy(predict_samples, learner, moved, needs))
    found = gather(Predictions.concatenate(parts) if parts else None, learner.device)
    if found is None:
        raise ValueError(f"{name} has no sample to predict")
    return found.deduplicate()


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Sets a module and all its parts to evaluation mode, and each to its own again afterwards."""
    was_training = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in was_training:
            part.training = training
