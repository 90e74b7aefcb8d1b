"""Standard streams that whoever started us has closed.

Their numbers would be given to the next files and connections, which would then be taken for the terminal; uvloop ends
the process when it finds its own among them.
"""

import os


def hold() -> None:
    """Occupy every closed standard descriptor with one that can be neither read nor written, as closed ones are."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one. The wrong way round: using it fails as with a closed one.
            os.open(os.devnull, os.O_WRONLY if descriptor == 0 else os.O_RDONLY)
