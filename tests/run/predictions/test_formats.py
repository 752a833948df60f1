"""The files that predictions become: parts that show only some of a column's type."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from sesemi_like.run.predictions.formats import FORMATS, Part


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([None, None], [[1], [2, 3]]),
        ([[1], [2]], [[1.5], None]),
        ([[], []], [["a"], ["b"]]),
        ([{"x": 1}, {"x": 2}], [{"x": 1.5}, {"x": None}]),
    ],
)
def test_parquet_parts_need_not_show_the_whole_type_of_a_column(
    first: Any, second: Any, tmp_path: Path
) -> None:
    form, paths = FORMATS["parquet"], []
    for number, values in enumerate((first, second)):
        paths.append(tmp_path / str(number))
        part = Part(np.arange(2) + 2 * number, ["a", "b"], {"column": values})
        paths[-1].write_bytes(form.encode(part))
    form.merge(paths, tmp_path / "whole.parquet")
    table = parquet.read_table(tmp_path / "whole.parquet")
    assert table["column"].to_pylist() == [*first, *second]
    assert table["index"].to_pylist() == [0, 1, 2, 3]
