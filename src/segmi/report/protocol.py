"""Protocol of a study in words (image processing, training, evaluation), and the table of all settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from segmi.report.describe import number_range, read_config
from segmi.statistics import StudyRuns

_EVALUATIONS: Final = {
    "full": "Every image of the split is scored once, whole: padded to the size that the network needs, its logits "
    "resized to the original size of the labels. The evaluation is deterministic.",
    "paper": "Five passes of seeded random crops over the split, at the resized scale, as in the paper.",
}

_SELECTIONS: Final = {
    "holdout_mIoU": "The checkpoint with the highest held-out mIoU is scored.",
    "train_loss": "The checkpoint with the lowest training loss is scored.",
    "last": "The last weights are scored.",
}

_BUDGETS: Final = {"steps": "steps", "epochs": "epochs", "images": "images seen", "minutes": "minutes"}
_KEY_FIELDS: Final = ("schema_version", "study", "dataset", "method", "seed", "label")

_METHOD_SETTINGS: Final = (
    "networks", "loss", "reported", "frozen", "averages", "ensembles", "weights_from", "treatment", "baseline",
)  # fmt: skip
"""Settings that define a method; all others belong to the study, but methods may override them."""

Sections = Sequence[Mapping[str, Any]]  # the same section of the configurations of several runs


def describe_protocol(study: StudyRuns) -> list[tuple[str, str]]:
    """Return entries of (name, sentences); values that differ between methods are given as ranges."""
    configs = [config for config in map(read_config, study.runs.values()) if config]
    protocols = [study.plan.protocol, *(config.get("protocol") for config in configs)]
    entries = [
        ("Study protocol", str(next(filter(None, protocols), ""))),
        ("Images", describe_processing([_section(config, "processing") for config in configs])),
        ("Training", describe_training([_section(config, "training") for config in configs])),
    ]
    splits = _texts(_section(config, "evaluation").get("split") for config in configs)
    split = f" The split is {splits}." if splits else ""
    for name in sorted({str(result.get("protocol")) for result in study.results.values()}):
        entries.append((f"Evaluation, {name}", _EVALUATIONS.get(name, name) + split))
    entries += [("Seeds", ", ".join(map(str, study.plan.seeds))), ("Equal for all methods", describe_equality(study))]
    entries.append(("Command", study.plan.command or ""))
    return [(name, text) for name, text in entries if text]


def describe_processing(sections: Sections) -> str:
    """Describe the processing of training images.

    >>> describe_processing([{"resize": 96, "resize_mode": "exact", "crop": 80, "flip": 0.5, "scale": [1.0, 1.0]}])
    'Resized to 96 × 96; random crops of 80 × 80. Mirrored with probability 0.5.'
    """
    size, crop, modes = _range(sections, "resize"), _range(sections, "crop"), _texts(_values(sections, "resize_mode"))
    shorter = f"The shorter side is resized to {size} pixels"
    resized = (shorter if modes == "shorter" else f"Resized to {size} × {size}") if size else ""
    cropped = f"random crops of {crop} × {crop}" if crop else ""
    flips, scales, colors = (list(_values(sections, name)) for name in ("flip", "scale", "color"))
    factors = [f for pair in scales if isinstance(pair, Sequence) and not isinstance(pair, str) for f in pair]
    sentences = [
        "; ".join(filter(None, (resized, cropped if resized else cropped.capitalize()))),
        f"Mirrored with probability {number_range(flips)}" if any(flips) else "",
        f"Scaled by a random factor of {number_range(factors)}" if set(factors) - {1} else "",
        f"Colors changed at random by up to {number_range(colors)}" if any(colors) else "",
    ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def describe_training(sections: Sections) -> str:
    """Describe the training of the networks.

    >>> describe_training([{"steps": 100, "batch_size": 4, "optimizer": "Adam", "learning_rate": 0.01, "holdout": 0.1}])
    '100 steps of 4 images, with Adam at learning rate 0.01. 10 % of the training images are held out.'
    """
    clip, held, labeled = (_range(sections, name) for name in ("clip_norm", "holdout", "labeled"))
    subset = _range(sections, "subset")
    sentences = [
        _budget(sections),
        f"Gradients are clipped to norm {clip}" if clip else "",
        f"{_percent(sections, 'holdout')} % of the training images are held out" if held not in ("", "0") else "",
        f"Each seed trains on another {_percent(sections, 'subset')} % of the rest" if subset not in ("", "1") else "",
        f"{_percent(sections, 'labeled')} % of the rest are labeled" if labeled not in ("", "1") else "",
    ]
    kept = [text for one in dict.fromkeys(map(str, _values(sections, "select_by"))) if (text := _SELECTIONS.get(one))]
    return " ".join([*(f"{sentence}." for sentence in sentences if sentence), *kept])


def describe_equality(study: StudyRuns) -> str:
    """Describe whether methods share budget, processing and evaluation, and list the settings that differ."""
    methods, settings = settings_table(study)
    if len(methods) < 2:
        return ""
    paths = [path for path, values in settings.items() if len(set(values)) > 1]
    differing = ", ".join(path for path in paths if path.partition(".")[0] not in _METHOD_SETTINGS)
    if not differing:
        return "everything except networks and losses: images, crops, budget, optimizer, evaluation"
    return f"not everything: apart from networks and losses they differ in {differing} (see All settings)"


def settings_table(study: StudyRuns) -> tuple[list[str], dict[str, list[str]]]:
    """Return the methods with a configuration, and the texts of every setting in these methods.

    Settings have the names of ``segmi study show``. If the runs of a method differ, its text has all values.
    """
    by_method: dict[str, dict[str, list[str]]] = {}
    for key, run in study.runs.items():
        config = {name: value for name, value in read_config(run).items() if name not in _KEY_FIELDS}
        for path, value in flatten(config).items():
            values = by_method.setdefault(key.method, {}).setdefault(path, [])
            if value not in values:
                values.append(value)
    methods = [method for method in study.plan.methods if method in by_method]
    paths = list(dict.fromkeys(path for method in methods for path in by_method[method]))
    paths.sort(key=lambda path: path.partition(".")[0] in ("networks", "loss"))  # they differ by design, so come last
    settings = {path: [" or ".join(by_method[method].get(path, ["–"])) for method in methods] for path in paths}
    return [study.plan.methods[method] for method in methods], settings


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Convert nested settings to paths and texts.

    >>> flatten({"training": {"steps": 100, "betas": [0.9, 0.99]}, "loss": {"cross_entropy": {}}})
    {'training.steps': '100', 'training.betas': '0.9, 0.99', 'loss.cross_entropy': 'defaults'}
    """
    result: dict[str, str] = {}
    for name, value in config.items():
        nested = isinstance(value, Mapping) and value
        result |= flatten(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": _text(value)}
    return result


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return "defaults"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _budget(sections: Sections) -> str:
    budget = next((f"{number} {text}" for unit, text in _BUDGETS.items() if (number := _range(sections, unit))), "")
    batch, rate, accumulated = (_range(sections, name) for name in ("batch_size", "learning_rate", "accumulate"))
    factor = f" × {accumulated}" if accumulated not in ("", "1") else ""
    noun = "image" if batch + factor == "1" else "images"
    batches = f"{'of' if budget.endswith('steps') else 'in batches of'} {batch}{factor} {noun}" if batch else ""
    optimizer, schedule = _texts(_values(sections, "optimizer")), _texts(map(_schedule, sections))
    optimization = (f"with {optimizer}" if optimizer else "") + (f" at learning rate {rate}" if rate else "")
    text = ", ".join(part for part in (f"{budget} {batches}".strip(), optimization.strip(), schedule) if part)
    return text[:1].upper() + text[1:]


def _schedule(section: Mapping[str, Any]) -> str:
    """Describe the learning-rate schedule.

    >>> _schedule({"schedule": "PolynomialLR", "schedule_options": {"power": 0.9}, "warmup_steps": 500})
    '500 steps of warm-up, then PolynomialLR (power 0.9)'
    """
    schedule, options = section.get("schedule"), section.get("schedule_options")
    entries = [{"name": schedule, **(options or {})}] if isinstance(schedule, str) else schedule or []
    parts = [f"{section['warmup_steps']} steps of warm-up"] if section.get("warmup_steps") else []
    for entry in entries:
        shown = ", ".join(f"{key} {value}" for key, value in entry.items() if key != "name")
        parts.append(f"{entry['name']} ({shown})" if shown else entry["name"])
    return ", then ".join(parts)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _values(sections: Sections, name: str) -> Iterable[Any]:
    return (section[name] for section in sections if section.get(name) is not None)


def _percent(sections: Sections, name: str) -> str:
    return number_range(100 * value for value in _values(sections, name) if isinstance(value, int | float))


def _range(sections: Sections, name: str) -> str:
    return number_range(_values(sections, name))


def _texts(values: Iterable[Any]) -> str:
    return " or ".join(dict.fromkeys(str(value) for value in values if value))
