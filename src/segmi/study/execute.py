"""One run, from its configuration to its ``result.json``: build, train, evaluate, store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from segmi.datasets.segmentation_dataset import SegmentationDataset
from segmi.losses.base import Objective
from segmi.models.inference import InferenceConfig
from segmi.models.network import resolve_device
from segmi.records import RunFolder, atomic_write
from segmi.records.serialization import write_record
from segmi.records.usage import Usage
from segmi.study.components import build_components
from segmi.study.dataset_context import DatasetContext, split_train
from segmi.study.environment import environment
from segmi.study.events import Emit, Event
from segmi.study.executor import Job
from segmi.study.initial_weights import load_initial_weights
from segmi.study.origin import ORIGIN_NAME, origin
from segmi.study.run_config import HELD_OUT, Run, RunConfig
from segmi.study.run_outputs import Evaluation, result_record, write_bundles, write_evaluation, write_samples
from segmi.study.strict_yaml import dump
from segmi.training import Callback, Cohort, FitOutcome, FitProgress, evaluate, fit
from segmi.training.distributed import ProcessGroup
from segmi.training.precision import preserve_threads
from segmi.training.region_diagnostics import diagnostics_of


def execute(
    run: Run, folder: RunFolder, context: DatasetContext, *, job: Job, processes: ProcessGroup, emit: Emit,
    callbacks: Sequence[Callback] = (),
) -> None:  # fmt: skip
    """Do a run in its locked folder, from its last checkpoint if there is one, until its ``result.json`` is written.

    All but the first of several ``processes`` write nothing and return after the evaluation.
    """
    config = run.config
    machine = environment()
    if processes.is_main:
        if not (folder.path / "config.yaml").exists():  # the configuration of the first session is kept
            atomic_write(folder.path / "config.yaml", dump(config.plain()))
        folder.write_environment(machine)
        write_record(folder.path / ORIGIN_NAME, origin(run, context))
    with _measured(folder, config, processes) as usage:
        dataset = context.dataset
        cohort, objective = build_components(config, len(dataset.info.classes), dataset.image_format.channels)
        load_initial_weights(cohort, run, folder, job.init_from)
        outcome = _train(run, folder, context, cohort, objective, job, emit, callbacks)
        with preserve_threads(outcome.precision.threads):
            evaluation = _evaluate(run, context, cohort, processes, emit)
            if not processes.is_main:
                return
            emit(Event("store"))
            write_evaluation(folder, evaluation)
            images = _evaluated_images(run, context, config.evaluation.protocol, emit)
            write_samples(cohort, images, config, folder)
        result = result_record(run, context, cohort, outcome, evaluation, machine, usage.summary())
        write_bundles(cohort, config, context.dataset, folder, result)
        folder.write_result(result)


@contextmanager
def _measured(folder: RunFolder, config: RunConfig, processes: ProcessGroup) -> Iterator[Usage]:
    """Measure time, memory and energy of this session, in the process that writes."""
    device = processes.device or resolve_device(config.training.device)
    counters: dict[str, Any] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
        counters["gpu"] = f"GPU-{uuid}" if uuid else None
        counters["device_memory"] = lambda: torch.cuda.max_memory_allocated(device)  # bytes
    usage = Usage(folder.path, **counters)
    with usage if processes.is_main else nullcontext():
        yield usage


def _train(
    run: Run, folder: RunFolder, context: DatasetContext, cohort: Cohort, objective: Objective, job: Job, emit: Emit,
    callbacks: Sequence[Callback],
) -> FitOutcome:  # fmt: skip
    config = run.config
    samples = split_train(context.dataset.split("train"), config.training, run.seed)

    def images(part: list[Any], *, labels: bool = False) -> SegmentationDataset:
        return context.images("train", part, config.processing, run.seed, labels=labels, progress=_counter(emit))

    def progress(news: FitProgress) -> None:
        if news.text:
            emit(Event("compile" if news.phase == "compile" else "note", text=news.text))
        if news.phase == "validate":
            emit(Event("validate"))
        elif news.phase != "compile":
            loss = None if news.phase == "begin" else news.loss
            emit(Event("train", news.step, news.steps, loss=loss, rate=news.images_per_second))

    holdout = images(samples.held_out, labels=True) if samples.held_out else None
    inference = InferenceConfig(batch_size=8)
    if split := config.training.selection_split:
        whole, counter = list(context.dataset.split(split)), _counter(emit)
        holdout = context.images(split, whole, config.processing, run.seed, labels=True, progress=counter)
        evaluation = config.evaluation
        inference = InferenceConfig(evaluation.window, evaluation.overlap, evaluation.batch_size, evaluation.threshold)
    return fit(
        cohort,
        objective,
        images(samples.labeled).with_label_noise(config.training.label_noise),
        unlabeled=images(samples.unlabeled) if samples.unlabeled else None,
        holdout=holdout,
        inference=inference,
        folder=folder.path,
        seed=run.seed,
        progress=progress,
        callbacks=callbacks,
        **config.training.fit_configs(profile=job.profile),
    )


def _evaluate(run: Run, context: DatasetContext, cohort: Cohort, processes: ProcessGroup, emit: Emit) -> Evaluation:
    """Evaluate all networks by every protocol of the study."""
    settings = run.config.evaluation
    evaluation = Evaluation()
    for protocol in settings.protocols():
        diagnostics = diagnostics_of(context.dataset.info.classes)
        evaluation.matrices[protocol] = evaluate(
            cohort,
            _evaluated_images(run, context, protocol, emit),
            **settings.arguments(protocol),
            device=run.config.training.device,
            processes=processes,
            progress=_counter(emit, "evaluate"),
            diagnostics=diagnostics,
            details=evaluation.details if protocol == "full" and settings.details else None,
        )
        evaluation.diagnostics[protocol] = diagnostics.values()
    return evaluation


def _evaluated_images(run: Run, context: DatasetContext, protocol: str, emit: Emit) -> SegmentationDataset:
    config, split = run.config, run.config.evaluation.split
    samples = list(context.dataset.split("train" if split == HELD_OUT else split))
    if split == HELD_OUT:
        split, samples = "train", split_train(samples, config.training, run.seed).held_out
    whole = protocol == "full"
    return context.images(split, samples, config.processing, run.seed, labels=whole, progress=_counter(emit))


def _counter(emit: Emit, kind: Any = "prepare") -> Any:
    return lambda done, total: emit(Event(kind, done, total))
