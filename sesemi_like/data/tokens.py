"""Text becomes tokens where a batch is collated, in the worker.

Shapes: N texts, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .field_collation import checked_side
from .stacking import pad_rows

IDS, MASK = "input_ids", "attention_mask"


class Tokens:
    """Makes tokens of the texts of a field.

    Args:
        tokenizer: Called with a list of texts; returns a mapping with `input_ids`, and whatever
            else has a value for each token, as lists of numbers or as tensors of one length. Those
            of Hugging Face are such. It is built once, and never changed or copied here.
        source: The field that holds the texts; None is the one that the tokens are put into.
        pad: The id that fills up the shorter rows; None takes the tokenizer's `pad_token_id`, or 0.
        side: The side that is filled up: ``right``, or ``left`` for texts to be continued.
        arguments: Further arguments of each call, such as ``{truncation: true, max_length: 77}``.

    Raises:
        ValueError: If the tokenizer cannot be called, or the side is another.
    """

    draws_nothing = True

    def __init__(
        self,
        tokenizer: Callable[..., Mapping[str, Any]],
        source: str | None = None,
        pad: int | None = None,
        side: str = "right",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(tokenizer):
            raise ValueError(f"tokenizer: found {tokenizer!r}; needs a callable of a list of texts")
        self.tokenizer, self.source, self.side = tokenizer, source, checked_side(side)
        own = getattr(tokenizer, "pad_token_id", None)
        self.pad = int(own or 0) if pad is None else pad
        self.arguments = dict(arguments or {})

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Makes the tokens of a batch.

        Args:
            texts: The texts.

        Returns:
            int64 (N, T): `input_ids`, `attention_mask`, 1 at real tokens, and whatever else the
            tokenizer returns, filled up with 0. But for how far it is filled up a row depends on
            its own text alone.

        Raises:
            ValueError: If a value is no text, or the tokenizer does not return a row for each.
        """
        wrong = [text for text in texts if not isinstance(text, str)]
        if wrong:
            raise ValueError(f"found {wrong[0]!r} of type {type(wrong[0]).__name__}; needs text")
        made = self.tokenizer(list(texts), **self.arguments)
        if IDS not in made or any(len(rows) != len(texts) for rows in made.values()):
            found = {name: len(rows) for name, rows in made.items()}
            raise ValueError(
                f"the tokenizer returned rows {found} for {len(texts)} texts; needs {IDS} at "
                "least, with a row for each text"
            )
        ids, is_real = pad_rows(_integers(made[IDS]), self.pad, self.side)
        rest = {
            name: pad_rows(_integers(rows), 0, self.side)[0]
            for name, rows in made.items()
            if name != IDS
        }
        return {IDS: ids, MASK: is_real.long(), **rest}


class ByteTokenizer:
    """Makes a token of each byte of a text's UTF-8 form, between one that begins and one that ends.

    It has no vocabulary to be fetched or fitted, and any text can be had back from its tokens.

    Args:
        max_length: Tokens of a text at most, those of its begin and end included; None keeps all.

    Attributes:
        vocab_size: The number of ids: 256 bytes and three others.
        pad_token_id: Fills up shorter rows.
        bos_token_id: Begins each text.
        eos_token_id: Ends each text.

    Raises:
        ValueError: If there is no room for begin and end.
    """

    pad_token_id, bos_token_id, eos_token_id = 0, 1, 2
    vocab_size = 259

    def __init__(self, max_length: int | None = None) -> None:
        if max_length is not None and max_length < 2:
            raise ValueError(f"max_length: found {max_length}; needs 2 at least, for begin and end")
        self.max_length = max_length

    def __call__(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        """Makes the tokens of texts.

        Args:
            texts: The texts.

        Returns:
            `input_ids`: a list of ids for each text.
        """
        room = None if self.max_length is None else self.max_length - 2
        return {
            IDS: [
                [self.bos_token_id, *(byte + 3 for byte in text.encode()[:room]), self.eos_token_id]
                for text in texts
            ]
        }

    def decode(self, ids: Sequence[int] | Tensor) -> str:
        """The text of tokens; a character that was cut off becomes a replacement character.

        Args:
            ids: Ids of one text; those of begin, end and padding are left out.
        """
        numbers = ids.tolist() if isinstance(ids, Tensor) else ids
        return bytes(number - 3 for number in numbers if number >= 3).decode(errors="replace")


def _integers(rows: Any) -> list[Tensor]:
    return [torch.as_tensor(row, dtype=torch.int64) for row in rows]
