"""What a checkpoint of a learner holds beside what Lightning puts into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...distributed import gather_objects
from ...views.image_inputs import Inputs
from . import rng
from .frozen import complete, leave_out
from .tensor_names import translated

if TYPE_CHECKING:
    from ..base import Learner


def write_contents(learner: Learner, checkpoint: dict[str, Any]) -> None:
    """Adds a learner's class, all generators, how forwards are run, and what run and data are.

    Args:
        learner: The learner.
        checkpoint: What Lightning is about to save; tensors that are not saved are taken out.
    """
    kind = type(learner)
    checkpoint["learner"] = f"{kind.__module__}.{kind.__qualname__}"
    checkpoint["rng"] = gather_objects(rng.state())
    checkpoint["forward"], checkpoint["rows"] = learner.forward_in_use, learner.rows_in_use
    checkpoint["run"] = learner.facts
    if learner.inputs is not None:
        checkpoint["data"] = learner.inputs.plain()
    if learner.frozen is not None:
        leave_out(checkpoint, learner.frozen)


def read_contents(learner: Learner, checkpoint: dict[str, Any]) -> None:
    """Gives tensors the names and the company that the learner expects, and reads its inputs.

    Args:
        learner: The learner, built, whose weights are loaded next.
        checkpoint: What Lightning has read; its tensors are renamed, and those that were left out
            are put in.

    Raises:
        ConfigError: If those that were left out cannot be had.
    """
    checkpoint["state_dict"] = translated(checkpoint["state_dict"])
    complete(learner, checkpoint)
    if learner.inputs is None:
        learner.inputs = Inputs.from_plain(checkpoint.get("data"))
