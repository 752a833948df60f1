"""Features are read back as they were computed, by position and draw, whatever their type."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from sesemi_like.data.cache.decode import checksum
from sesemi_like.data.cache.file import cache_key
from sesemi_like.data.cache.folder import CacheFolder
from sesemi_like.data.features.store import FeatureForm, FeatureStore
from sesemi_like.data.features.view import StoredFeatures
from sesemi_like.data.loading.seeds import batch_generator

POSITIONS = np.array([2, 3, 7, 11, 40])


def store_of(features: Tensor, folder: Path, order: list[int] | None = None) -> FeatureStore:
    """Keeps features (N, K, D) of rows at POSITIONS, computed in some order."""
    content = features.contiguous().view(torch.uint8).numpy()

    def make(rows: npt.NDArray[np.int64]) -> Iterator[tuple[Any, Any, Any]]:
        for row in rows:
            shapes = np.array([[*content.shape[1:], 1]])
            yield content[row].reshape(-1), shapes, np.array([checksum(content[row])])

    caches, files = CacheFolder(folder), [str(position) for position in POSITIONS]
    if order is not None:  # rows of an earlier cache are copied first
        key = cache_key(["features"], [files[row] for row in order])
        caches.open_or_make(key, lambda rows: make(np.array(order)[rows]))
    cache = caches.open_or_make(cache_key(["features"], files), make)
    return FeatureStore(cache, FeatureForm.of(features[:, 0]), POSITIONS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("order", [None, [4, 1]])
def test_features_come_back_by_position_and_draw(
    tmp_path: Path, dtype: torch.dtype, order: list[int] | None
) -> None:
    features = torch.randn(5, 3, 6).to(dtype)
    store = store_of(features, tmp_path, order)
    assert store.draws == 3
    rows, draws = np.array([4, 0, 0, 2]), np.array([2, 0, 1, 1])
    assert torch.equal(store.take(POSITIONS[rows], draws), features[rows, draws])
    assert torch.equal(store.take(POSITIONS), features[:, 0])


def test_features_have_one_axis_beside_that_of_rows() -> None:
    with pytest.raises(ValueError, match=r"found \(2, 3, 4\); needs features"):
        FeatureForm.of(torch.zeros(2, 3, 4))


def test_a_view_draws_for_all_processes_what_one_would(tmp_path: Path) -> None:
    features = torch.arange(5 * 4.0).reshape(5, 4, 1)
    view = StoredFeatures("frozen_features")
    view.store = store_of(features, tmp_path)
    index = torch.from_numpy(POSITIONS[[0, 1, 2, 3, 4, 0]])
    whole = view(index, batch_generator(0, "weak:1"))["frozen_features"]
    for rank in range(2):
        own = view(index[rank::2], batch_generator(0, "weak:1", rank, 2))["frozen_features"]
        assert torch.equal(own, whole[rank::2])
    drawn = torch.cat(
        [view(index, batch_generator(0, f"weak:{i}"))["frozen_features"] for i in range(40)]
    )
    assert len(drawn.unique()) == 20
