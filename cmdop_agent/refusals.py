"""How this machine says no."""


class Refusal(Exception):
    """The machine does not do it; ``code`` and ``hint`` travel to the caller."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
