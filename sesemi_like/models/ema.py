"""The EMA teacher: a copy of a network that follows the average of its weights."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..compat.torch import copy_tensors
from ..config.choices import EMA_KINDS, EMA_MODES
from .freezing import is_frozen

_average_of = lru_cache(maxsize=8)(get_ema_multi_avg_fn)
"""Making torch's function anew in each step would take a tenth of the update."""

_Pairs = tuple[list[Tensor], list[Tensor]]
"""Own tensors and given ones."""

_Anchor = tuple[nn.Module, str, Tensor]


@dataclass(frozen=True)
class _Listed:
    """The tensors to average and to copy for a network, as long as they are in place."""

    module: nn.Module
    anchors: list[_Anchor]
    pairs: tuple[_Pairs, _Pairs]

    def is_of(self, module: nn.Module) -> bool:
        is_same = module is self.module
        return is_same and all(getattr(owner, name) is t for owner, name, t in self.anchors)


class EMATeacher(nn.Module):
    """Holds the exponential moving average of a network: ``average = d * average + (1 - d) * new``.

    Tarvainen & Valpola, "Mean teachers are better role models", 2017, arXiv 1703.01780. The copy
    takes no gradients.

    Args:
        module: The network to average; it is copied.
        decay: d, the share of the old average that is kept at each step, in [0, 1], or a schedule:
            optimizer step -> d. data2vec (arXiv 2202.03555, section 3.2) raises it linearly.
        warmup: Keeps ``min(decay, (1 + step) / (10 + step))`` at first, so that the random weights
            of the start are soon forgotten (as in TensorFlow's ExponentialMovingAverage).
        kind: ``states`` averages parameters and floating-point buffers such as BatchNorm's running
            statistics; ``parameters`` averages parameters alone and copies every buffer. Integer
            buffers are always copied.
        mode: ``eval``: the copy stays in evaluation mode; a request with ``norm="batch"`` alone
            has its BatchNorm take the batch's statistics. ``train``: it follows the mode of its
            source, so that dropout is on in training.

    Raises:
        ValueError: If `decay` lies outside [0, 1], or there is no such `kind` or `mode`.
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float | Callable[[int], float] = 0.999,
        warmup: bool = True,
        kind: str = "states",
        mode: str = "eval",
    ) -> None:
        super().__init__()
        if not callable(decay) and not 0 <= decay <= 1:
            raise ValueError(f"decay: found {decay}; must lie in [0, 1]")
        if kind not in EMA_KINDS:
            raise ValueError(f"kind: found {kind!r}; must be one of {', '.join(EMA_KINDS)}")
        if mode not in EMA_MODES:
            raise ValueError(f"mode: found {mode!r}; must be one of {', '.join(EMA_MODES)}")
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.warmup = warmup
        self.kind = kind
        self.mode = mode
        self._listed: _Listed | None = None

    @property
    def out_features(self) -> int:
        """The size D of the averaged network's features."""
        return int(self.module.out_features)  # type: ignore[arg-type]

    @property
    def num_classes(self) -> int:
        """How many classes the averaged network's logits are of."""
        return int(self.module.num_classes)  # type: ignore[arg-type]

    def forward(self, *inputs: Any) -> Any:
        """Calls the averaged network."""
        return self.module(*inputs)

    def train(self, mode: bool = True) -> EMATeacher:
        """Sets the mode; in that of ``eval`` the averaged network stays in evaluation mode.

        `training` follows the mode all the same, which tells a request for a BatchNorm policy (see
        :mod:`.norm`) whether this is training.
        """
        super().train(mode and self.mode == "train")
        self.training = mode
        return self

    def decay_at(self, step: int) -> float:
        """The share of the old average kept at an optimizer step, warm-up included."""
        decay = self.decay(step) if callable(self.decay) else self.decay
        return min(decay, (1 + step) / (10 + step)) if self.warmup else decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves the average towards a network, in one call for all averaged tensors.

        Args:
            module: The network that is averaged; of the same structure as the copy.
            step: Optimizer steps taken so far.

        Raises:
            ValueError: If the network has other tensors than the copy; nothing is changed then.
        """
        averaged, copied = self._listed_pairs(module)
        if averaged[0]:
            _average_of(self.decay_at(step))(*averaged, step)
        if copied[0]:
            copy_tensors(*copied)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the listed tensors, which are not those of a copy."""
        return {**self.__dict__, "_listed": None}

    def _listed_pairs(self, module: nn.Module) -> tuple[_Pairs, _Pairs]:
        """Lists the tensors once, which takes as long as averaging them.

        Moving a network replaces its buffers, and loading it with ``assign=True`` all its tensors.
        """
        if self._listed is None or not self._listed.is_of(module):
            anchors = [*_anchor(self.module), *_anchor(module)]
            self._listed = _Listed(module, anchors, self._pairs(module))
        return self._listed.pairs

    def _pairs(self, module: nn.Module) -> tuple[_Pairs, _Pairs]:
        """Lists (own tensors, given tensors) to average and to copy.

        What is frozen stays the same: where its average is that already, there is nothing to move.
        """
        averaged = _pair(self.module.parameters(), module.parameters())
        copied: list[tuple[Tensor, Tensor]] = []
        for own, given in _pair(self.module.buffers(), module.buffers()):
            is_averaged = self.kind == "states" and own.is_floating_point()
            (averaged if is_averaged else copied).append((own, given))
        frozen = {id(tensor) for tensor in _frozen_tensors(module)}
        moving = [
            [(o, g) for o, g in pairs if id(g) not in frozen or not torch.equal(o, g)]
            for pairs in (averaged, copied)
        ]
        return _unzip(moving[0]), _unzip(moving[1])


def _anchor(module: nn.Module) -> list[_Anchor]:
    """Finds the first buffer, else parameter, with the module that has it and its name there."""
    named = itertools.chain(module.named_buffers(), module.named_parameters())
    for path, tensor in itertools.islice(named, 1):
        owner, _, name = path.rpartition(".")
        return [(module.get_submodule(owner), name, tensor)]
    return []


def _frozen_tensors(module: nn.Module) -> Iterator[Tensor]:
    """The parameters and buffers of modules that were frozen for good."""
    for part in module.modules():
        if is_frozen(part):
            yield from part.parameters(recurse=False)
            yield from part.buffers(recurse=False)


def _unzip(pairs: list[tuple[Tensor, Tensor]]) -> _Pairs:
    return [own for own, _ in pairs], [given for _, given in pairs]


def _pair(own: Iterable[Tensor], given: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    mine, theirs = list(own), list(given)
    # Without this, tensors of other shapes would be broadcast into the average unnoticed.
    if [tensor.shape for tensor in mine] != [tensor.shape for tensor in theirs]:
        raise ValueError("the network is of another structure than the one that was copied")
    return list(zip(mine, theirs, strict=True))
