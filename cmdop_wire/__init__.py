"""The treaty: what the client side and the server must agree on. No I/O lives here."""
