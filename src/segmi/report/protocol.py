"""The protocol of a study in words: what networks were shown, how long they were trained, what is scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from segmi.report.describe import number_range, read_config
from segmi.report.settings import settings_table
from segmi.statistics import StudyRuns

_EVALUATIONS: Final = {
    "full": "Every image of the split is scored whole and once: padded to what the network needs, its logits resized "
    "to the original label size and compared there. Nothing is random.",
    "paper": "Five passes of random crops over the split, at the resized scale, with seeded crops, as the paper's "
    "authors evaluated.",
}

_SELECTIONS: Final = {
    "holdout_mIoU": "Of the weights along the way those with the highest held-out mIoU are scored.",
    "train_loss": "Of the weights along the way those with the lowest training loss are scored.",
    "last": "The last weights are scored.",
}

_BUDGETS: Final = {"steps": "steps", "epochs": "epochs", "images": "images seen", "minutes": "minutes"}

_OWN: Final = ("networks", "loss", "reported", "frozen", "averages", "weights_from", "treatment", "baseline")
"""What makes a method; other settings are the study's, which methods may still differ in."""


def protocol_in_words(study: StudyRuns) -> list[tuple[str, str]]:
    """Entries of (name, sentences); what methods differ in is told as a range, and named at the end."""
    configs = [config for config in map(read_config, study.runs.values()) if config]
    entries = [("Study protocol", protocol)] if (protocol := _protocol(study, configs)) else []
    entries += (
        [("SegmentationDataset", text)] if (text := preparation([_section(c, "processing") for c in configs])) else []
    )
    entries += [("Training", text)] if (text := training([_section(c, "training") for c in configs])) else []
    splits = _texts(_section(config, "evaluation").get("split") for config in configs)
    where = f" The split is {splits}." if splits else ""
    for name in sorted({str(result.get("protocol")) for result in study.results.values()}):
        entries.append((f"Evaluation, {name}", _EVALUATIONS.get(name, name) + where))
    entries.append(("Seeds", ", ".join(map(str, study.plan.seeds))))
    entries += [("Equal for all methods", text)] if (text := differing(study)) else []
    return [*entries, *([("Command", study.plan.command)] if study.plan.command else [])]


def preparation(sections: Sequence[Mapping[str, Any]]) -> str:
    """How images were prepared for training, in sentences.

    >>> preparation([{"resize": 96, "resize_mode": "exact", "crop": 80, "flip": 0.5, "scale": [1.0, 1.0]}])
    'Resized to 96 × 96; a random crop of 80 × 80 is trained on. Mirrored with probability 0.5.'
    """
    size, crop, modes = _range(sections, "resize"), _range(sections, "crop"), _texts(_values(sections, "resize_mode"))
    shorter = f"The shorter side is resized to {size} pixels"
    resized = (shorter if modes == "shorter" else f"Resized to {size} × {size}") if size else ""
    cut = f"random crop of {crop} × {crop} is trained on" if crop else ""
    sentences = [(f"{resized}; a {cut}" if resized else f"A {cut}") if cut else resized]
    flips, scales, colors = (list(_values(sections, name)) for name in ("flip", "scale", "color"))
    sentences += [f"Mirrored with probability {number_range(flips)}"] if any(flips) else []
    factors = [f for pair in scales if isinstance(pair, Sequence) and not isinstance(pair, str) for f in pair]
    sentences += [f"Scaled by a random factor of {number_range(factors)}"] if set(factors) - {1} else []
    sentences += [f"Colors changed at random by up to {number_range(colors)}"] if any(colors) else []
    return "".join(f"{sentence}. " for sentence in sentences if sentence).rstrip()


def training(sections: Sequence[Mapping[str, Any]]) -> str:
    """How networks were trained, in sentences.

    >>> training([{"steps": 100, "batch_size": 4, "optimizer": "Adam", "learning_rate": 0.01, "holdout": 0.1}])
    '100 steps of 4 images, with Adam at learning rate 0.01. 10 % of the training images are held out.'
    """
    clip, held, labeled = (_range(sections, name) for name in ("clip_norm", "holdout", "labeled"))
    sentences = [
        _budget(sections),
        f"Gradients longer than {clip} are shortened to it" if clip else "",
        f"{_percent(sections, 'holdout')} % of the training images are held out" if held not in ("", "0") else "",
        f"{_percent(sections, 'labeled')} % of the rest keep their labels" if labeled not in ("", "1") else "",
    ]
    kept = [text for one in dict.fromkeys(map(str, _values(sections, "select_by"))) if (text := _SELECTIONS.get(one))]
    return " ".join([*(f"{sentence}." for sentence in sentences if sentence), *kept])


def _budget(sections: Sequence[Mapping[str, Any]]) -> str:
    budget = next((f"{found} {text}" for unit, text in _BUDGETS.items() if (found := _range(sections, unit))), "")
    batch, rate, steps = (_range(sections, name) for name in ("batch_size", "learning_rate", "accumulate"))
    times = f" × {steps}" if steps not in ("", "1") else ""
    batches = f"{'of' if budget.endswith('steps') else 'in batches of'} {batch}{times} images" if batch else ""
    optimizer, schedule = _texts(_values(sections, "optimizer")), _texts(map(_scheduled, sections))
    how = f"with {optimizer}" if optimizer else ""
    how += f" at learning rate {rate}" if rate else ""
    parts = [f"{budget} {batches}".strip(), how.strip(), schedule]
    text = ", ".join(part for part in parts if part)
    return text[:1].upper() + text[1:]


def differing(study: StudyRuns) -> str:
    """Whether methods have the same budget, processing and evaluation, and what they differ in where they have not."""
    settings = settings_table(study)
    if settings is None or len(settings.methods) < 2:
        return ""
    own = [row.path for row in settings.rows if not row.same and row.path.partition(".")[0] not in _OWN]
    if not own:
        return "everything but their networks and losses: images, crops, budget, optimizer, evaluation"
    return f"not everything: besides networks and losses they differ in {', '.join(own)}, see Every setting"


def _protocol(study: StudyRuns, configs: Sequence[Mapping[str, Any]]) -> str:
    return study.plan.protocol or next((str(c["protocol"]) for c in configs if c.get("protocol")), "")


def _scheduled(section: Mapping[str, Any]) -> str:
    schedule, options = section.get("schedule"), section.get("schedule_options")
    shown = ", ".join(f"{k} {v}" for k, v in options.items()) if isinstance(options, Mapping) else ""
    return f"{schedule} ({shown})" if schedule and shown else str(schedule or "")


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _values(sections: Sequence[Mapping[str, Any]], name: str) -> Iterable[Any]:
    return (section[name] for section in sections if section.get(name) is not None)


def _percent(sections: Sequence[Mapping[str, Any]], name: str) -> str:
    return number_range(100 * value for value in _values(sections, name) if isinstance(value, int | float))


def _range(sections: Sequence[Mapping[str, Any]], name: str) -> str:
    return number_range(_values(sections, name))


def _texts(values: Iterable[Any]) -> str:
    return " or ".join(dict.fromkeys(str(value) for value in values if value))
