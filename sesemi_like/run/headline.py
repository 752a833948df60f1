"""The figure that a run is judged by."""

from __future__ import annotations

from omegaconf import DictConfig

from ..config.command_line import sweeper
from ..config.headline import Headline, chosen_headline, default_headline, sweep_problem
from ..errors import ConfigError
from ..evaluation import Evaluation, Losses
from ..learners import Learner


def headline_of(config: DictConfig, learner: Learner, evaluation: Evaluation) -> Headline:
    """Chooses the headline of a run: that of its config, of its learner, or a loss.

    Args:
        config: A composed config.
        learner: What learns.
        evaluation: What is measured.

    Raises:
        ConfigError: If the run is one of a sweep that looks for the worst of it.
    """
    measured = [e for e in evaluation.evaluators.values() if e.is_run_on("val")]
    is_validated = bool(config.data.val and config.data.val.dataset) and any(
        isinstance(evaluator, Losses) for evaluator in measured
    )
    own = learner.headline or default_headline(is_validated=is_validated)
    headline = chosen_headline(config.run.headline, own)
    if problem := sweep_problem(headline, sweeper()):
        raise ConfigError([problem])
    learner.judged_by = headline
    return headline
