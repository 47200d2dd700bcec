"""Initial weights of networks: random, a bundle, another run of the study, or an average of another network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmi.errors import RunError, UsageError
from segmi.records import RunFolder
from segmi.records.pack import require_weights
from segmi.records.serialization import read_json
from segmi.study.problems import Problems, unknown
from segmi.study.strict_yaml import KeyPath, mapping

if TYPE_CHECKING:
    from segmi.study.run_config import Run
    from segmi.training import Cohort

# Options that do not change which weights fit a network.
_NOT_OF_THE_WEIGHTS: Final = ("encoder_weights", "normalize", "features", "batch_norm_momentum")


def unknown_network(name: str, networks: Collection[str], method: Mapping[str, Any]) -> str:
    """Return a one-line message about a name that is not a network of the method, such as the name of an ensemble."""
    members = mapping(method.get("ensembles")).get(name)
    if isinstance(members, list):
        choice = ", ".join(map(str, members))
        return f"expected a network, got the ensemble {name!r}, which has no weights of its own; choose one of {choice}"
    return unknown("network", name, networks)


def with_averages(method: dict[str, Any], path: KeyPath, problems: Problems) -> dict[str, Any]:
    """Return the networks of a method, with the networks that are averages of others; these are frozen."""
    networks, averages = dict(mapping(method.get("networks"))), mapping(method.get("averages"))
    for name, average in averages.items():
        of = mapping(average).get("of")
        if isinstance(of, str) and of in networks:
            networks.setdefault(name, networks[of])
        elif isinstance(of, str):
            problems.add((*path, "averages", name, "of"), unknown_network(of, networks, method))
    if averages and isinstance(method.get("frozen", []), list):
        method["frozen"] = list(dict.fromkeys([*(method.get("frozen") or []), *averages]))
    return networks


def check_averages(method: Mapping[str, Any], path: KeyPath, problems: Problems) -> None:
    """Check that averaged networks are trained, and that initial weights are for networks of the method."""
    averages, sources = (_mappings(method.get(section)) for section in ("averages", "weights_from"))
    networks = method["networks"]
    for name, average in averages.items():
        of = average.get("of")
        if of in networks and not problems.touches(*path, "averages", name):
            if of in (method.get("frozen") or []):
                problems.add((*path, "averages", name, "of"), f"{of} is frozen; average a network that is trained")
            if _identity(networks[name]) != _identity(networks[of]):
                problems.add((*path, "networks", name), f"is the average of {of}, but has other options; leave it out")
    for name, source in sources.items():
        here = (*path, "weights_from", name)
        if name not in networks:
            problems.add(here, unknown_network(name, networks, method))
        elif name in averages:
            problems.add(here, f"{name} starts from the weights of {averages[name]['of']}; leave it out")
        if (source.get("bundle") is None) == (source.get("method") is None):
            problems.add(here, "expected either bundle or method; keep one of them")


def _mappings(section: Any) -> dict[str, dict[str, Any]]:
    """Return the well-formed entries of a section; the others were reported when it was read."""
    return {name: one for name, one in mapping(section).items() if isinstance(one, dict)}


def check_weights(methods: Mapping[str, dict[str, Any]], problems: Problems) -> None:
    """Check that sources of weights exist and fit their networks, and that no method waits for itself."""
    for name, method in methods.items():
        for network, source in _mappings(method.get("weights_from")).items():
            path = ("methods", name, "weights_from", network)
            if problems.touches(*path) or network not in method.get("networks", {}):
                continue
            spec = method["networks"][network]
            if source.get("bundle") is not None:
                _check_bundle(Path(source["bundle"]), spec, path, problems)
            elif source["method"] not in methods:
                problems.add((*path, "method"), unknown("method", source["method"], methods))
            elif name in _sources(methods, source["method"]):
                problems.add((*path, "method"), f"{name} would wait for itself; take the weights of another method")
            else:
                other = methods[source["method"]]
                source["network"] = source["network"] or other.get("reported")
                if source["network"] not in other["networks"]:
                    message = unknown_network(source["network"], other["networks"], other)
                    problems.add((*path, "network"), message)
                else:
                    _check_same(_identity(other["networks"][source["network"]]), spec, path, problems)


def _sources(methods: Mapping[str, dict[str, Any]], name: str) -> set[str]:
    """Return the methods that a method depends on, itself included."""
    result, todo = set[str](), [name]
    while todo:
        one = todo.pop()
        if one in methods and one not in result:
            result.add(one)
            sources = _mappings(methods[one].get("weights_from")).values()
            todo += [source["method"] for source in sources if source.get("method")]
    return result


def _check_bundle(bundle: Path, spec: Mapping[str, Any], path: KeyPath, problems: Problems) -> None:
    try:
        stored = read_json(bundle / "model.json")["specification"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        problems.add((*path, "bundle"), f"{bundle} is not a bundle ({error}); give a folder with model.json")
        return
    _check_same(stored, spec, path, problems)


def _check_same(source: Mapping[str, Any], spec: Mapping[str, Any], path: KeyPath, problems: Problems) -> None:
    other = {key: (source.get(key), value) for key, value in _identity(spec).items() if source.get(key) != value}
    if other:
        listing = ", ".join(f"{key} {theirs!r}, here {ours!r}" for key, (theirs, ours) in other.items())
        problems.add(path, f"these are the weights of another network ({listing}); give both the same options")


def _identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in _NOT_OF_THE_WEIGHTS and value is not None}


def required_runs(run: Run) -> list[Run]:
    """Return the runs whose weights a run starts from, as far as their keys go."""
    methods = {source.method: None for source in run.config.weights_from.values() if source.method}
    return [run.changed(method=method) for method in methods]


def load_initial_weights(cohort: Cohort, run: Run, folder: RunFolder, init_from: Path | None = None) -> None:
    """Replace networks of a cohort by those that the study names; the reported one then starts from ``init_from``.

    Raises:
        RunError: if a network has other classes.
        DataError: if a bundle is missing or damaged.
        UsageError: if ``init_from`` is a network of another architecture.
    """
    from segmi.deploy import load

    for network, source in run.config.weights_from.items():
        if source.bundle is not None:
            path = Path(source.bundle)
        else:  # the folder of a run is root/study/dataset/method/seed
            other = run.changed(method=source.method).folder(folder.path.parents[3])
            require_weights(other)
            path = other / "bundles" / (source.network or "")
        module = load(path)
        expected: Any = cohort.networks[network]
        theirs, own = ((one.in_channels, one.classes, one.channels) for one in (module, expected))
        if theirs != own:
            found = "the network in {} has {} channels, {} classes and {} logits".format(path, *theirs)
            message = "{}, {} has {}, {} and {}".format(found, network, *own)
            raise RunError(message, "use the weights of a network with the same bands and classes")
        cohort.put(network, module)
    if init_from is not None:
        _fine_tune(cohort, run.config.reported, init_from)


def _fine_tune(cohort: Cohort, network: str, bundle: Path) -> None:
    """Load the weights of a bundle; layers of another shape, such as the classifier, keep their initial weights."""
    from segmi.deploy import load

    module = cohort.networks[network]
    weights, own = load(bundle).state_dict(), module.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if len(own) - len(fitting) > len(own) // 4:
        message = f"the bundle {bundle} fits {len(fitting)} of the {len(own)} arrays of {network!r}"
        raise UsageError(message, "start from a bundle of the same architecture and width")
    module.load_state_dict(fitting, strict=False)
