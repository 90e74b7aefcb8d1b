"""Tests, each named by its claim. The cast is in world.py, the fixtures in conftest.py."""
