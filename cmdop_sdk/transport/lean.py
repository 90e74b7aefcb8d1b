"""httpx without its own command line, which brings click, rich and pygments along wherever those are installed.

It does without them where they are missing; here they are made to be, for as long as the import takes.
"""

import sys

_COMMAND_LINE = "httpx._main"

if "httpx" in sys.modules:
    import httpx as httpx
else:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]  # importing it is an ImportError now
    try:
        import httpx as httpx
    finally:
        del sys.modules[_COMMAND_LINE]
