"""Parts of rows: every row once, batches that begin with their part, equally many for all."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sesemi_like.data.loading.row_parts import PartBatches, RowParts

sizes = st.tuples(st.integers(1, 200), st.integers(1, 20), st.integers(1, 60))


@given(sizes, st.integers(1, 5))
def test_every_row_is_in_one_batch_of_one_process(size: tuple[int, int, int], world: int) -> None:
    parts = RowParts.of(*size)
    num_rows, batch_size, least = size
    assert parts.part_size % batch_size == 0
    assert parts.part_size >= min(least, parts.part_size)
    assert len(parts) == math.ceil(num_rows / parts.part_size)
    shares = [range(len(parts))[rank::world] for rank in range(world)]
    most = max(sum(parts.num_batches(part) for part in share) for share in shares)
    seen: list[int] = []
    for share in shares:
        batches = list(PartBatches(parts, share, most))
        assert len(batches) == most == len(PartBatches(parts, share, most))
        own = sum(parts.num_batches(part) for part in share)
        seen += [row for batch in batches[:own] for row in batch]
        for batch in batches:
            assert batch[0] % batch_size == 0
            assert list(batch.places) == list(batch)
            assert len(batch) == min(batch_size, num_rows - batch[0])
    assert sorted(seen) == list(range(num_rows))


def test_batches_are_the_same_whatever_is_left_to_do() -> None:
    parts = RowParts.of(25, 4, 7)
    whole = {batch[0]: list(batch) for batch in PartBatches(parts, range(4), 7)}
    rest = {batch[0]: list(batch) for batch in PartBatches(parts, [1, 3], 3)}
    assert list(rest) == [8, 12, 24]
    assert rest == {start: whole[start] for start in rest}
