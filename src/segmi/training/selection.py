"""Which weights of a run are kept: scored on images held out of train, or by the training loss as the study did."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.errors import unknown_name
from segmi.metrics.scores import scores
from segmi.training.checkpoints import Checkpoints
from segmi.training.diagnostics import diagnostics_of
from segmi.training.evaluate import evaluate
from segmi.training.session import Session

SelectBy: TypeAlias = Literal["holdout_mIoU", "train_loss", "last"]


class Selection:
    """Closes the rows of the history and keeps the best weights.

    Args:
        session: the run.
        checkpoints: where the best weights go.
        select_by: ``holdout_mIoU`` (highest), ``train_loss`` (lowest mean of a row) or ``last``.
        holdout: images held out of train, scored at every row when there are some.
        network: whose held-out mIoU decides; the first network that learns by default.

    Raises:
        UsageError: if there is no such network.
    """

    def __init__(
        self,
        session: Session,
        checkpoints: Checkpoints,
        select_by: SelectBy,
        *,
        holdout: SegmentationDataset | None,
        network: str | None,
    ) -> None:
        networks = session.cohort.networks
        if network is not None and network not in networks:
            raise unknown_name("network to select by", network, networks)
        self.session, self.checkpoints, self.select_by, self.holdout = session, checkpoints, select_by, holdout
        self.network = network or next(name for name in networks if name not in session.cohort.frozen)

    def close_row(self, *, epoch: float) -> dict[str, Any]:
        """Add a row to the history: the means since the last one, the held-out scores; keep the weights if best."""
        session = self.session
        session.take_statistics_of_leader()
        row: dict[str, Any] = {"step": session.step, "epoch": round(epoch, 4), "learning_rate": session.learning_rate}
        row.update({f"train/{name}": value for name, value in session.means.means().items()})
        if self.holdout:
            diagnostics = diagnostics_of(self.holdout.dataset.info.classes, every=2)
            matrices = evaluate(
                session.cohort,
                self.holdout,
                device=str(session.device),
                processes=session.runtime.processes,
                diagnostics=diagnostics,
            )
            for name, matrix in matrices.items():
                result = scores(matrix.pooled().numpy())
                row[f"holdout/mIoU/{name}"] = result["mIoU"]
                row[f"holdout/pixel_accuracy/{name}"] = result["pixel_accuracy"]
            row.update({f"holdout/{name}": value for name, value in diagnostics.values().items()})
        session.means.reset()
        session.history.append(row)
        self._keep_if_best(row)
        return row

    def _keep_if_best(self, row: dict[str, Any]) -> None:
        session = self.session
        if self.select_by == "last":
            session.best_step = session.step
            return
        column = f"holdout/mIoU/{self.network}" if self.select_by == "holdout_mIoU" else "train/loss"
        score, best = float(row[column]), session.best_score
        if math.isnan(score):  # nothing was valid in the held-out images: no reason to keep these weights
            return
        if best is None or (score > best if self.select_by == "holdout_mIoU" else score < best):
            session.best_step, session.best_score = session.step, score
            self.checkpoints.save_best(session.weights(), {"step": str(session.step), column: repr(score)})

    def take_best(self) -> None:
        """Give the cohort the weights that were selected."""
        self.session.runtime.processes.largest(0)  # until all are here: process 0 may still be writing
        if self.session.best_score is not None:
            self.session.cohort.load_state_dict(self.checkpoints.load_best())
        self.session.cohort.eval()
