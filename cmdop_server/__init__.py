"""The control plane: API, sign-in pages and, on the same port, the relay."""
