"""Every name that a config or checkpoint may hold from earlier versions still finds its object."""

import functools
import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

from sesemi_like.config.instantiate import instantiate
from sesemi_like.config.old_names import EARLIER, names_since
from sesemi_like.data.sources import image_reader
from sesemi_like.errors import ConfigError
from sesemi_like.report import TensorBoardImages


def located(target: str) -> Any:
    """What a target names, without calling it."""
    call = instantiate({"_target_": target, "_partial_": True}, key="key")
    while isinstance(call, functools.partial):
        call = call.func
    return call


def object_at(path: str) -> Any:
    """The module, or the attribute of a module, at a path; None if there is none."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, attribute = path.rpartition(".")
        return getattr(object_at(module), attribute, None)


def own_callables(module: ModuleType) -> dict[str, Any]:
    """The public functions and classes that a module defines."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("old", EARLIER)
def test_each_entry_resolves_to_what_it_is_now(old: str) -> None:
    _, *newer = names_since(f"sesemi_like.{old}")
    current = next(found for found in map(object_at, newer) if found is not None)
    if isinstance(current, ModuleType):
        name, expected = next(iter(own_callables(current).items()))
        assert located(f"sesemi_like.{old}.{name}") is expected
    else:
        assert located(f"sesemi_like.{old}") is current


@pytest.mark.parametrize("old", EARLIER)
def test_no_entry_takes_the_place_of_an_object_that_is_there(old: str) -> None:
    present = object_at(f"sesemi_like.{old}")
    assert present is None or isinstance(present, ModuleType)
    for name, value in own_callables(present).items() if present else ():
        assert located(f"sesemi_like.{old}.{name}") is value


@pytest.mark.parametrize("module", ["report", "report.pictures"])
def test_a_renamed_callback_is_found_by_its_first_names(module: str) -> None:
    assert located(f"sesemi_like.{module}.TensorBoardPictures") is TensorBoardImages


@pytest.mark.parametrize("name", ["to_pil", "to_uint8"])
def test_steps_of_a_transform_are_found_where_they_were(name: str) -> None:
    assert located(f"sesemi_like.data.samples.{name}") is getattr(image_reader, name)


def test_names_are_followed_over_several_renamings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesemi_like.config.old_names.EARLIER", {"a": "b.c", "b.c.D": "e.F"})
    followed = ["sesemi_like.a.D", "sesemi_like.b.c.D", "sesemi_like.e.F"]
    assert list(names_since("sesemi_like.a.D")) == followed
    assert list(names_since("torch.a.D")) == ["torch.a.D"]


def test_a_circle_of_names_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sesemi_like.config.old_names.EARLIER", {"a": "a.b"})
    assert list(names_since("sesemi_like.a.C")) == ["sesemi_like.a.C", "sesemi_like.a.b.C"]


def test_a_name_that_never_was_is_reported_as_written() -> None:
    with pytest.raises(ConfigError, match=r"sesemi_like\.data has no 'picturez'"):
        located("sesemi_like.data.picturez.Thing")
