"""``metrics.csv`` and the experiment loggers of a run: TensorBoard, MLflow and Weights & Biases, through Lightning.

A logger that fails never stops a run: the failure is reported once, and the run continues without that logger.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from segmi.errors import EnvironmentProblem, Interrupted, first_line
from segmi.records.atomic import atomic_write
from segmi.records.serialization import read_record, write_record

IDS_FILE: Final = "trackers.json"
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {"mlflow": ("mlflow", "sqlalchemy"), "wandb": ("wandb",)}
"""Optional packages by logger; each logger is an extra of segmi."""

log = logging.getLogger(__name__)


def check_loggers(names: Sequence[str]) -> None:
    """Raise an `EnvironmentProblem` if a package of the loggers is not installed."""
    for name in names:
        missing = [package for package in PACKAGES.get(name, ()) if find_spec(package) is None]
        if missing:
            raise EnvironmentProblem(
                f"the logger {name} needs {' and '.join(missing)}, which is not installed",
                f"pip install 'segmi[{name}]', or leave {name} out of training.logger",
            )


class RunLogger:
    """Context manager that writes the metrics of a run.

    Args:
        folder: run folder. Its last four parts are study, dataset, method and seed, which name the run in the loggers.
        names: loggers; ``csv`` is ``metrics.csv``, which is always written.
        first_step: step that the run resumes from. TensorBoard hides later entries of an earlier session.
        writes: whether this process writes.
    """

    def __init__(
        self, folder: Path, names: Sequence[str] = ("tensorboard",), *, first_step: int = 0, writes: bool = True
    ) -> None:
        self.folder, self.names, self.first_step, self.writes = folder, names, first_step, writes
        self._loggers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if not self.writes:
            return self
        # A resumed run continues its entries on the servers, so their ids are kept.
        ids = dict((read_record(self.folder / IDS_FILE) or {}).get("ids") or {})
        for name in dict.fromkeys(self.names):
            create = _CREATE.get(name)
            logger = self._guard(name, partial(create, self.folder, self.first_step, ids)) if create else None
            if logger is not None:
                self._loggers[name] = logger
        if ids:
            write_record(self.folder / IDS_FILE, {"ids": ids})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = error is not None and not isinstance(error, Interrupted | KeyboardInterrupt)
        for name, logger in list(self._loggers.items()):
            self._guard(name, partial(_finalize, name, logger, failed=failed))
        self._loggers.clear()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of one step."""
        for name, logger in list(self._loggers.items()):
            self._guard(name, partial(logger.log_metrics, dict(values), step))

    def log_row(self, row: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Log the scores and diagnostics of a row, and write all rows to ``metrics.csv``.

        The file is rewritten as a whole, so that a resumed run has each row exactly once.
        """
        if not self.writes:
            return
        # Losses are logged every `log_every` steps already.
        values = {
            name: value
            for name, value in row.items()
            if name.startswith(("holdout/", "train/")) and not name.startswith("train/loss")
        }
        if values:
            self.log(values, row["step"])
        text = io.StringIO()
        columns = list(dict.fromkeys(name for entry in history for name in entry))
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        atomic_write(self.folder / "metrics.csv", text.getvalue())

    def _guard(self, name: str, call: Callable[[], Any]) -> Any:
        """Return the result of ``call``; on any error, warn and drop the logger."""
        try:
            return call()
        except Exception as error:  # of any kind: the run matters more than its curves
            self._loggers.pop(name, None)
            log.warning("the logger %s failed: %s; the run continues without it", name, first_line(error))
            return None


def _tensorboard(folder: Path, first_step: int, ids: dict[str, str]) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    logger = TensorBoardLogger(folder, "tensorboard", "", purge_step=first_step)
    _ = logger.experiment  # opens the file, so that entries after `first_step` are hidden even if none follow
    return logger


def _mlflow(folder: Path, first_step: int, ids: dict[str, str]) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    study, name = _run_name(folder)
    uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
    if not uri:
        local = folder.absolute() / "mlflow"
        local.mkdir(parents=True, exist_ok=True)
        uri, artifacts = f"sqlite:///{local}/mlflow.db", str(local)
    logger = MLFlowLogger(study, name, tracking_uri=uri, run_id=ids.get("mlflow"), artifact_location=artifacts)
    ids["mlflow"] = str(logger.run_id)  # connects to the server, so that a missing one is noticed here
    return logger


def _wandb(folder: Path, first_step: int, ids: dict[str, str]) -> Any:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    study, name = _run_name(folder)
    ids.setdefault("wandb", uuid.uuid4().hex[:8])
    settings = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
    logger = WandbLogger(name, folder, id=ids["wandb"], project=study, resume="allow", settings=settings)
    _ = logger.experiment  # connects to the server
    return logger


def _finalize(name: str, logger: Any, *, failed: bool) -> None:
    logger.finalize("failed" if failed else "success")
    if name == "wandb":
        logger.experiment.finish(exit_code=int(failed))


def _run_name(folder: Path) -> tuple[str, str]:
    study, *rest = folder.absolute().parts[-4:]
    return study, "/".join(rest)


_CREATE: Final[Mapping[str, Callable[[Path, int, dict[str, str]], Any]]] = {
    "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb,
}  # fmt: skip
