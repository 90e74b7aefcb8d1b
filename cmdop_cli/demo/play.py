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
    made = [
        alice.begins('cmdop workspace create "Acme Corp" --slug acme'),
        alice.begins('cmdop workspace create "Globex" --slug globex'),
    ]
    made[0].shows()
    guest = stage.on_the_host(f"cmdop server user create bob@example.com --workspace acme --role guest {password}")
    guests_login = bob.asks_to_sign_in()
    made[1].shows()
    alice.types("cmdop workspace use acme")
    alice.types("cmdop workspace switch globex")
    alice.types("cmdop workspace use -")
    asked = [alice.begins("cmdop workspace list"), alice.begins("cmdop workspace current --why")]
    laptop_key, pipeline_key = keys(alice, asked)
    listed = alice.begins("cmdop auth list-keys")
    web = agent(stage, "web-1", pipeline_key)
    globex_token = alice.captures("cmdop connect join-token create --workspace globex --quiet", "TOKEN")
    listed.shows()
    pipeline(stage, pipeline_key)

    say("\n# A guest may look, and is told why not more.")
    guest.shows()
    bob.signs_in("bob@example.com", guests_login)
    refused = bob.begins("cmdop auth create-key --name mine --workspace acme")

    refused.shows(expect=Exit.FORBIDDEN)

    say("\n# Two machines. Each dials out to the control plane and listens to nobody.")
    line = "cmdop connect --hostname db-1 --join-token env:TOKEN"
    db = Person(stage, "db-1").begins(line, TOKEN=globex_token.shows())
    machines(stage, alice, bob, (web, db), (laptop_key, pipeline_key))

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


def pipeline(stage: Stage, key: str) -> None:
    """Act by the workspace key, and see it refused for the other tenant."""
    say("\n# The pipeline: no sign-in, no prompt, the key decides the workspace.")
    ci, line = Person(stage, "ci"), "cmdop workspace members"
    allowed = ci.begins(line, shown=f"CMDOP_API_KEY=$KEY {line}", CMDOP_API_KEY=key)
    line = f"{line} --workspace=globex"
    refused = ci.begins(line, shown=f"CMDOP_API_KEY=$KEY {line}", CMDOP_API_KEY=key)
    allowed.shows()
    refused.shows(expect=Exit.USAGE)


def agent(stage: Stage, hostname: str, key: str, *, on: str = "") -> Run:
    """Begin the agent of a machine, registered with the workspace's key; ``on`` is the machine when it is another."""
    line = f"cmdop connect --hostname {hostname} --yes"
    return Person(stage, on or hostname).begins(line, shown=f"CMDOP_API_KEY=$KEY {line}", CMDOP_API_KEY=key)


def machines(stage: Stage, alice: Person, bob: Person, agents: tuple[Run, Run], given: tuple[str, str]) -> None:
    """Two machines in two tenants: a command, a terminal that a guest watches, a move, a key that is revoked."""
    (web, db), (laptop_key, key) = agents, given
    web.shows_until("connected to")
    db.shows_until(r"\[y/N\]", end="")
    db.types("y\r")
    db.shows_until("connected to")
    copy = agent(stage, "web-1", key, on="copy")
    shown = [alice.begins("cmdop connect list"), alice.begins("cmdop connect exec web-1 -- uname -sm")]
    laptop = Person(stage, "laptop").begins(
        "cmdop connect web-1", shown="CMDOP_API_KEY=$LAPTOP cmdop connect web-1", CMDOP_API_KEY=laptop_key
    )
    foreign = alice.begins("cmdop connect exec db-1 -- uname")
    for each in shown:
        each.shows()

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
    foreign.shows(expect=Exit.REMOTE)
    alice.types("cmdop connect workspace move db-1 --workspace globex --to acme --yes")
    db.shows_until("connected to")
    alice.types("cmdop connect exec db-1 -- uname")

    say("\n# The laptop is lost. Its key is revoked, and its open terminal closes.")
    revoked(alice, laptop, watching)
    for each in agents:
        each.types("\x03")


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
