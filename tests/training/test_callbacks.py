"""Diagnostics in Lightning's Trainer and in a Fabric loop, pooled over all batches."""

from __future__ import annotations

from typing import Any

import lightning
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segmi.training.callbacks import DiagnosticsCallback, FabricDiagnostics
from segmi.training.region_diagnostics import diagnostics_of


class Identity(lightning.LightningModule):
    """Model whose images are logits."""

    def __init__(self, returns: str = "mapping") -> None:
        super().__init__()
        self.returns = returns
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, index: int) -> Tensor:
        return self.weight**2

    def validation_step(self, batch: Any, index: int) -> Any:
        logits, labels = batch
        return {"logits": logits, "labels": labels} if self.returns == "mapping" else None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def pairs(n: int = 5) -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return [(torch.randn(3, 4, 4, generator=draw), torch.randint(3, (4, 4), generator=draw)) for _ in range(n)]


def expected(prefix: str) -> dict[str, float]:
    diagnostics = diagnostics_of(3)
    diagnostics.update({"net": torch.stack([z for z, _ in pairs()])}, torch.stack([y for _, y in pairs()]))
    result = {prefix + name.replace("/net", ""): value for name, value in diagnostics.values().items()}
    assert {f"{prefix}{name}" for name in ("mutual_information", "region_information/0", "region_information/2")} < set(
        result
    )
    return result


def trainer(callback: DiagnosticsCallback) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_callback_resets_each_epoch():
    ran = trainer(DiagnosticsCallback(3))
    ran.fit(Identity(), DataLoader(pairs(2)), DataLoader(pairs(), batch_size=2))
    logged = {name: value.item() for name, value in ran.callback_metrics.items()}
    assert logged == pytest.approx(expected("val/"), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_callback_accepts_a_function_for_logits_and_labels():
    named = DiagnosticsCallback(3, predicted=lambda outputs, batch: ({"a": batch[0], "b": -batch[0]}, batch[1]))
    ran = trainer(named)
    ran.validate(Identity(returns="nothing"), DataLoader(pairs(), batch_size=2), verbose=False)
    assert ran.callback_metrics["val/mutual_information/a"].item() == pytest.approx(expected("")["mutual_information"])
    assert ran.callback_metrics["val/jensen_shannon_divergence"] > 0
    with pytest.raises(TypeError, match=r"validation_step: expected a mapping with logits and labels, got NoneType"):
        trainer(DiagnosticsCallback(3)).validate(Identity(returns="nothing"), DataLoader(pairs()), verbose=False)


def test_fabric_logs_all_batches_and_resets(tmp_path):
    logger = CSVLogger(tmp_path)
    diagnostics = FabricDiagnostics(Fabric(accelerator="cpu", devices=1, loggers=logger), 3, prefix="held/")
    for step in (1, 2):
        for z, y in pairs():
            diagnostics.update(z[None], y[None])
        assert diagnostics.log(step) == pytest.approx(expected("held/"), rel=1e-6)
    logger.save()
    (written,) = tmp_path.rglob("metrics.csv")
    assert len(written.read_text().splitlines()) == 3
