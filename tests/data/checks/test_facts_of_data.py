"""The facts that a learner is built with are those of the data, from a run or its checkpoint."""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from composing import composed
from tables import BUFFERS, TABLE
from tiny_runs import TINY, fit

from sesemi_like import Classifier
from sesemi_like.config.check import check
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES
from sesemi_like.run.prepare import prepare


def test_they_describe_every_loader() -> None:
    config = composed("quickstart", *TINY, "data.train.unlabeled.dataset.part=unlabelled")
    prepared = prepare(config, check(config, MODES))
    facts, data = prepared.learner.data_facts, prepared.data
    assert facts.rows == {
        "train.supervised": 40, "train.unlabeled": 1397, "val": 1397, "test": 360,
    }  # fmt: skip
    for name, source in data.datasets.items():
        samples: Any = source
        index = [samples[row]["index"] for row in range(len(samples))]
        assert facts.largest_index[name] == max(index)
    assert facts.largest_index["train.supervised"] not in (None, 39)
    few: Any = data.datasets["train.supervised"]
    counted = Counter(few[row]["target"] for row in range(40))
    assert facts.class_counts == {"supervised": [counted[c] for c in range(10)]}
    assert facts.class_counts["supervised"] == [4] * 10
    assert {"weak", "strong", "index"} <= set(facts.fields["train.unlabeled"])
    assert facts.num_classes == 10
    assert facts.steps_per_epoch == 5


def test_a_checkpoint_knows_the_data_that_a_test_does_not_load(tmp_path: Path) -> None:
    folder, _ = fit(tmp_path / "fit", *TABLE)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    tested = [f"run.dir={tmp_path / 'test'}", "run.mode=TEST",
              f"run.resume_from_checkpoint='{checkpoint}'"]  # fmt: skip
    config = composed("quickstart", *TINY, *TABLE, *tested)
    prepared = prepare(config, check(config, MODES))
    assert set(prepared.data.loaders) == {"test"}
    own = prepared.learner.state_dict()
    given = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(own[f"{BUFFERS}.confidence"], given[f"{BUFFERS}.confidence"])
    run(config, check(config, MODES))


def test_a_checkpoint_without_facts_still_loads(tmp_path: Path) -> None:
    folder, _ = fit(tmp_path, "method=rotation")
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["hyper_parameters"].pop("facts")["num_classes"] == 10
    torch.save(content, tmp_path / "old.ckpt")
    learner = Classifier.load_from_checkpoint(tmp_path / "old.ckpt")
    assert learner.data_facts.rows == {}
    for name, value in learner.state_dict().items():
        assert torch.equal(value, content["state_dict"][name]), name
