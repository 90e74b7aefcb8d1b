"""The script of the demo, in acts. Whoever need not wait for another begins early: people act side by side."""

import re
import threading

from cmdop_cli.demo.stage import Person, Run, Stage, Stopwatch, say
from cmdop_wire.vocab import Exit

KEY = re.compile(r"cmd_[a-z0-9-]+_[0-9A-Za-z]+")


def play(stage: Stage) -> None:
    """Two tenants, keys, a pipeline, a guest; then machines, a shared terminal, a move, a revocation; the trail."""
    password = f"--password-file {stage.password_file}"
    alice, bob = Person(stage, "alice"), Person(stage, "bob")
    account = stage.on_the_host(f"cmdop server bootstrap --email alice@example.com {password}")
    stage.is_ready()
    signing_in = alice.approves(alice.asks_to_sign_in(), "alice@example.com", after=account)
    account.shows()
    signing_in.shows()

    say("\n# Two tenants. Nothing crosses from one to the other.")
    made = [
        alice.begins('cmdop workspace create "Acme Corp" --slug acme'),
        alice.begins('cmdop workspace create "Globex" --slug globex'),
    ]
    made[0].shows()
    guest = stage.on_the_host(f"cmdop server user create bob@example.com --workspace acme --role guest {password}")
    bobs = bob.approves(bob.asks_to_sign_in(), "bob@example.com", after=guest)
    made[1].shows()
    alice.types("cmdop workspace use acme")
    alice.types("cmdop workspace switch globex")
    alice.types("cmdop workspace use -")
    asked = [alice.begins("cmdop workspace list"), alice.begins("cmdop workspace current --why")]
    laptop_key, pipeline_key = keys(alice, asked)
    web = agent(stage, "web-1", pipeline_key)
    globex_token = alice.captures("cmdop connect join-token create --workspace globex --quiet", "TOKEN")
    ran = pipeline(stage, pipeline_key)
    line = "cmdop connect --hostname db-1 --join-token env:TOKEN"
    db = Person(stage, "db-1").begins(line, TOKEN=globex_token.value)
    say("\n# The pipeline: no sign-in, no prompt, the key decides the workspace.")
    for each, status in ran:
        each.shows(expect=status)

    db.until(r"\[y/N\]", end="")
    db.types("y\r")
    web.until("connected to")
    seen = [alice.begins("cmdop connect list"), alice.begins("cmdop connect exec web-1 -- uname -sm")]
    copy = agent(stage, "web-1", pipeline_key, on="copy")
    laptop = Person(stage, "laptop").begins(
        "cmdop connect web-1", shown="CMDOP_API_KEY=$LAPTOP cmdop connect web-1", CMDOP_API_KEY=laptop_key
    )
    db.until("connected to")
    foreign = alice.begins("cmdop connect exec db-1 -- uname")

    say("\n# A guest may look, and is told why not more.")
    guest.shows()
    bobs.ends()
    refused = bob.begins("cmdop auth create-key --name mine --workspace acme")
    watching = bob.begins("cmdop connect observe web-1 --workspace acme")
    bobs.shows()
    refused.shows(expect=Exit.FORBIDDEN)

    say("\n# Two machines. Each dials out to the control plane and listens to nobody.")
    globex_token.shows()
    web.shows_until("connected to")
    db.shows_until("connected to")
    for each in seen:
        each.shows()

    say("\n# The name is taken, and whoever has it is not disturbed.")
    copy.shows(expect=Exit.CONFLICT)
    foreign.ended()
    move = alice.begins("cmdop connect workspace move db-1 --workspace globex --to acme --yes")

    say("\n# A terminal on the machine; a guest watches it.")
    watched(laptop, watching)

    say("\n# From one tenant to the other, with rights in both, and only so.")
    foreign.shows(expect=Exit.REMOTE)
    move.shows()
    say("\ndb-1$   (its agent, which dials anew)")
    db.shows_until("connected to")
    there = alice.begins("cmdop connect exec db-1 -- uname")
    revocation = Revocation(alice, laptop)
    there.shows()

    say("\n# The laptop is lost. Its key is revoked, and its open terminal closes.")
    revocation.shows()
    say("\nbob$   (who was watching)")
    watching.shows()
    for each in (web, db):
        each.types("\x03")

    say("\n# Everything was written down, also what was refused.")
    trail = [alice.begins("cmdop audit list --days 30"), alice.begins("cmdop audit head")]
    for each in trail:
        each.shows()


def keys(alice: Person, asked: list[Run]) -> tuple[str, str]:
    """Make a personal and a workspace key, after what was ``asked`` before; return both texts."""
    laptop = alice.begins('cmdop auth create-key --name "my-laptop"')
    scopes = "--scope machines:read --scope machines:write --scope members:read"
    shared = alice.captures(f"cmdop auth create-key --workspace --name ci-cd {scopes}", "KEY")
    for each in asked:
        each.shows()
    say("\n# A key for a laptop, and one for the pipeline that outlives whoever made it.")
    return KEY.findall(laptop.shows())[-1], shared.shows()


def pipeline(stage: Stage, key: str) -> list[tuple[Run, int]]:
    """Act by the workspace key, and see it refused for the other tenant; return both with the status to expect."""
    ci, line = Person(stage, "ci"), "cmdop workspace members"
    foreign = f"{line} --workspace=globex"
    return [
        (ci.begins(line, shown=f"CMDOP_API_KEY=$KEY {line}", CMDOP_API_KEY=key), 0),
        (ci.begins(foreign, shown=f"CMDOP_API_KEY=$KEY {foreign}", CMDOP_API_KEY=key), Exit.USAGE),
    ]


def agent(stage: Stage, hostname: str, key: str, *, on: str = "") -> Run:
    """Begin the agent of a machine, registered with the workspace's key; ``on`` is the machine when it is another."""
    line = f"cmdop connect --hostname {hostname} --yes"
    return Person(stage, on or hostname).begins(line, shown=f"CMDOP_API_KEY=$KEY {line}", CMDOP_API_KEY=key)


def watched(laptop: Run, watching: Run) -> None:
    """Type in one terminal, and see it in both."""
    laptop.shows_until(r"Ctrl-D ends the shell\s+\S", end="")  # … and the shell's prompt, whatever it is here
    watching.shows_until("watching")
    laptop.types("echo the answer is $((6 * 7))\r")
    laptop.shows_until("the answer is 42")
    watching.shows_until("the answer is 42")


class Revocation:
    """A key is revoked while a terminal that it opened is in use."""

    def __init__(self, alice: Person, laptop: Run) -> None:
        self._laptop = laptop
        self._closed = 0.0
        self._watch = Stopwatch()
        self._waiting = threading.Thread(target=self._wait)
        self._waiting.start()
        self._command = alice.begins("cmdop auth revoke-key my-laptop --yes")

    def _wait(self) -> None:
        self._laptop.ended()
        self._closed = self._watch.read()

    def shows(self) -> None:
        """Show what was typed, what became of the terminal, and how long that took."""
        self._command.ended()
        answered = self._watch.read()
        self._command.shows()
        self._waiting.join()
        say("\nlaptop$   (its terminal, open until now)")
        self._laptop.shows(expect=Exit.NO_CREDENTIAL)
        took = (
            f"closed {self._closed:.2f} s after alice pressed Enter; her command had its answer after {answered:.2f} s"
        )
        say(f"\n  ({took})")
