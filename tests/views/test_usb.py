"""The published strong view against Pillow, and against semilearn's own code where it is."""

import importlib.util
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps
from views.test_operations import batch, largest_difference, pil_images

from sesemi_like import views
from sesemi_like.views.base import single_tensor
from sesemi_like.views.boxes import fill_boxes
from sesemi_like.views.rand_augment import RandAugment
from sesemi_like.views.usb import COLOR, USBCutout, boxes_of, usb_pool


def cut_out(image: Image.Image, side: float, x: float, y: float) -> Image.Image:
    """`CutoutAbs` of the published code, with its draws as arguments."""
    left, top = int(max(0, x - side / 2)), int(max(0, y - side / 2))
    right, bottom = min(image.width, left + side), min(image.height, top + side)
    changed = image.copy()
    ImageDraw.Draw(changed).rectangle((left, top, right, bottom), (125, 123, 114))
    return changed


def test_the_square_is_the_one_that_pillow_draws() -> None:
    image = Image.fromarray(np.full((17, 22, 3), 255, np.uint8))
    generator = torch.Generator().manual_seed(0)
    count = 500
    sides, x, y = torch.rand(3, count, generator=generator) * torch.tensor([[11.0], [22.0], [17.0]])
    boxes = boxes_of(sides, y, x, 17, 22)
    fill = torch.tensor(COLOR)[:, None, None]
    result = fill_boxes(torch.ones(count, 3, 17, 22), boxes, fill)
    expected = [
        cut_out(image, *draw) for draw in zip(*(v.tolist() for v in (sides, x, y)), strict=True)
    ]
    assert largest_difference(result, expected) <= 1e-3


def test_sides_and_centers_are_uniform() -> None:
    images = torch.ones(4000, 3, 40, 40)
    result = USBCutout(0.5)(images, torch.Generator().manual_seed(0))
    hidden = result[:, 0] < 1
    rows = hidden.any(dim=2).sum(dim=1).float()
    # U(0, 20) pixels, one more with the last: 10.5 on average, less what lies beyond the edge
    # on the right, v^2 / 8 of 40 on average: 20^2 / 3 / 8 / 40.
    assert rows.mean().item() == pytest.approx(10.5 - 400 / 24 / 40, abs=0.3)
    assert rows.max() == 20
    assert hidden.flatten(1).any(dim=1).all()
    torch.testing.assert_close(result.amin(dim=(0, 2, 3)), torch.tensor(COLOR))


def test_images_without_three_channels_get_the_mean_color() -> None:
    result = USBCutout(1.0)(torch.ones(20, 1, 8, 8), torch.Generator().manual_seed(0))
    assert result.min().item() == pytest.approx(sum(COLOR) / 3)


def test_bits_are_cut_off_and_the_threshold_is_one_of_256() -> None:
    images = pil_images(3)
    levels = torch.tensor([0.1, 0.7])
    bits = [int(4 + 4 * level) for level in levels.tolist()]
    result = usb_pool()["posterize"](batch(images), levels)
    expected = [ImageOps.posterize(i, b) for i, b in zip(images, bits, strict=True)]
    assert largest_difference(result, expected) <= 1e-3
    result = usb_pool()["solarize"](batch(images), levels)
    expected = [
        ImageOps.solarize(i, v) for i, v in zip(images, (256 * levels).tolist(), strict=True)
    ]
    assert largest_difference(result, expected) <= 1e-3


def test_steps_come_in_the_published_order_with_three_operations_and_black_edges() -> None:
    steps: Any = views.usb_strong(mean=0.5, std=0.5).steps
    names = [type(step).__name__ for step in steps]
    assert names == ["RandomCrop", "HorizontalFlip", "RandAugment", "USBCutout", "Normalize"]
    augment = steps[2]
    assert (augment.num_ops, augment.p, augment.fill, len(augment.pool)) == (3, 1.0, 0.0, 14)
    assert not augment.cutout.size
    assert steps[3].largest == 0.5
    without = views.usb_strong(largest_cutout=0, flip=False, padding=0).steps
    assert [type(step).__name__ for step in without] == ["RandAugment"]


def test_named_operations_are_those_of_the_code() -> None:
    view: Any = views.usb_strong(operations=["posterize"], largest_cutout=0, padding=0, flip=False)
    images = torch.rand(40, 3, 6, 6)
    result = single_tensor(view(images, torch.Generator().manual_seed(0)))
    assert (result * 255).round().unique().numel() <= 128  # 7 bits at most
    with pytest.raises(ValueError, match="operations: found 'posterise'"):
        views.usb_strong(operations=["posterise"])


NAMES = {
    "AutoContrast": "autocontrast", "Brightness": "brightness", "Color": "color",
    "Contrast": "contrast", "Equalize": "equalize", "Identity": "identity",
    "Posterize": "posterize", "Rotate": "rotate", "Sharpness": "sharpness", "ShearX": "shear_x",
    "ShearY": "shear_y", "Solarize": "solarize", "TranslateX": "translate_x",
    "TranslateY": "translate_y",
}  # fmt: skip


def peers_module() -> Any:
    """semilearn's file of operations, of whose package nothing else is run."""
    found = importlib.util.find_spec("semilearn")
    if found is None or found.origin is None:
        pytest.skip("needs semilearn 0.3.2, of the extra bench")
    path = Path(found.origin).parent / "datasets" / "augmentation" / "randaugment.py"
    spec = importlib.util.spec_from_file_location("peers_randaugment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_operations_ranges_and_squares_are_semilearns(monkeypatch: pytest.MonkeyPatch) -> None:
    peer, images = peers_module(), pil_images(3)
    assert {NAMES[operation.__name__] for operation, *_ in peer.augment_list()} == set(usb_pool())
    for operation, low, high in peer.augment_list():
        name = NAMES[operation.__name__]
        augment = RandAugment(1, fill=0.0, cutout_size=0.0)
        augment.pool = [usb_pool()[name]]
        for level in (0.13, 0.71):
            monkeypatch.setattr(
                "sesemi_like.views.rand_augment.uniform",
                lambda x, *_, v=level: torch.full((len(x),), v),
            )
            expected = [operation(image, low + (high - low) * level) for image in images]
            difference = largest_difference(augment(batch(images)), expected)
            assert difference <= 1.5, (name, level)
    random.seed(0)
    np.random.seed(0)
    side = 0.37 * images[0].width
    expected = peer.Cutout(images[0], 0.37)
    np.random.seed(0)
    x, y = np.random.uniform(images[0].width), np.random.uniform(images[0].height)
    assert np.array_equal(np.asarray(expected), np.asarray(cut_out(images[0], side, x, y)))
