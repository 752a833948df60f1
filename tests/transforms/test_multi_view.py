"""Several views of one image become fields of a batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import default_collate

from sesemi_like.transforms import multi_view_transforms, two_view_transforms


def doubled(image: float) -> torch.Tensor:
    return torch.tensor([2.0 * image])


def shifted(image: float) -> torch.Tensor:
    return torch.tensor([image + 100.0])


def noisy(image: float) -> torch.Tensor:
    return image + torch.rand(1)


def test_named_transforms_make_named_fields() -> None:
    transform = multi_view_transforms({"weak": doubled, "strong": shifted})
    batch = default_collate([transform(1.0), transform(2.0)])
    assert batch["weak"].tolist() == [[2.0], [4.0]]
    assert batch["strong"].tolist() == [[101.0], [102.0]]


def test_one_transform_is_drawn_anew_for_each_view() -> None:
    views = multi_view_transforms(noisy, num_views=3)(0.0)
    assert sorted(views) == ["view_0", "view_1", "view_2"]
    assert len({float(view) for view in views.values()}) == 3


def test_two_views() -> None:
    assert sorted(two_view_transforms(noisy)(0.0)) == ["view_0", "view_1"]
    result = two_view_transforms(doubled, shifted)(3.0)
    assert [float(result["view_0"]), float(result["view_1"])] == [6.0, 103.0]


def test_transforms_from_a_config() -> None:
    config = OmegaConf.create({"weak": doubled}, flags={"allow_objects": True})
    assert multi_view_transforms(config)(1.0)["weak"].tolist() == [2.0]


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match="num_views: found 0; expected an integer"):
        multi_view_transforms(doubled, num_views=0)
    with pytest.raises(ValueError, match="num_views: found 2; expected null"):
        multi_view_transforms({"weak": doubled}, num_views=2)
    with pytest.raises(ValueError, match=r"transforms: found \{\}; expected at least one"):
        multi_view_transforms({})
    not_callable: Any = "doubled"
    with pytest.raises(ValueError, match=r"transforms.weak: found 'doubled'"):
        multi_view_transforms({"weak": not_callable})
