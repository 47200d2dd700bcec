"""``segmi list …``."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from segmi.cli.options import AsJson
from segmi.cli.output import calm_libraries, put_json, put_table

app = typer.Typer(no_args_is_help=True, help="List losses, models, datasets and shipped studies.")


@app.command()
def losses(as_json: AsJson = False) -> None:
    """List the losses with family, requirements, cost and options.

    Time (forward and backward) and memory (kept by autograd between the two) are multiples of cross-entropy's, as
    measured by benchmarks/catalog.py. Forward passes of teachers and second views are not included.

    Example: `segmi list losses --json`
    """
    calm_libraries()
    from segmi.losses import Loss, Objective, known_losses
    from segmi.losses.build import measured_costs
    from segmi.study.components import NOT_OF_LOSSES

    costs = measured_costs()
    rows = [
        {
            "name": name,
            "family": kind.family if issubclass(kind, Loss | Objective) else "other",
            "requires": (list(kind.requires) if issubclass(kind, Loss | Objective) else []) or None,
            **{column: costs.get(name, {}).get(column) for column in ("time", "memory")},
            # the function that a module wraps has the more specific docstring
            "about": _first_line(getattr(inspect.getmodule(kind), name, kind)),
            "options": _options(kind, NOT_OF_LOSSES),
        }
        for name, kind in known_losses().items()
    ]
    _show(rows, ["name", "family", "requires", "time", "memory", "about", "options"], as_json)


@app.command()
def models(
    encoders: Annotated[
        bool, typer.Option("--encoders", help="List the encoders of the smp_ architectures instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the architectures; names that begin with smp_ accept any encoder of `--encoders`.

    Example: `segmi list models`, `segmi list models --encoders`
    """
    calm_libraries()
    from segmi.models import list_encoders, list_models

    if encoders:
        _show([{"name": name} for name in list_encoders()], ["name"], as_json)
    else:
        _show(list_models(), ["name", "title", "library", "encoder", "weights"], as_json)


@app.command()
def datasets(as_json: AsJson = False) -> None:
    """List the datasets with their options.

    Example: `segmi list datasets`
    """
    calm_libraries()
    from segmi.datasets import known_datasets

    rows = [
        {"name": name, "options": _options(kind, ("self", "root")), "about": _first_line(kind)}
        for name, kind in known_datasets().items()
    ]
    _show(rows, ["name", "about", "options"], as_json)


@app.command()
def studies(as_json: AsJson = False) -> None:
    """List the shipped studies; `segmi study run NAME` runs one.

    Example: `segmi list studies`
    """
    from segmi.study.shipped import about_study, shipped_studies

    rows = [{"name": name, "file": str(file), **about_study(file)} for name, file in shipped_studies().items()]
    _show(rows, ["name", "about", "cost"], as_json)


def _show(rows: list[dict[str, Any]], columns: list[str], as_json: bool) -> None:
    if as_json:
        put_json(rows)
    else:
        put_table(rows, columns)


def _options(kind: type, leave_out: tuple[str, ...]) -> list[str]:
    """Return the options as ``name=default``."""
    return [
        name if parameter.default is parameter.empty else f"{name}={parameter.default}"
        for name, parameter in inspect.signature(kind).parameters.items()
        if name not in leave_out and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]


def _first_line(described: Any) -> str:
    return (inspect.getdoc(described) or "").partition("\n\n")[0].replace("\n", " ").replace("`", "")
