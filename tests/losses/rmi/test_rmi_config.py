"""The options of region mutual information as keyword arguments of all losses."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest
import torch

from segmi.losses import LOSSES, RMIConfig, RMILoss, region_mutual_information
from segmi.losses.rmi.rmi_config import RMIOptions

OPTIONS = {item.name: item.default for item in fields(RMIConfig) if item.name in RMIOptions.__annotations__}


def test_options_are_fields_of_the_config() -> None:
    hints = get_type_hints(RMIConfig)
    assert {name: hints[name] for name in OPTIONS} == get_type_hints(RMIOptions)


@pytest.mark.parametrize("name", [name for name, kind in LOSSES.items() if kind.family == "rmi"])
def test_signatures_report_names_types_and_defaults(name: str) -> None:
    parameters = inspect.signature(LOSSES[name]).parameters
    assert {option: parameters[option].default for option in OPTIONS} == OPTIONS
    assert OPTIONS.keys() <= get_type_hints(LOSSES[name].__init__).keys()
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_unknown_options_are_refused_with_a_suggestion() -> None:
    message = r"^raduis: expected an option of the loss\. Fix: did you mean 'radius'\?$"
    with pytest.raises(TypeError, match=message):
        RMILoss(raduis=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^weight: expected an option of the loss\. Fix: did you mean 'bce_weight'\?$"):
        RMILoss(weight=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^xyz: .* Fix: use one of bce_weight, radius, .*, ignore_index, kernel\.$"):
        RMILoss(xyz=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^quantity: expected an option of the loss"):
        region_mutual_information(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8).long(), quantity="cka")  # type: ignore[call-arg]
