"""Why the server does not start: the setting, what is wrong with it, and what to do. Always exit status 78."""


class Refusal(Exception):
    """One unsafe or meaningless setting. ``fix`` is a command or a line of configuration; no value is repeated."""

    def __init__(self, setting: str, message: str, fix: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting
        self.message = message
        self.fix = fix
