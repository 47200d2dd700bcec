"""Training of one network, written as a study with one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segmi.datasets.folders import is_folder, reader_of, study_name
from segmi.errors import UsageError
from segmi.records import RunFolder
from segmi.study.dataset_context import DataRoots
from segmi.study.run import run_study
from segmi.study.run_config import expand
from segmi.study.schema import Study
from segmi.study.strict_yaml import Document
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated


@dataclass(frozen=True)
class TrainedNetwork:
    """Result of `train`."""

    bundle: Path  # folder of the bundle, for `segmi.load` and `segmi.predict`
    run: Path  # folder of the run
    scores: dict[str, Any]  # scores on the evaluated split by name, ``IoU`` is a list over the classes


def train(
    data: str | Path = "folder",
    root: str | Path | None = None,
    *,
    model: str = "unet",
    losses: Sequence[str] = ("cross_entropy",),
    output: str | Path = "runs/train",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    settings: Sequence[str] = (),
    **training: Any,
) -> TrainedNetwork:
    """Train one network on a dataset and evaluate it, as ``segmi train`` does.

    Args:
        data: a folder prepared by ``segmi data init``, or the name of a dataset.
        root: folder of a named dataset. None: ``$SEGMI_DATA``.
        model: name of an architecture.
        losses: names of losses, which are added up.
        output: folder of the run.
        seed: seed of every random choice.
        resume: continue the unfinished run in ``output``.
        overwrite: remove the run in ``output`` and start again.
        settings: any other fields of a study, as ``path.to.field=value``.
        training: fields of the ``training`` section, such as ``steps=500``.

    Raises:
        SegmiError: if the settings are not valid, or the run failed.

    Example:
        ``segmi.train("my-data", losses=["rmi_loss"], steps=500).scores["mIoU"]``
    """
    datasets: dict[str, Any] = {str(data): {}}
    if is_folder(str(data)):
        if root is not None:
            raise UsageError(f"expected a folder or a root, got both {data} and {root}", "omit one of them")
        datasets, root = {study_name(Path(data)): {"type": reader_of(Path(data))}}, data
    roots = DataRoots(default=Path(root) if root is not None else None)
    document = one_run_document(
        datasets, {"architecture": model}, losses, training, name=Path(output).absolute().name, seed=seed
    )
    study = validated(apply_overrides(document, settings), roots=roots)
    runs = Path(output).absolute().parent
    result = train_study(study, runs, roots=roots, resume=resume, overwrite=overwrite)
    if result is None:
        raise UsageError("only the first of several processes has a result", "use `segmi train` with torchrun")
    return result


def one_run_document(
    dataset: Mapping[str, Mapping[str, Any]],
    network: Mapping[str, Any],
    losses: Sequence[str],
    training: Mapping[str, Any],
    *,
    name: str,
    seed: int,
) -> Document:
    """Return a study with one network on one dataset."""
    method = {"networks": {"network": dict(network)}, "loss": {loss: {} for loss in losses}}
    methods = {"-".join([str(network["architecture"]), *losses]): method}
    data = {"name": name, "datasets": dict(dataset), "seeds": [seed], "training": dict(training), "methods": methods}
    return Document(data, "segmi train")


def train_study(
    study: Study, runs: Path, *, resume: bool = False, overwrite: bool = False, **options: Any
) -> TrainedNetwork | None:
    """Do the one run of a study in the folder ``runs``; None in all but the first of several processes.

    An unfinished run is refused without ``resume`` or ``overwrite``. ``options``: see `run_study`.

    Raises:
        SegmiError: if the state of the folder does not fit ``resume`` and ``overwrite``, or the run failed.
    """
    (run,) = expand(study)
    folder = RunFolder(run.folder(runs))
    _check_state(folder, resume, overwrite)
    outcome = run_study(study, runs, overwrite=overwrite, **options)
    outcome.raise_if_incomplete()
    if not outcome.leads:
        return None
    result = folder.result() or {}
    network = result["reported_network"]
    scores = result["networks"][network]["scores"][result["protocol"]]
    return TrainedNetwork(folder.path / "bundles" / network, folder.path, scores)


def _check_state(folder: RunFolder, resume: bool, overwrite: bool) -> None:
    """Check that an unfinished run is only continued or removed on request."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "give one of them")
    begun = (folder.path / "config.yaml").exists()
    if resume and not begun:
        raise UsageError(f"there is nothing to resume in {folder.path}", "omit --resume to start the run")
    if begun and not folder.finished and not resume and not overwrite:
        remedy = "use --resume to continue it, --overwrite to start again, or --output for another folder"
        raise UsageError(f"{folder.path} contains an unfinished run", remedy)
