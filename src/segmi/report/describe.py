"""Description of methods in words, from the configuration and the results of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from segmi.errors import DataError
from segmi.records import RunFolder
from segmi.statistics import StudyRuns

_NETWORK_OPTIONS: Final = ("width", "encoder", "encoder_weights", "weights")


def describe_method(study: StudyRuns, method: str) -> str:
    """Describe a method: its networks with their parameters, its loss, steps, batch size and learning rate.

    Options of a loss are listed only if they differ from their defaults.
    """
    keys = [key for key in study.runs if key.method == method]
    configs = [config for key in keys if (config := read_config(study.runs[key]))]
    results = [study.results[key] for key in keys if key in study.results]
    config = configs[0] if configs else {}
    loss = _loss(config.get("loss") or {}, study.plan.loss_defaults)
    text = "; ".join(part for part in (_networks(config, results), loss, _budget(configs, results)) if part)
    label = study.plan.methods.get(method, method)
    return f"{label}: {text}." if text else f"{label}: no run has started."


def read_config(run: RunFolder) -> dict[str, Any]:
    """Return the configuration of a run; empty if it is missing or damaged, because a report works without it."""
    try:
        return run.config()
    except DataError:
        return {}


def number_range(values: Iterable[Any], *, scale: str = "") -> str:
    """Format numbers as one text, as a range if they differ.

    >>> number_range([2000, 2000]), number_range([7_759_521, 7_762_465], scale="M"), number_range([0.001, 0.0001])
    ('2,000', '7.76 M', '0.0001–0.001')
    """
    numbers = sorted({value for value in values if isinstance(value, int | float)})
    texts = list(dict.fromkeys(_number(number, scale) for number in numbers))
    return texts[0] if len(texts) == 1 else f"{texts[0]}–{texts[-1]}" if texts else ""


def duration(seconds: float) -> str:
    """Format a duration.

    >>> duration(42.4), duration(3725), duration(200_000)
    ('42 s', '1 h 02 min', '2 d 7 h')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def _number(number: float, scale: str) -> str:
    if scale == "M":
        return f"{number / 1e6:.2f} M" if number >= 1e5 else f"{number:,.0f}"
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def _networks(config: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    networks = config.get("networks") or {}
    names = list(dict.fromkeys([*networks, *(name for result in results for name in result["networks"])]))
    reported = config.get("reported") or next((r.get("reported_network") for r in results), None)
    texts = []
    for name in names:
        options = networks.get(name) or {}
        entries = [result["networks"][name] for result in results if name in result["networks"]]
        architecture = options.get("architecture") or next((e.get("architecture") for e in entries), None) or name
        extras = [f"{key} {options[key]}" for key in _NETWORK_OPTIONS if options.get(key)]
        parameters = number_range((e.get("parameters") for e in entries), scale="M")
        extras += [f"{parameters} parameters"] if parameters else []
        extras += ["frozen"] if name in (config.get("frozen") or ()) else []
        extras += ["reported"] if len(names) > 1 and name == reported else []
        texts.append(f"{architecture} ({', '.join(extras)})" if extras else str(architecture))
    return " and ".join(texts)


def _loss(losses: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> str:
    terms = []
    for name, options in losses.items():
        weight = (options or {}).get("weight", 1)
        default = {"weight": weight, **defaults.get(name, {})}
        changed = {k: v for k, v in (options or {}).items() if k not in default or default[k] != v}
        shown = ", ".join(f"{key} {value}" for key, value in changed.items())
        factor = "" if weight == 1 else f"{weight:g} × " if isinstance(weight, int | float) else f"{weight} × "
        terms.append(factor + name + (f" ({shown})" if shown else ""))
    return " + ".join(terms)


def _budget(configs: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> str:
    configured = [config.get("training") or {} for config in configs]
    recorded = [result.get("training") or {} for result in results]

    def known(key: str) -> str:
        return number_range(entry.get(key) for entry in [*configured, *recorded])

    steps = number_range(entry.get("steps") for entry in recorded) or known("steps")
    batch, rate = known("batch_size"), known("learning_rate")
    optimizer = next((str(entry["optimizer"]) for entry in [*configured, *recorded] if entry.get("optimizer")), "")
    budget = f"{steps} steps" + (f" of {batch} image{'' if batch == '1' else 's'}" if batch else "") if steps else ""
    optimization = f"{optimizer} at learning rate {rate}".strip() if rate else optimizer
    precision = next((entry["precision"]["dtype"] for entry in recorded if entry.get("precision")), "")
    return ", ".join(filter(None, (budget, optimization, precision)))
