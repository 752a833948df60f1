"""A learner of ragged texts: an embedder, a projector and a language model, trained in stages."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sesemi_like.data import register_dataset
from sesemi_like.data.samples import Samples
from sesemi_like.learners import Learner, LossTerm
from sesemi_like.models.heads.loss import Forward, LossHead, LossOutputs
from sesemi_like.models.networks import Networks

WORDS, WIDTH = 12, 6


def read(position: int) -> dict[str, Any]:
    """A text of 1 to 7 words, whose class is whether it has more than 3."""
    generator = torch.Generator().manual_seed(position)
    words = torch.randint(1, WORDS, (1 + position % 7,), generator=generator)
    return {"words": words, "target": int(len(words) > 3)}


@register_dataset
def ragged_texts(
    root: str | None, subset: Any = None, image_transform: Any = None, count: int = 20
) -> Samples:
    """Short and long texts."""
    return Samples(read, map(str, range(count)), classes=["short", "long"])


def pad(samples: Any) -> dict[str, Tensor]:
    """Texts (N, longest) with zeros behind the shorter ones."""
    words = nn.utils.rnn.pad_sequence([sample["words"] for sample in samples], batch_first=True)
    numbers = {n: torch.tensor([s[n] for s in samples]) for n in ("target", "index")}
    return {"words": words, **numbers}


class Embedder(nn.Embedding):
    """Words (N, L) to the mean of the embeddings of those that are there (N, D)."""

    def forward(self, words: Tensor) -> Tensor:
        there = (words > 0)[..., None]
        return (super().forward(words) * there).sum(1) / there.sum(1)


class TextHead(LossHead):
    """Cross-entropy of the class that the language model gives the projected text."""

    def forwards(self, fields: Any) -> Any:
        text = Forward(Forward("texts.words", "embedder"), "projector")
        logits = Forward(text, "language_model")
        return {"logits": logits, "target": Forward.field("texts.target")}

    def forward(self, outputs: Any, step: Any) -> LossOutputs:
        return LossOutputs(F.cross_entropy(outputs["logits"], outputs["target"], reduction="none"))


class TextLearner(Learner):
    """Minimizes one loss; what of it is trained, and how deep it is, is up to the stage."""

    def build_networks(self) -> Networks:
        layers = [nn.Linear(WIDTH, WIDTH), nn.Dropout(0.2), nn.Tanh()]
        return Networks(
            {
                "embedder": Embedder(WORDS, WIDTH),
                "projector": nn.Linear(WIDTH, WIDTH),
                "language_model": nn.Sequential(
                    *layers * self.settings.get("depth", 1), nn.Linear(WIDTH, 2)
                ),
            }
        )

    def build_terms(self) -> dict[str, LossTerm]:
        return {"text": LossTerm(TextHead(), key=f"{self.key}.text")}
