"""Where the curves of a run go beside ``metrics.csv``: TensorBoard, MLflow, Weights & Biases, by Lightning's loggers.

What a tracker cannot do never stops a run: it is told once, and the run goes on without it.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from segmi.errors import EnvironmentProblem
from segmi.records.serialization import read_record, write_record

Tracker: TypeAlias = Literal["tensorboard", "csv", "mlflow", "wandb"]

TRACKERS_NAME: Final = "trackers.json"
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {"mlflow": ("mlflow", "sqlalchemy"), "wandb": ("wandb",)}
"""The packages of the extras."""

log = logging.getLogger(__name__)


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose packages are not installed.

    Raises:
        EnvironmentProblem: naming the extra to install.
    """
    for name in names:
        missing = [package for package in NEEDED.get(name, ()) if find_spec(package) is None]
        if missing:
            raise EnvironmentProblem(
                f"the logger {name} needs {' and '.join(missing)}, which is not installed",
                f"pip install 'segmi[{name}]', or leave {name} out of training.logger",
            )


class Trackers:
    """The trackers of one run; a run that continues goes on in the same places.

    Args:
        names: of them; ``csv`` is ``metrics.csv``, which is always written.
        folder: the run folder. Its last four parts are study, dataset, method and seed, by which it is named.
        first_step: the step from which the run continues.
    """

    def __init__(self, names: Sequence[str], folder: Path, first_step: int = 0) -> None:
        self._open: dict[str, Any] = {}
        self._ids = dict((read_record(folder / TRACKERS_NAME) or {}).get("ids") or {})
        for name in dict.fromkeys(names):
            make = _MAKERS.get(name)
            if make is not None:
                self._guarded(name, partial(make, folder, first_step, self._ids), opens=True)
        if self._ids:
            write_record(folder / TRACKERS_NAME, {"ids": self._ids})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Values of one step."""
        for name, logger in list(self._open.items()):
            self._guarded(name, partial(logger.log_metrics, dict(values), step))

    def close(self, *, failed: bool = False) -> None:
        """Nothing more comes in this session."""
        for name, logger in list(self._open.items()):
            self._guarded(name, partial(_finalize, name, logger, failed=failed))
        self._open.clear()

    def _guarded(self, name: str, call: Callable[[], Any], *, opens: bool = False) -> None:
        try:
            found = call()
        except Exception as error:  # whatever a tracker raises, the run is worth more than its curves
            self._open.pop(name, None)
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            log.warning("the logger %s does not work: %s; the run goes on without it", name, first)
            return
        if opens:
            self._open[name] = found


def _tensorboard(folder: Path, first_step: int, ids: dict[str, str]) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    logger = TensorBoardLogger(folder, "tensorboard", "", purge_step=first_step)
    _ = logger.experiment  # opened now, so that entries after `first_step` are hidden even if none follows
    return logger


def _mlflow(folder: Path, first_step: int, ids: dict[str, str]) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    study, name = _names(folder)
    uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
    if not uri:
        local = folder.absolute() / "mlflow"
        local.mkdir(parents=True, exist_ok=True)
        uri, artifacts = f"sqlite:///{local}/mlflow.db", str(local)
    logger = MLFlowLogger(study, name, tracking_uri=uri, run_id=ids.get("mlflow"), artifact_location=artifacts)
    ids["mlflow"] = str(logger.run_id)  # asks the server, so that one that is not there is found out now
    return logger


def _wandb(folder: Path, first_step: int, ids: dict[str, str]) -> Any:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    study, name = _names(folder)
    ids.setdefault("wandb", uuid.uuid4().hex[:8])
    settings = wandb.Settings(silent=True, console="off", save_code=False, disable_git=True)
    logger = WandbLogger(name, folder, id=ids["wandb"], project=study, resume="allow", settings=settings)
    _ = logger.experiment
    return logger


def _finalize(name: str, logger: Any, *, failed: bool) -> None:
    logger.finalize("failed" if failed else "success")
    if name == "wandb":
        logger.experiment.finish(exit_code=int(failed))


def _names(folder: Path) -> tuple[str, str]:
    study, *rest = folder.absolute().parts[-4:]
    return study, "/".join(rest)


_MAKERS: Final[Mapping[str, Callable[[Path, int, dict[str, str]], Any]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
