"""Values, palettes, class lists and ignored values: each is read as meant, or refused with the choices."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from segmi.datasets.detection import Proposal, propose
from segmi.errors import DataError, SegmiError, UsageError

SIZE = (24, 32)
PAINT = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], dtype=np.uint8)


def regions(values: list[int], seed: int = 0) -> np.ndarray:
    """The first value with a block of each of the others."""
    pixels = np.full(SIZE, values[0], dtype=np.uint8)
    for index, value in enumerate(values[1:]):
        top = int(np.random.default_rng([seed, index]).integers(0, 12))
        pixels[top : top + 9, 5 * index : 5 * index + 5] = value
    return pixels


def save(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.astype(np.uint8).ravel().tolist())
    image.save(path, **options)


def folder(root: Path, masks: list[np.ndarray], name: str = "masks/{}.png", **options: int) -> Path:
    for number, pixels in enumerate(masks):
        photo = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        save(root / "images" / f"{number}.png", photo)
        save(root / name.format(number), pixels, **options)
    return root


def meaning(proposal: Proposal) -> dict[str, tuple]:
    return {one.name: one.values for one in proposal.dataset.config.classes}


def label_maps(proposal: Proposal) -> dict[str, np.ndarray]:
    dataset = proposal.dataset
    return {s.name: dataset.read_mask(s) for split in dataset.splits for s in dataset.split(split)}


# Class lists


def test_the_list_nearest_to_the_masks_wins(tmp_path):
    """labelme's export: labels.txt with __ignore__ above, class_names.txt beside the masks."""
    masks = [regions([0, 1, 2, 255], seed) for seed in range(4)]
    folder(tmp_path / "data", masks, "labels/{}.png")
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nplane\nbike\nboat\n")
    (tmp_path / "data" / "class_names.txt").write_text("_background_\naeroplane\nbicycle\n")
    proposal = propose(tmp_path)
    assert meaning(proposal) == {"_background_": (0,), "aeroplane": (1,), "bicycle": (2,)}
    assert proposal.dataset.config.ignored == (255,)
    assert any(note.startswith("255 (") and "of the pixels) is ignored" in note for note in proposal.notes)


@pytest.mark.parametrize("name", ["labels.txt", "classes.txt"])
def test_labelme_ignore_does_not_shift_the_classes(tmp_path, name):
    root = folder(tmp_path, [regions([0, 1, 2, 255], seed) for seed in range(4)])
    (root / name).write_text("__ignore__\n_background_\nplane\nbike\n")
    proposal = propose(root)
    assert meaning(proposal) == {"_background_": (0,), "plane": (1,), "bike": (2,)}
    assert proposal.dataset.config.ignored == (255,)


@pytest.mark.parametrize(
    "lines",
    [
        ["0 null", "1 hat", "2 sun glasses"],
        ["0: null", "1: hat", "2: sun glasses"],
        ["0\tnull", "1\that", "2\tsun glasses"],
        ["null 0", "hat 1", "sun glasses 2"],
        ["2 sun glasses 0 9 0", "0 null 0 0 0", "1 hat 9 0 0"],
        ["null,0,#000000", "hat,1,#090000", "sun glasses,2,#000900"],
    ],
)
@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_numbers_and_names_in_one_line_are_split(tmp_path, lines, name):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    (root / name).write_text("\n".join(lines))
    assert meaning(propose(root)) == {"null": (0,), "hat": (1,), "sun glasses": (2,)}


def test_numbers_in_names_stay(tmp_path):
    root = folder(tmp_path, [regions([0, 1], seed) for seed in range(4)])
    (root / "classes.txt").write_text("class 1\nclass 2\n")
    assert meaning(propose(root)) == {"class 1": (0,), "class 2": (1,)}


def test_colors_of_a_label_map_decide_over_line_order(tmp_path):
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[[0, 3, 7]] = [(0, 0, 0), (9, 90, 0), (200, 0, 0)]
    masks = [regions([0, 3, 7], seed) for seed in range(4)]
    root = folder(tmp_path, masks, palette=palette)
    (root / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\ncar:200,0,0::\nbackground:0,0,0::\ntree:9,90,0::\n"
    )
    proposal = propose(root)
    assert meaning(proposal) == {"car": (7,), "background": (0,), "tree": (3,)}
    assert "the values follow the colors in the list" in proposal.notes


def test_gray_colors_of_a_table_are_the_values(tmp_path):
    root = folder(tmp_path, [regions([0, 100, 255], seed)[..., None].repeat(3, 2) for seed in range(4)])
    (root / "class_dict.csv").write_text("name,r,g,b\nroad,255,255,255\nother,0,0,0\ncar,100,100,100\n")
    assert meaning(propose(root)) == {"road": (255,), "other": (0,), "car": (100,)}


def test_two_names_for_0_and_255(tmp_path):
    root = folder(tmp_path, [regions([0, 255], seed) for seed in range(4)])
    (root / "classes.txt").write_text("tissue\npolyp\n")
    proposal = propose(root)
    assert (meaning(proposal), proposal.dataset.config.ignored) == ({"tissue": (0,), "polyp": (255,)}, ())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("class_list.json", {"#010101": "car", "#020202": "tree", "#000000": "background"}),
        ("obj_class_to_machine_color.json", {"car": [1, 1, 1], "tree": [2, 2, 2]}),
        ("dataset.json", {"channel_names": {"0": "R"}, "labels": {"background": 0, "car": 1, "tree": 2}}),
        ("dataset.json", {"labels": {"0": "background", "1": "car", "2": "tree"}}),
        ("label_classes.json", [{"png_index": i, "class_name": n} for i, n in ((1, "car"), (2, "tree"))]),
        ("classes.json", [{"id": i, "name": n} for i, n in ((0, "background"), (1, "car"), (2, "tree"))]),
        ("config.json", {"width": 3, "labels": [{"readable": n} for n in ("background", "car", "tree")]}),
        ("id2label.json", {"0": "background", "1": "car", "2": "tree"}),
    ],
)
def test_json_lists_of_classes(tmp_path, name, content):
    root = folder(tmp_path, [regions([0, 1, 2], seed)[..., None].repeat(3, 2) for seed in range(4)])
    (root / name).write_text(json.dumps(content))
    assert meaning(propose(root)) == {"background": (0,), "car": (1,), "tree": (2,)}


def test_three_equal_channels_use_the_class_list(tmp_path):
    drawn = [regions([0, 1, 2, 3], seed) for seed in range(4)]
    root = folder(tmp_path, [pixels[..., None].repeat(3, 2) for pixels in drawn])
    (root / "classes.txt").write_text("background\nroad\ntree\nhouse\n")
    proposal = propose(root)
    assert meaning(proposal) == {"background": (0,), "road": (1,), "tree": (2,), "house": (3,)}
    for name, labels in label_maps(proposal).items():
        np.testing.assert_array_equal(labels, drawn[int(name)])


def test_names_without_colors_are_reported(tmp_path):
    root = folder(tmp_path, [PAINT[regions([0, 1, 2], seed)] for seed in range(4)])
    (root / "classes.txt").write_text("background\nroad\ntree\n")
    assert any(note.startswith("classes.txt has names without their colors") for note in propose(root).notes)


# Palettes


def test_palettes_that_differ_are_read_by_color(tmp_path):
    drawn = [regions([0, 1, 2], seed) for seed in range(6)]
    for number, pixels in enumerate(drawn):
        order = np.array([0, 1, 2] if number % 2 else [2, 0, 1])
        save(tmp_path / "images" / f"{number}.png", np.random.default_rng(number).integers(0, 9, (*SIZE, 3), np.uint8))
        save(tmp_path / "masks" / f"{number}.png", np.argsort(order)[pixels].astype(np.uint8), PAINT[order])
    proposal = propose(tmp_path)
    assert proposal.dataset.config.masks == "color"
    assert [one.values for one in proposal.dataset.config.classes] == [((0, 0, 0),), ((0, 255, 0),), ((255, 0, 0),)]
    for name, labels in label_maps(proposal).items():
        np.testing.assert_array_equal(labels, np.array([0, 2, 1])[drawn[int(name)]])
    assert any(note.startswith("the palettes differ from file to file") for note in proposal.notes)
    (tmp_path / "classes.txt").write_text("background\ncar\ntree\n")
    with pytest.raises(
        DataError, match=r"palettes that differ and names without colors in classes.txt(.|\n)*name r g b"
    ):
        propose(tmp_path)


def test_random_palettes_are_refused(tmp_path):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    for number, path in enumerate(sorted((root / "masks").iterdir())):
        palette = np.random.default_rng(number).integers(0, 256, (3, 3))
        save(path, np.asarray(Image.open(path)), palette)
    with pytest.raises(DataError, match=r"12 colors that one file has(.|\n)*save the masks as gray values"):
        propose(root)


def test_palettes_with_other_unused_entries_are_equal(tmp_path):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    for number, path in enumerate(sorted((root / "masks").iterdir())):
        save(path, np.asarray(Image.open(path)), np.array([*PAINT, *[(number, 3, 4)] * number]))
    config = propose(root).dataset.config
    assert config.masks == "index"
    assert [one.color for one in config.classes] == [(0, 0, 0), (255, 0, 0), (0, 255, 0)]


# The ignored value


@pytest.mark.parametrize(
    ("masks", "message", "threshold"),
    [
        ([[0, 255]] * 3 + [[0, 1]] * 3, "in 3 of 6 files 255 is the only value beside 0, and 3 files hold also 1", 1),
        ([[0, 255]] * 4 + [[0, 255, 128]], "in 4 of 5 files 255 is the only value beside 0", 128),
        ([[0, 255]] * 5 + [[0, 1, 2]], "in 5 of 6 files 255 is the only value beside 0", 1),
    ],
)
def test_a_foreground_of_255_is_not_taken_for_ignored(tmp_path, masks, message, threshold):
    root = folder(tmp_path, [regions(values, seed) for seed, values in enumerate(masks)])
    with pytest.raises(UsageError) as caught:
        propose(root)
    assert message in str(caught.value)
    assert f"--threshold {threshold} (" in str(caught.value.remedy)
    proposal = propose(root, threshold=threshold)
    assert meaning(proposal) == {"background": (0,), "foreground": (255,)}
    for name, labels in label_maps(proposal).items():
        np.testing.assert_array_equal(labels, regions(masks[int(name)], int(name)) >= threshold)
    assert propose(root, ignored=[255]).dataset.config.ignored == (255,)
    assert (255,) in meaning(propose(root, ignored=[])).values()


def test_stray_values_at_the_edges(tmp_path):
    masks = [regions([0, 255], seed) for seed in range(4)]
    for pixels in masks:
        pixels[np.roll(pixels, 1, 1) != pixels] = 128
    with pytest.raises(UsageError, match=r"hold also 128 \(shares of the pixels: 0 .*%, 128 .*%, 255"):
        propose(folder(tmp_path, masks))


def test_evenly_spaced_grays_are_classes(tmp_path):
    proposal = propose(folder(tmp_path, [regions([0, 85, 170, 255], seed) for seed in range(4)]))
    assert list(meaning(proposal).values()) == [(0,), (85,), (170,), (255,)]
    assert "255 is a class, since the values are evenly spaced" in proposal.notes


def test_255_beside_classes_is_ignored_with_its_share(tmp_path):
    masks = [regions([0, 1, 2, 255], seed) for seed in range(4)] + [regions([0, 255])]
    proposal = propose(folder(tmp_path, masks))
    assert proposal.dataset.config.ignored == (255,)
    note = "255 (5.86% of the pixels) is ignored, since there are other values"
    assert f"{note}; 1 mask with 0 and 255 only: check that 255 is not the foreground there" in proposal.notes
    mixed = propose(folder(tmp_path / "mixed", masks[:4])).notes
    assert any(one.endswith("is ignored, since there are other values") for one in mixed)


@pytest.mark.parametrize(
    ("values", "palette", "first"),
    [
        ([0, 1], None, "background"),
        ([0, 255], None, "background"),
        ([0, 1, 2], None, "class 0"),
        ([0, 7], None, "class 0"),
        ([0, 1, 2], PAINT, "background"),
        ([0, 1, 2], PAINT[::-1], "class 0"),
    ],
)
def test_the_first_class_is_background_only_if_that_is_known(tmp_path, values, palette, first):
    root = folder(tmp_path, [regions(values, seed) for seed in range(4)])
    for path in (root / "masks").iterdir() if palette is not None else ():
        save(path, np.asarray(Image.open(path)), palette)
    assert propose(root).dataset.info.classes[0] == first


# Masks with blurred edges


def blurred(seed: int) -> np.ndarray:
    return np.asarray(Image.fromarray(regions([0, 255], seed)).filter(ImageFilter.GaussianBlur(0.8)))


@pytest.mark.parametrize("kind", ["jpeg", "smoothed", "sixteen bits"])
def test_blurred_binary_masks_need_a_threshold(tmp_path, kind):
    drawn = [regions([0, 255], seed) for seed in range(4)]
    if kind == "jpeg":
        root = folder(tmp_path, drawn, "masks/{}.jpg", quality=90)
    elif kind == "smoothed":
        root = folder(tmp_path, [blurred(seed) for seed in range(4)])
    else:
        root = folder(tmp_path, [pixels.astype(np.uint16) * 257 for pixels in drawn])
    middle = {"sixteen bits": 32768}.get(kind, 128)
    with pytest.raises(DataError, match=rf"--threshold {middle} \(\d+\.\d\d% of the pixels would change side"):
        propose(root)
    proposal = propose(root, threshold=middle)
    assert proposal.dataset.config.threshold == middle
    assert meaning(proposal) == {"background": (0,), "foreground": (255,)}
    for name, labels in label_maps(proposal).items():
        assert (labels != drawn[int(name)] // 255).mean() < 0.03
    (root / "segmi.toml").write_text(proposal.text())
    assert "threshold = " in (root / "segmi.toml").read_text()


def test_a_transparent_mask_is_named(tmp_path):
    masks = [np.dstack([np.full((*SIZE, 3), 255, np.uint8), regions([0, 255], seed)]) for seed in range(4)]
    with pytest.raises(SegmiError, match=r"different transparency(.|\n)*save the alpha channel"):
        propose(folder(tmp_path, masks))


def test_lists_of_other_names_are_read_if_they_have_all_values(tmp_path):
    root = folder(tmp_path, [PAINT[regions([0, 1, 2], seed)] for seed in range(4)])
    (root / "my_palette.csv").write_text("name, r, g, b\nground, 0, 0, 0\ncar, 255, 0, 0\ntree, 0, 255, 0\n")
    (root / "labels_per_image.csv").write_text("name,value\n1.png,3\n2.png,4\n")
    assert meaning(propose(root)) == {"ground": ((0, 0, 0),), "car": ((255, 0, 0),), "tree": ((0, 255, 0),)}
    (root / "my_palette.csv").write_text("name, r, g, b\nground, 0, 0, 0\ncar, 255, 0, 0\ntree, 0, 9, 0\n")
    assert propose(root).dataset.info.classes == ("background", "class 1", "class 2")


def test_transparent_pixels_of_masks_are_reported(tmp_path):
    alpha = np.full(SIZE, 255, dtype=np.uint8)
    alpha[:6] = 0
    masks = [np.dstack([PAINT[regions([0, 1, 2], seed)], alpha]) for seed in range(4)]
    notes = "\n".join(propose(folder(tmp_path, masks)).notes)
    assert "25.00% of the pixels of the masks are transparent: transparency is left out" in notes


def test_opaque_masks_get_no_note_on_transparency(tmp_path):
    masks = [np.dstack([PAINT[regions([0, 1, 2], seed)], np.full(SIZE, 255, np.uint8)]) for seed in range(4)]
    assert "transparent" not in "\n".join(propose(folder(tmp_path, masks)).notes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_values_that_a_geotiff_declares_as_missing_are_reported(tmp_path, dtype):
    tifffile = pytest.importorskip("tifffile")
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    for path in sorted((root / "masks").iterdir()):
        tags = [(42113, "s", 0, "0", True)]
        tifffile.imwrite(path.with_suffix(".tif"), np.array(Image.open(path)).astype(dtype), extratags=tags)
        path.unlink()
    note = "the masks declare 0 as missing (GDAL_NODATA, 88.28% of the pixels): --ignored 0 ignores it"
    assert note in propose(root).notes
    assert note not in propose(root, ignored=[0]).notes


def test_lists_with_other_names_are_reported(tmp_path):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    (root / "masks" / "classes.txt").write_text("background\ncat\ndog\n")
    (root / "images" / "classes.txt").write_text("background\ndog\ncat\n")
    (root / "labels.txt").write_text("__ignore__\nbackground\ncat\ndog\n")
    proposal = propose(root)
    assert meaning(proposal) == {"background": (0,), "cat": (1,), "dog": (2,)}
    reported = [note for note in proposal.notes if "other names" in note]
    assert reported == ["images/classes.txt has other names and is not used"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.csv", 'id;name;r;g;b\n0;"background";0;0;0\n1;"wild cat";9;9;9\n2;dog;1;2;3\n'),
        ("labels.csv", "id\tname\n0\tbackground\n1\twild cat\n2\tdog\n"),
        ("classes.json", json.dumps({"0": {"name": "background"}, "1": {"name": "wild cat"}, "2": {"name": "dog"}})),
        (
            "labels.json",
            json.dumps({k: {"id": i, "color": [i, 2, 3]} for i, k in enumerate(("background", "wild cat", "dog"))}),
        ),
    ],
)
def test_tables_with_other_separators_and_nested_json_are_read(tmp_path, name, text):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    (root / name).write_text(text)
    assert meaning(propose(root)) == {"background": (0,), "wild cat": (1,), "dog": (2,)}


def test_lists_in_another_encoding_are_refused_and_other_texts_are_not(tmp_path):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    (root / "readme.txt").write_bytes("Straße".encode("latin-1"))
    propose(root)
    (root / "labels.txt").write_bytes("background\nStraße\nBaum\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"labels\.txt: expected UTF-8 text"):
        propose(root)


def test_tables_of_other_names_with_gray_colors_are_read(tmp_path):
    root = folder(tmp_path, [regions([0, 255], seed) for seed in range(4)])
    (root / "label_class_dict.csv").write_text("name,r,g,b\nbackground,0,0,0\nroad,255,255,255\n")
    assert meaning(propose(root)) == {"background": (0,), "road": (255,)}


def test_labels_that_are_not_evaluated_are_ignored(tmp_path):
    root = folder(tmp_path, [regions([0, 1, 2], seed) for seed in range(4)])
    names = [("bird", True), ("curb", True), ("void--unlabeled", False)]
    labels = [{"name": name, "color": [9 * i, 0, 0], "evaluate": used} for i, (name, used) in enumerate(names)]
    (root / "config.json").write_text(json.dumps({"labels": labels}))
    proposal = propose(root)
    assert meaning(proposal) == {"bird": (0,), "curb": (1,)}
    assert proposal.dataset.config.ignored == (2,)


def test_red_masks_as_jpeg_get_a_threshold_of_their_brightness(tmp_path):
    masks = [np.kron(PAINT[regions([0, 1], seed)], np.ones((8, 8, 1), np.uint8)) for seed in range(4)]
    root = tmp_path
    for number, pixels in enumerate(masks):
        photo = np.random.default_rng(number).integers(0, 256, pixels.shape, dtype=np.uint8)
        save(root / "images" / f"{number}.png", photo)
        save(root / "masks" / f"{number}.jpg", pixels, quality=95)
    with pytest.raises(DataError) as error:
        propose(root)
    threshold = int(re.search(r"--threshold (\d+)", str(error.value.remedy))[1])
    assert 30 <= threshold <= 46  # half of the brightness of red, 76
    found = label_maps(propose(root, threshold=threshold))
    assert all((found[str(n)] == (pixels[..., 0] > 0)).mean() > 0.995 for n, pixels in enumerate(masks))


def test_ignoring_all_classes_but_one_is_refused_with_the_reason(tmp_path):
    root = folder(tmp_path, [regions([0, 255], seed) for seed in range(4)])
    (root / "classes.txt").write_text("thing\nvoid 255\n")
    with pytest.raises(DataError, match=r"classes\.txt: expected at least two classes .* got 1: .* ignored \(255\)"):
        propose(root)
    (root / "classes.txt").write_text("thing\nforeground\n")
    assert meaning(propose(root)) == {"thing": (0,), "foreground": (255,)}
    (root / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"--ignored: expected at least two classes(.|\n)*--ignored none"):
        propose(root, ignored=[255])
