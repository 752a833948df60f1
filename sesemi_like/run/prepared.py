"""A prepared run: all that its config describes, built and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ..config.headline import Headline
from ..config.length import RunLength
from ..config.mode import Mode
from ..config.resolvers import AppAttributes
from ..data import DataModule
from ..devices import Devices
from ..evaluation import Evaluation
from ..learners import Learner


@dataclass
class Prepared:
    """All that a config describes, built and checked; nothing has been written yet.

    Attributes:
        config: The composed config.
        mode: What the run does.
        seed: The run's seed, drawn when the config gives none.
        devices: Where the run computes.
        length: How long the run is.
        attributes: What ``${app:...}`` returns.
        validation: A Trainer's settings for how often it validates; empty without training.
        data: The named data loaders.
        learner: What learns.
        evaluation: What is measured.
        headline: The figure that the run is judged by.
    """

    config: DictConfig
    mode: Mode
    seed: int
    devices: Devices
    length: RunLength
    attributes: AppAttributes
    validation: Mapping[str, Any]
    data: DataModule
    learner: Learner
    evaluation: Evaluation
    headline: Headline
