"""The base learner: named networks, weighted loss heads, and the training step, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from ..compat.lightning import call_as_step, shards_weights
from ..config.check_optimization import optimization_problems
from ..config.facts import DataFacts
from ..config.headline import default_headline
from ..config.instantiate import plain
from ..distributed import gather_objects
from ..errors import Problems
from ..models.backbones.pretrained import without_initial_weights
from ..models.heads.loss.base import Fields, Step
from ..predictions import Predictions
from ..views.image_inputs import Inputs
from .averages import build_averages, move_averages
from .checkpoints import rng
from .definition import LearnerDefinition
from .dry_run import dry_run
from .evaluated import EvaluatedForwards, Needs, predict_loader, predict_samples
from .forwards import ForwardPlan
from .optimizers import build_optimizer, match_layout, use_channels_last, with_schedule
from .outline import build_outlined
from .param_groups import learning_rates
from .passes import FullPasses
from .plan_choice import PlanChoice
from .planning import plan_steps
from .reductions import reduce_terms
from .shared_parts import share_parts
from .step_log import StepLog
from .steps import is_written, next_step, trainer_of
from .terms import LossTerm
from .trainable import announce_counts, freeze_the_rest

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

T = TypeVar("T")


class Learner(LearnerDefinition):
    """Minimizes a weighted sum of loss heads over named networks and named loaders.

    A learner defines in :meth:`build_networks`, :meth:`build_terms` and :meth:`evaluated_forwards`
    what it is made of. Whatever a method does beyond that is a loss head, a view or an evaluator.

    Args:
        hparams: Everything the learner is rebuilt from, as plain values. The base reads
            `optimizer` (called with the parameters), `lr_scheduler` (null, or `scheduler`,
            `interval`, `frequency`, `monitor`, `strict`, `name`) and `forward` (auto | separate |
            joined, see :meth:`forward_setting`).
        facts: What is known of the data, for heads that have tables; None where nothing is. It is
            kept beside the hyperparameters, so that a checkpoint alone rebuilds a learner.
        build: Whether the networks are built now; otherwise :meth:`configure_model` builds them.

    Attributes:
        data_facts: What was known of the data when it was built.
        shared_parts: The parts that loss heads share, by name.
        inputs: What the images of the run, or of the checkpoint it was loaded from, are; None
            where that is not known.
        facts: What a resumed run must have in common with this one to end alike.
        evaluated: What is evaluated, and of which outputs.
        needs: The names of the fields and outputs that evaluators read next; None reads all.
        predicted: The names of the evaluated outputs that are written; None writes all.
        judged_by: The headline of the run, which a schedule watches that names no metric.
        logged_names: What a step logs, known after :meth:`dry_run`.
        step_losses: The reduced loss of every head in the last step.
        skips_step: Whether the last step was skipped, so that teachers stay.
        seed: The run's seed, which what heads draw depends on.
        fields: The field names of every train loader, known after :meth:`make_plan`.
        is_rehearsed: Whether a step was tried on samples before training.
        build_later: Builds this learner for real in a run, where it is an outline, see `outline`.
    """

    evaluated: EvaluatedForwards

    def __init__(
        self,
        hparams: Mapping[str, Any],
        facts: DataFacts | Mapping[str, Any] | None = None,
        *,
        build: bool = True,
    ) -> None:
        super().__init__()
        self.settings, self.data_facts = plain(hparams), DataFacts.from_plain(facts)
        self.save_hyperparameters({"hparams": self.settings, "facts": self.data_facts.plain()})
        self.needs: Needs = None
        self.predicted: Collection[str] | None = None
        self.judged_by = self.headline or default_headline(is_validated=True)
        self.logged_names: set[str] = set()
        self.step_losses: dict[str, Tensor] = {}
        self.skips_step = False
        self.seed, self.is_rehearsed = 0, True
        self.fields: Fields | None = None
        self.build_later: Callable[[], object] | None = None
        self._step: Step | None = None
        self._choice: PlanChoice | None = None
        self._passes = FullPasses()
        self._rng_states: list[dict[str, Any]] | None = None
        self.inputs: Inputs | None = None
        self.facts: dict[str, Any] = {}
        if build:
            self.configure_model()

    def configure_model(self) -> None:
        """Builds networks and loss heads where that has not been done yet.

        Lightning calls it in every run, with the strategy's device and sharding in place.
        """
        if self.build_later is not None:
            build, self.build_later = self.build_later, None
            build_outlined(self, build)
        elif not hasattr(self, "networks"):
            self.build()

    def build(self) -> None:
        """Builds networks and loss heads, in place of those there are.

        Raises:
            ConfigError: If they cannot be built of these hyperparameters.
        """
        Problems(optimization_problems(self.settings, self.key)).raise_if_any()
        self.networks = self.build_networks()
        build_averages(self.networks, self.averages())
        self.loss_terms = nn.ModuleDict(self.build_terms())
        for term in self.terms.values():
            term.head.build(self.networks, self.data_facts)
        self.shared_parts = nn.ModuleDict(share_parts(self.terms))
        self.networks.heads = {name: term.head for name, term in self.terms.items()}
        build_averages(self.networks, self.averages(), of_heads=True)
        if self.settings.get("trainable") is not None:
            freeze_the_rest(self, self.settings["trainable"], key=f"{self.key}.trainable")
        use_channels_last(self)
        self.evaluated = EvaluatedForwards.of(self)

    def through_strategy(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function that calls networks as the strategy calls a training step.

        Whatever runs networks outside of a step goes through it, for networks that a strategy has
        wrapped or sharded cannot be called otherwise. All processes call it equally often.

        Args:
            function: What calls networks, such as :meth:`predict_batch`.
            *arguments: Its arguments.

        Returns:
            What it returns; outside a run it is simply called.
        """
        if (trainer := trainer_of(self)) is None:
            return function(*arguments)
        return call_as_step(trainer, function, *arguments)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = "cpu",
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **kwargs: Any,
    ) -> Self:
        """Rebuilds a learner from a checkpoint alone, in evaluation mode.

        Weights that its networks would begin with are neither downloaded nor read. The arguments
        are Lightning's.
        """
        arguments = (checkpoint_path, map_location, hparams_file, strict, weights_only)
        with without_initial_weights():
            return super().load_from_checkpoint(*arguments, **kwargs).eval()

    @property
    def terms(self) -> dict[str, LossTerm]:
        """The loss terms that are not switched off."""
        terms = cast(Mapping[str, LossTerm], self.loss_terms)
        return {name: term for name, term in terms.items() if not term.is_off}

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

    def on_train_batch_start(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Makes an epoch's passes, and decides at the first batch of all how forwards are run."""
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
        """Adds its class, all generators, how forwards are run, and what run and data are."""
        checkpoint["learner"] = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["rng"] = gather_objects(rng.state())
        checkpoint["forward"], checkpoint["rows"] = self.forward_in_use, self.rows_in_use
        checkpoint["run"] = self.facts
        checkpoint["passes"] = self._passes.last_epoch
        if self.inputs is not None:
            checkpoint["data"] = self.inputs.plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the generators' state until training starts, and runs forwards as before."""
        self._rng_states = rng.states_of_processes(checkpoint.get("rng"))
        self._passes.last_epoch = checkpoint.get("passes")
        if self.inputs is None:
            self.inputs = Inputs.from_plain(checkpoint.get("data"))
        if self._choice is not None:
            self._choice.resume(checkpoint)

    def on_train_start(self) -> None:
        """Sets the generators to train with; the optimizer of a resumed run is there now."""
        announce_counts(self, self.settings)
        for optimizer in self.trainer.optimizers:
            match_layout(optimizer)
        rng.start_process(self.global_rank, self.global_step, self._rng_states)
        self._rng_states = None
