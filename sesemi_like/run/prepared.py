"""What a config describes, once it is built and checked."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import DictConfig

from ..config.modes import Mode
from ..config.resolvers import AppAttributes
from ..data import DataModule
from ..devices import Devices
from ..evaluation import Evaluation
from ..learners import Learner


@dataclass
class Prepared:
    """What a config describes, built and checked; nothing is written yet.

    Attributes:
        config: The composed config.
        mode: What is done with the rest.
        seed: The run's seed, drawn when the config gives none.
        devices: Where the run computes.
        attributes: What ``${app:...}`` returns.
        data: The named data loaders.
        learner: What learns.
        evaluation: What is measured.
    """

    config: DictConfig
    mode: Mode
    seed: int
    devices: Devices
    attributes: AppAttributes
    data: DataModule
    learner: Learner
    evaluation: Evaluation
