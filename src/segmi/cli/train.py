"""``segmi train``: one network on one dataset, written as a study with one run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmi.cli.options import AllowChanged, Cache, InitFrom
from segmi.cli.output import calm_libraries, put, put_json, put_table, say
from segmi.cli.progress_bars import StudyProgress
from segmi.cli.scales import scale_lines
from segmi.errors import SegmiError, UsageError

if TYPE_CHECKING:
    from segmi.study.single_run import TrainedNetwork


def _train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER] PATH.TO.FIELD=VALUE",
            help="A folder prepared by `segmi data init` (instead of --data and --root), and any field shown by "
            "--print-config, such as processing.flip=0.5 training.clip_norm=1.",
        ),
    ] = None,
    data: Annotated[str, typer.Option("--data", metavar="NAME", help="A dataset in `segmi list datasets`.")] = "folder",
    root: Annotated[
        list[str] | None, typer.Option("--root", metavar="DIR", help="Dataset root (default: $SEGMI_DATA).")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="An architecture in `segmi list models`.")] = None,
    width: Annotated[int | None, typer.Option("--width", help="Channels of the first block of unet.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="Encoder of an smp_ architecture.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option("--encoder-weights", "--pretrained", help="Pretrained weights, such as imagenet.")
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option("--loss", help="A loss in `segmi list losses`; repeat it to add up several losses."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Budget in minutes of training (default: 20).")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Budget in optimizer steps instead.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Budget in epochs instead.")] = None,
    patience: Annotated[
        int | None, typer.Option("--patience", help="Stop after this many validations without a better score.")
    ] = None,
    upright: Annotated[
        bool | None,
        typer.Option(
            "--upright/--not-upright",
            help="Whether images have a fixed up direction, so no vertical flips (default: detected).",
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Images per batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", help="Learning rate.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-j", help="Processes that load images.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random choice.")] = 0,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="N", help="Cross-validation by group: N runs, which form an ensemble."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.")] = Path(
        "runs/train"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the unfinished run in --output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run in --output and start again.")] = False,
    init_from: InitFrom = None,
    allow_changed: AllowChanged = None,
    cache: Cache = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration as a study file, and stop.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print a time profile, and write the run's profile.json.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Train one network on a dataset or on a folder of images and masks, and evaluate it.

    Settings that are not given are derived from the data and the machine, and printed with their reasons. The result is
    a bundle for `segmi predict` and `segmi.load`; its folder is printed.

    Example: `segmi data init photos`, then `segmi train photos --output runs/mine`
    """
    calm_libraries()
    # Imported here and not above, so that the help needs no heavy package.
    from segmi.datasets.cache import cache_folder
    from segmi.records import RunFolder
    from segmi.study import DataRoots, expand
    from segmi.study.single_run import single_run, train_study
    from segmi.study.strict_yaml import dump
    from segmi.study.validation import validated
    from segmi.training.launchers import is_first_process

    dataset, root, overrides = _data(data, root or [], overrides or [])
    if dataset == {"folder": {}} and not root and not os.environ.get("SEGMI_DATA") and not print_config:
        raise UsageError("expected a folder of images and masks, got none", "segmi train FOLDER, or --data and --root")
    network = _given(architecture=model, width=width, encoder=encoder, encoder_weights=encoder_weights)
    training = _given(
        minutes=minutes, steps=steps, epochs=epochs, patience=patience, batch_size=batch_size,
        learning_rate=learning_rate, precision=precision, device=device, workers=workers,
    )  # fmt: skip
    absolute = output.absolute()
    roots = DataRoots.parse(root)
    if upright is not None:
        overrides = [f"processing.vertical_flip={0.0 if upright else 0.5}", *overrides]
    single = single_run(
        dataset, network, loss or (), training, overrides, roots=roots, name=absolute.name, seed=seed, folds=folds
    )
    roots, first = single.roots, is_first_process()
    if print_config:
        if first:
            put(dump(validated(single.document).plain()).rstrip())
        return
    study = validated(single.document, roots=roots)
    for line in single.lines() if first else ():
        say(line)
    folders = [RunFolder(run.folder(absolute.parent)) for run in expand(study)]
    if all(folder.finished for folder in folders) and not overwrite:
        say(f"{folders[0].path if folds is None else absolute} is already finished; use --overwrite to start again")
    elif first and "size" not in single.decisions:  # otherwise it is printed with its reason
        say(next(scale_lines(study, roots)).partition(": ")[2])
    with StudyProgress() as progress:
        trained = train_study(
            study, absolute.parent, roots=roots, resume=resume, overwrite=overwrite, listener=progress,
            init_from=init_from, allow_changed=allow_changed or [], cache=cache_folder(cache), profile=profile,
        )  # fmt: skip
    if trained is not None:
        _print_result(trained, as_json, profile)
        if not as_json:
            folder = roots.of(data)
            source = ["--data", data, *(["--root", str(folder)] if folder else [])]
            _put_next_commands(trained, output, source if dataset == {data: {}} else ["--data", root[0]])


def _data(name: str, roots: list[str], words: list[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return the dataset with its options, its root, and the overrides; the first word may be a folder."""
    from segmi.datasets.folders import is_folder, reader_of, study_name

    if not words or "=" in words[0]:
        return {name: {}}, roots, words
    if not is_folder(words[0]):
        from segmi.datasets import dataset_names

        if words[0] in dataset_names():
            raise UsageError(
                f"expected a folder or path.to.field=value, got the dataset {words[0]}", f"use --data {words[0]}"
            )
        raise UsageError(
            f"there is no folder {words[0]}",
            "give a folder prepared by `segmi data init`, or a setting as path.to.field=value",
        )
    folder = Path(words[0])
    if roots or name != "folder":
        raise UsageError(f"{folder} is given together with --data or --root", "omit the options or the folder")
    return {study_name(folder): {"type": reader_of(folder)}}, [words[0]], words[1:]


def _given(**options: Any) -> dict[str, Any]:
    """Return the options that were given; the others have their defaults in the signatures that receive them."""
    return {name: value for name, value in options.items() if value is not None}


def _print_result(trained: TrainedNetwork, as_json: bool, profile: bool) -> None:
    from segmi.records import RunFolder

    if trained.folds:
        _print_folds(trained, as_json)
        return
    folder = RunFolder(trained.run)
    times = folder.profile() if profile else None
    if as_json:
        result = {"bundle": str(trained.bundle), "run": str(trained.run), "scores": trained.scores}
        put_json({**result, "profile": times} if times else result)
        return
    put_scores(trained.scores, (folder.result() or {})["dataset"]["classes"])
    if times:
        put(f"\n{times['steps']} steps in {times['seconds']:.1f} s, without the first step of this call")
        formats = {"seconds": ".2f", "share": ".1%", "ms_per_step": ".1f"}
        put_table([
            {"part": row["part"], **{key.replace("_", " "): format(row[key], form) for key, form in formats.items()}}
            for row in times["parts"]
        ])  # fmt: skip
    put(f"bundle: {trained.bundle}")


def _put_next_commands(trained: TrainedNetwork, output: Path, dataset: Sequence[str]) -> None:
    from segmi.deploy.bundle_paths import find_bundles

    try:
        bundles = find_bundles(output.absolute())
    except SegmiError:  # the folder contains other runs too
        bundles = []
    name = str(output if trained.folds or bundles == [trained.bundle] else trained.bundle)
    commands = [["predict", name, "IMAGES", "--output", "masks", "--overlay"], ["app", name]]
    if not trained.folds:  # every image of a cross-validation was used to train most networks of its ensemble
        commands.insert(1, ["evaluate", name, *dataset])
    for number, command in enumerate(commands):
        put(f"{'     ' if number else 'next:'} {shlex.join(['segmi', *command])}")


def _print_folds(trained: TrainedNetwork, as_json: bool) -> None:
    if as_json:
        bundles = [str(fold.bundle) for fold in trained.folds]
        put_json(
            {"ensemble": str(trained.bundle), "bundles": bundles, "table": trained.table, "scores": trained.scores}
        )
        return
    put_table(trained.table)
    put(f"ensemble: {trained.bundle}")


def put_scores(scores: dict[str, Any], classes: list[str]) -> None:
    """Print the scores of a network and the IoU of each class as tables."""
    put_table([{"score": name, "value": value} for name, value in scores.items() if name != "IoU"], ["score", "value"])
    put("")
    rows = zip(classes, scores["IoU"], strict=True)
    put_table([{"class": name, "IoU": value} for name, value in rows])
