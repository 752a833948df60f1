"""The networks and loss heads of a learner: built at once, or in a run under its strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from torch import nn

from ..compat.lightning import call_as_step
from ..config.check_optimization import optimization_problems
from ..config.facts import DataFacts
from ..config.instantiate import plain
from ..errors import Problems
from ..models.backbones.pretrained import without_initial_weights
from ..models.weights import read_metadata
from .averages import build_averages
from .checkpoints.frozen import FrozenSource, source_in
from .definition import LearnerDefinition
from .evaluated import EvaluatedForwards
from .optimizers import use_channels_last
from .outline import build_outlined
from .shared_parts import share_parts
from .steps import trainer_of
from .terms import LossTerm
from .trainable import freeze_the_rest

if TYPE_CHECKING:
    from typing_extensions import Self

    from .base import Learner

T = TypeVar("T")


class BuiltLearner(LearnerDefinition):
    """What a learner is made of, as its hyperparameters say.

    Args:
        hparams: Everything the learner is rebuilt from, as plain values.
        facts: What is known of the data; None where nothing is.
        build: Whether the networks are built now; otherwise :meth:`configure_model` builds them.

    Attributes:
        data_facts: What was known of the data when it was built.
        shared_parts: The parts that loss heads share, by name.
        evaluated: What is evaluated, and of which outputs.
        seed: The run's seed, which what heads draw depends on.
        frozen: What checkpoints leave out; None for nothing.
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
        self.seed = 0
        self.build_later: Callable[[], object] | None = None
        self.frozen: FrozenSource | None = None
        if build:
            self.configure_model()

    def configure_model(self) -> None:
        """Builds networks and loss heads where that has not been done yet.

        Lightning calls it in every run, with the strategy's device and sharding in place.
        """
        if self.build_later is not None:
            build, self.build_later = self.build_later, None
            build_outlined(cast("Learner", self), build)
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
            term.build(self.networks, self.data_facts)
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

        Weights that its networks would begin with are neither downloaded nor read, unless frozen
        ones were left out of the file. The arguments are Lightning's.
        """
        arguments = (checkpoint_path, map_location, hparams_file, strict, weights_only)
        with without_initial_weights(source_in(read_metadata(checkpoint_path)) is None):
            return super().load_from_checkpoint(*arguments, **kwargs).eval()

    @property
    def terms(self) -> dict[str, LossTerm]:
        """The loss terms that are not switched off."""
        terms = cast(Mapping[str, LossTerm], self.loss_terms)
        return {name: term for name, term in terms.items() if not term.is_off}
