"""How every script ends: a bad input is one sentence on stderr and exit code 2, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run(main: Callable[[], None]) -> None:
    """Call a script's main; turn expected errors into one line on stderr and exit code 2, Ctrl-C into 130."""
    try:
        main()
    except (ValueError, OSError) as error:
        sentence = " ".join(str(error).split())
        sys.stderr.write(f"error: {sentence or type(error).__name__}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
