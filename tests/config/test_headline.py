"""The headline: what a config makes of it, and what is wrong with one."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from sesemi_like.config.headline import (
    Headline,
    chosen_headline,
    default_headline,
    headline_problems,
    sweep_problem,
)

TOP1 = Headline("val/top1", "max", "top-1")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, TOP1),
        ("val/top1", TOP1),
        ("val/loss", Headline("val/loss", "min", "loss")),
        ("val/model/loss", Headline("val/model/loss", "min", "loss")),
        ("val/recall", Headline("val/recall", "max", "recall")),
        ({"name": "val/top1", "words": "accuracy"}, Headline("val/top1", "max", "accuracy")),
        ({"name": "val/fid", "direction": "min"}, Headline("val/fid", "min", "fid")),
    ],
)
def test_a_config_chooses_it_or_leaves_it_to_the_learner(config: Any, expected: Headline) -> None:
    given = OmegaConf.create(config) if isinstance(config, dict) else config
    assert list(headline_problems(given)) == []
    assert chosen_headline(given, TOP1) == expected


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ("loss", "run.headline"),
        ("test/top1", "run.headline"),
        ("val/", "run.headline"),
        (3, "run.headline"),
        ({"direction": "max"}, "run.headline"),
        ({"name": "val/loss", "direction": "up"}, "run.headline.direction"),
        ({"name": "val/loss", "word": "x"}, "run.headline.word"),
    ],
)
def test_what_is_none_is_reported(config: Any, key: str) -> None:
    given = OmegaConf.create(config) if isinstance(config, dict) else config
    assert [problem.key for problem in headline_problems(given)] == [key]


def test_the_best_is_the_highest_or_the_lowest() -> None:
    assert TOP1.best(0.5, 0.7, 0.6) == 0.7
    assert default_headline(is_validated=True).best(0.5, 0.7) == 0.5
    assert default_headline(is_validated=True).on("test") == "test/loss"
    assert default_headline(is_validated=False).split == "train"


@pytest.mark.parametrize(
    ("sweeper", "key"),
    [
        ({}, None),
        ({"direction": "maximize"}, None),
        ({"direction": "minimize"}, "hydra.sweeper.direction"),
        ({"direction": "Direction.minimize"}, "hydra.sweeper.direction"),
        ({"optim": {"maximize": True}}, None),
        ({"optim": {"maximize": False}}, "hydra.sweeper.optim.maximize"),
        ({"ax_config": {"experiment": {"minimize": True}}},
         "hydra.sweeper.ax_config.experiment.minimize"),
    ],
)  # fmt: skip
def test_a_sweeper_that_looks_for_the_worst_run_is_reported(sweeper: Any, key: str | None) -> None:
    problem = sweep_problem(TOP1, sweeper)
    assert (problem.key if problem else None) == key
