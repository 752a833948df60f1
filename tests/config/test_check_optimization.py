"""The keys of a parameter group are those of its struct."""

from dataclasses import fields

from sesemi_like.config.check_optimization import GROUP_KEYS
from sesemi_like.config.structs import ParamGroupConfig


def test_groups_take_what_their_struct_has() -> None:
    assert [field.name for field in fields(ParamGroupConfig)] == list(GROUP_KEYS)
