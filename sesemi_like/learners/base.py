"""The base learner: named networks, weighted loss heads, and the training step, once."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from ..compat.lightning import shards_weights
from ..config.facts import DataFacts
from ..config.headline import default_headline
from ..models.heads.loss.base import Fields, Step
from ..predictions import Predictions
from ..views.image_inputs import Inputs
from .averages import move_averages
from .built import BuiltLearner
from .checkpoints import rng
from .checkpoints.contents import read_contents, write_contents
from .dry_run import dry_run
from .evaluated import Needs, predict_loader, predict_samples
from .forwards import ForwardPlan
from .optimizers import build_optimizer, match_layout, with_schedule
from .param_groups import learning_rates
from .passes import FullPasses
from .plan_choice import PlanChoice
from .planning import plan_steps
from .reductions import reduce_terms
from .step_log import StepLog
from .steps import is_written, next_step, trainer_of
from .trainable import announce_counts

log = logging.getLogger(__name__)


class Learner(BuiltLearner):
    """Minimizes a weighted sum of loss heads over named networks and named loaders.

    A learner defines in :meth:`build_networks`, :meth:`build_terms` and :meth:`evaluated_forwards`
    what it is made of. Whatever a method does beyond that is a loss head, a view or an evaluator.

    Args:
        hparams: Everything the learner is rebuilt from, as plain values. The base reads
            `optimizer` (called with the parameters), `lr_scheduler` (null, or `scheduler`,
            `interval`, `frequency`, `monitor`, `strict`, `name`), `forward` (auto | separate |
            joined | together, see :meth:`forward_setting`), `trainable` (patterns over parameter
            names, see `trainable`), `param_groups`, `no_decay_1d` and `layer_decay` (see
            `param_groups`).
        facts: What is known of the data, for heads that have tables; None where nothing is. It is
            kept beside the hyperparameters, so that a checkpoint alone rebuilds a learner.
        build: Whether the networks are built now; otherwise :meth:`configure_model` builds them.

    Attributes:
        inputs: What the images of the run, or of the checkpoint it was loaded from, are; None
            where that is not known.
        facts: What a resumed run must have in common with this one to end alike.
        needs: The names of the fields and outputs that evaluators read next; None reads all.
        predicted: The names of the evaluated outputs that are written; None writes all.
        judged_by: The headline of the run, which a schedule watches that names no metric.
        logged_names: What a step logs, known after :meth:`dry_run`.
        step_losses: The reduced loss of every head in the last step.
        skips_step: Whether the last step was skipped, so that teachers stay.
        fields: The field names of every train loader, known after :meth:`make_plan`.
        is_rehearsed: Whether a step was tried on samples before training.
    """

    def __init__(
        self,
        hparams: Mapping[str, Any],
        facts: DataFacts | Mapping[str, Any] | None = None,
        *,
        build: bool = True,
    ) -> None:
        super().__init__(hparams, facts, build=build)
        self.needs: Needs = None
        self.predicted: Collection[str] | None = None
        self.judged_by = self.headline or default_headline(is_validated=True)
        self.logged_names: set[str] = set()
        self.step_losses: dict[str, Tensor] = {}
        self.skips_step, self.is_rehearsed = False, True
        self.fields: Fields | None = None
        self._step: Step | None = None
        self._choice: PlanChoice | None = None
        self._passes = FullPasses()
        self._rng_states: list[dict[str, Any]] | None = None
        self.inputs: Inputs | None = None
        self.facts: dict[str, Any] = {}

    def make_plan(self, fields: Fields) -> ForwardPlan:
        """Settles what a step runs, from what every loss head asks for.

        Args:
            fields: The field names of every train loader.

        Raises:
            ConfigError: If heads ask for fields or networks that do not exist; all are listed.
        """
        self.fields, plan = fields, plan_steps(self, fields)
        self._choice = PlanChoice(plan, self.forward_setting, self.rows_setting)
        return self._choice.plan

    @property
    def plan(self) -> ForwardPlan | None:
        """What a step runs; None before :meth:`make_plan`."""
        return self._choice.plan if self._choice else None

    @property
    def forward_in_use(self) -> str | None:
        """How rows for one network are run in this run; None while that is open."""
        return self._choice.forward_in_use if self._choice else None

    @property
    def rows_in_use(self) -> list[str] | None:
        """The networks whose rows of weight zero are left out; None while that is open."""
        return self._choice.rows_in_use if self._choice else None

    def on_train_epoch_start(self) -> None:
        """Makes an epoch's passes, before the first step that may be skipped and undone."""
        self._passes.run(self, self.trainer.current_epoch)

    def on_train_batch_start(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Decides at the first batch of all how forwards are run."""
        # Lightning starts no epoch in a run that is resumed from between two.
        self._passes.run(self, self.trainer.current_epoch)
        if self._choice is not None and self._choice.is_open:
            if shards_weights(self.trainer):
                self._choice.skip_trials()
            if not self.is_rehearsed:
                self.through_strategy(self._choice.drop_inexact, batch)
            context = self.trainer.precision_plugin.forward_context
            self.through_strategy(self._choice.decide, batch, context)

    def dry_run(self, batch: Mapping[str, Any]) -> None:
        """Runs a step on a few samples, so that what cannot work shows before training.

        Parameters that no loss reaches are frozen, see :func:`dry_run.dry_run`.

        Args:
            batch: Every field of a step by full name (``"unlabeled.weak"``).

        Raises:
            ConfigError: With every head that fails, or the networks; or if nothing can be learned.
        """
        dry_run(self, batch)
        if self._choice is not None and self.is_rehearsed:
            self._choice.drop_inexact(batch)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Runs the planned forwards, applies every head, and sums their weighted losses."""
        assert self.plan is not None, "make_plan() comes before training"
        step = self._step = next_step(self, batch)
        outputs_by_head, is_logged = self.plan.run(batch, step.seed), is_written(self, step)
        total = torch.zeros((), device=self.device)
        log, self.step_losses = StepLog(), {}
        for name, term in self.terms.items():
            given = outputs_by_head.pop(name)
            outputs = term.head(given, step)
            reduced, weight = reduce_terms(outputs, term.reduction), term.weight(step.index)
            total = total + weight * reduced.loss
            self.step_losses[name] = reduced.loss.detach()
            if is_logged:
                log.add(name, reduced, weight, term.metrics(given, outputs), outputs.rows)
        if is_logged:
            log.losses["train/loss"] = total
            log.numbers |= learning_rates(self.trainer.optimizers[0])
            self.log_dict(log.reduce(self.device))
        return total

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Predicts a batch for the evaluators: ``{"predictions": Predictions}``."""
        return {"predictions": predict_samples(self, batch, self.needs)}

    test_step = validation_step

    @torch.no_grad()
    def predict_batch(
        self, batch: Mapping[str, Any], names: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Runs the evaluated forwards that the fields of a batch allow.

        Args:
            batch: The fields of an evaluated loader.
            names: Those of the forwards that are run; None runs all that are possible.

        Returns:
            ``{name: output}``, for a classifier
            ``{"model": {"features": (N, D), "logits": (N, C)}, "ema": {...}}``.
        """
        possible = self.evaluated.names(batch)
        return self.evaluated.run(batch, tuple(n for n in possible if names is None or n in names))

    def predict_loader(self, name: str, needs: Needs = None) -> Predictions:
        """Predicts a whole named loader of a run, see :func:`evaluated.predict_loader`."""
        return predict_loader(self, name, needs)

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Predicts a batch, for what writes predictions."""
        return self.predict_batch(batch, self.predicted)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Steps the optimizer, then the EMA teachers; then heads follow."""
        super().optimizer_step(*args, **kwargs)
        if self.skips_step:
            return
        move_averages(self, self.global_step)
        step, self._step = self._step, None  # which holds the batch
        if step is not None:
            for term in self.terms.values():
                term.head.after_step(step)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Builds the optimizer from the hyperparameters."""
        return build_optimizer(self, trainer_of(self))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Builds the optimizer and its schedule from the hyperparameters."""
        return with_schedule(self, self.build_optimizer())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what this learner is, and what of its state Lightning does not know."""
        write_contents(self, checkpoint)
        checkpoint["passes"] = self._passes.last_epoch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the generators' state until training starts, and runs forwards as before."""
        read_contents(self, checkpoint)
        self._rng_states = rng.states_of_processes(checkpoint.get("rng"))
        self._passes.last_epoch = checkpoint.get("passes")
        if self._choice is not None:
            self._choice.resume(checkpoint)

    def on_train_start(self) -> None:
        """Sets the generators to train with; the optimizer of a resumed run is there now."""
        announce_counts(self, self.settings)
        for optimizer in self.trainer.optimizers:
            match_layout(optimizer)
        rng.start_process(self.global_rank, self.global_step, self._rng_states)
        self._rng_states = None
