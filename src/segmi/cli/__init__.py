"""The command line: parse, call, print. Commands import heavy packages when they run, so that ``--help`` is fast.

Exit codes: 0 finished, 2 usage, 3 data refused, 4 run failed, 5 environment, 128 + signal when interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import segmi
from segmi.cli import data, deploying, doctor, listing, networks, show, study, study_run, train
from segmi.cli.output import accept_all_characters, explain_error, settings

__all__ = ["app", "main"]

app = typer.Typer(
    name="segmi",
    help="""Compare segmentation losses fairly, and train networks on your own images.

    A study without downloads: `segmi study run demo`

    Your own images: `segmi data init DIR`, then `segmi train DIR`""",
    epilog="Exit codes: 0 finished, 2 usage, 3 data refused, 4 run failed, 5 environment, 130/143 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="markdown",  # paragraphs are reflowed
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
study.app.command("run")(study_run._run)
study.app.command("retry")(study_run._retry)
app.add_typer(study.app, name="study", rich_help_panel="Studies")
app.command(name="report", rich_help_panel="Studies")(study.report)
app.command(name="train", rich_help_panel="Networks")(train._train)
app.command(name="evaluate", rich_help_panel="Networks")(networks.evaluate)
app.command(name="probe", rich_help_panel="Networks")(networks.probe)
app.command(name="predict", cls=networks.PredictCommand, rich_help_panel="Networks")(networks.predict)
app.command(name="show", rich_help_panel="Networks")(show.show)
app.command(name="export", rich_help_panel="Networks")(deploying.export)
app.command(name="app", rich_help_panel="Networks")(deploying.app)
app.command(name="publish", rich_help_panel="Networks")(deploying.publish)
app.add_typer(listing.app, name="list", rich_help_panel="Lists and data")
app.add_typer(data.app, name="data", rich_help_panel="Lists and data")
app.command(name="doctor", rich_help_panel="Lists and data")(doctor.doctor)

# Global options, which are also accepted after the command.
_GLOBAL = {"--debug": "--debug", "--quiet": "--quiet", "-q": "--quiet"}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(segmi.__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors, no progress.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Store the global options."""
    settings.debug, settings.quiet = debug, quiet


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors are printed as one message without a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    leading = [_GLOBAL[argument] for argument in given[:end] if argument in _GLOBAL]
    rest = [argument for argument in given[:end] if argument not in _GLOBAL] + given[end:]
    settings.debug, settings.quiet = "--debug" in leading, "--quiet" in leading
    accept_all_characters()
    try:
        app(args=leading + rest, prog_name="segmi")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        return 130
    except Exception as error:
        return explain_error(error)
    return 0
