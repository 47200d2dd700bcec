"""The three objects keep the contracts of segmi, and the loss has the value of its formula."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from segmi_plugin_example.dilated_net import dilated_net
from segmi_plugin_example.generalized_cross_entropy import GeneralizedCrossEntropy
from segmi_plugin_example.oxford_pets import OxfordPets

from segmi.testing import check_dataset, check_loss, check_model


def test_the_loss_keeps_the_contract() -> None:
    check_loss(GeneralizedCrossEntropy)


def test_the_loss_has_the_value_of_its_formula() -> None:
    logits, labels = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8))
    truth = logits.softmax(1).gather(1, labels.unsqueeze(1))
    torch.testing.assert_close(GeneralizedCrossEntropy(q=1)(logits, labels), (1 - truth).mean())
    torch.testing.assert_close(GeneralizedCrossEntropy(q=0.5)(logits, labels), (2 - 2 * truth.sqrt()).mean())
    limit = GeneralizedCrossEntropy(q=1e-6)(logits.double(), labels)
    torch.testing.assert_close(limit, F.cross_entropy(logits.double(), labels), rtol=1e-5, atol=0)


def test_invalid_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"q: expected a number above 0 and at most 1, got 2\. Fix: use 0\.7"):
        GeneralizedCrossEntropy(q=2)


def test_the_dataset_keeps_the_contract(tmp_path: Path) -> None:
    for folder in ("images", "annotations/trimaps"):
        (tmp_path / folder).mkdir(parents=True)
    random = np.random.default_rng(0)
    names = [f"Abyssinian_{number}" for number in range(12)]
    for name in names:
        image, trimap = random.integers(0, 256, (6, 8, 3)), random.integers(1, 4, (6, 8))
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "images" / f"{name}.jpg")
        Image.fromarray(trimap.astype(np.uint8)).save(tmp_path / "annotations" / "trimaps" / f"{name}.png")
    for file, listed in {"trainval.txt": names[:10], "test.txt": names[10:]}.items():
        lines = ["#Image CLASS-ID SPECIES BREED ID", *(f"{name} 1 1 1" for name in listed)]
        (tmp_path / "annotations" / file).write_text("\n".join(lines) + "\n")
    reader = OxfordPets(tmp_path)
    check_dataset(reader)
    assert [len(reader.split(name)) for name in reader.splits] == [8, 2, 2]
    assert {sample.name for sample in reader.split("val")} == {names[4], names[9]}


def test_the_network_keeps_the_contract() -> None:
    check_model(dilated_net, {"width": 4, "depth": 3}, side=32)
