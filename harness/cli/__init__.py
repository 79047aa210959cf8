"""The command line: the only place that prints and sets exit codes. Everything heavy is imported inside a command."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import click

import harness
from harness import interrupts
from harness.cli import looking, parts, running
from harness.cli.output import clean
from harness.errors import HarnessError

DONE, MISTAKE, UNUSABLE, INTERNAL = 0, 2, 4, 70

_EPILOG = """
\b
Exit codes:
  0 done    1 done, some runs failed    2 mistake in command, suite or plugin, nothing ran
  4 results folder, data or environment unusable    70 internal error
  130, 143 interrupted, state kept: the same command goes on
"""


class _Commands(click.Group):
    """Lists commands in the order in which a newcomer needs them, and names the near one for a typo."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from harness.catalog import nearest

            near = nearest(args[0], self.commands)
            hint = f"; did you mean '{near}'?" if near else ""
            if args[0].endswith(".toml"):
                hint = f"; did you mean 'harness run {args[0]}'?"
            ctx.fail(f"no command '{args[0]}' (known: {', '.join(self.commands)}){hint}")
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


for _command in (
    running.run,
    looking.plan,
    looking.check,
    looking.status,
    looking.report,
    parts.list_parts,
    parts.show,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    _print_anything()
    try:
        with interrupts.handled():
            cli.main(arguments, prog_name="harness", standalone_mode=False)
    except HarnessError as error:
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
    sys.exit(128 + number)
