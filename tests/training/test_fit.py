"""The training loop: learning, selection, budgets and bit-identical resumption."""

from __future__ import annotations

import csv
import os
import signal

import pytest
import torch
from torch import nn

from segmi.datasets.processing import Processing
from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import Interrupted, RunError, UsageError
from segmi.training import Budget, LoggingConfig, OptimizationConfig, RuntimeConfig, fit, training_configs
from segmi.types import Output

STEPS = 12


def run(
    make_cohort, make_loss, train, folder, holdout=None, *, count=1, loss=None, unlabeled=None, progress=None,
    **settings,
):  # fmt: skip
    cohort = make_cohort(count)
    options = {
        "steps": STEPS,
        "batch_size": 3,
        "checkpoint_every": 4,
        "select_by": "last",
        "device": "cpu",
        **settings,
    }
    outcome = fit(cohort, make_loss(cohort, **(loss or {})), train, folder=folder, holdout=holdout, unlabeled=unlabeled,
                  progress=progress, **training_configs(options))  # fmt: skip
    return cohort, outcome


def weights(cohort: nn.Module) -> list[bytes]:
    return [value.cpu().numpy().tobytes() for value in cohort.state_dict().values()]


def test_loss_decreases_in_the_history(make_cohort, make_loss, train, val, run_folder):
    _, outcome = run(make_cohort, make_loss, train, run_folder, val, steps=60, select_by="holdout_mIoU",
                     learning_rate=0.02, validate_every=6)  # fmt: skip
    losses = [row["train/loss"] for row in outcome.history]
    assert losses[-1] < 0.5 * losses[0]
    scores = [row["holdout/mIoU/net0"] for row in outcome.history]
    assert outcome.best_score == max(scores) > 0.5
    assert outcome.best_step == outcome.history[scores.index(max(scores))]["step"]
    with (run_folder / "metrics.csv").open() as file:
        assert [float(row["train/loss"]) for row in csv.DictReader(file)] == losses
    assert any((run_folder / "tensorboard").iterdir())


def test_cohort_has_the_selected_weights(make_cohort, make_loss, train, val, run_folder):
    from safetensors.torch import load_file

    cohort, _ = run(make_cohort, make_loss, train, run_folder, val, select_by="holdout_mIoU")
    best = load_file(run_folder / "checkpoints" / "best.safetensors")
    assert all(torch.equal(value, best[name]) for name, value in cohort.state_dict().items())


def test_select_by_train_loss_uses_the_lowest_mean(make_cohort, make_loss, train, run_folder):
    _, outcome = run(make_cohort, make_loss, train, run_folder, select_by="train_loss")
    assert outcome.best_score == min(row["train/loss"] for row in outcome.history)


@pytest.mark.parametrize("stops", [(1,), (5,), (8,), (6, 9, 11)])
@pytest.mark.parametrize("count", [1, 2])
def test_resumed_run_is_bit_identical(make_cohort, make_loss, train, val, tmp_path, stop_at, stops, count):
    loss = {"cross_entropy": {}, "mutual_learning": {}} if count == 2 else {"cross_entropy": {}}
    settings = {"select_by": "holdout_mIoU", "validate_every": 5, "schedule": "CosineAnnealingLR", "count": count,
                "loss": loss, "accumulate": 2}  # fmt: skip
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    whole, outcome = run(make_cohort, make_loss, train, straight, val, **settings)
    for step in stops:
        with pytest.raises(KeyboardInterrupt):
            run(make_cohort, make_loss, train, stopped, val, progress=stop_at(step), **settings)
        torch.manual_seed(step)  # other random numbers have no effect
    resumed, resumed_outcome = run(make_cohort, make_loss, train, stopped, val, **settings)
    assert weights(resumed) == weights(whole)
    assert resumed_outcome.history == outcome.history
    assert resumed_outcome.best_step == outcome.best_step
    assert (stopped / "metrics.csv").read_bytes() == (straight / "metrics.csv").read_bytes()


@pytest.mark.cuda
def test_resumed_run_is_bit_identical_on_the_device(
    make_cohort, make_loss, train, val, tmp_path, stop_at, device, monkeypatch
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings = {"device": device.type, "precision": "bf16", "loss": {"rmi_loss": {}}, "validate_every": 5}
    torch.use_deterministic_algorithms(True)
    try:
        whole, outcome = run(make_cohort, make_loss, train, tmp_path / "straight", val, **settings)
        with pytest.raises(KeyboardInterrupt):
            run(make_cohort, make_loss, train, tmp_path / "stopped", val, progress=stop_at(7), **settings)
        resumed, again = run(make_cohort, make_loss, train, tmp_path / "stopped", val, **settings)
    finally:
        torch.use_deterministic_algorithms(False)
    assert weights(resumed) == weights(whole)
    assert again.history == outcome.history


@pytest.mark.parametrize(
    ("budget", "steps", "images"),
    [
        ({"steps": 5}, 5, 15),
        ({"images": 14}, 5, 15),
        ({"epochs": 2}, 6, 18),
        ({"images": 20, "drop_last": False}, 8, 20),  # 3, 3, 3 and 1 of ten images
        ({"images": 12, "accumulate": 2}, 2, 12),
    ],
)
def test_budget_in_each_unit(make_cohort, make_loss, train, run_folder, budget, steps, images):
    _, outcome = run(make_cohort, make_loss, train, run_folder, **{"steps": None, **budget})
    assert (outcome.steps, outcome.images) == (steps, images)


def test_budget_in_minutes_ends_by_the_clock(make_cohort, make_loss, train, val, run_folder):
    settings = {"steps": None, "minutes": 1 / 60, "select_by": "holdout_mIoU", "validate_every": 10**6}
    _, outcome = run(make_cohort, make_loss, train, run_folder, val, **settings)
    assert outcome.wall_seconds >= 1
    assert outcome.history[-1]["step"] == outcome.best_step == outcome.steps > 1
    _, again = run(make_cohort, make_loss, train, run_folder, val, **settings)
    assert (again.steps, again.best_step) == (outcome.steps, outcome.best_step)


def test_run_stopped_after_its_time_still_closes_its_row(make_cohort, make_loss, train, val, run_folder, stop_at):
    settings = {"steps": None, "minutes": 60, "select_by": "holdout_mIoU", "validate_every": 10**6}
    with pytest.raises(KeyboardInterrupt):
        run(make_cohort, make_loss, train, run_folder, val, progress=stop_at(5), **settings)
    _, outcome = run(make_cohort, make_loss, train, run_folder, val, **{**settings, "minutes": 1e-6})
    assert outcome.history[-1]["step"] == outcome.steps == 5
    assert outcome.best_score is not None


def test_workers_do_not_change_the_weights(make_cohort, make_loss, train, tmp_path):
    alone, _ = run(make_cohort, make_loss, train, tmp_path / "alone")
    helped, _ = run(make_cohort, make_loss, train, tmp_path / "helped", workers=2)
    assert weights(alone) == weights(helped)


@pytest.mark.parametrize("step", [7, STEPS])  # a signal in the last step is not lost: other runs may follow
def test_signal_writes_a_checkpoint(make_cohort, make_loss, train, run_folder, step):
    def kill(progress) -> None:
        if progress.step == step and progress.phase == "train":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"interrupted at step {step} of 12") as stopped:
        run(make_cohort, make_loss, train, run_folder, progress=kill)
    assert stopped.value.exit_code == 143
    assert (run_folder / "checkpoints" / f"step-{step:08}").is_dir()
    _, outcome = run(make_cohort, make_loss, train, run_folder)
    assert outcome.steps == STEPS


def test_accumulation_gives_the_gradient_of_the_joint_batch(make_cohort, make_loss, squares, run_folder):
    from segmi.training.step import accumulate_gradient

    images = SegmentationDataset(squares, squares.split("train"), Processing(resize=18, crop=16))
    joint, halves = images.batch([(0, i) for i in range(6)]), []
    joint.labels[0, :9] = 255  # unequal numbers of ignored pixels
    for part in (slice(0, 2), slice(2, 6)):
        halves.append(type(joint)(joint.images[part], joint.labels[part], joint.names[part], joint.groups[part]))
    gradients = []
    for batches in ([joint], halves):
        cohort = make_cohort(2).eval()  # in training mode, batch statistics differ
        objective = make_loss(
            cohort, cross_entropy={}, mutual_learning={"weight": 0.5}, region_mutual_information={"weight": 0.1}
        )
        terms = accumulate_gradient(cohort, objective, batches, torch.Tensor.backward)
        gradients.append(torch.cat([p.grad.flatten() for p in cohort.parameters()]))
        value = sum(term.weight * float(term.value) for term in terms.values())
        gradients.append(torch.tensor(value))
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[1], gradients[3], rtol=1e-5, atol=0)


class Explodes(nn.Module):
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, images: torch.Tensor) -> Output:
        return Output((images * self.scale[:, None, None]).log() * 1e30 * 1e30)


def test_infinite_loss_names_step_terms_and_images(make_loss, train, run_folder):
    from segmi.training import Cohort

    cohort = Cohort({"net": Explodes()})
    with pytest.raises(RunError, match=r"infinite at step 1: .*cross_entropy/net.*images of the batch: train-\d"):
        fit(cohort, make_loss(cohort), train, folder=run_folder, budget=Budget(steps=3),
            optimization=OptimizationConfig(batch_size=2), runtime=RuntimeConfig(device="cpu"),
            logging=LoggingConfig(select_by="last"))  # fmt: skip
    assert not list((run_folder / "checkpoints").glob("step-*")), "a diverged run has no checkpoint"


def test_bf16_is_close_to_fp32(make_cohort, make_loss, train, tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        _, outcome = run(make_cohort, make_loss, train, tmp_path / precision, precision=precision, steps=30)
        assert outcome.precision.dtype == precision
        losses[precision] = outcome.history[-1]["train/loss"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_frozen_network_does_not_change(make_cohort, make_loss, train, run_folder):
    cohort = make_cohort(2, frozen=("net1",))
    before = [value.clone() for value in cohort.networks["net1"].state_dict().values()]
    fit(cohort, make_loss(cohort, cross_entropy={}, mutual_learning={}), train, folder=run_folder,
        **training_configs({"steps": 4, "batch_size": 3, "select_by": "last", "device": "cpu"}))  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(before, cohort.networks["net1"].state_dict().values(), strict=True))


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "NAdam"])
def test_optimizers_by_name(make_cohort, make_loss, train, run_folder, optimizer):
    options = {"weight_decay": 1e-4}
    _, outcome = run(make_cohort, make_loss, train, run_folder, steps=2, optimizer=optimizer,
                     optimizer_options=options, schedule="PolynomialLR", schedule_options={"power": 0.9})  # fmt: skip
    assert outcome.steps == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": None}, "steps, epochs, images or minutes, got none of them"),
        ({"epochs": 3}, "got steps = 12 and epochs = 3"),
        ({"minutes": 2}, "got steps = 12 and minutes = 2"),
        ({"steps": None, "images": 0}, "must be more than 0, got images = 0"),
        ({"steps": 0}, "must be more than 0, got steps = 0"),
        ({"batch_size": 50}, "10 training images do not fill a batch of 50"),
        ({"optimizer": "Adan"}, "unknown optimizer 'Adan'"),
        ({"optimizer_options": {"weight_decy": 1}}, "did you mean 'weight_decay'"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"select_by": "holdout_mIoU"}, "needs images held out of train"),
        ({"select_network": "nett"}, "did you mean 'net0'"),
        ({"precision": "fp8"}, "unknown precision 'fp8'"),
        ({"precision": "fp16"}, "fp16 needs a GPU"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_contradictory_settings_are_refused(make_cohort, make_loss, train, run_folder, settings, message):
    with pytest.raises(UsageError, match=message):
        run(make_cohort, make_loss, train, run_folder, **settings)


@pytest.mark.parametrize(("epochs", "drop_last", "steps", "images"), [(2, True, 6, 18), (2, False, 8, 20)])
def test_budget_in_epochs(make_cohort, make_loss, train, run_folder, epochs, drop_last, steps, images):
    _, outcome = run(make_cohort, make_loss, train, run_folder, steps=None, epochs=epochs, drop_last=drop_last)
    assert (outcome.steps, outcome.images, outcome.epochs) == (steps, images, 2.0)


def test_class_counts_are_passed_to_losses_that_use_them(make_cohort, make_loss, train, run_folder):
    cohort = make_cohort()
    objective = make_loss(cohort, probability_corrected={})
    options = {"steps": 2, "batch_size": 3, "select_by": "last", "device": "cpu"}
    fit(cohort, objective, train, folder=run_folder, **training_configs(options))
    (counted,) = (part for part in objective.modules() if hasattr(part, "counts"))
    assert counted.counts.tolist() == train.class_counts().tolist()
    assert counted.counts.sum() > 0
    fit(cohort, make_loss(cohort, probability_corrected={}), train, folder=run_folder,
        **training_configs(options | {"steps": 3}))  # fmt: skip


PREDICTIONS = {
    "cross_entropy": {},
    "local_invariant_information": {"weight": 0.1},
    "entropy_minimization": {"applies_to": "all"},
}


def test_unlabeled_images_are_used_and_resumed(make_cohort, make_loss, train, val, tmp_path, stop_at):
    settings = {"loss": PREDICTIONS, "unlabeled": val, "unlabeled_batch_size": 2}
    straight, outcome = run(make_cohort, make_loss, train, tmp_path / "straight", **settings)
    assert all(row["train/loss/local_invariant_information/net0"] < 0 for row in outcome.history)
    with pytest.raises(KeyboardInterrupt):
        run(make_cohort, make_loss, train, tmp_path / "stopped", progress=stop_at(7), **settings)
    resumed, again = run(make_cohort, make_loss, train, tmp_path / "stopped", **settings)
    assert weights(resumed) == weights(straight)
    assert again.history == outcome.history
    plain, _ = run(make_cohort, make_loss, train, tmp_path / "plain")
    assert weights(plain) != weights(straight)


def test_unlabeled_images_are_required_or_ignored(make_cohort, make_loss, train, val, tmp_path):
    with pytest.raises(UsageError, match=r"needs unlabeled images, got none\s.*labeled: 0.5"):
        run(make_cohort, make_loss, train, tmp_path / "none", loss=PREDICTIONS)
    one, _ = run(make_cohort, make_loss, train, tmp_path / "one", unlabeled=val)
    other, _ = run(make_cohort, make_loss, train, tmp_path / "other")
    assert weights(one) == weights(other)
