"""What all commands share: options, and errors that are sentences."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence

from detkit.errors import UserError

UNSAVED, WRONG_USE, INTERRUPTED = 1, 2, 130

Command = Callable[[argparse.Namespace], int]


def run(parser: argparse.ArgumentParser, command: Command, argv: Sequence[str] | None = None) -> int:
    """Parse ``argv`` (by default the process's), call ``command`` and return the exit status.

    A `UserError` is printed as one sentence (``--debug``: with its traceback) and gives status 2; Ctrl-C gives 130.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_intermixed_args(argv)
    try:
        return command(arguments)
    except UserError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        sys.stderr.close()
        return 0
    except OSError as error:
        if arguments.debug or error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return WRONG_USE


def take_modules(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--import MODULE``, as often as needed; `detkit.cli.config.import_modules` does."""
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help="your own parts")
