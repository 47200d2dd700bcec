"""Where networks have their weights from: drawn, a bundle, another run of the study, an average of another network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import RunError
from segmi.records import RunFolder
from segmi.study.problems import Problems, unknown
from segmi.study.schema import check_reference
from segmi.study.strict_yaml import Place

if TYPE_CHECKING:
    from segmi.study.expand import Run
    from segmi.training import Cohort

_NOT_OF_THE_WEIGHTS: Final = ("encoder_weights", "normalize", "features", "batch_norm_momentum")
"""Options in which a network may differ from the one whose weights it takes."""


def with_averages(method: dict[str, Any], place: Place, problems: Problems) -> dict[str, Any]:
    """The networks of a method, those that are averages like the networks that they are averages of; they are frozen."""
    networks = dict(method["networks"]) if isinstance(method.get("networks"), dict) else {}
    averages = method.get("averages") if isinstance(method.get("averages"), dict) else {}
    for name, average in (averages or {}).items():
        of = average.get("of") if isinstance(average, dict) else None
        if isinstance(of, str) and of in networks:
            networks.setdefault(name, networks[of])
        elif isinstance(of, str):
            problems.add((*place, "averages", name, "of"), unknown("network", of, networks))
    if averages and isinstance(method.get("frozen", []), list):
        method["frozen"] = list(dict.fromkeys([*(method.get("frozen") or []), *averages]))
    return networks


def check_averages(method: Mapping[str, Any], place: Place, problems: Problems) -> None:
    """Note averages of networks that do not learn or are other networks, and weights for networks that are not there."""
    averages, sources = (_sound(method.get(section)) for section in ("averages", "weights_from"))
    for name, average in averages.items():
        of = average.get("of")
        if of not in method["networks"] or problems.touches(*place, "averages", name):
            continue
        if of in (method.get("frozen") or []):
            problems.add((*place, "averages", name, "of"), f"{of} does not learn; average a network that is not frozen")
        if _network(method["networks"][name]) != _network(method["networks"][of]):
            problems.add((*place, "networks", name), f"is the average of {of}, but is another network; leave it out")
    for name, source in sources.items():
        here = (*place, "weights_from", name)
        if message := check_reference("network", name, list(method["networks"])):
            problems.add(here, message)
        elif name in averages:
            problems.add(here, f"the weights of {name} are those of {averages[name]['of']}; leave it out")
        if (source.get("bundle") is None) == (source.get("method") is None):
            problems.add(here, "expected either bundle or method; keep one of them")


def _sound(section: Any) -> dict[str, dict[str, Any]]:
    """What of a section can be looked at; that the rest is no mapping was noted where it was read."""
    return {name: one for name, one in section.items() if isinstance(one, dict)} if isinstance(section, dict) else {}


def check_weights(methods: Mapping[str, dict[str, Any]], searched: Collection[Any], problems: Problems) -> None:
    """Note sources of weights that are not there or of another network, and methods that wait for each other."""
    for name, method in methods.items():
        for network, source in _sound(method.get("weights_from")).items():
            place = ("methods", name, "weights_from", network)
            if problems.touches(*place) or network not in method.get("networks", {}):
                continue
            if source.get("bundle") is not None:
                _check_bundle(source["bundle"], method["networks"][network], place, problems)
            elif message := check_reference("method", source["method"], list(methods)):
                problems.add((*place, "method"), message)
            elif name in _sources(methods, source["method"]):
                problems.add((*place, "method"), f"{name} would wait for itself; take the weights of another method")
            elif name in searched:
                problems.add((*place, "method"), "does not go with a search: trials have other seeds; give a bundle")
            else:
                _check_source(source, methods[source["method"]], method["networks"][network], place, problems)


def _sources(methods: Mapping[str, dict[str, Any]], name: str) -> set[str]:
    """The methods that one rests on, itself included."""
    found: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        if one in methods and one not in found:
            found.add(one)
            sources = _sound(methods[one].get("weights_from")).values()
            todo += [source["method"] for source in sources if source.get("method")]
    return found


def _check_source(
    source: dict[str, Any], other: Mapping[str, Any], wanted: Mapping[str, Any], place: Place, problems: Problems
) -> None:
    source["network"] = source["network"] or other.get("reported")
    if message := check_reference("network", source["network"], list(other["networks"])):
        problems.add((*place, "network"), message)
    else:
        _check_same(_network(other["networks"][source["network"]]), _network(wanted), place, problems)


def _check_bundle(path: str, wanted: Mapping[str, Any], place: Place, problems: Problems) -> None:
    from segmi.records.serialization import read_json

    try:
        specification = read_json(Path(path) / "model.json")["specification"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        problems.add((*place, "bundle"), f"{path} is not a bundle ({error}); give a folder with model.json")
        return
    known = _network(wanted)
    _check_same({key: specification.get(key) for key in known}, known, place, problems)


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], place: Place, problems: Problems) -> None:
    other = {key: (found.get(key), value) for key, value in wanted.items() if found.get(key) != value}
    if other:
        told = ", ".join(f"{key} {theirs!r}, here {ours!r}" for key, (theirs, ours) in other.items())
        problems.add(place, f"these are the weights of another network ({told}); give both the same options")


def _network(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in _NOT_OF_THE_WEIGHTS and value is not None}


def rests_on(run: Run) -> list[Run]:
    """The runs whose weights a run takes."""
    methods = {source["method"]: None for source in run.config["weights_from"].values() if source["method"]}
    return [replace(run, method=method) for method in methods]


def take_weights(cohort: Cohort, run: Run, folder: RunFolder) -> None:
    """Put the networks whose weights the study names in the places of their networks, their normalization included.

    Args:
        cohort: of the run.
        run: what is done.
        folder: of the run, beside which those of the other methods lie.

    Raises:
        RunError: it is a network for other classes.
        DataError: the bundle is not there, or damaged.
    """
    from segmi.deploy import load

    for network, source in run.config["weights_from"].items():
        if source["bundle"] is not None:
            path = Path(source["bundle"])
        else:
            other = replace(run, method=source["method"]).folder(folder.path.parents[3])
            path = other / "bundles" / source["network"]
        module = load(path)
        wanted: Any = cohort.networks[network]
        if (module.classes, module.channels) != (wanted.classes, wanted.channels):
            raise RunError(
                f"the network in {path} has {module.classes} classes and {module.channels} logits, "
                f"{network} is to have {wanted.classes} and {wanted.channels}",
                "take the weights of a network with the same classes",
            )
        cohort.put(network, module)
