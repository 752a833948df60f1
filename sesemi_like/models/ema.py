"""The EMA teacher: a copy of a network that follows the average of its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ..config.choices import EMA_KINDS

_Pairs = tuple[list[Tensor], list[Tensor]]


class EMATeacher(nn.Module):
    """Holds the exponential moving average of a network: ``average = d * average + (1 - d) * new``.

    Tarvainen & Valpola, "Mean teachers are better role models", 2017, arXiv 1703.01780. The copy
    takes no gradients and stays in evaluation mode.

    Args:
        module: The network to average; it is copied.
        decay: d, the share of the old average that is kept at each step, in [0, 1].
        warmup: Keeps ``min(decay, (1 + step) / (10 + step))`` at first, so that the random weights
            of the start are soon forgotten (as in TensorFlow's ExponentialMovingAverage).
        kind: ``states`` averages parameters and floating-point buffers such as BatchNorm's running
            statistics; ``parameters`` averages parameters alone and copies every buffer. Integer
            buffers are always copied.

    Raises:
        ValueError: If `decay` lies outside [0, 1] or there is no such `kind`.
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float = 0.999,
        warmup: bool = True,
        kind: str = "states",
    ) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError(f"decay: found {decay}; must lie in [0, 1]")
        if kind not in EMA_KINDS:
            raise ValueError(f"kind: found {kind!r}; must be one of {', '.join(EMA_KINDS)}")
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.warmup = warmup
        self.kind = kind
        self._known: tuple[nn.Module, tuple[_Pairs, _Pairs]] | None = None

    @property
    def out_features(self) -> int:
        """The size D of the averaged network's features."""
        return int(self.module.out_features)  # type: ignore[arg-type]

    def forward(self, *inputs: Any) -> Any:
        """Calls the averaged network."""
        return self.module(*inputs)

    def train(self, mode: bool = True) -> EMATeacher:
        """Stays in evaluation mode, whatever the mode."""
        return super().train(False)

    def decay_at(self, step: int) -> float:
        """The share of the old average kept at an optimizer step, warm-up included."""
        return min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves the average towards a network, in one call for all averaged tensors.

        Args:
            module: The network that is averaged; of the same structure as the copy.
            step: Optimizer steps taken so far.

        Raises:
            ValueError: If the network has other tensors than the copy; nothing is changed then.
        """
        if self._known is None or self._known[0] is not module:
            self._known = module, self._pairs(module)
        averaged, copied = self._known[1]
        if averaged[0]:
            torch._foreach_lerp_(*averaged, 1 - self.decay_at(step))
        if copied[0]:
            torch._foreach_copy_(*copied)

    def _apply(self, *args: Any, **kwargs: Any) -> EMATeacher:
        """Forgets which tensors there are: moving to a device makes new ones."""
        self._known = None
        super()._apply(*args, **kwargs)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what a copy must find anew."""
        return {**self.__dict__, "_known": None}

    def _pairs(self, module: nn.Module) -> tuple[_Pairs, _Pairs]:
        """Lists (own tensors, given tensors) to average and to copy."""
        averaged = _paired(self.module.parameters(), module.parameters())
        copied: list[tuple[Tensor, Tensor]] = []
        for own, given in _paired(self.module.buffers(), module.buffers()):
            is_averaged = self.kind == "states" and own.is_floating_point()
            (averaged if is_averaged else copied).append((own, given))
        return _unzipped(averaged), _unzipped(copied)


def _unzipped(pairs: list[tuple[Tensor, Tensor]]) -> _Pairs:
    return [own for own, _ in pairs], [given for _, given in pairs]


def _paired(own: Iterable[Tensor], given: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    mine, others = list(own), list(given)
    # Without this, tensors of other shapes would be broadcast into the average unnoticed.
    if [tensor.shape for tensor in mine] != [tensor.shape for tensor in others]:
        raise ValueError("the network is of another structure than the one that was copied")
    return list(zip(mine, others, strict=True))
