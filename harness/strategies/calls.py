"""Calls of a strategy's callables, which fail with the strategy, the callable and the line of the plugin."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

import torch

from harness.errors import HarnessError, PluginError
from harness.hookspecs import NotApplicable
from harness.registry.place import where


@contextlib.contextmanager
def calling(place: str, hook: str, *, training: bool = False) -> Iterator[None]:
    """What the block raises becomes an error that names the place.

    Args:
        place: the strategy, for the message, and what else tells where it was.
        hook: the callable that the block calls.
        training: the run has begun. Before it, a strategy may say that it is not applicable, and refuse an option by a
            ValueError.

    Raises:
        PluginError: the block raised something that nobody meant for the reader.
    """
    try:
        yield
    except (HarnessError, MemoryError, torch.OutOfMemoryError):
        raise
    except NotApplicable as error:
        if not training:
            raise
        raise PluginError(
            f"{place}: {hook}{where(error)} raised NotApplicable, which only prepare and phases may, before the first "
            f"step: {error}"
        ) from error
    except Exception as error:
        if isinstance(error, ValueError) and not training:
            raise
        line = traceback.format_exception_only(error)[-1].strip()
        raise PluginError(f"{place}: {hook}{where(error)} raised {line}") from error
