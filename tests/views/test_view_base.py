"""What all views have in common, and chains of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from sesemi_like import views
from sesemi_like.views.base import single_tensor
from sesemi_like.views.draws import SharedGenerator

VIEWS: dict[str, Callable[[], views.View]] = {
    "CenterCrop": lambda: views.CenterCrop(6),
    "ColorJitter": lambda: views.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    "Compose": lambda: views.Compose([views.RandomCrop(2), views.Rotation()]),
    "Cutout": lambda: views.Cutout(),
    "USBCutout": lambda: views.USBCutout(),
    "usb_strong": lambda: views.usb_strong(padding=1),
    "Erasing": lambda: views.Erasing(),
    "Gamma": lambda: views.Gamma(),
    "GaussianBlur": lambda: views.GaussianBlur(),
    "Grayscale": lambda: views.Grayscale(0.5),
    "HorizontalFlip": lambda: views.HorizontalFlip(),
    "Jigsaw": lambda: views.Jigsaw(),
    "MultiCrop": lambda: views.MultiCrop(1, 1, 8, 4),
    "Normalize": lambda: views.Normalize(0.5, 0.25),
    "RandAugment": lambda: views.RandAugment(),
    "RandomAffine": lambda: views.RandomAffine(20, 0.1, 10, (0.9, 1.1)),
    "RandomCrop": lambda: views.RandomCrop(2),
    "RandomResizedCrop": lambda: views.RandomResizedCrop(6),
    "Resize": lambda: views.Resize(6),
    "Rotation": lambda: views.Rotation(),
    "strong": lambda: views.strong(padding=2, mean=0.5, std=0.25),
    "weak": lambda: views.weak(padding=2, mean=0.5, std=0.25),
}
DRAW_NOTHING = {"CenterCrop", "Normalize", "Resize", "Rotation"}


def fields(view: views.View, images: Tensor, seed: int | None = 0) -> dict[str, Tensor]:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    result = view(images, generator)
    return {"": result} if isinstance(result, Tensor) else result


def batch_of(channels: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (40, channels, 8, 8), dtype=torch.uint8, generator=random)


def test_every_public_view_is_covered() -> None:
    of_vectors = {"Noise"}
    assert {*VIEWS, *of_vectors, "TensorView", "View", "permutation_set"} == set(views.__all__)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [1, 3])
def test_float_and_uint8_images_agree(name: str, channels: int) -> None:
    view, images = VIEWS[name](), batch_of(channels)
    from_bytes, from_floats = fields(view, images), fields(view, images.double() / 255)
    assert from_bytes.keys() == from_floats.keys()
    for key, value in from_bytes.items():
        torch.testing.assert_close(value, from_floats[key])
        assert value.dtype == (torch.int64 if key == "target" else torch.float32)


@pytest.mark.parametrize("name", VIEWS)
def test_no_images_make_none_of_the_same_shape(name: str) -> None:
    view, images = VIEWS[name](), batch_of()
    some, none = fields(view, images), fields(view, images[:0])
    assert {key: (0, *value.shape[1:]) for key, value in some.items()} == {
        key: tuple(value.shape) for key, value in none.items()
    }


@pytest.mark.parametrize("name", VIEWS)
def test_the_generator_alone_decides(name: str) -> None:
    view, images = VIEWS[name](), batch_of()
    torch.manual_seed(5)
    state, before = torch.get_rng_state(), fields(view, images)
    assert torch.equal(torch.get_rng_state(), state), "the global generator is untouched"
    torch.manual_seed(6)
    again, other = fields(view, images), fields(view, images, seed=1)
    assert all(torch.equal(before[key], again[key]) for key in before)
    differs = any(not torch.equal(before[key], other[key]) for key in before)
    assert differs == (name not in DRAW_NOTHING)


@pytest.mark.parametrize("name", sorted(set(VIEWS) - DRAW_NOTHING))
def test_equal_images_get_draws_of_their_own(name: str) -> None:
    images = batch_of()[:1].repeat(40, 1, 1, 1)
    changed = next(iter(fields(VIEWS[name](), images).values()))
    assert len(changed.unique(dim=0)) > 1


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_that_share_a_batch_draw_what_one_would(name: str, world_size: int) -> None:
    view, images = VIEWS[name](), batch_of()
    whole = fields(view, images)
    for rank in range(world_size):
        generator = SharedGenerator(0, 7 + rank, rank, world_size)
        made = view(images[rank::world_size], generator)
        for key, own in ({"": made} if isinstance(made, Tensor) else made).items():
            rows = whole[key].reshape(len(images), -1, *own.shape[1:])[rank::world_size]
            torch.testing.assert_close(own, rows.flatten(0, 1))


def test_a_view_that_asks_torch_itself_draws_otherwise_on_every_process() -> None:
    drawn = [torch.rand(8, generator=SharedGenerator(0, 7 + rank, rank, 2)) for rank in range(2)]
    again = torch.rand(8, generator=SharedGenerator(0, 7, 0, 2))
    assert torch.equal(drawn[0], again)
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("name", VIEWS)
def test_images_are_not_changed_in_place(name: str) -> None:
    images = batch_of().float() / 255
    kept = images.clone()
    fields(VIEWS[name](), images)
    assert torch.equal(images, kept)


@pytest.mark.parametrize("name", VIEWS)
def test_without_a_generator_the_global_one_is_used(name: str) -> None:
    view, images = VIEWS[name](), batch_of()
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(fields(view, images, seed=None))
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 8, 8), r"images: found 'shape \(3, 8, 8\)'; expected a batch"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "expected uint8 or floating point"),
    ],
)
def test_other_shapes_and_types_are_refused(images: Tensor, message: str) -> None:
    for view in (views.HorizontalFlip(), views.Compose([]), views.Rotation()):
        with pytest.raises(ValueError, match=message):
            view(images)


def test_custom_steps_of_a_composition_receive_floats() -> None:
    dtypes = []

    def custom(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        dtypes.append(images.dtype)
        return images

    views.Compose([custom, views.RandomCrop(1), custom])(batch_of())
    assert dtypes == [torch.float32, torch.float32]


def test_compose_applies_steps_in_order() -> None:
    chain = views.Compose([views.Normalize(0, 0.5), views.Normalize(1, 1)])
    assert single_tensor(chain(torch.ones(1, 1, 1, 1))).item() == 1.0
    assert chain.source == "image"


def test_compose_refuses_steps_after_named_tensors() -> None:
    chain = views.Compose([views.Rotation(), views.Normalize(0.5, 0.5)])
    with pytest.raises(ValueError, match=r"steps: .*\['image', 'target'\].*at the end"):
        chain(torch.rand(1, 3, 4, 4))


def test_compose_refuses_what_cannot_be_called() -> None:
    name: Any = "weak"
    with pytest.raises(ValueError, match="steps: found 'weak'; expected views"):
        views.Compose([name])


def test_views_are_built_from_a_config() -> None:
    config = {
        "_target_": "sesemi_like.views.Compose",
        "source": "strong",
        "steps": [
            {"_target_": "sesemi_like.views.RandomAffine", "scale": [0.9, 1.1]},
            {"_target_": "sesemi_like.views.RandAugment", "operations": ["rotate", "equalize"]},
            {"_target_": "sesemi_like.views.Resize", "size": [4, 6]},
            {"_target_": "sesemi_like.views.Normalize", "mean": [0.5, 0.4, 0.3], "std": 0.2},
        ],
    }
    view = instantiate(config)
    assert view.source == "strong"
    assert view(batch_of()).shape == (40, 3, 4, 6)
