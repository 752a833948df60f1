"""Mixing: shares have their distribution, partners stay among their own, images keep their size."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from sesemi_like.models.heads.loss.parts import Mixing, Mixup, ResizeMix
from sesemi_like.models.heads.loss.parts.mixing import (
    blend,
    draw_beta,
    partners_among,
    partners_within,
)

ROWS = torch.ones(5, 30)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("alpha", [0.2, 0.75, 1.0, 16.0])
def test_draws_have_the_beta_distribution(alpha: float) -> None:
    drawn = draw_beta(20_000, alpha, generator()).numpy()
    assert scipy.stats.kstest(drawn, scipy.stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_draws_of_alpha_zero_mix_nothing() -> None:
    assert draw_beta(3, 0.0, generator()).tolist() == [1, 1, 1]
    rows, partners = torch.randn(2, 5, 3)
    mixed, shares = Mixup(0.0)(rows, partners, generator())
    assert torch.equal(mixed, rows)
    assert torch.equal(shares, torch.ones(5))
    images = torch.randn(5, 3, 8, 8)
    mixed, shares = ResizeMix(0.0)(images, images.flip(0), generator())
    assert torch.equal(mixed, images)
    assert torch.equal(shares, torch.ones(5))


@pytest.mark.parametrize("mixing", [Mixup(), ResizeMix()])
def test_draws_depend_on_the_generator_alone(mixing: Mixing) -> None:
    images = torch.randn(6, 3, 8, 8)
    first, again, other = (mixing(images, images.flip(0), generator(s)) for s in (1, 1, 2))
    torch.randn(3)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("shape", [(4,), (4, 7), (4, 3, 5, 5), (1, 2), (0, 3)])
def test_mixup_blends_rows_of_any_shape(shape: tuple[int, ...]) -> None:
    rows, partners = torch.randn(2, *shape, dtype=torch.float64)
    mixed, shares = Mixup()(rows, partners, generator())
    assert mixed.dtype == torch.float64
    assert shares.shape == shape[:1]
    for i, share in enumerate(shares.tolist()):
        assert share >= 0.5
        expected = share * rows[i].numpy() + (1 - share) * partners[i].numpy()
        np.testing.assert_allclose(mixed[i].numpy(), expected, rtol=1e-12, atol=1e-12)


def test_mixup_of_one_share_for_all_rows() -> None:
    rows, partners = torch.randn(2, 50, 3)
    _, shares = Mixup(per_row=False)(rows, partners, generator())
    assert len(set(shares.tolist())) == 1
    _, shares = Mixup(1.0, at_least_half=False)(rows, partners, generator())
    assert 0 < float(shares.min()) < 0.5 < float(shares.max()) < 1


def paste_by_hand(
    image: Tensor, partner: Tensor, box: tuple[int, int, int, int], crop: float
) -> Tensor:
    """Pixel by pixel: the nearest pixel of the partner's center."""
    top, bottom, left, right = box
    height, width = image.shape[1:]
    tall, wide = int(height * crop), int(width * crop)
    above, before = (height - tall) // 2, (width - wide) // 2
    pasted = image.clone()
    for y in range(top, bottom):
        for x in range(left, right):
            row = above + (y - top) * tall // (bottom - top)
            column = before + (x - left) * wide // (right - left)
            pasted[:, y, x] = partner[:, row, column]
    return pasted


def test_resize_mix_pastes_the_whole_partner_and_counts_its_area() -> None:
    images = torch.zeros(3, 2, 10, 20)
    partners = torch.rand(3, 2, 10, 20) + 1
    seen = set()
    for seed in range(200):
        mixed, shares = ResizeMix()(images, partners, generator(seed))
        ys, xs = (mixed[0, 0] > 0).nonzero(as_tuple=True)
        area = len(ys)
        assert shares.tolist() == pytest.approx([1 - area / 200] * 3)
        seen.add(area)
        if area:
            box = (int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1)
            assert (box[1] - box[0]) * (box[3] - box[2]) == area
            for image, partner, found in zip(images, partners, mixed, strict=True):
                assert torch.equal(found, paste_by_hand(image, partner, box, 0.9))
    assert not images.any()
    assert 0 < max(seen) <= 8 * 16
    assert len(seen) > 20


def test_sides_of_pasted_images_have_their_distribution() -> None:
    images = torch.zeros(1, 1, 200, 200)
    sides = []
    for seed in range(300):
        mixed, _ = ResizeMix(alpha=2.0, scale=(0.2, 0.4))(images, images + 1, generator(seed))
        sides.append(float(mixed.amax(dim=(0, 1, 2)).sum()) / 200)
    cut_off = scipy.stats.beta(2, 2)
    whole = [side for side in sides if side > 0.2]
    assert max(sides) <= 0.4
    assert np.median(whole) == pytest.approx(0.2 + 0.2 * np.sqrt(cut_off.median()), abs=0.03)


@pytest.mark.parametrize("rows", [0, 1])
def test_resize_mix_of_one_image_and_of_none(rows: int) -> None:
    images = torch.rand(rows, 3, 4, 4)
    mixed, shares = ResizeMix()(images, images, generator())
    assert mixed.shape == images.shape
    assert shares.shape == (rows,)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (lambda: ResizeMix()(ROWS, ROWS, generator()), r"images: found .*\(5, 30\)"),
        (lambda: Mixup()(ROWS.byte(), ROWS.byte(), generator()), "floating point: found"),
        (lambda: Mixup(-1), "alpha: found -1"),
        (lambda: ResizeMix(alpha=-1), "alpha: found -1"),
        (lambda: ResizeMix(scale=(0.5, 0.1)), "scale: found"),
        (lambda: ResizeMix(crop=0), "crop: found 0"),
    ],
)
def test_what_cannot_be_mixed_is_told(mix: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mix()


def test_labels_are_blended_as_rows_are() -> None:
    labels = torch.eye(3)
    found = blend(torch.tensor([1.0, 0.75, 0.5], dtype=torch.float64), labels, labels.flip(0))
    assert found.tolist() == [[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]]


def test_chosen_rows_are_partners_of_each_other() -> None:
    chosen = torch.tensor([True, False, True, True, False, True, False])
    seen = set()
    for seed in range(300):
        others = partners_within(chosen, generator(seed))
        assert sorted(others.tolist()) == list(range(7))
        assert torch.equal(chosen[others], chosen)
        seen.add(tuple(others.tolist()))
    assert len(seen) > 100  # of 4! 3!


@pytest.mark.parametrize("chosen", [[], [True], [False], [True] * 3])
def test_partners_where_nothing_is_to_choose(chosen: list[bool]) -> None:
    others = partners_within(torch.tensor(chosen, dtype=torch.bool), generator())
    assert sorted(others.tolist()) == list(range(len(chosen)))


def test_partners_are_drawn_from_the_allowed_alike() -> None:
    allowed = torch.tensor([[True, False, True, True], [False, True, False, False], [False] * 4])
    drawn = [partners_among(allowed, generator(seed)) for seed in range(600)]
    firsts = [int(index[0]) for index, _ in drawn]
    counts = [firsts.count(candidate) for candidate in (0, 2, 3)]
    assert scipy.stats.chisquare(counts).pvalue > 0.01
    assert all(index[1] == 1 and index[2] == 0 for index, _ in drawn)
    assert all(found.tolist() == [True, True, False] for _, found in drawn)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_rows_and_no_candidates_have_no_partner(shape: tuple[int, int]) -> None:
    index, found = partners_among(torch.ones(shape, dtype=torch.bool), generator())
    assert index.shape == found.shape == shape[:1]
    assert not found.any()
