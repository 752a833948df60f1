"""One description, a list of them or a mapping by name are all the same."""

from typing import Any

import pytest

from sesemi_like.config.by_name import described_by_key

ONE, OTHER = {"_target_": "a.B"}, {"_target_": "c.D", "x": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ([], {}),
        ({}, {}),
        (ONE, {"key.0": ONE}),
        ([ONE, OTHER], {"key.0": ONE, "key.1": OTHER}),
        ({"b": ONE, "off": None, "a": OTHER}, {"key.b": ONE, "key.a": OTHER}),
        ("text", {"key.0": "text"}),
    ],
)
def test_descriptions_by_key_in_their_order(value: Any, expected: dict[str, Any]) -> None:
    assert list(described_by_key(value, "key").items()) == list(expected.items())
