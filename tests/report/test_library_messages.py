"""Messages that do not apply to a run are hidden, and libraries still send each of them."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from composing import composed
from lightning_fabric.utilities.warnings import PossibleUserWarning
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sesemi_like.report.library_messages import HIDDEN, HIDDEN_TEXTS, quiet_libraries
from sesemi_like.run.execute import run


@pytest.fixture
def process_group() -> Iterator[None]:
    """A process group of this process alone."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


class Module(pl.LightningModule):
    """Has a part in evaluation mode, few batches, and a metric that is logged by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = nn.Linear(2, 1), nn.Linear(2, 1).eval()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.trained(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("value of its own", batch.sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path) -> list[warnings.WarningMessage]:
    """The warnings of a plain Trainer that are shown."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet_libraries() if folder.name == "quiet" else warnings.catch_warnings():
            trainer = pl.Trainer(
                max_steps=2, accelerator="cpu", logger=pl.loggers.CSVLogger(folder),
                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            )  # fmt: skip
            rows: Any = torch.ones(4, 2)
            loader: DataLoader[Tensor] = DataLoader(rows, batch_size=2)
            trainer.fit(Module(), loader, loader)
    return list(shown)


def test_every_hidden_kind_is_still_sent_and_hidden(
    process_group: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processors = set(range(8))  # Lightning asks for as many workers
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: processors, raising=False)

    def kinds(folder: str) -> set[tuple[str, str]]:
        return {(w.category.__name__, Path(w.filename).stem) for w in fit(tmp_path / folder)}

    hidden = {(category.__name__, module.rpartition(".")[2]) for category, module in HIDDEN}
    assert hidden <= kinds("loud"), "a library no longer sends it: drop it from HIDDEN"
    assert not hidden & kinds("quiet")


@pytest.mark.parametrize("is_quiet", [False, True])
def test_a_checkpoint_with_nothing_measured_yet(is_quiet: bool, tmp_path: Path) -> None:
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, monitor=f"value {is_quiet}")
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=[checkpoint],
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    rows: Any = torch.ones(4, 2)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet_libraries() if is_quiet else nullcontext():
            trainer.fit(Module(), DataLoader(rows, batch_size=2))
    sent = any(re.match(HIDDEN_TEXTS[0], str(w.message)) for w in shown)
    assert sent is not is_quiet


@pytest.mark.parametrize("is_quiet", [False, True])
def test_more_workers_than_processors(is_quiet: bool) -> None:
    rows: Any = torch.ones(4, 2)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet_libraries() if is_quiet else nullcontext():
            DataLoader(rows, num_workers=10_000)
    sent = any(re.match(HIDDEN_TEXTS[1], str(w.message)) for w in shown)
    assert sent is not is_quiet


def test_other_warnings_of_the_same_libraries_are_shown() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("mine", PossibleUserWarning, stacklevel=1)
            warnings.warn_explicit(
                "theirs", UserWarning, "f", 1, "pytorch_lightning.loops.fit_loop"
            )
    assert [str(w.message) for w in shown] == ["mine", "theirs"]


def test_levels_and_filters_are_restored() -> None:
    logger, filters = logging.getLogger("pytorch_lightning"), list(warnings.filters)
    before = logger.level
    with pytest.raises(RuntimeError), quiet_libraries():
        assert logger.level == logging.WARNING
        raise RuntimeError
    assert logger.level == before
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("overrides", [[], ["data.val=null"]])
def test_a_run_and_one_that_resumes_it_warn_of_nothing(
    tmp_path: Path, overrides: list[str]
) -> None:
    """A folder with a config in it, no val loader, a resumed run in another folder."""
    small = ["run.gpus=0", "learner.hparams.model.backbone.widths=[4,8]", *overrides]
    small += ["lr_scheduler=constant", f"run.dir={tmp_path}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(composed("quickstart", *small, "run.num_iterations=4"))
        (path,) = tmp_path.rglob("last.ckpt")
        resumed = [f"run.resume_from_checkpoint='{path}'", "run.num_iterations=8"]
        run(composed("quickstart", *small, *resumed))
    assert len(list(tmp_path.rglob("metrics.csv"))) == 2
