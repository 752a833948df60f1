"""Lines of items: broken between them, filled as far as they go."""

import pytest

from sesemi_like.report.lines import format_duration, wrap_items


@pytest.mark.parametrize(
    ("items", "width", "separator", "expected"),
    [
        (["a b", "c d", "e"], None, ", ", "a b, c d, e"),
        (["a b", "c d", "e"], 8, "  ", "a b  c d\ne"),
        (["a b", "c d", "e"], 8, ", ", "a b,\nc d, e"),  # the comma has to fit as well
        (["a b", "c d", "e"], 9, ", ", "a b, c d,\ne"),
        (["longer than that", "x"], 5, ", ", "longer than that,\nx"),
        (["猫猫", "a"], 6, "  ", "猫猫\na"),  # each takes two columns
        (["only"], 1, ", ", "only"),
    ],
)
def test_items_are_wrapped_between_them(
    items: list[str], width: int | None, separator: str, expected: str
) -> None:
    assert wrap_items(items, width, separator) == expected


def test_durations() -> None:
    assert [format_duration(s) for s in (None, 5.9, 65, 3725)] == ["?", "0:05", "1:05", "1:02:05"]
