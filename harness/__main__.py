"""`harness` and `python -m harness`: ready for signals before anything else is imported."""

from __future__ import annotations

import sys
from typing import NoReturn

from harness import interrupts


def main() -> NoReturn:
    """Run the command line in a process of its own, and end the process."""
    try:
        with interrupts.handled(to_the_end=True):
            from harness.cli import main as command

            command()
    except interrupts.Interrupted as interrupted:
        sys.stderr.write(f"{interrupts.WORDS}\n")
        sys.exit(interrupts.exit_code(interrupted.number))


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder: a `torch.py` there must not hide the package
    main()
