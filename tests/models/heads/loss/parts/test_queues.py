"""The memories of embeddings: what stays, what goes, and what rows not seen yet are similar to."""

import numpy as np
import pytest
import torch
from references import embeddings as reference
from torch import Tensor

from sesemi_like.models.heads.loss.parts import FeatureQueue, InstanceBank, products, unit_rows


def rows(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings of norm 1 and probabilities."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 3, generator=generator)
    probabilities = torch.randn(count, 2, generator=generator).softmax(dim=1)
    return unit_rows(features), probabilities


def test_the_newest_rows_stay_in_a_ring() -> None:
    queue = FeatureQueue(4, 3, 2)
    features, probabilities = rows(7)
    for part in ([0, 1, 2], [3, 4], [], [5, 6]):
        queue.push(features[part], probabilities[part])
    assert int(queue.num_rows) == 7
    expected = [features[i].tolist() for i in (4, 5, 6, 3)]
    assert queue.features.tolist() == expected
    assert torch.equal(queue.probabilities, probabilities[[4, 5, 6, 3]])


def test_of_more_rows_than_it_has_the_newest_are_where_they_would_be_one_by_one() -> None:
    together, apart = FeatureQueue(4, 3, 2), FeatureQueue(4, 3, 2)
    features, probabilities = rows(11)
    together.push(features[:1], probabilities[:1])
    together.push(features[1:], probabilities[1:])
    for i in range(11):
        apart.push(features[i : i + 1], probabilities[i : i + 1])
    assert torch.equal(together.features, apart.features)


def test_rows_that_do_not_count_take_no_place() -> None:
    queue, expected = FeatureQueue(4, 3, 2), FeatureQueue(4, 3, 2)
    features, probabilities = rows(14)
    for part in (slice(0, 3), slice(3, 5), slice(5, 14)):
        counted = torch.arange(14)[part] % 3 != 1
        queue.push(features[part], probabilities[part], counted)
        expected.push(features[part][counted], probabilities[part][counted])
        assert int(queue.num_rows) == int(expected.num_rows)
        assert torch.equal(queue.features, expected.features)
        assert torch.equal(queue.probabilities, expected.probabilities)


def test_nothing_waits_for_values() -> None:
    """As it would on a GPU where Python asks for one; tensors on `meta` have none to give."""
    features, probabilities, counted = (
        value.to("meta") for value in (*rows(5), torch.ones(5, dtype=torch.bool))
    )
    FeatureQueue(4, 3, 2).to("meta").push(features, probabilities, counted)
    index, label = torch.arange(5).to("meta"), torch.arange(5).to("meta")
    InstanceBank(4, 3, indices=9).to("meta").write(index, features, label, momentum=0.7)


def test_an_empty_queue_smooths_nothing_and_one_row_has_all_the_weight() -> None:
    queue = FeatureQueue(4, 3, 2)
    features, probabilities = rows(3)
    smoothed = queue.smooth(probabilities, features, alpha=0.5, temperature=0.1)
    assert torch.equal(smoothed, probabilities)
    queue.push(features[:1], torch.tensor([[1.0, 0.0]]))
    smoothed = queue.smooth(probabilities, features, alpha=0.5, temperature=0.1)
    expected = 0.5 * probabilities + torch.tensor([0.5, 0.0])
    torch.testing.assert_close(smoothed, expected)


def test_a_queue_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="queue_length: found 0; needs 1 row at least"):
        FeatureQueue(0, 3, 2)


def test_the_bank_keeps_norms_and_leaves_rows_without_label_alone() -> None:
    bank = InstanceBank(3, 3, indices=5)
    assert not bank.is_begun
    first, second = rows(3, 1)[0], rows(3, 2)[0]
    index = torch.tensor([4, 0, 2])
    bank.write(index, first, torch.tensor([1, -1, 0]), momentum=0.7)
    bank.write(index, second, torch.tensor([1, 1, -1]), momentum=0.7)
    assert bank.is_begun
    assert bank.place.tolist() == [2, -1, 0, -1, 1]
    assert bank.label.tolist() == [0, 1, 1]
    mixed = reference.unit(0.7 * first[0].double() + 0.3 * second[0].double())
    np.testing.assert_allclose(bank.features[1], mixed, rtol=1e-5)
    assert torch.equal(bank.features[[2, 0]], torch.stack([second[1], first[2]]))


def test_the_bank_has_as_many_rows_as_it_is_given_however_large_their_indices() -> None:
    bank, features = InstanceBank(2, 3, indices=50_000), rows(3)[0]
    assert bank.features.shape == (2, 3)
    bank.write(torch.tensor([49_999, 7]), features[:2], torch.tensor([1, 0]), momentum=0.0)
    assert torch.equal(bank.features, features[[1, 0]])
    bank.write(torch.tensor([8]), features[2:], torch.tensor([1]), momentum=0.0)
    assert torch.equal(bank.features, features[[1, 0]]), "one more than there are labels"


def test_rows_not_seen_yet_are_similar_to_nothing() -> None:
    bank = InstanceBank(4, 3, indices=4)
    features, probabilities = rows(2)
    bank.write(torch.tensor([1, 3]), features, torch.tensor([0, 1]), momentum=0.0)
    shares = bank.similarities(features, 0.5).softmax(dim=1)
    assert not shares[:, [2, 3]].any()
    by_class = bank.by_class(shares, 2)
    torch.testing.assert_close(by_class, shares[:, [0, 1]])
    of_rows = bank.of_rows(probabilities)
    assert not of_rows[:, [2, 3]].any()
    assert torch.equal(of_rows[:, [0, 1]], probabilities)


def test_products_are_exact_in_mixed_precision() -> None:
    features = rows(6)[0]
    with torch.autocast("cpu", torch.bfloat16):
        found, rounded = products(features, features), features @ features.T
    assert torch.equal(found, products(features, features))
    assert rounded.dtype == torch.bfloat16
    assert unit_rows(features.bfloat16()).dtype == torch.float32
