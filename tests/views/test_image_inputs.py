"""What images are: described from transforms and views, carried as plain values, prepared alike."""

from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from sesemi_like import transforms, views
from sesemi_like.config.instantiate import instantiate
from sesemi_like.views.image_inputs import Inputs, normalization_of

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
NORMALIZE = {"_target_": "sesemi_like.views.Normalize", "mean": MEAN, "std": STD}


@pytest.mark.parametrize(
    "step",
    [
        views.Normalize(MEAN, STD),
        views.weak(mean=MEAN, std=STD),
        v2.Compose([v2.ToImage(), v2.Compose([v2.Normalize(MEAN, STD)])]),
        transforms.center_crop_transforms(32, 32, mean=MEAN, std=STD),
        transforms.train_transforms(32, mean=MEAN, std=STD),
    ],
)
def test_the_normalization_of_any_step_is_found(step: Any) -> None:
    mean, std = normalization_of(step)
    assert mean == pytest.approx(MEAN)
    assert std == pytest.approx(STD)


def test_without_normalization_there_is_none() -> None:
    assert normalization_of(None) is None
    assert normalization_of(views.Compose([views.HorizontalFlip()])) is None


@pytest.mark.parametrize("given", ["view", "transform", "training view", "none"])
def test_prepared_images_are_those_of_validation(given: str) -> None:
    images = torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    scaled = images / 255
    shape = (1, 3, 1, 1)
    expected = (scaled - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
    settings = {
        "view": {"view": instantiate(NORMALIZE, key="view"), "view_config": NORMALIZE},
        "transform": {"image_transform": v2.Normalize(MEAN, STD)},
        "training view": {"view": views.weak(padding=0, mean=MEAN, std=STD)},
        "none": {},
    }[given]
    inputs = Inputs.of(scaled, classes=["a", "b"], **settings)
    again = Inputs.from_plain(inputs.plain())
    assert again == inputs
    assert inputs.shape == (3, 6, 6)
    expected = scaled if given == "none" else expected
    for kind in (images, scaled, scaled.double()):
        torch.testing.assert_close(again.prepared(kind), expected, rtol=1e-5, atol=1e-5)


def test_other_channels_and_types_are_refused() -> None:
    inputs = Inputs(shape=(3, 6, 6))
    with pytest.raises(ValueError, match="3 channels"):
        inputs.prepared(torch.zeros(2, 1, 6, 6))
    with pytest.raises(ValueError, match="N, C, H, W"):
        inputs.prepared(torch.zeros(3, 6, 6))
    with pytest.raises(ValueError, match="uint8 or floating"):
        inputs.prepared(torch.zeros(2, 3, 6, 6, dtype=torch.int64))


def test_differences_name_size_and_normalization() -> None:
    own = Inputs(shape=(3, 32, 32), mean=[0.5], std=[0.5])
    theirs = Inputs(shape=(3, 64, 64), mean=None, std=None)
    size, normalization = own.differences(theirs)
    assert size == "images of 3 x 32 x 32 instead of 3 x 64 x 64"
    assert normalization == "images normalized by mean [0.5] and std [0.5] instead of nothing"
    assert not list(own.differences(own))


@pytest.mark.parametrize("content", [None, 3, {"other": 1}, ["classes"]])
def test_what_no_run_wrote_is_no_description(
    content: int | dict[str, int] | list[str] | None,
) -> None:
    assert Inputs.from_plain(content) is None


def test_another_librarys_normalization_that_is_no_mean_is_left_out() -> None:
    class Normalize:
        mean, std = "per image", None

    assert normalization_of(Normalize()) is None
