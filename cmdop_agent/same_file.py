"""Whether a path leads into a folder by another name: a bind mount, a hard link, a folder that is reached twice.

Names say nothing of these, device and inode do. Only looks, and follows no link below the folder.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

Identity = tuple[int, int]
MOST = 10_000  # entries that are looked at; a configuration directory has tens


def leads_into(directory: str, path: str) -> bool:
    """Tell whether ``path``, or a folder on the way to it, is ``directory`` or anything in it by another name."""
    on_the_way = {found for each in (Path(path), *Path(path).parents) if (found := _identity(each)) is not None}
    return any(known in on_the_way for known in _of(directory))


def _of(directory: str) -> Iterator[Identity]:
    """Return who the folder is and everything in it, at most ``MOST``."""
    places = (
        place
        for folder, _, files in os.walk(os.path.realpath(directory))
        for place in (Path(folder), *(Path(folder, name) for name in files))
    )
    return (found for place in islice(places, MOST) if (found := _identity(place)) is not None)


def _identity(path: Path) -> Identity | None:
    try:
        found = path.lstat()
    except (OSError, ValueError):  # nothing is there yet, or nothing can be
        return None
    return found.st_dev, found.st_ino
