"""The command line: the only place that prints and sets exit codes. Everything heavy is imported inside a command."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

import harness
from harness import interrupts
from harness.errors import HarnessError

DONE, MISTAKE, UNUSABLE, INTERNAL = 0, 2, 4, 70

_EPILOG = """
\b
Exit codes:
  0 done    1 done, some runs failed    2 mistake in command, suite or plugin, nothing ran
  3 what 'report --require' asks for is not so
  4 results folder, data or environment unusable    70 internal error
  130, 143 interrupted, state kept: the same command goes on
"""


# Where each command is, and the first paragraph of its help: `harness --help` imports none of them.
_COMMANDS = {
    "run": ("running", "run", "Do what is missing of SUITE, then write tables and report."),
    "plan": (
        "looking",
        "plan",
        "Show how many runs SUITE asks for, of what, and how long they take, before anything runs.",
    ),
    "check": (
        "looking",
        "check",
        "Check SUITE: every mistake at once, with line, column and what is allowed. Nothing is run or written.",
    ),
    "status": (
        "looking",
        "status",
        "Show what of SUITE is done, what failed and why, and what is missing; changes nothing.",
    ),
    "report": (
        "looking",
        "report",
        "Write tables and report of SUITE again from its records, finished or not; runs nothing.",
    ),
    "compare": (
        "comparing",
        "compare",
        "Show the verdicts of SUITE: all, those that ARM is in, or ARM against BASELINE. Nothing is run or written.",
    ),
    "studies": (
        "studying",
        "studies",
        "Write the tuning studies of SUITE into an Optuna storage, for optuna-dashboard, notebooks and Optuna's plots.",
    ),
    "list": (
        "parts",
        "list_parts",
        "List the parts that a suite can name: all, or of one KIND (models, optimizers, datasets, ...).",
    ),
    "show": (
        "parts",
        "show",
        "Show one part: options with their defaults, what tuning searches, where it is published, published weights.",
    ),
    "new": (
        "creating",
        "new",
        "Write a plugin with a part of KIND to begin from: ten lines that keep the contract, named NAME.",
    ),
    "verify": (
        "verifying",
        "verify",
        "Check parts against the contract of their kind: shapes, gradients, seeds, state, what stays frozen, and more.",
    ),
    "schema": (
        "parts",
        "schema",
        "Print the JSON Schema of suites, with the names of the installed parts, for completion in an editor.",
    ),
}


class _Commands(click.Group):
    """Lists commands in the order in which a newcomer needs them, imports the one that is called, and names the near
    one for a typo."""

    def list_commands(self, ctx: click.Context | None) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context | None, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, function, _ = _COMMANDS[name]
        command: click.Command = getattr(import_module(f"harness.cli.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 6 - max(map(len, _COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, textwrap.shorten(said, width, placeholder="...")) for name, (_, _, said) in _COMMANDS.items()]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from harness.registry.catalog import nearest

            near = nearest(args[0], _COMMANDS)
            hint = f"; did you mean '{near}'?" if near else ""
            if args[0].endswith(".toml"):
                hint = f"; did you mean 'harness run {args[0]}'?"
            ctx.fail(f"no command '{args[0]}' (known: {', '.join(_COMMANDS)}){hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with _unlike_click():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _unlike_click():
            return super().invoke(ctx)


class _ClosedPipe(BaseException):
    """Nobody reads our output any more (`harness list | head -1`)."""


@contextlib.contextmanager
def _unlike_click() -> Iterator[None]:
    # click makes exit code 1 of a closed pipe, which here means that runs failed, and Ctrl-C of any EOFError.
    try:
        yield
    except BrokenPipeError:
        raise _ClosedPipe from None
    except EOFError as error:
        raise RuntimeError("a process that harness talks to ended without a word") from error


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(harness.__version__, prog_name="harness")
def cli() -> None:
    """Benchmark and ablation harness: is the difference real?

    A question is one TOML file, a suite. `harness run` tunes every arm of it with the same budget, repeats and pairs
    everything, reads the test set once, and writes tables, figures and a report whose first line is the answer.

    \b
    First steps:
      harness plan suites/optimizers.toml    how many runs, of what, how long
      harness run suites/optimizers.toml     do what is missing, then the report
      harness list optimizers                parts that a suite can name
      harness show adam                      options, defaults and search space of one
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    _print_anything()
    try:
        with interrupts.handled():
            cli.main(arguments, prog_name="harness", standalone_mode=False)
    except HarnessError as error:
        from harness.cli.output import clean

        text = clean(str(error))
        _last_words(text if text.startswith("error[") else f"error: {text}")
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        _last_words(error.format_message())
        sys.exit(MISTAKE)
    except click.ClickException as error:
        error.show()
        sys.exit(MISTAKE)
    except interrupts.Interrupted as interrupted:
        _interrupted(interrupted.number)
    except (KeyboardInterrupt, click.Abort):
        _interrupted(signal.SIGINT)
    except (_ClosedPipe, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        from harness.cli.output import clean

        _last_words(f"error: {clean(str(error))}")
        sys.exit(UNUSABLE)
    except Exception:
        _internal()
    sys.exit(DONE)


def _last_words(text: str) -> None:
    """Say it on stderr; where that lies on the disk that is full, the exit code has to do."""
    with contextlib.suppress(OSError):
        click.echo(text, err=True)


def _print_anything() -> None:
    """Have a character that the terminal's encoding lacks printed as its code, not raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _internal() -> NoReturn:
    import traceback

    _last_words(traceback.format_exc().rstrip())
    _last_words("internal error: harness is at fault, not your suite; finished runs are kept")
    sys.exit(INTERNAL)


def _interrupted(number: int) -> NoReturn:
    _last_words(interrupts.WORDS)
    sys.exit(interrupts.exit_code(number))
