"""The Lightning Trainer that a config describes."""

import pytest
from composing import composed

from sesemi_like.errors import ConfigError
from sesemi_like.trainer.build import build_trainer_section

TIMER = "{_target_: pytorch_lightning.callbacks.Timer, duration: {hours: 1}}"


@pytest.mark.parametrize("callback", ["null", "3", "{_targt_: x}", "{_target_: torch.nn.ReLU}"])
def test_what_is_no_callback_is_reported(callback: str) -> None:
    config = composed("quickstart", f"trainer.callbacks=[{TIMER}, {callback}]")
    with pytest.raises(ConfigError, match=r"trainer\.callbacks\.1: .*no Lightning callback"):
        build_trainer_section(config)
