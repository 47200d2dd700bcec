"""One valid folder, one mutation per kind of bad input: each is found by the check and refused at reading.

Every refusal is a `DataError` that names the file and says what to do.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmi.cli import main
from segmi.datasets import DatasetReader, check_dataset, open_dataset
from segmi.errors import DataError

IMAGE, MASK = "images/0001.png", "masks/0001.png"
SIZE = (6, 8)


def set_bytes(content: bytes) -> Callable[[Path], None]:
    def mutate(path: Path) -> None:
        path.write_bytes(content)

    return mutate


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 0x55
    path.write_bytes(bytes(content))


def unknown_id(path: Path) -> None:
    mask = np.array(Image.open(path))
    mask[0, :3] = (200, 201, 201)
    Image.fromarray(mask).save(path)


def larger(path: Path) -> None:
    Image.open(path).resize((9, 7), Image.Resampling.NEAREST).save(path)


def turned(path: Path) -> None:
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)


def sixteen_bits(path: Path) -> None:
    Image.fromarray(np.full(SIZE, 300, dtype=np.uint16)).save(path)


def floats(path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full(SIZE, 0.5, dtype=np.float32)).save(buffer, "TIFF")
    path.write_bytes(buffer.getvalue())


def jpeg(path: Path) -> None:
    buffer = io.BytesIO()
    Image.open(path).convert("L").save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue())


def colors(path: Path) -> None:
    Image.fromarray(np.full((*SIZE, 3), (200, 0, 40), dtype=np.uint8)).save(path)


def gray_channels(path: Path) -> None:
    Image.fromarray(np.full((*SIZE, 3), 200, dtype=np.uint8)).save(path)


def animated(path: Path) -> None:
    frames = [Image.fromarray(np.full((*SIZE, 3), value, dtype=np.uint8)) for value in (0, 100, 200)]
    frames[0].save(path, "PNG", save_all=True, append_images=frames[1:])


def png_of_size(width: int, height: int) -> bytes:
    """A valid PNG header of any size with next to no data: a decompression bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def instead(put: Callable[[Path], object]) -> Callable[[Path], None]:
    def mutate(path: Path) -> None:
        path.unlink()
        put(path)

    return mutate


HTML = b"\n<!DOCTYPE html><html><title>Sign in</title></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"

CASES: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    # defect: (file, mutation, part of the message, part of the remedy)
    "mask with unknown ids": (
        MASK,
        unknown_id,
        "expected the values 0–2, 255 (3 classes of folder, ignored: 255), got also 200, 201 (6.2% of the pixels)",
        "add the missing classes or the ignored value",
    ),
    "truncated image": (IMAGE, truncate, "truncated or damaged", "download or copy the file again"),
    "truncated mask": (MASK, truncate, "truncated or damaged", "download or copy the file again"),
    "flipped byte in a mask": (MASK, flip_byte, "truncated or damaged", "download or copy the file again"),
    "empty image": (IMAGE, set_bytes(b""), "got an empty file", "download or copy the file again"),
    "empty mask": (MASK, set_bytes(b""), "got an empty file", "download or copy the file again"),
    "web page as image": (IMAGE, set_bytes(HTML), "got a web page", "the server asked for a login"),
    "web page as mask": (MASK, set_bytes(HTML), "got a web page", "the server asked for a login"),
    "Git LFS pointer": (IMAGE, set_bytes(LFS), "got a Git LFS pointer", "git lfs pull"),
    "noise as image": (
        IMAGE,
        set_bytes(b"\x00\x01noise" * 99),
        "got something else",
        "download or copy the file again",
    ),
    "PostScript as image": (
        IMAGE,
        set_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "got something else",
        "again",
    ),
    "mask of another size": (
        MASK,
        larger,
        "expected the size of its image",
        "resize the mask to the image by nearest",
    ),
    "mask turned by 90°": (MASK, turned, "8×6, got 6×8", "exif_orientation"),
    "16-bit mask": (
        MASK,
        sixteen_bits,
        "expected a mask of values from 0 to 255, got 16-bit values from 300 to 300",
        "save the mask as an 8-bit grayscale PNG",
    ),
    "float mask": (MASK, floats, "expected a mask of values from 0 to 255, got float", "as an 8-bit grayscale PNG"),
    "16-bit image": (
        IMAGE,
        sixteen_bits,
        "expected 8 bits per channel, got 16-bit integers",
        "set value_range in segmi.toml",
    ),
    "mask saved as JPEG": (
        MASK,
        jpeg,
        "expected a lossless mask, got JPEG",
        "export the mask again from its source as PNG",
    ),
    "color mask without colors": (
        MASK,
        colors,
        "expected one channel of values, got colors (mode RGB)",
        "`name r g b`",
    ),
    "three equal channels of an unknown value": (MASK, gray_channels, "got also 200", "add the missing classes"),
    "animated image": (IMAGE, animated, "expected one image, got 3 frames", "save the frame that is meant"),
    "animated mask": (MASK, animated, "expected one image, got 3 frames", "save the frame that is meant"),
    "bomb": (IMAGE, set_bytes(png_of_size(20_000, 20_000)), "expected at most 89 megapixels, got", "into tiles"),
    "bomb below Pillow's own limit": (
        MASK,
        set_bytes(png_of_size(10_000, 9_000)),
        "megapixels, got 10000×9000",
        "into tiles",
    ),
    "pipe as image": (
        IMAGE,
        instead(lambda path: os.mkfifo(path)),
        "expected a file, got a pipe or device",
        "put the image there",
    ),
    "device as mask": (
        MASK,
        instead(lambda path: path.symlink_to("/dev/zero")),
        "expected a file, got a pipe or device",
        "put the image there",
    ),
    "link that leads nowhere": (
        IMAGE,
        instead(lambda path: path.symlink_to(path.with_name("nowhere"))),
        "expected a file, got none",
        "put the file there",
    ),
    "links in a circle": (
        MASK,
        instead(lambda path: path.symlink_to(path)),
        "expected a file, got Too many levels of symbolic links",
        "download or copy the file again",
    ),
    "image without mask": (
        IMAGE,
        lambda path: (path.parents[1] / MASK).unlink(),
        "image without mask: expected",
        "add the mask",
    ),
    "mask without image": (
        MASK,
        lambda path: (path.parents[1] / IMAGE).unlink(),
        "mask without image: expected",
        "add the image",
    ),
}


def read_everything(dataset: DatasetReader) -> None:
    for split in dataset.splits:
        for sample in dataset.split(split):
            dataset.read(sample)


if sys.platform == "win32":  # it has no such files
    for case in ("pipe as image", "device as mask", "link that leads nowhere", "links in a circle"):
        del CASES[case]


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_check_names_the_file_and_the_remedy(case, make):
    file, mutate, what, remedy = CASES[case]
    root = make("folder")
    mutate(root / file)
    report = check_dataset(open_dataset("folder", root))
    (problem,) = report.problems
    assert problem.file == str(root / file)
    assert what in problem.message
    assert remedy in problem.remedy
    error = report.error()
    assert isinstance(error, DataError)
    assert error.exit_code == 3
    for part in (str(root / file), what, remedy):
        assert part in str(error)


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_reading_refuses(case, make):
    file, mutate, what, remedy = CASES[case]
    root = make("folder")
    mutate(root / file)
    dataset = open_dataset("folder", root)
    with pytest.raises(DataError) as caught:
        read_everything(dataset)
    for part in (str(root / file), what, remedy):
        assert part in str(caught.value)


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_command_refuses_with_one_message(case, make, capsys):
    file, mutate, what, remedy = CASES[case]
    root = make("folder")
    mutate(root / file)
    assert main(["data", "check", "folder", "--root", str(root), "--quiet"]) == 3
    err = capsys.readouterr().err
    for part in (str(root / file), what, "Fix: ", remedy):
        assert part in err
    assert "Traceback" not in err
    assert "unexpected" not in err


def test_a_folder_named_like_an_image(make):
    root = make("folder")
    (root / IMAGE).unlink()
    (root / IMAGE).mkdir()
    (problem,) = check_dataset(open_dataset("folder", root)).problems
    assert "mask without image" in problem.message


def test_warnings_as_errors_do_not_hide_the_bomb(make):
    root = make("folder")
    (root / IMAGE).write_bytes(png_of_size(10_000, 9_000))
    dataset = open_dataset("folder", root)
    sample = next(s for split in dataset.splits for s in dataset.split(split) if s.name == "0001")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"0001.png: expected at most 89 megapixels"):
            dataset.read(sample)


def test_all_problems_are_reported_together(make):
    root = make("folder")
    for case, number in {"16-bit mask": 0, "web page as mask": 1, "truncated mask": 2}.items():
        CASES[case][1](root / f"masks/{number:04d}.png")
    (root / "masks/0003.png").unlink()
    (root / "images/0004.png").unlink()
    report = check_dataset(open_dataset("folder", root))
    files = {Path(problem.file).relative_to(root).as_posix() for problem in report.problems}
    assert files == {"masks/0000.png", "masks/0001.png", "masks/0002.png", "images/0003.png", "masks/0004.png"}
    assert "5 problems in data" in str(report.error())
    assert sum(split.readable for split in report.splits) == 1


def test_a_broken_image_and_a_broken_mask_are_both_named(make):
    root = make("folder")
    (root / IMAGE).write_bytes(b"")
    (root / MASK).write_bytes(b"")
    report = check_dataset(open_dataset("folder", root))
    assert {problem.file for problem in report.problems} == {str(root / IMAGE), str(root / MASK)}
