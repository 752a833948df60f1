"""Overrides reach below keys that are typed and null, as the same values in a file do."""

from typing import Any

import pytest
from composing import composed
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from sesemi_like.config import structs


@pytest.mark.parametrize(
    ("name", "overrides", "key", "expected"),
    [
        ("quickstart", ["+data.val.views.x=1"], "data.val.views", {"x": 1}),
        ("quickstart", ["data.val.views={x: {a: 1}}"], "data.val.views", {"x": {"a": 1}}),
        ("quickstart", ["++data.val.views={x: 1}"], "data.val.views", {"x": 1}),
        ("sesemi_config", ["run.evaluators={a: {k: 1}}"], "run.evaluators", {"a": {"k": 1}}),
        ("sesemi_config", ["+trainer.logger=false"], "trainer", {"logger": False}),
    ],
)
def test_mappings_that_were_null_are_filled(
    name: str, overrides: list[str], key: str, expected: dict[str, Any]
) -> None:
    assert OmegaConf.select(composed(name, *overrides), key) == expected


@pytest.mark.parametrize("override", ["decay=0.9", "={decay: 0.9}"])
def test_a_struct_that_was_null_gets_its_defaults_around_what_is_set(override: str) -> None:
    join = "" if override.startswith("=") else "."
    config = composed("sesemi_config", f"learner.hparams.model.ema{join}{override}")
    expected = OmegaConf.structured(structs.EMAConfig(decay=0.9))
    assert config.learner.hparams.model.ema == expected


@pytest.mark.parametrize(
    "overrides",
    [
        ["+data.train.extra={shuffle: true}"],
        ["+data.train.extra.shuffle=true"],
        ["+data.train.extra={}", "data.train.extra.shuffle=true"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["sesemi_config", "quickstart"])
def test_a_new_loader_is_one_of_its_struct(name: str, overrides: list[str]) -> None:
    config = composed(name, *overrides)
    expected = OmegaConf.structured(structs.DataLoaderConfig(shuffle=True))
    assert config.data.train.extra == expected
    assert OmegaConf.get_type(config.data.train, "extra") is structs.DataLoaderConfig


def test_a_whole_section_that_was_null_is_set() -> None:
    config = composed("sesemi_config", "data.train={extra: {shuffle: true}}")
    assert (
        config.data.train == composed("sesemi_config", "+data.train.extra.shuffle=true").data.train
    )


@pytest.mark.parametrize("override", ["data.test.shufle=true", "data.test={shufle: true}"])
def test_keys_that_a_struct_does_not_have_are_refused_all_the_same(override: str) -> None:
    with pytest.raises(ConfigCompositionException):
        composed("base", override)


def test_a_key_that_was_switched_off_before_starts_from_its_defaults() -> None:
    config = composed("cifar10", "data.val=null", "data.val.batch_size=8")
    assert config.data.val == OmegaConf.structured(structs.DataLoaderConfig(batch_size=8))
