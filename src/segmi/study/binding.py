"""Check options of a study file against the signature that receives them.

Defaults are defined in signatures only. A pydantic model of the signature refuses unknown and malformed options and
fills in the defaults.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticUserError, ValidationError, create_model

from segmi.study.problems import Problems, unknown
from segmi.study.strict_yaml import KeyPath

_REWORDED = {
    "an object": "a mapping",
    "a valid array": "a list",
    "Dictionary should have at least 1 item after validation, not 0": "at least one entry",
    "List should have at least 1 item after validation, not 0": "at least one entry",
}
_TYPE_NAMES = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a mapping"
}  # fmt: skip
_STRICT = ConfigDict(
    extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), strict=True, ser_json_inf_nan="constants"
)


def bind(
    function: Callable[..., Any],
    options: Any,
    path: KeyPath,
    problems: Problems,
    *,
    leave_out: Collection[str] = (),
    extra: Mapping[str, tuple[Any, Any]] | None = None,
) -> dict[str, Any]:
    """Return ``options`` with every default of ``function`` filled in, as plain data.

    ``leave_out`` are arguments that a study cannot set, ``extra`` further options as name → (type, default).
    """
    if not isinstance(options, Mapping | None):
        problems.add(path, f"expected options by name, got {describe(options)}")
        return {}
    model = _signature_model(function, frozenset(leave_out), tuple((k, *v) for k, v in (extra or {}).items()))
    return validate(model, dict(options or {}), path, problems)


def validate(model: type[BaseModel], data: dict[str, Any], path: KeyPath, problems: Problems) -> dict[str, Any]:
    """Return ``data`` with the defaults of ``model`` filled in, as plain data.

    Malformed options are added to ``problems`` and replaced by their defaults, so that the others can be checked.
    """
    try:
        return _completed(model, data)
    except ValidationError as error:
        messages = _messages(error, data, model)
    for where, texts in messages.items():
        problems.add((*path, *where), " or ".join(texts))
    wrong = {where[0] for where in messages if where}
    try:
        return _completed(model, {name: value for name, value in data.items() if name not in wrong})
    except ValidationError:  # an option without a default is missing
        return data


def _completed(model: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    # In JSON mode a list is valid for a tuple and text for a path, but "5" is not valid for a number.
    return model.model_validate_json(json.dumps(data)).model_dump(mode="json")


def arguments(
    function: Callable[..., Any], options: Mapping[str, Any], leave_out: Collection[str] = ()
) -> dict[str, Any]:
    """Convert bound plain options to the types of the function's arguments, such as lists to tuples."""
    model = _signature_model(function, frozenset(leave_out))
    takes_any = model.model_config["extra"] == "allow"
    known = {name: value for name, value in options.items() if takes_any or name in model.model_fields}
    return dict(model.model_validate_json(json.dumps(known)))


def default_options(function: Callable[..., Any], leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Return the default options of a callable as plain data, without options that have no default.

    >>> default_options(lambda radius, stride=1: None)
    {'stride': 1}
    """
    return _signature_model(function, frozenset(leave_out)).model_construct().model_dump(mode="json")


@cache
def _signature_model(
    function: Callable[..., Any], leave_out: frozenset[str], extra: tuple[tuple[str, Any, Any], ...] = ()
) -> type[BaseModel]:
    """Return a pydantic model with one field per argument of ``function``; ``**options`` allows any further field."""
    # The fields of a dataclass are annotated in the modules of its base classes.
    target = function.__init__ if inspect.isclass(function) and not is_dataclass(function) else function
    try:
        hints = get_type_hints(target, include_extras=True)
    except (NameError, TypeError):  # a name that is imported for type checkers only
        hints = {}
    config, fields = _STRICT, dict[str, Any]()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            config = ConfigDict(**{**_STRICT, "extra": "allow"})
        elif parameter.kind is not parameter.VAR_POSITIONAL and name not in leave_out:
            fields[name] = (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
    fields |= {name: (kind, default) for name, kind, default in extra}
    for name, field in fields.items():
        try:
            create_model("probe", __config__=config, **{name: field}).model_json_schema()
        except PydanticUserError:  # no plain value has this type, such as a tensor: the callable checks it
            fields[name] = (Any, field[1])
    title = f"options of {getattr(function, '__name__', function)}"
    model: type[BaseModel] = create_model(title, __config__=config, **fields)
    return model


def _messages(error: ValidationError, data: Any, model: type[BaseModel]) -> dict[KeyPath, list[str]]:
    """Return pydantic's errors as messages of segmi, by the path of the value."""
    messages: dict[KeyPath, list[str]] = {}
    for item in error.errors(include_url=False):
        path, value = _in_data(item["loc"], data)
        if item["type"] == "extra_forbidden":
            message = unknown("key", path[-1], model.model_fields)
        elif item["type"] == "missing":
            path, message = (*path, item["loc"][-1]), "is missing"
        elif item["type"] in ("value_error", "assertion_error"):
            message = str(item["ctx"]["error"]) if "ctx" in item else item["msg"]
        else:
            wanted = item["msg"].removeprefix("Input should be ").partition(", got ")[0]
            message = f"expected {_REWORDED.get(wanted, wanted)}, got {describe(value)}"
        texts = messages.setdefault(path, [])
        if message not in texts:
            texts.append(message)
    return messages


def _in_data(location: tuple[str | int, ...], data: Any) -> tuple[KeyPath, Any]:
    """Return the part of pydantic's location that exists in the data; the rest names the branch of a union."""
    path: KeyPath = ()
    for key in location:
        if not (key in data if isinstance(data, dict) else isinstance(data, list) and key in range(len(data))):
            break
        data, path = data[key], (*path, key)
    return path, data


def describe(value: Any) -> str:
    """Return a value with its type in words."""
    if value is None:
        return "nothing"
    kind = _TYPE_NAMES.get(type(value), type(value).__name__)
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:57] + '…'} ({kind})"
