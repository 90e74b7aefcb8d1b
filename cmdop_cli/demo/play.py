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
    login = alice.asks_to_sign_in()
    stage.on_the_host(f"cmdop server bootstrap --email alice@example.com {password}").shows()
    alice.signs_in("alice@example.com", login)

    say("\n# Two tenants. Nothing crosses from one to the other.")
    alice.types('cmdop workspace create "Acme Corp" --slug acme')
    guest = stage.on_the_host(f"cmdop server user create bob@example.com --workspace acme --role guest {password}")
    guests_login = bob.asks_to_sign_in()
    alice.types('cmdop workspace create "Globex" --slug globex')
    alice.types("cmdop workspace use acme")
    alice.types("cmdop workspace switch globex")
    alice.types("cmdop workspace use -")
    alice.types("cmdop workspace list")
    alice.types("cmdop workspace current --why")

    laptop_key, pipeline_key = keys(alice)
    pipeline(stage, pipeline_key)

    say("\n# A guest may look, and is told why not more.")
    guest.shows()
    bob.signs_in("bob@example.com", guests_login)
    bob.types("cmdop auth create-key --name mine --workspace acme", expect=Exit.FORBIDDEN)

    machines(stage, alice, bob, laptop_key, pipeline_key)

    say("\n# Everything was written down, also what was refused.")
    alice.types("cmdop audit list --days 30")
    alice.types("cmdop audit head")


def keys(alice: Person) -> tuple[str, str]:
    """Make a personal and a workspace key; return both texts."""
    say("\n# A key for a laptop, and one for the pipeline that outlives whoever made it.")
    shown = alice.types('cmdop auth create-key --name "my-laptop"')
    laptop = KEY.findall(shown)[-1]
    scopes = "--scope machines:read --scope machines:write --scope members:read"
    pipeline = alice.captures(f"cmdop auth create-key --workspace --name ci-cd {scopes}", "KEY")
    alice.types("cmdop auth list-keys")
    return laptop, pipeline


def pipeline(stage: Stage, key: str) -> None:
    """Act by the workspace key, and see it refused for the other tenant."""
    say("\n# The pipeline: no sign-in, no prompt, the key decides the workspace.")
    ci = Person(stage, "ci")
    ci.types("cmdop workspace members", shown="CMDOP_API_KEY=$KEY cmdop workspace members", CMDOP_API_KEY=key)
    line = "cmdop workspace members --workspace=globex"
    ci.types(line, shown=f"CMDOP_API_KEY=$KEY {line}", expect=Exit.USAGE, CMDOP_API_KEY=key)


def machines(stage: Stage, alice: Person, bob: Person, laptop_key: str, key: str) -> None:
    """Two machines in two tenants: a command, a terminal that a guest watches, a move, a key that is revoked."""
    say("\n# Two machines. Each dials out to the control plane and listens to nobody.")
    line = "cmdop connect --hostname web-1 --yes"
    web = Person(stage, "web-1").begins(line, shown=f"CMDOP_API_KEY=$KEY {line}", CMDOP_API_KEY=key)
    token = alice.captures("cmdop connect join-token create --workspace globex --quiet", "TOKEN")
    line = "cmdop connect --hostname db-1 --join-token env:TOKEN"
    db = Person(stage, "db-1").begins(line, TOKEN=token)
    web.shows_until("connected to")
    db.shows_until(r"\[y/N\]", end="")
    db.types("y\r")
    db.shows_until("connected to")
    alice.types("cmdop connect list")
    alice.types("cmdop connect exec web-1 -- uname -sm")
    copy = Person(stage, "copy").begins(
        "cmdop connect --hostname web-1 --yes",
        shown="CMDOP_API_KEY=$KEY cmdop connect --hostname web-1 --yes",
        CMDOP_API_KEY=key,
    )
    laptop = Person(stage, "laptop").begins(
        "cmdop connect web-1",
        shown="CMDOP_API_KEY=$LAPTOP cmdop connect web-1",
        CMDOP_API_KEY=laptop_key,
    )
    say("\n# The name is taken, and whoever has it is not disturbed.")
    copy.shows(expect=Exit.CONFLICT)

    say("\n# A terminal on the machine; a guest watches it.")
    laptop.shows_until(r"Ctrl-D ends the shell\s+\S", end="")  # … and the shell's prompt, whatever it is here
    watching = bob.begins("cmdop connect observe web-1 --workspace acme")
    watching.shows_until("watching")
    laptop.types("echo the answer is $((6 * 7))\r")
    laptop.shows_until("the answer is 42")
    watching.shows_until("the answer is 42")

    say("\n# From one tenant to the other, with rights in both, and only so.")
    alice.types("cmdop connect exec db-1 -- uname", expect=Exit.REMOTE)
    alice.types("cmdop connect workspace move db-1 --workspace globex --to acme --yes")
    db.shows_until("connected to")
    alice.types("cmdop connect exec db-1 -- uname")

    say("\n# The laptop is lost. Its key is revoked, and its open terminal closes.")
    revoked(alice, laptop, watching)
    for agent in (web, db):
        agent.types("\x03")


def revoked(alice: Person, laptop: Run, watching: Run) -> None:
    """Revoke the laptop's key while its terminal is open; say when the terminal closed."""
    closed: list[float] = []
    watch = Stopwatch()

    def wait() -> None:
        laptop.terminal.finish()
        closed.append(watch.read())

    waiting = threading.Thread(target=wait)
    waiting.start()
    alice.types("cmdop auth revoke-key my-laptop --yes")
    answered = watch.read()
    waiting.join()
    say("\nlaptop$   (its terminal, open until now)")
    laptop.shows(expect=Exit.NO_CREDENTIAL)
    say(f"\n  (closed {closed[0]:.2f} s after alice pressed Enter; her command had its answer after {answered:.2f} s)")
    say("\nbob$   (who was watching)")
    watching.shows()
