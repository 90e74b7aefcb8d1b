"""Which version this is. Alone in its file, so that ``--version`` reads nothing else."""

VERSION = "0.1.0"


def version() -> str:
    """Return the version of the distribution; a test compares it with pyproject.toml."""
    return VERSION
