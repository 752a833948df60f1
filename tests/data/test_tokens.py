"""Texts become tokens: bytes by hand, padding by hand, any tokenizer of the usual form."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from sesemi_like.data import ByteTokenizer, Tokens


class Words:
    """Numbers each word by its length; with a further value for each token."""

    pad_token_id = 99

    def __call__(self, texts: Sequence[str], limit: int | None = None) -> dict[str, Any]:
        ids = [[len(word) for word in text.split()][:limit] for text in texts]
        return {"input_ids": ids, "type": [[7] * len(row) for row in ids]}


def test_a_batch_is_padded_by_hand() -> None:
    batch = Tokens(Words())(["a bcd", "", "ab c defg"])
    assert batch["input_ids"].tolist() == [[1, 3, 99], [99, 99, 99], [2, 1, 4]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert batch["type"].tolist() == [[7, 7, 0], [0, 0, 0], [7, 7, 7]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_the_left_side_is_padded_where_texts_go_on() -> None:
    """The rows of 7 and 3 tokens of a prompt."""
    ids = {"a": [1, 2, 7, 7, 7, 3, 4], "b": [1, 3, 4]}

    def tokenizer(texts: Sequence[str]) -> dict[str, Any]:
        return {"input_ids": [ids[text] for text in texts]}

    batch = Tokens(tokenizer, side="left")(["a", "b"])
    assert batch["input_ids"].tolist() == [[1, 2, 7, 7, 7, 3, 4], [0, 0, 0, 0, 1, 3, 4]]
    assert batch["attention_mask"].tolist() == [[1] * 7, [0, 0, 0, 0, 1, 1, 1]]


def test_rows_do_not_depend_on_the_others() -> None:
    texts = ["one", "twenty two", "", "déjà vu"]
    together = Tokens(ByteTokenizer())(texts)
    for row, text in enumerate(texts):
        alone = Tokens(ByteTokenizer())([text])["input_ids"][0]
        assert torch.equal(together["input_ids"][row, : len(alone)], alone)
        assert not together["attention_mask"][row, len(alone) :].any()


def test_arguments_go_to_each_call_and_pad_may_be_given() -> None:
    batch = Tokens(Words(), pad=-1, arguments={"limit": 1})(["a bcd", ""])
    assert batch["input_ids"].tolist() == [[1], [-1]]


def test_a_mask_of_the_tokenizers_own_is_kept() -> None:
    def padding(texts: Sequence[str]) -> dict[str, Any]:
        return {
            "input_ids": torch.tensor([[5, 6], [5, 0]]),
            "attention_mask": torch.tensor([[1, 1], [1, 0]]),
        }

    batch = Tokens(padding)(["x y", "x"])
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert batch["input_ids"].tolist() == [[5, 6], [5, 0]]


@pytest.mark.parametrize(
    ("made", "texts", "message"),
    [
        ({"ids": [[1]]}, ["a"], "needs input_ids at least"),
        ({"input_ids": [[1], [2]]}, ["a"], r"rows {'input_ids': 2} for 1 texts"),
        ({"input_ids": [[1]]}, [3], "found 3 of type int; needs text"),
        ({"input_ids": [[1]]}, [None], "of type NoneType; needs text"),
    ],
)
def test_other_tokenizers_and_values_are_refused(made: Any, texts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokens(lambda _: made)(texts)


def test_settings_that_cannot_work_are_refused() -> None:
    name: Any = "bert"
    with pytest.raises(ValueError, match="tokenizer: found 'bert'; needs a callable"):
        Tokens(name)
    with pytest.raises(ValueError, match="side: found 'top'; needs right or left"):
        Tokens(Words(), side="top")


def test_bytes_by_hand_and_back() -> None:
    tokenizer = ByteTokenizer()
    (ids,) = tokenizer(["aé"])["input_ids"]
    assert ids == [1, 97 + 3, 0xC3 + 3, 0xA9 + 3, 2]
    assert tokenizer.decode(ids) == "aé"
    assert tokenizer.decode(torch.tensor([*ids, 0, 0])) == "aé"
    assert max(tokenizer(["ÿ" + chr(0x10FFFF)])["input_ids"][0]) < tokenizer.vocab_size
    for text in ("", "snow ☃", "\0"):
        assert tokenizer.decode(tokenizer([text])["input_ids"][0]) == text


def test_long_texts_are_cut_and_keep_their_end() -> None:
    assert ByteTokenizer(4)(["abcdef", "a"])["input_ids"] == [[1, 100, 101, 2], [1, 100, 2]]
    with pytest.raises(ValueError, match="max_length: found 1; needs 2"):
        ByteTokenizer(1)


def test_they_can_be_sent_to_another_process() -> None:
    tokens = pickle.loads(pickle.dumps(Tokens(ByteTokenizer())))
    assert tokens(["a"])["input_ids"].tolist() == [[1, 100, 2]]
