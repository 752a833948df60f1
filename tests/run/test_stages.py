"""Stages: all are checked first, each is a run of its own, the weights go on, kills do no harm."""

import json
import logging
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed
from processes import in_processes
from torch.multiprocessing import ProcessExitedException

import sesemi_like
from sesemi_like.config.check import check
from sesemi_like.config.paths import missing_data
from sesemi_like.errors import ConfigError
from sesemi_like.run.execute import run
from sesemi_like.run.modes import MODES

CONFIG = """
defaults: [app_config, _self_]
run: {gpus: 0, batch_size_per_gpu: 5, num_iterations: 6, seed: 3, id: texts}
data:
  train:
    texts: {dataset: {name: ragged_texts}, collate_fn: {_target_: ragged_text.pad, _partial_: true}}
learner:
  _target_: ragged_text.TextLearner
  hparams: {optimizer: {_target_: torch.optim.AdamW, lr: 0.01}, lr_scheduler: {scheduler: {
    _target_: sesemi_like.PolynomialLR, max_iters: "${app:max_iterations}"}}}
stages:
  align: {learner: {hparams: {trainable: ["projector.*"]}}}
  end2end: {run: {num_iterations: 9}, learner: {hparams: {optimizer: {lr: 0.001}}}}
"""
FOLDERS = ("1_align", "2_end2end")


def train(folder: Path, *overrides: str) -> Any:
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / "texts.yaml").write_text(CONFIG)
    config = composed("texts", f"run.dir={folder / 'runs'}", *overrides, folder=folder / "configs")
    return run(config, check(config, MODES))


def state(folder: Path) -> Any:
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return content["state_dict"]


def assert_same(own: Any, other: Any) -> None:
    assert own.keys() == other.keys()
    for name, value in own.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=0, msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder and the summary of a run of two stages."""
    summary = train(tmp_path_factory.mktemp("whole"))
    return Path(summary["folder"]), summary


def test_each_stage_is_a_run_of_its_own_with_the_weights_of_the_one_before(whole: Any) -> None:
    folder = whole[0]
    found = json.loads((folder / "summary.json").read_text())
    assert (found["status"], found["steps"], found["folder"]) == ("finished", 15, str(folder))
    assert [entry["folder"] for entry in found["stages"].values()] == [
        str(folder / name) for name in FOLDERS
    ]
    for name, steps in zip(FOLDERS, (6, 9), strict=True):
        own = json.loads((folder / name / "summary.json").read_text())
        assert (own["steps"], own["seed"], own["status"]) == (steps, 3, "finished")
        assert (folder / name / "config.yaml").is_file()
    first, second = (state(folder / name) for name in FOLDERS)
    frozen = "networks.modules_by_name.embedder.weight"
    initial = state_of_start(folder)
    assert torch.equal(first[frozen], initial[frozen])  # the first stage trains the projector
    moved = "networks.modules_by_name.projector.weight"
    assert not torch.equal(first[moved], initial[moved])
    assert not torch.equal(second[frozen], first[frozen])
    distance = (second[moved] - first[moved]).abs().max()
    assert distance < 9 * 0.0011  # AdamW moves a weight by the rate a step: it began there
    assert (first[moved] - initial[moved]).abs().max() > 9 * 0.0011
    config = (folder / "2_end2end" / "config.yaml").read_text()
    assert "max_iters: 9" in config  # ${app:...} is the stage's own


def state_of_start(folder: Path) -> Any:
    """The weights that the first stage began with."""
    from sesemi_like.run.prepare import prepare

    config = composed("texts", "stages=null", "+learner.hparams.trainable=[projector.*]",
                      folder=folder.parents[2] / "configs")  # fmt: skip
    return prepare(config).learner.state_dict()


def kill(folder: Path, overrides: tuple[str, ...], stage: str, step: int) -> None:
    """Trains in a process of its own, which is killed at a step of a stage."""
    ending = f"+stages.{stage}.trainer.callbacks=[{{_target_: processes.Ending, steps: {step}}}]"
    process = multiprocessing.get_context("forkserver").Process(
        target=train, args=(folder, ending, *overrides)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_run_killed_in_both_stages_ends_as_an_uninterrupted_one(
    whole: Any, tmp_path: Path
) -> None:
    settings = ("run.checkpoint_every=2 steps", "run.resume=auto")
    kill(tmp_path, settings, "align", 3)
    kill(tmp_path, settings, "end2end", 5)
    kill(tmp_path, settings, "end2end", 7)
    (folder,) = (tmp_path / "runs" / "texts").iterdir()
    finished = (folder / "1_align" / "checkpoints" / "last.ckpt").stat()
    assert not (folder / "summary.json").exists()
    summary = train(tmp_path, *settings)
    assert (summary["folder"], summary["status"]) == (str(folder), "finished")
    assert (folder / "1_align" / "checkpoints" / "last.ckpt").stat() == finished  # not repeated
    for name in FOLDERS:
        assert_same(state(folder / name), state(whole[0] / name))
    again = train(tmp_path, *settings)
    assert again["stages"] == summary["stages"]
    assert len(list(folder.parent.iterdir())) == 1


def test_one_stage_is_picked(whole: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.stage.*weights of align, which has not run"):
        train(tmp_path, "run.stage=end2end")
    assert not list((tmp_path / "runs").rglob("*.ckpt"))
    summary = train(tmp_path, "run.stage=align")
    folder = Path(summary["folder"])
    assert summary["status"] == "stopped: without end2end"
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["1_align"]
    summary = train(tmp_path, "run.stage=end2end", "run.resume=auto")
    assert (summary["folder"], summary["status"]) == (str(folder), "finished")
    assert_same(state(folder / "2_end2end"), state(whole[0] / "2_end2end"))


@pytest.mark.parametrize("start", ["scratch", "path"])
def test_a_stage_starts_from_elsewhere(whole: Any, tmp_path: Path, start: str) -> None:
    given = str(whole[0]) if start == "path" else start
    tiny = ["run.num_iterations=1", "stages.end2end.run.num_iterations=1"]
    summary = train(tmp_path, *tiny, f"+stages.end2end.start_from={given}")
    name = "networks.modules_by_name.embedder.weight"
    own = state(Path(summary["folder"]) / "2_end2end")[name]
    expected = state(whole[0] / "2_end2end") if start == "path" else state_of_start(whole[0])
    torch.testing.assert_close(own, expected[name], rtol=0, atol=0.0011)
    assert (own - state(whole[0] / "2_end2end")[name]).abs().max() < 0.0011 or start != "path"


def test_the_folder_of_a_run_stands_for_its_last_stage(whole: Any) -> None:
    learner = sesemi_like.load_model(whole[0])
    assert type(learner).__name__ == "TextLearner"
    assert_same(learner.state_dict(), state(whole[0] / "2_end2end"))


def test_mistakes_carry_the_key_of_their_stage_and_nothing_begins(tmp_path: Path) -> None:
    wrong = [
        "+stages.align.run.nmu_epochs=3",
        "+stages.align.run.id=x",
        "stages.end2end.run.num_iterations=many",
        "+stages.third={start_from: none.ckpt, data: {train: {texts: {num_workers: -1}}}}",
    ]
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, *wrong)
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {
        "stages.align.run.nmu_epochs", "stages.align.run.id", "stages.end2end.run.num_iterations",
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, wrong[3], "stages.end2end.learner.hparams.optimizer.lr=-1")
    keys = {problem.key for problem in caught.value.problems}
    assert keys == {
        "stages.third.start_from", "stages.third.data.train.texts.num_workers",
        "stages.end2end.learner.hparams.optimizer",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"^1 problem.*\n.*- data\.train\.texts\.num_workers"):
        train(tmp_path, "data.train.texts.num_workers=-1")  # in both stages, so it is told once
    assert not (tmp_path / "runs").exists()


def test_what_a_stage_cannot_be_is_refused(tmp_path: Path) -> None:
    def keys(*overrides: str) -> set[str]:
        with pytest.raises(ConfigError) as caught:
            train(tmp_path, *overrides)
        return {problem.key for problem in caught.value.problems}

    assert keys("run.stage=algin") == {"run.stage"}
    assert keys("run.stage=align", "stages=null") == {"run.stage"}
    assert keys("+stages.align.start_from=previous") == {"stages.align.start_from"}
    assert keys("stages={align: null, end2end: null}") == {"stages"}
    assert keys("+stages.third={learner: {_target_: sesemi_like.Nope}}") == {
        "stages.third.learner._target_"
    }
    assert keys("stages.align=3") == {"stages.align"}
    assert keys("+stages.align.start_frm=scratch") == {"stages.align.start_frm"}
    assert keys("+stages.align.stages={}") == {"stages.align.stages"}
    assert keys("+stages={a/b: {}}") == {"stages.a/b"}
    assert keys("+stages.align.run={gpus: 2, mode: TEST}") == {
        "stages.align.run.gpus", "stages.align.run.mode",
    }  # fmt: skip


def test_a_misspelled_key_of_a_stage_is_told_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'start_from'\?.*learner, run, start_from"):
        train(tmp_path, "+stages.align.start_frm=scratch")


def test_the_last_stage_goes_on_where_it_is_to_be_longer_and_no_earlier_one(tmp_path: Path) -> None:
    folder = train(tmp_path, "stages.end2end.run.num_iterations=3")["folder"]
    longer = ("run.resume=auto", "stages.end2end.run.num_iterations=5")
    summary = train(tmp_path, *longer)
    assert (summary["folder"], summary["stages"]["end2end"]["steps"]) == (folder, 5)
    assert train(tmp_path, *longer) == summary
    with pytest.raises(ConfigError, match=r"run\.resume.*stage align of .* another length"):
        train(tmp_path, *longer, "run.num_iterations=7")
    assert (Path(folder) / "2_end2end" / "summary.json").is_file()


def test_a_stage_that_goes_on_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tmp_path, "run.stage=align")
    with caplog.at_level(logging.INFO):
        train(tmp_path, "run.stage=align", "run.resume=auto", "run.num_iterations=7")
    assert "goes on after step 6 in " in caplog.text


def test_going_on_without_stages_begins_anew(whole: Any, tmp_path: Path) -> None:
    train(tmp_path, "stages.end2end=null")
    config = composed(
        "texts", f"run.dir={tmp_path / 'runs'}", "run.resume=auto", "~stages",
        folder=tmp_path / "configs",
    )  # fmt: skip
    assert "stages" not in run(config, check(config, MODES))


def test_a_stage_of_another_model_says_so_before_the_first_one_trains(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stages\.end2end\.start_from.*strict_loading=true"):
        train(tmp_path, "+stages.end2end.learner.hparams.depth=2", "run.strict_loading=true")
    assert not (tmp_path / "runs").exists()


def test_a_stage_that_is_null_is_left_out_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    summary = train(tmp_path, "stages.align=null", "stages.end2end.run.num_iterations=1")
    assert list(summary["stages"]) == ["end2end"]
    assert summary["stages"]["end2end"]["folder"].endswith("2_end2end")


def test_modes_that_do_not_train_ignore_stages(whole: Any, tmp_path: Path) -> None:
    folder = whole[0].parents[2] / "configs"
    config = composed("texts", "run.mode=VALIDATE", "+stages.align.run.nmu_epochs=1", folder=folder)
    assert {p.key for p in check(config, MODES)} == {"data.val"}
    assert missing_data(config, MODES) == []


def train_by_two(rank: int, folder: Path, overrides: tuple[str, ...]) -> None:
    train(folder, "++trainer={devices: 2, accelerator: cpu}", *overrides)


@pytest.mark.slow
def test_two_processes_run_stages_and_go_on_together(tmp_path: Path) -> None:
    settings = ("run.seed=null", "run.resume=auto", "run.checkpoint_every=2 steps")
    ending = "+stages.end2end.trainer.callbacks=[{_target_: processes.Ending, steps: 5}]"
    with pytest.raises(ProcessExitedException):
        in_processes(train_by_two, tmp_path / "killed", (*settings, ending))
    in_processes(train_by_two, tmp_path / "killed", settings)
    (path,) = (tmp_path / "killed").glob("runs/*/*/summary.json")
    seed = json.loads(path.read_text())["seed"]
    in_processes(train_by_two, tmp_path / "whole", (f"run.seed={seed}",))
    (other,) = (tmp_path / "whole").glob("runs/*/*/summary.json")
    for name in FOLDERS:
        assert_same(state(path.parent / name), state(other.parent / name))


@pytest.mark.slow
def test_processes_that_lightning_launches_run_all_stages(open_cli: Any, tmp_path: Path) -> None:
    train(tmp_path, "run.num_iterations=1", "stages.end2end.run.num_iterations=1")
    path = str(Path(__file__).resolve().parents[1])
    done = open_cli(
        "-cd", "configs", "-cn", "texts", "++trainer={devices: 2, accelerator: cpu}",
        "run.dir=two", env={"PYTHONPATH": f"{Path(sesemi_like.__file__).parents[1]}:{path}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (top,) = (tmp_path / "two" / "texts").iterdir()
    assert sorted(p.name for p in top.iterdir() if p.is_dir()) == [*FOLDERS]
    found = json.loads((top / "2_end2end" / "summary.json").read_text())
    assert (found["devices"], found["steps"]) == ("2 x cpu", 9)


def test_the_stages_are_told_as_they_begin(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train(tmp_path, "run.num_iterations=1", "stages.end2end.run.num_iterations=1")
    assert "stage 1 of 2: align" in caplog.text
    assert "stage 2 of 2: end2end" in caplog.text


def test_what_is_no_learner_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stages\.third\.learner\._target_: .*is no learner"):
        train(tmp_path, "+stages.third={learner: {_target_: torch.nn.Identity}}")
