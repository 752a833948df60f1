"""Private parts of Lightning that have no public equivalent."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, TypeVar

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def writes_logs(trainer: pl.Trainer) -> bool:
    """Whether what is logged in the current step goes to the loggers.

    Lightning counts these steps apart from `global_step`, see :func:`set_logged_step`.
    """
    return bool(trainer._logger_connector.should_update_logs)


def set_logged_step(trainer: pl.Trainer, step: int) -> None:
    """Sets the number under which the next step is logged, and which decides whether it is written.

    After a checkpoint that was written at the end of an epoch, Lightning's count is one too high.

    Args:
        trainer: A trainer that fits.
        step: Optimizer steps taken so far.
    """
    trainer.fit_loop.epoch_loop._batches_that_stepped = step


def validates_now(trainer: pl.Trainer) -> bool:
    """Whether a validation follows the training batch that ends now.

    Args:
        trainer: A trainer that fits, in a hook of the end of a batch.
    """
    loop: Any = trainer.fit_loop
    return bool(loop.epoch_loop._should_check_val_fx(loop._data_fetcher))


def signal_launched_processes(trainer: pl.Trainer, number: signal.Signals) -> None:
    """Sends a signal to the processes that Lightning launched, if it launched any.

    The method is public, the classes of the launchers that have it are not.

    Args:
        trainer: The trainer of the first process.
        number: The signal.
    """
    launcher: Any = trainer.strategy.launcher
    if hasattr(launcher, "kill"):
        launcher.kill(number)


def shards_weights(trainer: pl.Trainer) -> bool:
    """Whether several processes hold a part of the weights each, and so must call them alike."""
    return trainer.world_size > 1 and not isinstance(trainer.strategy, DDPStrategy)


def call_as_step(trainer: pl.Trainer, function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function as Lightning calls `training_step`: in its precision, through its wrapper.

    Only within the forward of a wrapper such as FSDP are the weights of a sharded module whole, so
    all processes must call this equally often. DDP leaves weights whole, while its forward copies
    buffers and awaits gradients that a trial or a prediction never gives: it is left out.

    Args:
        trainer: The trainer that runs the module.
        function: What calls networks of the module.
        *arguments: Its arguments.
    """
    strategy = trainer.strategy
    wrapper, module = strategy.model, strategy.lightning_module
    with strategy.precision_plugin.forward_context():
        if wrapper is None or module is None or wrapper is module:
            return function(*arguments)
        if isinstance(wrapper, DistributedDataParallel):
            return function(*arguments)
        # The redirection calls a method of the module by its name.
        module.__dict__[_REDIRECTED] = function
        try:
            result: Any = strategy._forward_redirection(wrapper, module, _REDIRECTED, *arguments)
            return result  # type: ignore[no-any-return]
        finally:
            del module.__dict__[_REDIRECTED]


_REDIRECTED = "_called_as_step"
