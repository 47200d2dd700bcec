"""``segmi export``, ``publish`` and ``app``: a finished network leaves the house."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segmi.cli.networks import Bundle, find_bundle
from segmi.cli.output import calm_libraries, put, put_json, say


def export(
    bundle: Bundle,
    format: Annotated[
        str, typer.Option("--format", "-f", help="onnx, torch-export, or safetensors (weights and description).")
    ] = "onnx",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file; model.onnx or the like by default.")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images", metavar="FILES", help="Images or folders to compare on; else generated scenes."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a bundle as a program that runs without segmi, after comparing it with PyTorch.

    The program takes any batch, height and width; normalization is inside, the rest of the preparation, the classes and
    their colors are in its metadata. It is run (ONNX by onnxruntime) on images: if a logit differs by more than
    1e-4, nothing is written. ONNX needs the extra `export` of segmi.

    Example: `segmi export runs/mine --format onnx --out mine.onnx --images photos`
    """
    calm_libraries()
    from segmi.deploy.export import FORMATS
    from segmi.deploy.export import export as write

    say("tracing and comparing; this takes up to a minute")
    target = out or Path(f"model{FORMATS.get(format, '')}")
    done = write(find_bundle(bundle), target, format=format, images=images or [])
    if as_json:
        put_json({**done._asdict(), "path": str(done.path), "agreement": done.agreement._asdict()})
        return
    put(f"{done.path}: {done.bytes / 1e6:.1f} MB, sides of images in multiples of {done.stride}")
    put(str(done.agreement))


def publish(
    bundle: Bundle,
    to: Annotated[
        str | None, typer.Option("--to", metavar="OWNER/NAME", help="A repository of the Hugging Face Hub.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Write the same files into a folder instead.")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", "--license", help="Of the weights: apache-2.0, cc-by-4.0, other.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A repository that is made now is private.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it is there.")] = False,
) -> None:
    """Give a network to others: its two files, a card (scores, protocol, license, limits) and its configuration.

    Whoever has the folder or the name of the repository gets it with `segmi.load`. Pushing needs a token of the Hub in
    HF_TOKEN or from `hf auth login`. Scores are those of the run that the bundle lies in.

    Example: `segmi publish runs/mine --folder mine --license apache-2.0`, then `segmi publish runs/mine --to me/mine`
    """
    from segmi.errors import UsageError

    if (to is None) == (folder is None):
        raise UsageError("expected either --to OWNER/NAME or --folder DIR", "give one of the two")
    calm_libraries()
    import tempfile

    from segmi.deploy.publish import push, write_folder

    found = find_bundle(bundle)
    if folder is not None:
        if folder.exists() and not overwrite:
            raise UsageError(f"{folder} is there already", "name another folder, or replace it with --overwrite")
        for name in write_folder(found, folder, license=license, replace=overwrite):
            put(str(folder / name))
        return
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "published"
        write_folder(found, target, name=to, license=license)
        put(push(target, str(to), private=private))


def app(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A bundle, a run, or a folder of runs.")] = Path("runs"),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where the page is served.")] = 8501,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
) -> None:
    """Open a page to drop images on: masks of several runs side by side, confidence, and the shares of the classes.

    It is served on this machine alone, and images stay on it. Needs the extra `app` of segmi; Ctrl-C ends it.

    Example: `segmi app runs`
    """
    calm_libraries()
    from segmi.deploy.app import serve

    say(f"the page is at http://127.0.0.1:{port}")
    code = serve(runs, port=port, browser=not no_browser)
    if code:
        raise typer.Exit(code)
