"""``segmi export``, ``publish`` and ``app``: use trained networks elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segmi.cli.options import AsJson, Bundle, Threshold
from segmi.cli.output import calm_libraries, put, put_json, say
from segmi.types import THRESHOLD


def export(
    bundle: Bundle,
    format: Annotated[
        str, typer.Option("--format", "-f", help="onnx, torch-export, or safetensors (weights and description).")
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write (default: model.onnx, .pt2 or .safetensors)."
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--images", metavar="FILES", help="Images for the comparison (default: generated scenes)."),
    ] = None,
    threshold: Threshold = THRESHOLD,
    as_json: AsJson = False,
) -> None:
    """Write a bundle as a program that runs without segmi, after comparing it with PyTorch.

    The program accepts any batch size, height and width, and normalizes the images. Its metadata contain the
    preprocessing, the classes, their colors and the threshold. If a logit differs from PyTorch's by more than 1e-4,
    nothing is written. ONNX needs the `export` extra of segmi.

    Example: `segmi export runs/mine --format onnx --output mine.onnx --images photos`
    """
    calm_libraries()
    from segmi.deploy.bundle_paths import find_bundle
    from segmi.deploy.export import FORMATS, check_packages
    from segmi.deploy.export import export as write

    folder = find_bundle(bundle)
    check_packages(format)
    say("tracing and comparing; this takes up to a minute")
    target = output or Path(f"model{FORMATS.get(format, '')}")
    result = write(folder, target, format=format, images=images or [], threshold=threshold)
    if as_json:
        put_json({**result._asdict(), "path": str(result.path), "parity": result.parity._asdict()})
        return
    put(f"{result.path}: {result.bytes / 1e6:.1f} MB, image sides must be multiples of {result.stride}")
    put(str(result.parity))


def publish(
    bundle: Bundle,
    to: Annotated[
        str | None, typer.Option("--to", metavar="OWNER/NAME", help="A repository of the Hugging Face Hub.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write the same files to a new folder instead.")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", help="License of the weights: apache-2.0, cc-by-4.0, other.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the repository as private.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing folder.")] = False,
) -> None:
    """Publish a bundle with a model card (scores, protocol, license, limits) and the configuration of its run.

    `segmi.load` accepts the folder or the name of the repository. Pushing needs a Hub token in HF_TOKEN or from
    `hf auth login`. Scores come from the run that contains the bundle.

    Example: `segmi publish runs/mine --output mine --license apache-2.0`, then `segmi publish runs/mine --to me/mine`
    """
    from segmi.errors import UsageError

    if (to is None) == (output is None):
        raise UsageError("expected either --to OWNER/NAME or --output DIR", "pass one of the two")
    calm_libraries()
    import tempfile

    from segmi.deploy.bundle_paths import find_bundle
    from segmi.deploy.publish import push, write_folder

    source = find_bundle(bundle)
    if output is not None:
        if output.exists() and not overwrite:
            raise UsageError(f"{output} exists", "choose another folder, or replace it with --overwrite")
        for name in write_folder(source, output, license=license, replace=overwrite):
            put(str(output / name))
        return
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "published"
        write_folder(source, target, name=to, license=license)
        put(push(target, str(to), private=private))


def app(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A bundle, a run, or a folder of runs.")] = Path("runs"),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page.")] = 8501,
    threshold: Threshold = THRESHOLD,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Serve a page that compares networks on your images: masks, confidence, and shares of the classes.

    The page is served on this machine only, and images stay on it. Needs the `app` extra of segmi; stop
    it with Ctrl-C.

    Example: `segmi app runs`
    """
    calm_libraries()
    from segmi.deploy.app import serve

    code = serve(runs, port=port, threshold=threshold, browser=not no_browser, notify=say)
    if code:
        raise typer.Exit(code)
