"""Schedules as Lightning takes them: those that step by a metric watch the headline."""

from typing import Any

import pytest
import torch

from sesemi_like.config.headline import Headline
from sesemi_like.learners.lr_schedules import build_schedule

PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"


def built(schedule: dict[str, Any], headline: Headline) -> dict[str, Any]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    return build_schedule(schedule, optimizer, headline, key="learner.hparams.lr_scheduler")


@pytest.mark.parametrize("direction", ["min", "max"])
def test_a_plateau_without_a_metric_watches_the_headline_in_its_direction(direction: str) -> None:
    found = built({"scheduler": {"_target_": PLATEAU}}, Headline("val/x", direction, "x"))
    assert found["monitor"] == "val/x"
    assert found["scheduler"].mode == direction


def test_what_a_schedule_names_itself_stays() -> None:
    headline = Headline("val/x", "max", "x")
    found = built({"scheduler": {"_target_": PLATEAU}, "monitor": "val/y"}, headline)
    assert (found["monitor"], found["scheduler"].mode) == ("val/y", "min")
    steps = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1}
    found = built({"scheduler": steps, "interval": "step", "monitor": None}, headline)
    assert set(found) == {"scheduler", "interval"}
