"""Learning-rate schedules with a linear warm-up, stepped once per optimizer step."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class WarmupLR(LRScheduler):
    """A linear warm-up to the optimizer's rates, then a decay that a subclass gives.

    After k steps, with w warm-up steps, K steps in all and a group's own rate ``lr``:

        k < w:   warmup_lr + (lr - warmup_lr) * k / w
        k >= w:  lr * decay(t),  t = min((k - w) / (K - w), 1)

    The rate depends on k alone, so a resumed run continues where it stopped; the settings are not
    part of the saved state, so a run resumed with more steps follows its new length.

    Args:
        optimizer: Its groups' rates are where the warm-up ends.
        max_iters: Steps K of the whole run.
        warmup_epochs: Length of the warm-up in epochs, fractions allowed; needs `iters_per_epoch`.
        iters_per_epoch: Steps of an epoch.
        warmup_iters: Length w of the warm-up in steps, in place of `warmup_epochs`.
        warmup_lr: The rate the warm-up begins with, for every group.
        last_epoch: Steps already taken less one; -1 starts anew.

    Raises:
        ValueError: If both lengths of warm-up are given, one cannot be counted, or K <= w.
    """

    settings: ClassVar[frozenset[str]] = frozenset({"max_iters", "warmup_iters", "warmup_lr"})

    def __init__(
        self,
        optimizer: Optimizer,
        max_iters: int,
        warmup_epochs: float = 0,
        iters_per_epoch: int | None = None,
        warmup_iters: int | None = None,
        warmup_lr: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.max_iters = max_iters
        self.warmup_iters = _warmup_steps(warmup_epochs, iters_per_epoch, warmup_iters)
        self.warmup_lr = warmup_lr
        if not isinstance(max_iters, int) or max_iters <= self.warmup_iters:
            raise ValueError(
                f"max_iters: found {max_iters!r}; needs the steps of the run "
                f"(${{app:max_iterations}}), more than the {self.warmup_iters} of the warm-up"
            )
        super().__init__(optimizer, last_epoch)

    def decay(self, share: float) -> float:
        """What the rate is multiplied by after a share, in [0, 1], of the steps after warm-up."""
        raise NotImplementedError(f"{type(self).__name__} must give its decay")

    def get_lr(self) -> list[Any]:
        """The rate of every parameter group after `last_epoch` steps."""
        return [self._rate(float(base)) for base in self.base_lrs]

    def _rate(self, base: float) -> float:
        if self.last_epoch < self.warmup_iters:
            done = self.last_epoch / self.warmup_iters
            return self.warmup_lr + (base - self.warmup_lr) * done
        done = (self.last_epoch - self.warmup_iters) / (self.max_iters - self.warmup_iters)
        return base * self.decay(min(done, 1.0))

    def state_dict(self) -> dict[str, Any]:
        """The state, without the settings."""
        state = super().state_dict()
        return {name: value for name, value in state.items() if name not in self.settings}


class PolynomialLR(WarmupLR):
    """A linear warm-up, then ``lr * (1 - t)^lr_pow`` down to zero at `max_iters`.

    Args:
        optimizer: Its groups' rates are where the warm-up ends.
        max_iters: Steps of the whole run; the rate is zero from there on.
        warmup_epochs: Length of the warm-up in epochs, fractions allowed; needs `iters_per_epoch`.
        iters_per_epoch: Steps of an epoch.
        warmup_iters: Length of the warm-up in steps, in place of `warmup_epochs`.
        warmup_lr: The rate the warm-up begins with, for every group.
        lr_pow: The power: 1 is a straight line, below 1 keeps the rate high for longer.
        last_epoch: Steps already taken less one; -1 starts anew.

    Raises:
        ValueError: As :class:`WarmupLR` does, or if `lr_pow` is not above zero.

    Example::

        scheduler:
          _target_: sesemi_like.PolynomialLR
          warmup_epochs: 10
          iters_per_epoch: ${app:iterations_per_epoch}
          warmup_lr: 0.001
          max_iters: ${app:max_iterations}
    """

    settings = WarmupLR.settings | {"lr_pow"}

    def __init__(
        self,
        optimizer: Optimizer,
        max_iters: int,
        warmup_epochs: float = 0,
        iters_per_epoch: int | None = None,
        warmup_iters: int | None = None,
        warmup_lr: float = 0.0,
        lr_pow: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        if lr_pow <= 0:
            raise ValueError(f"lr_pow: found {lr_pow}; needs a power above 0")
        self.lr_pow = lr_pow
        super().__init__(
            optimizer,
            max_iters,
            warmup_epochs,
            iters_per_epoch,
            warmup_iters,
            warmup_lr,
            last_epoch,
        )

    def decay(self, share: float) -> float:
        """``(1 - share)^lr_pow``."""
        return float((1 - share) ** self.lr_pow)


class CosineLR(WarmupLR):
    """A linear warm-up, then ``lr * cos(pi * num_cycles * t)``, as FixMatch has it.

    Sohn et al., "FixMatch", 2020, arXiv 2001.07685, section 2.3: ``lr * cos(7 pi k / 16 K)``. The
    rate ends at 0.195 of its height and stays there.

    Args:
        optimizer: Its groups' rates are where the warm-up ends.
        max_iters: Steps K of the whole run.
        warmup_epochs: Length of the warm-up in epochs, fractions allowed; needs `iters_per_epoch`.
        iters_per_epoch: Steps of an epoch.
        warmup_iters: Length of the warm-up in steps, in place of `warmup_epochs`.
        warmup_lr: The rate the warm-up begins with, for every group.
        num_cycles: Half periods of the cosine, in (0, 0.5]; 0.5 goes down to zero.
        last_epoch: Steps already taken less one; -1 starts anew.

    Raises:
        ValueError: As :class:`WarmupLR` does, or if `num_cycles` is outside (0, 0.5].
    """

    settings = WarmupLR.settings | {"num_cycles"}

    def __init__(
        self,
        optimizer: Optimizer,
        max_iters: int,
        warmup_epochs: float = 0,
        iters_per_epoch: int | None = None,
        warmup_iters: int | None = None,
        warmup_lr: float = 0.0,
        num_cycles: float = 7 / 16,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < num_cycles <= 0.5:
            raise ValueError(f"num_cycles: found {num_cycles}; needs a number in (0, 0.5]")
        self.num_cycles = num_cycles
        super().__init__(
            optimizer,
            max_iters,
            warmup_epochs,
            iters_per_epoch,
            warmup_iters,
            warmup_lr,
            last_epoch,
        )

    def decay(self, share: float) -> float:
        """``cos(pi * num_cycles * share)``."""
        return math.cos(math.pi * self.num_cycles * share)


def _warmup_steps(epochs: float, iters_per_epoch: int | None, iters: int | None) -> int:
    if epochs and iters is not None:
        raise ValueError(
            f"found warmup_epochs={epochs}, warmup_iters={iters}; give only one of the two"
        )
    if iters is not None or not epochs:
        return iters or 0
    if not isinstance(iters_per_epoch, int):
        raise ValueError(
            f"iters_per_epoch: found {iters_per_epoch!r}; warmup_epochs={epochs} needs the steps "
            "of an epoch (${app:iterations_per_epoch})"
        )
    return round(epochs * iters_per_epoch)
