"""Names in one array are the texts they were made of, and cost worker processes nothing."""

import pickle
import sys
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sesemi_like.data.packed_names import PackedNames
from sesemi_like.data.samples import Samples

# What os.listdir makes of bytes that are not UTF-8 is text with lone surrogates.
TEXTS = st.lists(
    st.text() | st.binary(max_size=9).map(lambda b: b.decode("utf-8", "surrogateescape"))
)


@given(TEXTS)
def test_they_are_the_texts(texts: Any) -> None:
    names = PackedNames(iter(texts))
    assert list(names) == texts
    assert len(names) == len(texts)
    assert [names[place] for place in range(-len(texts), len(texts))] == texts * 2
    assert names[1:-1] == texts[1:-1]
    assert list(pickle.loads(pickle.dumps(names))) == texts
    for beyond in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            names[beyond]


def test_numbers_of_arrays_are_places() -> None:
    assert PackedNames("abc")[np.int64(1)] == "b"


class Reads:
    """Looks a sample's name up, as reading a file does, and tells the memory of its process."""

    def __init__(self, names: Any) -> None:
        self.names = names

    def __call__(self, position: Any) -> Any:
        _ = self.names[position]
        last = position == len(self.names) - 1
        own = psutil.Process().memory_full_info().uss if last else 0
        return {"private": own}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="tells memory by Linux's maps")
def test_worker_processes_do_not_copy_them() -> None:
    count = 100_000
    samples = Samples(lambda position: {}, (f"images/class/{n:012}.jpg" for n in range(count)))

    def private(names: Any) -> Any:
        samples.read = Reads(names)
        batches = DataLoader(samples, batch_size=1000, num_workers=1)
        return max(int(batch["private"].max()) for batch in batches)

    copied = private(list(samples.ids))
    shared = private(samples.ids)
    # A text of this length takes 72 bytes and more, and so do the pages it lies in.
    assert copied - shared > 0.7 * 72 * count
