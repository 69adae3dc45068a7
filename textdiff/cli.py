"""How every script ends: a bad input is one sentence on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

TORCH_OUT_OF_MEMORY = ("allocate memory", "out of memory", "size calculation overflowed")
TOO_MUCH = "A number or a file asks for more than can be computed here ({reason}): give a smaller one."


def run(main: Callable[[], None]) -> None:
    """Call a script's main; turn expected errors into one line on stderr and exit code 2, Ctrl-C into 130.

    A reader who has read enough (`| head`) is no error: exit code 1 without a word.
    """
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        sys.exit(1)
    except (ValueError, OSError) as error:
        _refuse(" ".join(str(error).split()) or type(error).__name__)
    except (MemoryError, OverflowError, RecursionError) as error:
        _refuse(TOO_MUCH.format(reason=" ".join(str(error).split()) or type(error).__name__))
    except RuntimeError as error:
        if not any(words in str(error) for words in TORCH_OUT_OF_MEMORY):
            raise
        _refuse(TOO_MUCH.format(reason="out of memory"))
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"error: {sentence}\n")
    sys.exit(2)
