"""Options of a study file checked against the signature that will receive them.

Defaults live in signatures and nowhere else: a model of the signature is made when it is needed, refuses what the
callable would not take, and fills in what was left out.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model

from segmi.study.problems import Problems, unknown
from segmi.study.strict_yaml import Place

_IN_OUR_WORDS = {
    "an object": "a mapping",
    "a valid array": "a list",
    "Dictionary should have at least 1 item after validation, not 0": "at least one entry",
    "List should have at least 1 item after validation, not 0": "at least one entry",
}
_STRICT = ConfigDict(
    extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), strict=True, ser_json_inf_nan="constants"
)


def bind(
    function: Callable[..., Any],
    options: Any,
    place: Place,
    problems: Problems,
    *,
    leave_out: Collection[str] = (),
    extra: Mapping[str, tuple[Any, Any]] | None = None,
) -> dict[str, Any]:
    """``options`` with every default of ``function`` filled in, as plain data; what does not fit goes to ``problems``.

    Args:
        function: a function or class whose keyword arguments the options are.
        options: a mapping of option names to plain values; None stands for an empty one.
        place: where the options stand in the study.
        problems: collects what is wrong; the options come back as they are where something is.
        leave_out: arguments that are not the study's to give.
        extra: further options, as name → (type, default), that somebody else takes.
    """
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        problems.add(place, f"expected options by name, got {describe(options)}")
        return {}
    model = signature_model(function, frozenset(leave_out), tuple((k, *v) for k, v in (extra or {}).items()))
    return validate(model, dict(options), place, problems)


def validate(model: type[BaseModel], data: dict[str, Any], place: Place, problems: Problems) -> dict[str, Any]:
    """``data`` completed by ``model``, as plain data; what does not fit goes to ``problems``.

    Options that do not fit come back with their defaults, so that whatever looks at the others can go on.
    """
    try:
        return _completed(model, data)
    except ValidationError as error:
        found = _by_place(error, data, model)
    for where, messages in found.items():
        problems.add((*place, *where), " or ".join(messages))
    wrong = {where[0] for where in found if where}
    try:
        return _completed(model, {name: value for name, value in data.items() if name not in wrong})
    except ValidationError:  # something without a default is missing
        return data


def _completed(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    # As JSON a list may stand for a tuple and text for a path, while "5" still is no number.
    return model.model_validate_json(json.dumps(data)).model_dump(mode="json")


def arguments(
    function: Callable[..., Any], options: Mapping[str, Any], leave_out: Collection[str] = ()
) -> dict[str, Any]:
    """Bound plain options as the values the function takes: tuples where it wants tuples."""
    model = signature_model(function, frozenset(leave_out), ())
    known = {name: value for name, value in options.items() if name in model.model_fields or _takes_any(model)}
    bound = model.model_validate_json(json.dumps(known))
    return {name: getattr(bound, name) for name in [*model.model_fields, *(bound.model_extra or {})]}


def default_options(function: Callable[..., Any], leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the default options of a callable as plain data, without options that have no default.

    >>> default_options(lambda radius, stride=1: None)
    {'stride': 1}
    """
    return signature_model(function, frozenset(leave_out), ()).model_construct().model_dump(mode="json")


@cache
def signature_model(
    function: Callable[..., Any], leave_out: frozenset[str], extra: tuple[tuple[str, Any, Any], ...]
) -> type[BaseModel]:
    """A pydantic model with one field per argument of ``function``; ``**options`` lets further fields pass."""
    signature = inspect.signature(function)
    hints = _hints(function)
    fields: dict[str, Any] = {}
    open_ended = False
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not inspect.Parameter.VAR_POSITIONAL and name not in leave_out:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    fields |= {name: (kind, default) for name, kind, default in extra}
    return _model(f"options of {getattr(function, '__name__', function)}", fields, open_ended)


def _model(title: str, fields: Mapping[str, Any], open_ended: bool) -> type[BaseModel]:
    config = ConfigDict(**{**_STRICT, "extra": "allow" if open_ended else "forbid"})
    usable: dict[str, Any] = {}
    for name, (kind, default) in fields.items():
        try:
            _create("probe", config, {name: (kind, default)}).model_json_schema()
            usable[name] = (kind, default)
        except PydanticUserError:  # a type that no plain value can have, such as a tensor: the callable checks it
            usable[name] = (Any, default)
    return _create(title, config, usable)


def _create(title: str, config: ConfigDict, fields: dict[str, Any]) -> type[BaseModel]:
    model: type[BaseModel] = create_model(title, __config__=config, **fields)
    return model


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function.__init__ if inspect.isclass(function) else function
    try:
        return get_type_hints(target)
    except (NameError, TypeError):  # a name that exists for type checkers only
        return {}


def _takes_any(model: type[BaseModel]) -> bool:
    return model.model_config.get("extra") == "allow"


def _by_place(error: ValidationError, data: Any, model: type[BaseModel]) -> dict[Place, list[str]]:
    """Pydantic's complaints in segmi's words, those about one value together."""
    found: dict[Place, list[str]] = {}
    for item in error.errors(include_url=False):
        place, value = _in_data(item["loc"], data)
        if item["type"] == "extra_forbidden":
            message = unknown("key", place[-1], model.model_fields)
        elif item["type"] == "missing":
            place, message = (*place, item["loc"][-1]), "is missing"
        elif item["type"] in ("value_error", "assertion_error"):
            message = str(item["ctx"]["error"]) if "ctx" in item else item["msg"]
        else:
            message = _expected(item["msg"]) + f", got {describe(value)}"
        messages = found.setdefault(place, [])
        if message not in messages:
            messages.append(message)
    return found


def _expected(message: str) -> str:
    message = message.removeprefix("Input should be ").partition(", got ")[0]
    return f"expected {_IN_OUR_WORDS.get(message, message)}"


def _in_data(location: tuple[str | int, ...], data: Any) -> tuple[Place, Any]:
    """The part of pydantic's location that exists in the data; the rest names the branch of a union."""
    place: Place = ()
    for key in location:
        inside = key in data if isinstance(data, dict) else isinstance(data, list) and key in range(len(data))
        if not inside:
            break
        data = data[key]
        place = (*place, key)
    return place, data


def describe(value: Any) -> str:
    """A value and its type in words.

    Example:
        >>> describe("5"), describe(None), describe([1])
        ("'5' (text)", 'nothing', '[1] (a list)')
    """
    if value is None:
        return "nothing"
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:57] + '…'} ({names.get(type(value), type(value).__name__)})"
