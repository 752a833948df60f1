"""Plays the learner: returns what a head asks for from made-up fields and network outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

import pytest
import torch

from sesemi_like.models.heads.loss import Step
from sesemi_like.models.heads.loss.base import Forward, LossOutputs
from sesemi_like.models.networks import Networks


@pytest.fixture
def play() -> Callable[..., Any]:
    """play(head, {"field" or ("field", "network"): output}) -> LossOutputs.

    The metrics are those of written steps. Tensors asked for through a network become its logits.
    A request for anything else is a KeyError: a head must ask for exactly the data and networks
    that the test names.
    """

    def inputs_of(head: Any, request: Forward, given_outputs: dict[Any, Any]) -> list[Any]:
        items = request.data if isinstance(request.data, tuple) else (request.data,)
        return [
            output_of(head, item, given_outputs)
            if isinstance(item, Forward)
            else given_outputs[item]
            for item in items
        ]

    def function_of(head: Any, through: str) -> Callable[..., Any]:
        if through.startswith("."):
            return itemgetter(through.removeprefix("."))
        function = getattr(head, through.removeprefix("self."))
        if "generator" in inspect.signature(function).parameters:
            return partial(function, generator=torch.Generator().manual_seed(0))
        return function

    def output_of(head: Any, request: Forward, given_outputs: dict[Any, Any]) -> Any:
        if request.through is None:
            return given_outputs[request.data]
        if not isinstance(request.data, str) or request.through.startswith(("self.", ".")):
            return function_of(head, request.through)(*inputs_of(head, request, given_outputs))
        given = given_outputs[request.data, request.through]
        outputs = given if isinstance(given, dict) else {"logits": given}
        detach = (lambda tensor: tensor) if request.grad else torch.Tensor.detach
        return {name: detach(tensor) for name, tensor in outputs.items()}

    def play(head: Any, given_outputs: dict[Any, Any]) -> LossOutputs | None:
        outputs = {name: output_of(head, r, given_outputs) for name, r in head.forwards({}).items()}
        losses: LossOutputs = head(outputs, Step(0, None, Networks({}), {}))
        return replace(losses, metrics={**losses.metrics, **head.metrics(outputs, losses)})

    return play
