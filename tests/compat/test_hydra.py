"""Private parts of Hydra and OmegaConf are as `compat.hydra` takes them."""

from collections.abc import Iterator, Sequence

import pytest
from composing import composed
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from sesemi_like.compat import hydra
from sesemi_like.config.store import register_configs
from sesemi_like.config.structs import AppConfig


@pytest.fixture(autouse=True)
def own_rule_afterwards() -> Iterator[None]:
    yield
    register_configs()


def test_hydra_applies_overrides_with_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str | None] = []

    def apply(overrides: Sequence[Override], config: DictConfig) -> None:
        applied.extend(override.input_line for override in overrides)

    monkeypatch.setattr("sesemi_like.config.store.reach_below_nulls", lambda: None)
    hydra.apply_overrides_with(apply)
    config = composed("sesemi_config", "run.seed=3")
    changed = "Hydra no longer applies overrides by ConfigLoaderImpl._apply_overrides_to_config"
    assert "run.seed=3" in applied, changed
    assert config.run.seed is None, changed


def test_what_hydra_does_by_itself_refuses_keys_below_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesemi_like.config.store.reach_below_nulls", lambda: None)
    hydra.apply_overrides_with(hydra.apply_as_hydra)
    assert composed("sesemi_config", "run.seed=3").run.seed == 3
    with pytest.raises((ConfigCompositionException, AssertionError)):
        composed("sesemi_config", "data.val.batch_size=3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("train", True), ("val", True), ("num_labels", False), ("label_seed", False)],
)
def test_a_null_mapping_is_distinguished_from_other_nulls(name: str, expected: bool) -> None:
    data = OmegaConf.structured(AppConfig).data
    changed = "OmegaConf no longer keeps a null mapping as a DictConfig that `_is_none`"
    assert hydra.is_null_mapping(data, name) is expected, changed


def test_a_mapping_that_is_there_is_none_that_is_null() -> None:
    assert not hydra.is_null_mapping(OmegaConf.create({"a": {}}), "a")
