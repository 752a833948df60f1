"""Targets of SESEMI are reported with their names here, which exist; nothing is imported."""

import importlib
from pathlib import Path
from typing import Any

import hydra.utils
import pytest
from omegaconf import OmegaConf

from sesemi_like.config.old_names import OF_SESEMI, name_here
from sesemi_like.config.targets import target_problems


def reported(config: Any) -> dict[str, str]:
    return {p.key: p.expected for p in target_problems(OmegaConf.create(config))}


def test_every_target_of_sesemi_is_reported_wherever_it_stands() -> None:
    old = {"_target_": "sesemi.PolynomialLR"}
    found = reported({"a": old, "b": [{"c": old}], "d": {"_target_": "torch.optim.SGD"}})
    assert set(found) == {"a._target_", "b.0.c._target_"}
    assert "here it is sesemi_like.PolynomialLR" in found["a._target_"]


def test_targets_that_are_no_paths_are_reported() -> None:
    assert set(reported({"a": {"_target_": 3}, "b": {"_target_": None}})) == {
        "a._target_",
        "b._target_",
    }


def test_values_known_later_are_let_through() -> None:
    assert reported({"a": {"_target_": "${b}"}, "b": "torch.optim.SGD"}) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sesemi.T.Compose", "torchvision.transforms.v2.Compose"),
        ("sesemi.PyTorchImageModels", "sesemi_like.PyTorchImageModels"),
        (
            "sesemi.models.loss_heads.FixMatchLossHead",
            "sesemi_like.models.heads.loss.FixMatchLossHead",
        ),
        ("sesemi.collation.RotationCollator", "sesemi_like.collation.RotationTransformer"),
    ],
)
def test_a_name_is_followed_to_what_it_is_now(old: str, new: str) -> None:
    assert f"here it is {new} " in name_here(old)
    assert callable(hydra.utils.get_object(new))


def test_every_new_name_exists() -> None:
    for new in set(OF_SESEMI.values()) - {"albumentations"}:
        package, _, name = new.rpartition(".")
        assert hasattr(importlib.import_module(package), name) or importlib.import_module(new)


def test_the_page_for_those_who_come_from_sesemi_has_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "coming_from_sesemi.md").read_text()
    for old, new in OF_SESEMI.items():
        assert old.rpartition(".")[2] in page, old
        assert new.rpartition(".")[2] in page, new
