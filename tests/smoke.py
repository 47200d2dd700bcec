"""Build the wheel and the sdist, check their contents, and use them in a new environment; run by ``make smoke``.

The environment gets the core, then the extra ``train``, then ``all``; each stage runs what its user would run first.
PyTorch and the CUDA libraries, 5 GB of disk and most of the time of an installation, are links to the packages of the
running environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IN_WHEEL = (
    "segmi/__init__.py", "segmi/py.typed", "segmi/studies/demo.yaml", "segmi/study/template.yaml",
    "segmi/report/templates/page.html.jinja", "segmi/report/assets/report.css", "segmi/losses/measured_costs.csv",
    "segmi/deploy/model_card.md.jinja",
)  # fmt: skip
IN_SDIST = ("src/segmi/__init__.py", "studies/demo.yaml", "tests/conftest.py", "README.md", "LICENSE", "CITATION.cff")
TRAINING = ("--width", "2", "--steps", "2", "-b", "2", "--device", "cpu", "processing={resize: 36, crop: 32}")
DRAW = """
from pathlib import Path
from PIL import Image, ImageDraw
for number in range(8):
    image, mask = Image.new("RGB", (56, 40), (40, 60, 50)), Image.new("L", (56, 40))
    for canvas, color in ((image, (200, 90, 60)), (mask, 255)):
        ImageDraw.Draw(canvas).ellipse((4 + 3 * number, 8, 24 + 3 * number, 30), fill=color)
    for folder, one in (("images", image), ("masks", mask)):
        Path("photos", folder).mkdir(parents=True, exist_ok=True)
        one.save(f"photos/{folder}/{number}.png")
"""


@contextmanager
def stage(title: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"smoke: {title}", flush=True)
    yield
    print(f"smoke: {title}: {time.monotonic() - began:.0f} s", flush=True)


def run(*command: str | Path, folder: Path, expected: int = 0) -> str:
    """Run a command without the repository on its path, and return its output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"SEGMI_CACHE": str(folder / "cache"), "SEGMI_KERNELS": "off", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode != expected:
        sys.exit(f"smoke: {command}: exit code {done.returncode}, expected {expected}\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def link_pytorch(packages: Path) -> None:
    """Link PyTorch and the CUDA libraries of the running environment, so that pip finds them installed."""
    for found in distributions():
        if re.match(r"(torch|torchvision|triton|nvidia-.*|cuda-.*)$", found.metadata["Name"].lower()):
            # Without the folders outside of site-packages, which contain programs that nothing here runs.
            for top in {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}:
                link = packages / top
                if not link.exists():
                    link.symlink_to(Path(str(found.locate_file(top))).resolve())


def check_contents(wheel: Path, sdist: Path) -> None:
    """Check that files other than modules are in both, and that the wheel contains nothing but the package."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    studies = {f"segmi/studies/{path.name}" for path in (ROOT / "studies").glob("*.yaml")}
    missing = sorted({*IN_WHEEL, *modules, *studies} - set(names))
    other = [name for name in names if not re.match(r"segmi/|segmi-[\d.]+\.dist-info/", name) or "/tests/" in name]
    with tarfile.open(sdist) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    missing += sorted(set(IN_SDIST) - inside)
    other += [name for name in inside if name.startswith((".", "runs", "dist")) and name != ".gitignore"]
    if missing or other:
        sys.exit(f"smoke: missing files: {missing}; unexpected files: {other}")


def smoke(work: Path) -> None:
    dist = work / "dist"
    with stage("build wheel and sdist"):
        run(sys.executable, "-m", "build", "--outdir", dist, ROOT, folder=work)
        run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), folder=work)
        (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
        check_contents(wheel, sdist)
    scripts = work / "env" / ("Scripts" if os.name == "nt" else "bin")
    python, segmi = scripts / "python", scripts / "segmi"

    def install(extra: str) -> None:
        run(python, "-m", "pip", "install", "--quiet", f"{wheel}{extra}", folder=work)

    with stage("core: the example of the README"):
        venv.create(work / "env", with_pip=True)
        if os.name != "nt":  # links need administrator rights on Windows, and PyTorch has no CUDA libraries there
            link_pytorch(
                Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=work).strip())
            )
        install("")
        example = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
        assert example is not None
        (work / "example.py").write_text(example[1] + "print(logits.grad.abs().sum() > 0)\n", encoding="utf-8")
        assert "tensor(True)" in run(python, "example.py", folder=work)
        assert "segmi[train]" in run(segmi, "--version", folder=work, expected=5)
    with stage("train: data init, train, predict"):
        install("[train]")
        assert run(segmi, "--version", folder=work).strip() == wheel.name.split("-")[1]
        run(python, "-c", DRAW, folder=work)
        run(segmi, "data", "init", "photos", folder=work)
        run(segmi, "train", "photos", *TRAINING, "--output", "runs", folder=work)
        run(segmi, "predict", "runs", "photos/images", "--output", "predicted", folder=work)
        assert len(list((work / "predicted").glob("*.png"))) == 8
    with stage("all: study, report, export"):
        install("[all]")
        run(segmi, "study", "new", "mine.yaml", "--data", "photos", folder=work)
        run(
            segmi, "study", "run", "mine.yaml", "--root", "photos", "--runs", "studies", "seeds=[0]",
            "training.steps=2", "training.batch_size=2", "processing={resize: 36, crop: 32}", folder=work,
        )  # fmt: skip
        assert list((work / "studies").rglob("index.html"))
        run(segmi, "export", "runs", "--output", "network.onnx", folder=work)
        assert (work / "network.onnx").stat().st_size > 1000
    with stage("sdist: install and list studies"):
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", sdist, folder=work)
        assert "demo" in run(segmi, "list", "studies", folder=work)
    print("smoke: passed")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "smoke").absolute()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    smoke(target)
    shutil.rmtree(target)
