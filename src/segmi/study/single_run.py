"""Training of one network, written as a study with one run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from segmi.datasets.folders import is_folder, reader_of, study_name
from segmi.datasets.transforms import transform_specs
from segmi.errors import SegmiError, UsageError
from segmi.records import RunFolder
from segmi.study.components import open_data
from segmi.study.cross_validation import describe_folds, fold_datasets, select_without_fold, write_folds
from segmi.study.dataset_context import DataRoots
from segmi.study.events import FREQUENT, StudyEvent
from segmi.study.recipe import NETWORK, Decision, decide, measure
from segmi.study.run import run_study
from segmi.study.run_config import expand
from segmi.study.schema import Study, check_folder_name
from segmi.study.strict_yaml import Document, parse_value
from segmi.study.study_file import apply_overrides
from segmi.study.validation import validated
from segmi.training import Callback


@dataclass(frozen=True)
class TrainedNetwork:
    """Result of `train`."""

    bundle: Path  # folder of the bundle, or of the ensemble of the folds, for `segmi.load` and `segmi.predict`
    run: Path  # folder of the run, or of the runs of the folds
    # scores on the evaluated split by name, or pooled over all folds; ``IoU`` is a list over the classes
    scores: dict[str, Any]
    folds: tuple[TrainedNetwork, ...] = ()  # one network per fold
    table: tuple[dict[str, Any], ...] = ()  # scores of each fold, their mean and standard deviation, and pooled scores


# kinds of events in the words of the command line
_WORDS: Final = {
    "note": "", "compile": "", "started": "starts", "prepare": "decoding", "train": "training",
    "validate": "validating", "evaluate": "evaluating", "store": "writing results",
}  # fmt: skip


class _Lines:
    """Listener of `train`: a line on stderr at most every ten seconds per kind of progress."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}  # times of the latest lines in seconds, by kind

    def __call__(self, event: StudyEvent) -> None:
        now = time.monotonic()
        if event.kind in FREQUENT and now - self._times.get(event.kind, -10.0) < 10:
            return
        self._times[event.kind] = now
        words = [_WORDS.get(event.kind, event.kind), f"{event.done}/{event.of}" if event.of else "", event.text]
        loss = f", loss {event.loss:.4f}" if event.loss is not None else ""
        print(f"{event.run.key}: {' '.join(filter(None, words))}{loss}", file=sys.stderr)


class SingleRun(NamedTuple):
    """A study with one run, or one per fold, and the decisions of the recipe in it."""

    document: Document
    decisions: dict[str, Decision]
    roots: DataRoots  # folders of the datasets in the document

    def lines(self) -> list[str]:
        """Return the decisions and their reasons, one per line."""
        return [f"{name}: {one.text} ({one.reason})" for name, one in self.decisions.items()]


def train(
    data: str | Path = "folder",
    root: str | Path | None = None,
    *,
    model: str | None = None,
    losses: Sequence[str] | None = None,
    output: str | Path = "runs/train",
    seed: int = 0,
    folds: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    transforms: Sequence[Any] = (),
    callbacks: Sequence[Callback] = (),
    settings: Sequence[str] = (),
    **training: Any,
) -> TrainedNetwork:
    """Train one network on a dataset and evaluate it, as ``segmi train`` does.

    Everything that is not given is derived from the data and the machine, see `segmi.study.recipe`, and printed.

    Args:
        data: a folder prepared by ``segmi data init``, or the name of a dataset.
        root: folder of a named dataset. None: ``$SEGMI_DATA``.
        model: name of an architecture.
        losses: names of losses, which are added up.
        output: folder of the run.
        seed: seed of every random choice.
        folds: number of folds of a cross-validation by group. None: one run.
        resume: continue the unfinished run in ``output``.
        overwrite: remove the run in ``output`` and start again.
        transforms: further augmentation: transforms of torchvision's v2 or albumentations, or plain data.
        callbacks: called while the network trains, see `segmi.training.Callback`.
        settings: any other fields of a study, as ``path.to.field=value``.
        training: fields of the ``training`` section, such as ``minutes=5``.

    Raises:
        SegmiError: if the settings are not valid, or the run failed.

    Example:
        ``segmi.train("my-data", minutes=5).scores["mIoU"]``
    """
    datasets: dict[str, Any] = {str(data): {}}
    if is_folder(str(data)):
        if root is not None:
            raise UsageError(f"expected a folder or a root, got both {data} and {root}", "omit one of them")
        datasets, root = {study_name(Path(data)): {"type": reader_of(Path(data))}}, data
    roots = DataRoots(default=Path(root) if root is not None else None)
    network = {"architecture": model} if model else {}
    if transforms:
        settings = [f"processing.transforms={json.dumps(transform_specs(transforms))}", *settings]
    name = Path(output).absolute().name
    single = single_run(
        datasets, network, losses or (), training, settings, roots=roots, name=name, seed=seed, folds=folds
    )
    study = validated(single.document, roots=single.roots)
    print("\n".join(single.lines()), file=sys.stderr)
    runs = Path(output).absolute().parent
    result = train_study(
        study, runs, roots=single.roots, resume=resume, overwrite=overwrite, callbacks=callbacks, listener=_Lines()
    )
    if result is None:
        raise UsageError("only the first of several processes has a result", "use `segmi train` with torchrun")
    return result


def single_run(
    dataset: Mapping[str, Mapping[str, Any]],
    network: Mapping[str, Any],
    losses: Sequence[str],
    training: Mapping[str, Any],
    settings: Sequence[str] = (),
    *,
    roots: DataRoots,
    name: str,
    seed: int,
    folds: int | None = None,
) -> SingleRun:
    """Return a study with one network on one dataset; the recipe decides everything that is not given.

    With ``folds``, the study has one run per fold of the dataset.

    Args:
        dataset: a dataset with its options, by name.
        network: options of `segmi.models.build_network`.
        losses: names of losses, which are added up.
        training: fields of the ``training`` section.
        settings: other fields, as ``path.to.field=value``.
        roots: folders of the datasets.
        name: name of the study, and of the folder of its runs.
        seed: seed of every random choice.
        folds: number of folds. None: one run.

    Raises:
        UsageError: an invalid name or setting.
    """
    try:
        check_folder_name(name)
    except ValueError as error:
        remedy = f"use another name, such as {study_name(Path(name))}"
        raise UsageError(f"output folder: {str(error).partition('. Fix')[0]}", remedy) from error
    given = {f"{NETWORK}{key}": value for key, value in network.items()} | ({"loss": losses} if losses else {})
    given |= {f"training.{key}": value for key, value in training.items()}
    for path, _, text in (one.partition("=") for one in settings):
        with suppress(UsageError):  # reported when the settings are applied
            given[path.strip()] = parse_value(text)
    selection: dict[str, Any] = {}
    if folds is not None:
        dataset, roots, first = fold_datasets(dataset, folds, roots)
        selection = select_without_fold(given)
        given |= selection
    decisions = {}
    with suppress(SegmiError):  # a dataset that cannot be opened is reported by the validation, with all other problems
        kind, options = next(iter(dataset.items()))
        decisions = decide(measure(open_data(kind, options, roots), str(given.get("training.device", "auto"))), given)
    fields = {field: value for decision in decisions.values() for field, value in decision.fields.items()} | selection
    if folds is not None:
        decisions["folds"] = describe_folds(first, fields | given)
    spec = {key.removeprefix(NETWORK): value for key, value in fields.items() if key.startswith(NETWORK)}
    spec = {"architecture": "unet", **spec, **network}
    names = losses or fields.get("loss", ("cross_entropy",))
    method = {"networks": {"network": spec}, "loss": {loss: {} for loss in names}}
    data: dict[str, Any] = {"name": name, "datasets": dict(dataset), "seeds": [seed]}
    for path, value in fields.items():
        section, _, key = path.partition(".")
        if key and section != NETWORK.strip("."):
            data.setdefault(section, {})[key] = value
    data["training"] = data.get("training", {}) | dict(training)
    data["methods"] = {"-".join([str(spec["architecture"]), *names]): method}
    single = SingleRun(apply_overrides(Document(data, "segmi train"), settings), decisions, roots)
    if decisions:
        single.document.data["reasons"] = single.lines()
    return single


def train_study(
    study: Study, runs: Path, *, resume: bool = False, overwrite: bool = False, **options: Any
) -> TrainedNetwork | None:
    """Execute the runs of `single_run` in the folder ``runs``; None in all but the first of several processes.

    Unfinished runs are refused without ``resume`` or ``overwrite``. ``options``: see `run_study`.

    Raises:
        SegmiError: if the state of the folder does not fit ``resume`` and ``overwrite``, or a run failed.
    """
    folders = [RunFolder(run.folder(runs)) for run in expand(study)]
    _check_state(folders, resume, overwrite)
    outcome = run_study(study, runs, overwrite=overwrite, **options)
    outcome.raise_if_incomplete()
    if not outcome.leads:
        return None
    trained = [_trained(folder) for folder in folders]
    if len(trained) == 1:
        return trained[0]
    folder = runs / study.name
    table, pooled = write_folds(folder, folders)
    return TrainedNetwork(folder, folder, pooled, tuple(trained), tuple(table))


def _trained(folder: RunFolder) -> TrainedNetwork:
    result = folder.result() or {}
    network = result["reported_network"]
    entry = result["networks"][network]
    # The bundles of an ensemble are listed in the folder of the run.
    bundle = folder.path if "members" in entry else folder.path / "bundles" / network
    return TrainedNetwork(bundle, folder.path, entry["scores"][result["protocol"]])


def _check_state(folders: Sequence[RunFolder], resume: bool, overwrite: bool) -> None:
    """Check that unfinished runs are only continued or removed on request."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "give one of them")
    begun = [folder for folder in folders if (folder.path / "config.yaml").exists()]
    if resume and not begun:
        raise UsageError(f"there is nothing to resume in {folders[0].path}", "omit --resume to start the run")
    unfinished = [folder for folder in folders if not folder.finished]
    if begun and unfinished and not resume and not overwrite:
        remedy = "use --resume to continue it, --overwrite to start again, or --output for another folder"
        raise UsageError(f"{unfinished[0].path} contains an unfinished run", remedy)
