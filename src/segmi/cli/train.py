"""``segmi train``: one network on one dataset, written as a study of one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmi.cli.options import Cache
from segmi.cli.output import calm_libraries, put, put_json, put_table, say
from segmi.cli.own_data import is_folder, reader_of, study_name
from segmi.cli.progress import StudyProgress
from segmi.errors import UsageError

if TYPE_CHECKING:
    from segmi.study import Run
    from segmi.study.strict_yaml import Document


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER] PATH.TO.FIELD=VALUE",
            help="A folder that `segmi data init` has looked at, in the place of --data and --root; and any other "
            "field, as --print-config shows them: processing.flip=0.5 training.clip_norm=1.",
        ),
    ] = None,
    data: Annotated[str, typer.Option("--data", metavar="NAME", help="A dataset of `segmi list datasets`.")] = "folder",
    root: Annotated[
        list[str] | None, typer.Option("--root", metavar="DIR", help="Where it lies; SEGMI_DATA is taken otherwise.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="An architecture of `segmi list models`.")] = "unet",
    width: Annotated[int | None, typer.Option("--width", help="Features of the first block of unet.")] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="The encoder of an smp_ architecture.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option("--encoder-weights", "--pretrained", help="Pretrained weights, off unless asked.")
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option("--loss", help="A loss of `segmi list losses`; repeated, they are added up."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="The budget in optimizer steps.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="The budget in passes over train instead.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Images per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr", help="Learning rate.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", "-j", help="Processes that read images.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Keys every random choice.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where everything goes.")] = Path(
        "runs/train"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the unfinished run in --output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew; the run in --output is removed.")] = False,
    init_from: Annotated[
        Path | None, typer.Option("--init-from", metavar="BUNDLE", help="Fine-tune: start from a bundle's weights.")
    ] = None,
    allow_changed: Annotated[
        list[str] | None,
        typer.Option("--allow-changed", metavar="KEY", help="Go on although this has changed: a key, data, segmi."),
    ] = None,
    cache: Cache = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the whole configuration as a study file, and stop.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Tell what took how long, and keep it in the run's profile.json.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Train one network on a dataset or on a folder of your own images, and score it on val.

    The finished network is a bundle, the folder that is printed: `segmi predict` and `segmi.load` take it.

    Example: `segmi data init photos`, then `segmi train photos --loss rmi_loss --steps 500 --output runs/mine`
    """
    from segmi.study.strict_yaml import Document, dump

    calm_libraries()
    dataset, root, overrides = _data(data, root or [], overrides or [])
    network = _given(architecture=model, width=width, encoder=encoder, encoder_weights=encoder_weights)
    training = _given(
        steps=steps, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, precision=precision,
        device=device, workers=workers,
    )  # fmt: skip
    losses = loss or ["cross_entropy"]
    absolute = output.absolute()
    document = Document(
        {
            "name": absolute.name,
            "datasets": dataset,
            "seeds": [seed],
            "training": training,
            "methods": {
                "-".join([model, *losses]): {
                    "networks": {"network": network},
                    "loss": {name: {} for name in losses},
                }
            },
        },
        "segmi train",
    )
    if print_config:
        put(dump(_resolved(document, overrides, None).plain()).rstrip())
        return
    _run(
        document, overrides, root, absolute.parent, resume, as_json, overwrite=overwrite,
        init_from=init_from, allow_changed=allow_changed or [], cache=cache, profile=profile,
    )  # fmt: skip


def _data(name: str, roots: list[str], words: list[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """The dataset with its options, its root, and the words that are overrides; the first word may be a folder."""
    if not words or "=" in words[0]:
        return {name: {}}, roots, words
    if not is_folder(words[0]):
        raise _no_folder(words[0])
    folder = Path(words[0])
    if roots or name != "folder":
        raise UsageError(
            f"{folder} says which data are meant, and so do --data and --root", "leave the options or the folder out"
        )
    return {study_name(folder): {"type": reader_of(folder)}}, [words[0]], words[1:]


def _no_folder(word: str) -> UsageError:
    from segmi.datasets import dataset_names

    if word in dataset_names():
        return UsageError(f"expected a folder or path.to.field=value, got the dataset {word}", f"use --data {word}")
    return UsageError(
        f"there is no folder {word}",
        "give one that `segmi data init` has looked at; settings are written path.to.field=value",
    )


def _given(**options: Any) -> dict[str, Any]:
    """The options that were given: the defaults of the others live in the signatures they are bound to."""
    return {name: value for name, value in options.items() if value is not None}


def _resolved(document: Document, overrides: list[str], roots: Any) -> Any:
    from segmi.study.overrides import apply_overrides
    from segmi.study.validation import validated

    return validated(apply_overrides(document, overrides), roots=roots)


def _run(
    document: Document,
    overrides: list[str],
    root: list[str],
    runs: Path,
    resume: bool,
    as_json: bool,
    *,
    overwrite: bool,
    cache: str | None,
    profile: bool,
    **options: Any,
) -> None:
    from segmi.datasets.cache import cache_folder
    from segmi.study import Roots, expand
    from segmi.study.run import run_study

    roots = Roots.parse(root)
    study = _resolved(document, overrides, roots)
    (run,) = expand(study)
    _check_state(run, runs, resume, overwrite)
    with StudyProgress() as progress:
        outcome = run_study(
            study,
            runs,
            roots=roots,
            overwrite=overwrite,
            cache=cache_folder(cache),
            profile=profile,
            listener=progress,
            **options,
        )
    outcome.raise_if_incomplete()
    if outcome.leads:
        _print_result(run, runs, as_json, profile)


def _check_state(run: Run, runs: Path, resume: bool, overwrite: bool) -> None:
    """``--resume`` and ``--overwrite`` are said, not guessed: a run that was begun is not continued by accident."""
    from segmi.records import RunFolder

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other", "give one of them")
    folder = RunFolder(run.folder(runs))
    begun = (folder.path / "config.yaml").exists()
    if resume and not begun:
        raise UsageError(f"there is nothing to resume in {folder.path}", "leave --resume out to start the run")
    if begun and folder.finished and not overwrite:
        say(f"{folder.path} is finished already; --overwrite starts it anew")
    elif begun and not resume and not overwrite:
        raise UsageError(
            f"{folder.path} holds a run that is not finished",
            "--resume continues it, --overwrite starts it anew, --output names another folder",
        )


def _print_result(run: Run, runs: Path, as_json: bool, profile: bool) -> None:
    from segmi.records import RunFolder

    folder = RunFolder(run.folder(runs))
    result = folder.result() or {}
    network = result["networks"][result["reported_network"]]
    scores = network["scores"][result["protocol"]]
    bundle = folder.path / "bundles" / result["reported_network"]
    times = folder.profile() if profile else None
    if as_json:
        found = {"bundle": str(bundle), "run": str(folder.path), "scores": scores}
        put_json({**found, "profile": times} if times else found)
        return
    put_scores(scores, result["dataset"]["classes"])
    if times:
        put("")
        put_profile(times)
    put(f"bundle: {bundle}")


def put_scores(scores: dict[str, Any], classes: list[str]) -> None:
    """The scores of a network as two small tables."""
    put_table([{"score": name, "value": value} for name, value in scores.items() if name != "IoU"], ["score", "value"])
    put("")
    put_table(
        [{"class": name, "IoU": value} for name, value in zip(classes, scores["IoU"], strict=True)], ["class", "IoU"]
    )


def put_profile(times: dict[str, Any]) -> None:
    """Where the time of a run went, as a table under its sum."""
    put(f"{times['steps']} steps in {times['seconds']:.1f} s; the first of this call is not counted")
    rows = [
        {
            "part": row["part"],
            "seconds": f"{row['seconds']:.2f}",
            "share": f"{row['share']:.1%}",
            "ms per step": f"{row['ms_per_step']:.1f}",
        }
        for row in times["parts"]
    ]
    put_table(rows, ["part", "seconds", "share", "ms per step"])
