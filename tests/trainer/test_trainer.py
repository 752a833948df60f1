"""The Lightning Trainer that a config describes."""

from pathlib import Path

import pytest
from composing import composed

from sesemi_like.config.targets import foreign_problem, target_problems
from sesemi_like.errors import ConfigError
from sesemi_like.trainer.build import build_trainer_section, callback_keys

TIMER = "{_target_: pytorch_lightning.callbacks.Timer, duration: {hours: 1}}"


@pytest.mark.parametrize("callback", ["null", "3", "{_targt_: x}", "{_target_: torch.nn.ReLU}"])
def test_what_is_no_callback_is_reported(callback: str) -> None:
    config = composed("quickstart", f"trainer.callbacks=[{TIMER}, {callback}]")
    with pytest.raises(ConfigError, match=r"trainer\.callbacks\.1: .*no Lightning callback"):
        build_trainer_section(config)


def test_callbacks_and_loggers_may_be_mappings_by_name(tmp_path: Path) -> None:
    config = composed(
        "quickstart",
        f"+trainer.callbacks={{timer: {TIMER}, off: null}}",
        "+trainer.callbacks.lr._target_=pytorch_lightning.callbacks.LearningRateMonitor",
        "+trainer.logger.own._target_=pytorch_lightning.loggers.CSVLogger",
        f"+trainer.logger.own.save_dir={tmp_path}",
    )
    section = build_trainer_section(config)
    assert [type(callback).__name__ for callback in section["callbacks"]] == [
        "ModelCheckpoint", "Timer", "LearningRateMonitor",
    ]  # fmt: skip
    assert [type(logger).__name__ for logger in section["logger"]] == ["CSVLogger"]
    assert callback_keys(config) == [
        f"trainer.callbacks.{name}" for name in ("checkpoint", "timer", "lr")
    ]


def test_a_callback_of_the_package_lightning_is_named_with_what_it_is_here() -> None:
    class Callback:
        """As one of `lightning.pytorch` looks where that package is installed."""

    Callback.__module__ = "lightning.pytorch.callbacks"
    Callback.__qualname__ = "Callback"
    assert "here it is pytorch_lightning.callbacks.Callback" in str(
        foreign_problem(type("Own", (Callback,), {}))
    )
    assert foreign_problem(dict) is None
    config = composed(
        "quickstart", "trainer.callbacks=[{_target_: lightning.pytorch.callbacks.Timer}]"
    )
    [problem] = target_problems(config)
    assert (problem.key, problem.value) == (
        "trainer.callbacks.0._target_", "lightning.pytorch.callbacks.Timer",
    )  # fmt: skip
    assert "here it is pytorch_lightning.callbacks.Timer" in problem.expected
