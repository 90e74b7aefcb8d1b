"""Machines of a workspace: who joined, by which name, with which credential, and when it was last heard of."""
