"""Selection of the best weights of a run, by the held-out mIoU or the training loss, and the rows of its history."""

from __future__ import annotations

import math
from typing import Any

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import unknown_name
from segmi.metrics.scores import scores
from segmi.models.inference import InferenceConfig
from segmi.training.checkpoints import Checkpoints
from segmi.training.config import SelectBy
from segmi.training.evaluate import evaluate
from segmi.training.metric_sync import RunningMeans
from segmi.training.region_diagnostics import diagnostics_of
from segmi.training.session import Session


class Selection:
    """Rows of the history and the best weights so far.

    Args:
        session: the run.
        checkpoints: the best weights are saved there.
        select_by, network: ``select_by`` and ``select_network`` of `segmi.training.LoggingConfig`.
        holdout: images held out of train, which are scored for each row.
        inference: how they are predicted.

    Raises:
        UsageError: if the network is unknown.
    """

    def __init__(
        self, session: Session, checkpoints: Checkpoints, select_by: SelectBy, *,
        holdout: SegmentationDataset | None, network: str | None, inference: InferenceConfig,
    ) -> None:  # fmt: skip
        networks = session.cohort.networks
        if network is not None and network not in networks:
            raise unknown_name("network to select by", network, networks)
        self.session, self.checkpoints, self.select_by, self.holdout = session, checkpoints, select_by, holdout
        self.inference = inference
        self.network = network or next(name for name in networks if name not in session.cohort.frozen)

    def close_row(self, *, epoch: float) -> dict[str, Any]:
        """Add a row to the history with means and held-out scores, and save the weights if they are the best."""
        session = self.session
        # The scores are of the weights that are saved, so all processes use the same batch statistics.
        session.broadcast_buffers()
        row: dict[str, Any] = {"step": session.step, "epoch": round(epoch, 4), "learning_rate": session.learning_rate}
        row.update({f"train/{name}": value for name, value in session.means.means().items()})
        if self.holdout:
            row.update(self._scores(self.holdout, "holdout"))
        self._save_if_best(row, f"holdout/mIoU/{self.network}")
        if self.holdout and session.average is not None:
            with session.average.applied():
                session.broadcast_buffers()
                row.update(self._scores(self.holdout, "average"))
                self._save_if_best(row, f"average/mIoU/{self.network}")
        session.means = RunningMeans()
        session.history.append(row)
        return row

    def _scores(self, images: SegmentationDataset, prefix: str) -> dict[str, float]:
        session = self.session
        # A quarter of the pixels is enough for curves.
        diagnostics = diagnostics_of(images.dataset.info.classes, every=2)
        matrices = evaluate(
            session.cohort, images, device=str(session.device), processes=session.runtime.processes,
            diagnostics=diagnostics, window=self.inference.window, overlap=self.inference.overlap,
            batch_size=self.inference.batch_size, threshold=self.inference.threshold,
        )  # fmt: skip
        row: dict[str, float] = {}
        for name, matrix in matrices.items():
            result = scores(matrix.pooled().numpy())
            row[f"{prefix}/mIoU/{name}"] = result["mIoU"]
            row[f"{prefix}/pixel_accuracy/{name}"] = result["pixel_accuracy"]
        return row | {f"{prefix}/{name}": value for name, value in diagnostics.values().items()}

    @property
    def predicted_images(self) -> int:
        """Number of images that are predicted for a row, by the weights and by their average."""
        return len(self.holdout or ()) * (1 if self.session.average is None else 2)

    def _save_if_best(self, row: dict[str, Any], held_out: str) -> None:
        session = self.session
        if self.select_by == "last":
            session.best_step = session.step
            return
        column = held_out if self.select_by == "holdout_mIoU" else "train/loss"
        score, best = float(row[column]), session.best_score
        if math.isnan(score):  # the held-out images have no valid pixels
            return
        if best is None or (score > best if self.select_by == "holdout_mIoU" else score < best):
            session.best_step, session.best_score = session.step, score
            self.checkpoints.save_best(session.weights(), {"step": str(session.step), column: repr(score)})

    def load_best(self) -> None:
        """Load the selected weights into the cohort."""
        self.session.runtime.processes.max(0)  # a barrier: process 0 may still be writing
        if self.session.best_score is not None:
            self.session.cohort.load_state_dict(self.checkpoints.load_best())
        self.session.cohort.eval()
