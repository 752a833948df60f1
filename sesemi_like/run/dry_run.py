"""A dry run: a step and an evaluation on a few samples, whose failures are reported."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..data import DataModule
from ..data.batches import Batch
from ..data.checks.images import unsupported_images
from ..data.loading.keys import is_evaluated
from ..errors import ConfigProblem, Problems
from ..learners import Learner
from ..learners.dry_run import explain_first_calls
from ..learners.outline import is_outline, needs_values
from ..trees import to_device
from .frozen_features import use_frozen_features


def dry_run_problems(
    learner: Learner,
    data: DataModule,
    *,
    trains: bool,
    rehearse: str = "full",
    needs: Collection[str] = (),
) -> list[ConfigProblem]:
    """Runs a step and an evaluation on a few samples, and reports what fails.

    Afterwards the learner has its plan, and the data module computes only the views it needs.

    Args:
        learner: The learner of the run.
        data: The data of the run.
        trains: Whether the run trains; otherwise only an evaluation is run.
        rehearse: `run.rehearse`: with `none` nothing is run; an outline is given samples without
            values.
        needs: The names of fields and outputs that evaluators read.

    Returns:
        The problems; those of samples whose image is none come first, as the likely cause.
    """
    problems = Problems()
    with problems.collecting():
        if trains:
            use_frozen_features(learner, data, needs)
            data.keep(learner.make_plan(data.fields).fields)
            if rehearse == "none":
                explain_first_calls(learner)
            else:
                learner.dry_run(_given_to(learner, data.first_step()))
    if rehearse != "none":
        problems.problems += _evaluation_problems(learner, data)
    if not problems.problems:
        return []
    return [*unsupported_images(data.sample_batches), *problems.problems]


def _evaluation_problems(learner: Learner, data: DataModule) -> Iterator[ConfigProblem]:
    """Predicts a few samples of the data of evaluation."""
    was_training = learner.training
    learner.eval()
    for name, batch in data.sample_batches.items():
        if not is_evaluated(name):
            continue
        if (lacking := _lacking(learner, batch)) is not None:
            expected = f"what is evaluated needs {lacking}, which its batches do not have"
            yield ConfigProblem(f"data.{name}", sorted(batch), expected)
            continue
        try:
            learner.predict_batch(_given_to(learner, batch))
        except Exception as error:
            if is_outline(learner) and needs_values(error):
                continue
            expected = f"its first samples do not go through the networks: {error}"
            yield ConfigProblem(f"data.{name}", name, expected)
    learner.train(was_training)


def _given_to(learner: Learner, batch: Batch) -> Batch:
    """A batch for a learner: of an outline one without values too."""
    moved: Batch = to_device(batch, "meta") if is_outline(learner) else batch
    return moved


def _lacking(learner: Learner, batch: Batch) -> str | None:
    """The fields that nothing can be evaluated without; None where there are none."""
    if not learner.evaluated.requests or learner.evaluated.names(batch):
        return None
    return " and ".join(sorted(learner.evaluated.fields - set(batch)))
