"""A step and an evaluation of a few samples: what cannot work is reported before training."""

from __future__ import annotations

from collections.abc import Iterator

from ..data import DataModule
from ..data.checks.images import unsupported_images
from ..data.loading.names import EVALUATED
from ..errors import ConfigProblem, Problems
from ..learners import Learner


def dry_run_problems(learner: Learner, data: DataModule, *, trains: bool) -> list[ConfigProblem]:
    """Runs a step and an evaluation on a few samples, and finds what fails.

    The learner has its plan afterwards, and the data module computes what that asks for alone.

    Args:
        learner: The learner of the run.
        data: The data of the run.
        trains: Whether the run trains; an evaluation alone is tried otherwise.

    Returns:
        The problems, those of images that are none before those of what failed with them.
    """
    problems = Problems()
    with problems.collecting():
        if trains:
            data.keep(learner.make_plan(data.fields).fields)
            learner.dry_run(data.first_step())
    problems.problems += _evaluation_problems(learner, data)
    if not problems.problems:
        return []
    return [*unsupported_images(data.sample_batches), *problems.problems]


def _evaluation_problems(learner: Learner, data: DataModule) -> Iterator[ConfigProblem]:
    """Predicts a few samples of the data of evaluation."""
    was_training = learner.training
    learner.eval()
    for name, batch in data.sample_batches.items():
        if name not in EVALUATED:
            continue
        try:
            learner.predict_batch(batch)
        except Exception as error:
            expected = f"its first samples do not go through the networks: {error}"
            yield ConfigProblem(f"data.{name}", name, expected)
    learner.train(was_training)
