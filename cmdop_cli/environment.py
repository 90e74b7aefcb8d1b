"""The environment variables that the command line reads: each name once, with the sentence that help prints.

Nothing is read here; a mapping is handed in where a decision is made.
"""

TYPE_CHECKING = False  # as typing's, without importing it: the fast path reads these names too
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cmdop_cli.failures import Failure

API_KEY = "CMDOP_API_KEY"
WORKSPACE = "CMDOP_WORKSPACE"
PROFILE = "CMDOP_PROFILE"
MODE = "CMDOP_MODE"
SERVER_URL = "CMDOP_SERVER_URL"
EXPECT_WORKSPACE = "CMDOP_EXPECT_WORKSPACE"
REQUIRE_WORKSPACE = "CMDOP_REQUIRE_WORKSPACE"
READONLY = "CMDOP_READONLY"
OUTPUT = "CMDOP_OUTPUT"
NO_INPUT = "CMDOP_NO_INPUT"
CI = "CI"
CREDENTIAL_STORE = "CMDOP_CREDENTIAL_STORE"
CONFIG_DIR = "CMDOP_CONFIG_DIR"
TIMEOUT = "CMDOP_TIMEOUT"
RETRIES = "CMDOP_RETRIES"
DEBUG = "CMDOP_DEBUG"
NO_COLOR = "NO_COLOR"
PAGER = "CMDOP_PAGER"
CA_FILE = "CMDOP_CA_FILE"

VARIABLES = {
    API_KEY: "the key to act with; beats every stored sign-in, and its workspace is the workspace",
    WORKSPACE: "slug or id of the workspace for this shell; only --workspace beats it",
    PROFILE: "which stored profile; only --profile beats it",
    MODE: "prod or dev; only --mode and --dev beat it",
    SERVER_URL: "the server's address; only --server beats it",
    EXPECT_WORKSPACE: "refuse (exit 7) to act in any other workspace",
    REQUIRE_WORKSPACE: "refuse changes (exit 7) unless the workspace was named, not merely active",
    READONLY: "refuse every change (exit 7)",
    OUTPUT: "table, tsv, json, ndjson or quiet; only -o, --json and -q beat it",
    NO_INPUT: "never ask a question",
    CI: "never ask a question; most CI services set it",
    CREDENTIAL_STORE: "auto, keyring or file: where sign-ins are kept; env: nowhere, a key acts",
    CONFIG_DIR: "an absolute path: the directory of all local files",
    TIMEOUT: "seconds to wait for an answer (30)",
    RETRIES: "how often a safe request is tried again (4)",
    DEBUG: "write a traceback of any failure to a private file and name it",
    NO_COLOR: "no bold headings when not empty",
    PAGER: "the program that tables longer than the screen are shown with",
    CA_FILE: "certificates to trust beside the system's",
}

# Chosen authority: set but empty is a broken script, never «unset».
AUTHORITY = (API_KEY, WORKSPACE, PROFILE, MODE, SERVER_URL, EXPECT_WORKSPACE, CONFIG_DIR)
UNSET_KEY = f"unset {API_KEY}"
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})


def is_on(environ: "Mapping[str, str]", name: str) -> bool:
    """Tell whether the switch ``name`` is on; what is neither yes nor no raises ``Failure`` (exit 78).

    A guard such as ``CMDOP_READONLY`` must never be off because of a misspelled word.
    """
    word = environ.get(name, "").strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    from cmdop_cli.failures import Code, Failure

    raise Failure(Code.LOCAL_STATE, f"{name} is neither yes nor no", hint=f"export {name}=1 or unset {name}")


def empty_authority(environ: "Mapping[str, str]", *, ignoring: frozenset[str] = frozenset()) -> "Failure | None":
    """Return the failure (exit 78) for the first variable that selects authority and is set but empty, or ``None``."""
    for name in AUTHORITY:
        if name not in ignoring and name in environ and not environ[name].strip():
            from cmdop_cli.failures import Code, Failure

            return Failure(Code.LOCAL_STATE, f"{name} is set but empty", hint=f"unset {name}")
    return None
