"""The command as a user runs it: its help, its messages, and what it does not import."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fixture_types import OpenCli

from sesemi_like.cli import command as cli
from sesemi_like.errors import NonFiniteLossError

DESIGN = """\
run:
  seed: null
  num_epochs: null
  num_iterations: null
  gpus: -1
  num_nodes: 1
  accelerator: null
  batch_size_per_gpu: null
  data_root: ./data
  id: default
  dir: ./runs
  mode: FIT
  resume_from_checkpoint: null
  pretrained_checkpoint_path: null
data:
  train: null
  val: null
  test: null
learner:
  _target_: sesemi_like.Classifier
  hparams:
    num_classes: ???
    model:
      backbone: ???
      supervised_loss:
        callable: ???
        scheduler: null
        reduction: mean
        scale_factor: 1.0
      regularization_loss_heads: null
    optimizer: ???
    lr_scheduler: null
trainer: null
"""


def in_order(wanted: Any, found: Any) -> Any:
    """Says whether mapping `wanted` is in `found` with its values, its keys first and in order."""
    if not isinstance(wanted, dict):
        return wanted == found
    common = [key for key in found if key in wanted]
    return common == list(wanted) and all(in_order(v, found[k]) for k, v in wanted.items())


def test_help_prints_the_keys_with_their_defaults_in_order(open_cli: OpenCli) -> None:
    shown = open_cli("-h")
    assert shown.returncode == 0
    assert "learner:" in shown.stdout
    start = shown.stdout.index("run:\n")
    end = shown.stdout.index("Powered by Hydra", start)
    assert in_order(yaml.safe_load(DESIGN), yaml.safe_load(shown.stdout[start:end]))


@pytest.mark.parametrize(
    "arguments",
    [["-h"], ["--info"], ["-cn", "imagewoof", "--info"], ["--cfg", "job"], ["-sc", "query=bash"]],
    ids=" ".join,
)
def test_what_only_shows_a_config_does_not_import_torch(
    arguments: list[str], tmp_path: Path
) -> None:
    program = (
        "import sys; sys.argv = ['open_cli', *sys.argv[1:]]\n"
        "from sesemi_like.cli.command import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pytorch_lightning', 'timm', 'torchvision', 'sklearn'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    line = "open_cli run.s"
    completed = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.strip().splitlines()[-1] == "HEAVY []", completed.stdout[-500:]


def test_importing_the_package_does_not_import_torch() -> None:
    program = "import sys, sesemi_like; dir(sesemi_like); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_a_run_imports_what_its_config_names_when_it_is_needed() -> None:
    program = (
        "import sys, sesemi_like.run.execute\n"
        "late = {'timm', 'sklearn', 'tensorboard', 'albumentations', 'simplejpeg'}\n"
        "print(sorted(late & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_info_and_cfg_show_app_values_unresolved(open_cli: OpenCli) -> None:
    for arguments in (["--info"], ["--cfg", "job"]):
        assert "${app:max_iterations}" in open_cli("-cn", "imagewoof", *arguments).stdout


def test_resolving_before_the_data_is_known_says_so(open_cli: OpenCli) -> None:
    shown = open_cli("-cn", "imagewoof", "--cfg", "job", "--resolve")
    assert shown.returncode == 0
    assert "max_iters: '<max_iterations: known once the run has read its data>'" in shown.stdout


def failure(process: Any) -> Any:
    """The message of a run that ended as a wrong config should."""
    assert process.returncode == 1, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    assert "in the configuration" in process.stderr
    return process.stderr


@pytest.fixture
def in_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Runs the command here, in an empty folder, up to where torch would be imported."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Any:
        monkeypatch.setattr(sys, "argv", ["open_cli", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        message = capsys.readouterr().err
        assert end.value.code == 1, message
        assert "Traceback" not in message
        return message

    return run


def test_a_loss_that_is_not_finite_is_reported_in_its_words(
    in_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(config: Any) -> None:
        raise NonFiniteLossError("step 5: the loss of supervised is nan")

    monkeypatch.setattr(cli, "job", job)
    assert in_process("-cn", "quickstart") == "step 5: the loss of supervised is nan\n"


def test_all_wrong_overrides_are_reported_at_once(open_cli: OpenCli, tmp_path: Path) -> None:
    message = failure(
        open_cli("run.nmu_epochs=3", "run.seed=abc", "run.mode=FITT", "method=fixmtch")
    )
    assert message.startswith("4 problems")
    assert "run.nmu_epochs: found 3; no such key; did you mean 'num_epochs'" in message
    assert "run.seed: found 'abc'; must be int or null" in message
    assert "run.mode: found 'FITT'; must be one of FIT, VALIDATE, TEST" in message
    assert "method: found 'fixmtch'; no such config; did you mean 'fixmatch'" in message
    assert list(tmp_path.iterdir()) == []


def test_a_new_key_of_a_free_form_config_proposes_those_it_has(open_cli: OpenCli) -> None:
    message = failure(open_cli("-cn", "imagewoof", "learner.hparams.optimizer.momentun=0.8"))
    assert "learner.hparams.optimizer.momentun: found '0.8'; no such key" in message
    assert "did you mean 'momentum'" in message
    assert "+learner.hparams.optimizer.momentun adds it" in message


def test_wrong_keys_and_types_in_a_file_are_reported_with_the_missing_names(
    open_cli: OpenCli, tmp_path: Path
) -> None:
    (tmp_path / "custom.yaml").write_text(
        "defaults: [base]\nrun: {sede: 1, num_epochs: ten}\n"
        "data: {train: {supervised: {shufle: true}}}\n"
    )
    message = failure(open_cli("-cd", ".", "-cn", "custom"))
    assert message.startswith("3 problems")
    for text in ("'seed'", "run.num_epochs: found 'ten'", "data.train.supervised.shufle"):
        assert text in message


def test_a_config_that_does_not_exist_proposes_those_that_do(open_cli: OpenCli) -> None:
    assert "did you mean 'imagewoof'" in failure(open_cli("-cn", "imagewof"))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("configs/custom.yaml", "custom"),
        ("custom.yaml", "custom"),
        ("configs/custom.yaml", "configs/custom.yaml"),
    ],
)
def test_a_config_in_a_folder_that_was_not_named_is_pointed_at(
    in_process: Callable[..., Any], tmp_path: Path, file: str, name: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("defaults: [base]")
    folder = str(Path(file).parent)
    assert f"-cd {folder} -cn custom takes it" in in_process("-cn", name)


def test_a_folder_that_is_not_there_is_reported(in_process: Callable[..., Any]) -> None:
    message = in_process("-cd", "confs", "-cn", "custom")
    assert "-cd: found 'confs'; no such folder" in message


def test_missing_values_say_what_they_are_for(open_cli: OpenCli) -> None:
    message = failure(open_cli("run.num_epochs=1"))
    assert "learner.hparams.num_classes: found '???'; a value is needed: Classes C" in message
    assert "data.train: found null" in message


def test_exclusive_keys(open_cli: OpenCli) -> None:
    message = failure(open_cli("-cn", "imagewoof", "run.num_iterations=5"))
    assert "give only one of num_epochs, num_iterations" in message


def test_a_broken_yaml_file_is_named(open_cli: OpenCli, tmp_path: Path) -> None:
    (tmp_path / "custom.yaml").write_text("run: {seed: [1\n")
    assert "custom.yaml" in failure(open_cli("-cd", ".", "-cn", "custom"))


def test_full_error_shows_the_stack_trace(open_cli: OpenCli) -> None:
    process = open_cli("run.nmu_epochs=3", env={"HYDRA_FULL_ERROR": "1"})
    assert process.returncode == 1
    assert "Traceback" in process.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_reported_without_a_stack_trace(
    open_cli: OpenCli, tmp_path: Path, cifar10_images: Path, workers: int
) -> None:
    root = tmp_path / "images"
    shutil.copytree(cifar10_images, root)
    broken = sorted((root / "train").rglob("*.jpg"))[-1]
    broken.write_bytes(broken.read_bytes()[:200])  # which shows only when all of it is read
    done = open_cli(
        "-cn", "imagewang", "data=image_folder", f"run.data_root={root}", "run.num_epochs=1",
        "data.image_size=16", "backbone=small_cnn", "learner.hparams.model.backbone.in_chans=3",
        "learner.hparams.lr_scheduler.scheduler.warmup_epochs=0", "run.gpus=0",
        f"data.train.supervised.num_workers={workers}", "data.train.unlabeled=null",
        "++data.train.supervised.dataset.cache=none",
        "method=supervised", "learner.hparams.num_classes=10",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{broken.relative_to(root)} cannot be read" in done.stderr
    assert "on_error: skip" in done.stderr


@pytest.mark.parametrize("show", ["-cn quickstart --info", "-sc install=bash"])
def test_a_reader_that_leaves_early_gets_no_complaint(tmp_path: Path, show: str) -> None:
    command = f"{sys.executable} -m sesemi_like {show} | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_a_wrong_value_of_a_sweep_is_reported(open_cli: OpenCli) -> None:
    sweep = ["-m", "-cn", "quickstart", "method=fixmatch,fixmtach", "run.seed=1,x"]
    message = failure(open_cli(*sweep))
    assert "method: found 'fixmtach'" in message
    assert "run.seed: found 'x'" in message
    assert message.startswith("2 problems")


def test_keys_that_are_added_must_exist_in_typed_sections(open_cli: OpenCli) -> None:
    message = failure(open_cli("-cn", "quickstart", "+run.num_epoch=3",
                               "+learner.hparams.model.backbon=3"))  # fmt: skip
    assert "run.num_epoch: found 3; no such key; did you mean 'num_epochs'" in message
    assert "learner.hparams.model.backbon: found 3; no such key" in message


def test_a_key_below_null_says_how_it_is_added(open_cli: OpenCli) -> None:
    message = failure(open_cli("-cn", "sesemi_config", "trainer.logger=false"))
    assert "trainer.logger: found 'false'" in message
    assert "+trainer.logger adds it" in message


def test_gpus_that_are_not_there_and_seeds_out_of_range(open_cli: OpenCli) -> None:
    missing = "run.gpus=[90,91]"
    message = failure(open_cli("-cn", "quickstart", missing, "run.seed=-1"))
    assert "run.gpus: found [90, 91]; there are" in message
    assert "run.seed: found -1" in message


def test_the_environment_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["open_cli", "-cn", "quickstart", "run.sede=1"])
    for before in (None, "0"):
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        if before is not None:
            monkeypatch.setenv("HYDRA_FULL_ERROR", before)
        environment = dict(os.environ)
        with pytest.raises(SystemExit):
            cli.main()
        assert dict(os.environ) == environment
        assert "Traceback" not in capsys.readouterr().err


def test_sections_that_are_taken_away_have_their_defaults(in_process: Callable[..., Any]) -> None:
    assert "run.num_epochs: found null; FIT needs" in in_process("-cn", "quickstart", "~run")
    bare = in_process("-cn", "quickstart", "~learner")
    assert "learner._target_: found null; needs the path of the learner's class" in bare
    assert "learner: found '???'; a value is needed" in in_process("~learner")
