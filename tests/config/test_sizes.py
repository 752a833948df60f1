"""Sizes in bytes as users write them."""

from __future__ import annotations

from typing import Any

import pytest

from sesemi_like.config.sizes import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, None), (0, 0), (20, 20), (2.5e9, 2_500_000_000), ("7", 7), ("7 B", 7), ("2kB", 2000),
     ("20 GB", 20 * 10**9), ("1.5 TB", 15 * 10**11), (" 3 mb ", 3_000_000), ("4 MiB", 4 * 2**20),
     ("8 GiB", 8 * 2**30), ("1 KiB", 1024), ("1TiB", 2**40)],
)  # fmt: skip
def test_numbers_and_units_are_read(size: Any, expected: int | None) -> None:
    assert parse_bytes(size) == expected


@pytest.mark.parametrize(
    "size",
    ["", "much", "20 XB", "-1 GB", "1 2 GB", -1, float("inf"), float("nan"), True, [1], "GB"],
)
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="needs a number of bytes, 0 or more, or a text such as"):
        parse_bytes(size)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (600_000, "600.0 kB"), (999_949, "999.9 kB"),
     (999_950, "1.0 MB"), (2_211_840, "2.2 MB"), (50 * 10**9, "50.0 GB"), (10**15, "1000.0 TB")],
)  # fmt: skip
def test_sizes_are_shown_with_a_unit_that_fits(size: int, expected: str) -> None:
    assert format_bytes(size) == expected
