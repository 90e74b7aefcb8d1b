"""The relay: joins a channel of a machine's link with a person's stream, and decides nothing without asking.

It keeps offsets, not bytes: what is in flight is bounded by the windows that the two ends grant each other.
"""
