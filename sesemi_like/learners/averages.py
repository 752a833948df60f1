"""The EMA teachers of a learner: built from its settings, checked, and moved after each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..config.instantiate import has_target, instantiate
from ..errors import ConfigError, ConfigProblem, Problems, suggest
from ..models.ema import EMATeacher
from ..models.freezing import freeze, is_frozen
from ..models.networks import HEADS, Networks

if TYPE_CHECKING:
    from .definition import LearnerDefinition

_LATE = 10**12
"""A step after the end of any schedule."""


@dataclass(frozen=True)
class Average:
    """An EMA teacher that a learner asks for.

    Attributes:
        network: The network that is averaged, or a layer of a loss head (``"heads.name.layer"``).
        settings: The arguments of :class:`EMATeacher`; `decay` may be a schedule's config.
        key: The config key of the settings, for messages.
    """

    network: str
    settings: Mapping[str, Any]
    key: str

    @classmethod
    def of(cls, config: Mapping[str, Any], key: str) -> Average:
        """Reads a mapping of `network` and the settings.

        Raises:
            ConfigError: If it names no network.
        """
        settings = dict(config)
        network = settings.pop("network", None)
        if not isinstance(network, str):
            expected = "names the network that is averaged"
            raise ConfigError([ConfigProblem(f"{key}.network", network, expected)])
        return cls(network, settings, key)

    @property
    def is_of_head(self) -> bool:
        """Whether a layer of a loss head is averaged, which is there once heads are built."""
        return self.network.startswith(f"{HEADS}.")

    def build(self, networks: Networks) -> EMATeacher:
        """Copies the network.

        Raises:
            ConfigError: If there is no such network, or a setting is not possible.
        """
        if self.network not in networks:
            expected = f"no such network; {suggest(self.network, networks.names, noun='networks')}"
            raise ConfigError([ConfigProblem(f"{self.key}.network", self.network, expected)])
        settings = dict(self.settings)
        if has_target(settings.get("decay")):
            settings["decay"] = instantiate(settings["decay"], key=f"{self.key}.decay")
        try:
            return EMATeacher(networks.module(self.network), **settings)
        except (ValueError, TypeError) as error:
            raise ConfigError([ConfigProblem(self.key, self.settings, str(error))]) from error


def build_averages(
    networks: Networks, averages: Mapping[str, Average], *, of_heads: bool = False
) -> None:
    """Adds EMA teachers to the networks: those of networks, or those of loss heads' layers.

    Args:
        networks: The networks, which are added to.
        averages: What is asked for, by the teacher's name.
        of_heads: Whether those of heads' layers are built, which is possible once heads are.

    Raises:
        ConfigError: With every teacher that cannot be built.
    """
    problems = Problems()
    for name, average in averages.items():
        if average.is_of_head == of_heads:
            with problems.collecting():
                networks.add(name, average.build(networks), key=average.key)
    problems.raise_if_any()


def average_problems(learner: LearnerDefinition) -> Iterator[ConfigProblem]:
    """Finds decays that leave [0, 1], or schedules that need an unknown length of the run.

    Args:
        learner: A learner that has its networks.
    """
    for name, average in learner.averages().items():
        teacher: Any = learner.networks.module(name)
        for step in (0, _LATE):
            try:
                decay = teacher.decay_at(step)
            except (ValueError, TypeError) as error:
                yield ConfigProblem(f"{average.key}.decay", str(teacher.decay), str(error))
                break
            if not 0 <= decay <= 1:
                expected = "must lie in [0, 1] at every step"
                yield ConfigProblem(f"{average.key}.decay", decay, expected)
                break


def move_averages(learner: LearnerDefinition, step: int) -> None:
    """Moves every EMA teacher towards the network it averages.

    Args:
        learner: A learner that has its networks.
        step: Optimizer steps taken before this one.
    """
    for name, source in learner.averaged_networks().items():
        teacher = learner.networks.module(name)
        assert isinstance(teacher, EMATeacher)
        teacher.update(learner.networks.module(source), step)


def freeze_averages(learner: LearnerDefinition) -> None:
    """Freezes in every EMA teacher what is frozen in the network it averages.

    Args:
        learner: A learner that has its networks.
    """
    for name, source in learner.averaged_networks().items():
        teacher = learner.networks.module(name)
        assert isinstance(teacher, EMATeacher)
        for path, part in learner.networks.module(source).named_modules():
            if is_frozen(part):
                freeze(teacher.module.get_submodule(path))
