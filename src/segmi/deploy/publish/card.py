"""The card of a published network: what it is, what it scored under which protocol, its license and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, StrictUndefined

TEMPLATE: Final = Path(__file__).with_name("card.md.jinja")

_FEW_IMAGES: Final = 100


def written_card(
    description: Mapping[str, Any],
    *,
    name: str,
    license: str | None,
    result: Mapping[str, Any] | None,
    configuration: Mapping[str, Any] | None,
) -> str:
    """The card as Markdown with the Hub's head.

    Args:
        description: what ``model.json`` says.
        name: of the repository or folder.
        license: of the weights, as the Hub abbreviates it; None leaves it open and says so.
        result: the record of the run that trained it; None if there is none.
        configuration: of that run.
    """
    head = {
        "library_name": "segmi",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "pytorch", description["architecture"]],
        **({"license": license} if license else {}),
    }
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["cell"] = _cell
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    scored = _scored(result)
    return template.render(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        name=name,
        card=description,
        license=license,
        scored=scored,
        per_class=list(zip(description["classes"], scored["IoU"], strict=True)) if scored else [],
        result=result,
        split=((configuration or {}).get("evaluation") or {}).get("split", "val"),
        settings=_settings(configuration),
        few=_FEW_IMAGES,
    )


def _scored(result: Mapping[str, Any] | None) -> dict[str, Any]:
    if not result:
        return {}
    network = result["networks"][result["reported_network"]]
    scores: dict[str, Any] = network["scores"][result["protocol"]]
    return scores


def _settings(configuration: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The settings that a reader asks for first."""
    if configuration is None:
        return []
    training = configuration.get("training", {})
    asked = ("steps", "epochs", "images", "minutes", "batch_size", "learning_rate", "optimizer")
    said = {key: training.get(key) for key in asked}
    objective = " + ".join(configuration.get("loss", {}))
    return [("loss", objective), *((key.replace("_", " "), str(v)) for key, v in said.items() if v is not None)]


def _cell(value: Any) -> str:
    """A name or a number in a table of Markdown; names come from files and may hold anything."""
    if value is None or value != value:
        return "–"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).translate({ord(sign): f"\\{sign}" for sign in "\\`*_[]|<>#"})
