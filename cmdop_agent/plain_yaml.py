"""YAML as a person reads it: no key twice, no anchors and merges, no tags; and small enough to be read at once.

YAML takes the last of two equal keys, so a rule that somebody wrote would silently not be there; and a few hundred
bytes of merges unfold to gigabytes.
"""

from typing import Any

import yaml

LARGEST = 128 * 1024  # characters: a second of work, and two thousand rules


class _Plain(yaml.SafeLoader):
    """The safe loader without what is not plain."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:  # an alias has one, too
            raise yaml.MarkedYAMLError(None, None, "it has an anchor or alias", event.start_mark)
        if getattr(event, "tag", None) not in (None, "!"):
            raise yaml.MarkedYAMLError(None, None, "it has a tag", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(None, None, "it has a key that is no plain word", key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"it has «{key.value}» twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str) -> object:
    """Return what the text says; ``ValueError`` when it is no YAML, or not plain."""
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} characters")
    try:
        return yaml.load(text, _Plain)  # noqa: S506 - a safe loader that reads even less
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is not plain YAML: {error}") from None
