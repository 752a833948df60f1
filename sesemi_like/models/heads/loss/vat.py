"""Virtual adversarial training: the same prediction where the input is changed for the worst.

Shapes: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ...norm import batch_norm
from .base import Fields, Forward, LossHead, LossOutputs, LossValues, Step
from .parts.base import Norm
from .parts.distances import entropy, softmax_kl

Predictor = Callable[[Tensor], Tensor]
"""From inputs (N, ...) to logits (N, C)."""


class VATLossHead(LossHead):
    """Asks for the same prediction where the input is moved in the direction that hurts most.

    Miyato et al., "Virtual adversarial training: a regularization method for supervised and
    semi-supervised learning", 2017, arXiv 1704.03976, equations 5 to 12. With the prediction p(x),
    taken as given, and a random direction d of norm 1, `power_iterations` times::

        d = g / |g|      g = gradient of KL(p(x) || p(x + xi d)) at d

    then, with H the entropy, for each row::

        loss = KL(p(x) || p(x + epsilon d)) + entropy_weight H(p(x))

    Norms are of a row, over all of its dimensions, so epsilon is in units of what the network is
    given. The paper averages over the rows: reduction ``mean``, weight 1 without a ramp.

    This head calls the network itself, with inputs that depend on the network's own gradient at
    other inputs, which no request can say. BatchNorm takes the statistics of the batch in these
    calls and moves none. The gradient is computed in float32 in a run of mixed precision too: it is
    of a difference that is smaller than what bfloat16 tells apart.

    Args:
        input_data: The loader of unlabeled rows.
        view: The view, or field, of it that is moved: floating-point numbers (N, ...), such as
            images or the columns of a table.
        network: The network that returns `logits` (N, C).
        epsilon: The norm of the change, above 0.
        xi: The norm of the step that the gradient is taken at, above 0. The published 1e-6 is less
            than float32 can tell apart in most inputs.
        power_iterations: How often the direction is made better, at least 1.
        entropy_weight: What the entropy is multiplied by; 0 leaves it out.
        norm: What BatchNorm does in the forward of the view itself: update | batch | eval, see
            :class:`Forward`. In all public code the labeled rows alone move the statistics.

    Raises:
        ValueError: If a setting is outside its range; at the first call, if the field has no
            floating-point numbers.

    Example::

        regularization_loss_heads:
          vat:
            head: {_target_: sesemi_like.models.heads.loss.VATLossHead, epsilon: 8}
    """

    def __init__(
        self,
        input_data: str = "unlabeled",
        view: str = "weak",
        network: str = "classifier",
        epsilon: float = 8.0,
        xi: float = 0.01,
        power_iterations: int = 1,
        entropy_weight: float = 1.0,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        for name, value in {"epsilon": epsilon, "xi": xi}.items():
            if value <= 0:
                raise ValueError(f"{name}: found {value}; needs a number above 0")
        if power_iterations < 1:
            raise ValueError(f"power_iterations: found {power_iterations}; needs 1 at least")
        self.field = f"{input_data}.{view}"
        self.network = network
        self.epsilon, self.xi = epsilon, xi
        self.power_iterations = power_iterations
        self.entropy_weight = entropy_weight
        self.norm: Norm = norm

    def forwards(self, fields: Fields) -> dict[str, Forward]:
        """Asks for the rows themselves, and for what is predicted for them."""
        return {
            "input": Forward.field(self.field),
            "clean": Forward(self.field, self.network, norm=self.norm),
        }

    def forward(self, outputs: Mapping[str, Any], step: Step) -> LossOutputs:
        """The divergence of each row, and its entropy.

        Raises:
            ValueError: If the rows are not floating-point numbers.
        """
        inputs, clean = outputs["input"], outputs["clean"]["logits"]
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            found = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
            raise ValueError(f"view: found {found} in {self.field}; needs floating-point numbers")
        terms = {"divergence": LossValues(self._divergence(inputs, clean, step))}
        if self.entropy_weight:
            terms["entropy"] = LossValues(entropy(clean), coefficient=self.entropy_weight)
        return LossOutputs(terms)

    def metrics(self, outputs: Mapping[str, Any], losses: LossOutputs) -> Mapping[str, Tensor]:
        """Metric `input_norm`, the mean norm of the rows, which epsilon is to be compared with."""
        rows = outputs["input"].detach().float().flatten(start_dim=1)
        return {"input_norm": rows.norm(dim=1).mean()}

    def draw(self, inputs: Tensor, step: Step) -> Tensor:
        """Draws the directions to begin with, of any norm.

        Args:
            inputs: The rows (N, ...).
            step: Where training stands.

        Returns:
            As `inputs`.
        """
        return torch.randn(inputs.shape, generator=step.generator).to(inputs)

    def _divergence(self, inputs: Tensor, clean: Tensor, step: Step) -> Tensor:
        if not len(inputs):  # no rows go through no network; the graph is that of the request
            return clean.sum(dim=1)
        network, module = step.networks[self.network], step.networks.module(self.network)

        def predict(rows: Tensor) -> Tensor:
            logits: Tensor = network(rows)["logits"]
            return logits

        drawn = self.draw(inputs, step)
        with batch_norm(module, "batch"):
            direction = self._direction(predict, inputs, clean, drawn)
            moved = predict(inputs.detach() + self.epsilon * direction)
        return softmax_kl(moved, clean.detach())

    def _direction(
        self, predict: Predictor, inputs: Tensor, clean: Tensor, drawn: Tensor
    ) -> Tensor:
        """The direction of norm 1 (N, ...) in which the prediction changes most."""
        device = inputs.device.type
        is_mixed = not inputs.is_meta and torch.is_autocast_enabled(device)
        precision = torch.autocast(device, enabled=False) if is_mixed else nullcontext()
        # Losses are also measured on evaluated data, where gradients are switched off.
        with torch.inference_mode(False), torch.enable_grad(), precision:
            rows = inputs.detach().clone()
            if is_mixed:
                rows = rows.float()
                clean = predict(rows)
            target, direction = clean.detach().clone(), _unit(drawn.to(rows).clone())
            for _ in range(self.power_iterations):
                probe = (self.xi * direction).requires_grad_()
                divergence = softmax_kl(predict(rows + probe), target).sum()
                direction = _unit(*torch.autograd.grad(divergence, probe))
        return direction.to(inputs)


def _unit(rows: Tensor) -> Tensor:
    """Divides each row by its norm over all dimensions; zeros stay zeros."""
    flat = rows.flatten(start_dim=1)
    # Gradients can be so small that their squares vanish.
    flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    unit: Tensor = flat.view_as(rows)
    return unit
