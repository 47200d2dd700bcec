"""Publishing a bundle with a model card: to a folder, or to a repository of the Hugging Face Hub."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, StrictUndefined

from segmi.deploy.bundle import load
from segmi.deploy.bundle_paths import CARD, WEIGHTS
from segmi.deploy.ensemble import get_card
from segmi.deploy.hub import explain_hub_errors, hub_url, parse_repository
from segmi.errors import EnvironmentProblem, UsageError
from segmi.records import RunFolder
from segmi.records.atomic import atomic_folder
from segmi.records.serialization import read_configuration

__all__ = ["push", "render_card", "write_folder"]

TEMPLATE: Final = Path(__file__).with_name("model_card.md.jinja")
README: Final = "README.md"
CONFIGURATION: Final = "config.yaml"

_SETTINGS: Final = ("steps", "epochs", "images", "minutes", "batch_size", "learning_rate", "optimizer")


def write_folder(
    bundle: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    license: str | None = None,
    replace: bool = False,
) -> list[str]:
    """Write a bundle with its model card to a folder, which `segmi.load` accepts, and return the names of its files.

    Args:
        bundle: the bundle's folder. In a run's folder, the run's scores and configuration are added.
        folder: the folder to write.
        name: title of the card; the folder's name by default.
        license: of the weights, as the Hub abbreviates it: ``apache-2.0``, ``cc-by-4.0``, ``other``.
        replace: replace an existing folder.

    Raises:
        DataError: if the bundle cannot be loaded.
        FileExistsError: if the folder exists.
        EnvironmentProblem: if the folder cannot be written.
    """
    bundle, folder = Path(bundle), Path(folder)
    card = get_card(load(bundle))  # loads the whole bundle, so that only valid ones are published
    result, configuration, source = _run_of(bundle)
    title = name or folder.resolve().name
    text = render_card(card, name=title, license=license, result=result, configuration=configuration)
    with atomic_folder(folder, replace=replace) as temporary:
        for file in (WEIGHTS, CARD):
            shutil.copyfile(bundle / file, temporary / file)
        if source is not None:
            shutil.copyfile(source, temporary / CONFIGURATION)
        (temporary / README).write_text(text, encoding="utf-8", newline="\n")
        return sorted(path.name for path in temporary.iterdir())


def push(folder: str | Path, to: str, *, private: bool = False) -> str:
    """Upload a folder that `write_folder` wrote to a repository, and return the repository's URL.

    Args:
        folder: the folder to upload.
        to: ``owner/name``; the repository is created if it is missing.
        private: create the repository as private.

    Raises:
        UsageError: if ``to`` is not the name of a repository.
        EnvironmentProblem: if the token is missing or has no write access, or the Hub cannot be reached.
    """
    repository = parse_repository(to)
    if repository is None or repository.revision is not None:
        raise UsageError(f"{to!r} is not the name of a repository", "write owner/name")
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise EnvironmentProblem(
            f"no token for writing to {repository.name}",
            f"create one at {hub_url()}/settings/tokens and export HF_TOKEN=…, or sign in with `hf auth login`",
        )
    api = HfApi(endpoint=hub_url(), token=token)
    with explain_hub_errors(repository.name):
        api.create_repo(repository.name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository.name, folder_path=str(folder), commit_message="A network trained with segmi"
        )
    return f"{hub_url()}/{repository.name}"


def render_card(
    card: Mapping[str, Any],
    *,
    name: str,
    license: str | None,
    result: Mapping[str, Any] | None,
    configuration: Mapping[str, Any] | None,
) -> str:
    """Return the model card as Markdown with the Hub's metadata.

    Args:
        card: contents of ``model.json``.
        name: of the repository or folder.
        license: as in `write_folder`; None is stated in the card.
        result, configuration: of the run that trained the network, if any.
    """
    head = {
        "library_name": "segmi",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "pytorch", card["architecture"]],
        **({"license": license} if license else {}),
    }
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["cell"] = _escape
    scores: Mapping[str, Any] = {}
    if result:
        scores = result["networks"][result["reported_network"]]["scores"][result["protocol"]]
    settings: list[tuple[str, str]] = []
    if configuration is not None:
        training = configuration.get("training", {})
        given = [key for key in _SETTINGS if training.get(key) is not None]
        settings = [(key.replace("_", " "), str(training[key])) for key in given]
        settings.insert(0, ("loss", " + ".join(configuration.get("loss", {}))))
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        per_class=list(zip(card["classes"], scores["IoU"], strict=True)) if scores else [],
        split=((configuration or {}).get("evaluation") or {}).get("split", "val"),
        name=name, card=card, license=license, scores=scores, result=result, settings=settings,
    )  # fmt: skip


def _run_of(bundle: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None, Path | None]:
    """Return the record, the configuration and the configuration's file of the run that contains a bundle."""
    bundle = bundle.resolve()
    run = bundle.parent.parent  # a run keeps its bundles in bundles/<network>
    source = run / CONFIGURATION
    if bundle.parent.name != "bundles" or not source.is_file():
        return None, None, None
    result = RunFolder(run).result()
    if result is not None:
        result = {**result, "reported_network": bundle.name}
    return result, read_configuration(source), source


def _escape(value: Any) -> str:
    # Format a value for a Markdown table; names come from files and can contain any characters.
    if value is None or value != value:  # NaN
        return "–"
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).translate({ord(sign): f"\\{sign}" for sign in "\\`*_[]|<>#"})
