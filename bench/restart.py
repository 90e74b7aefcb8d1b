"""How soon machines are back after their relay was killed and started again. Run: python -m bench.restart [MACHINES]

The control plane is killed with SIGKILL and started anew on the same port and data at once. Prints how long the
machines were without it, when half of them and all were back, and how they came, a tenth of a second a line.
"""

import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.measure import surroundings
from tests.herd import herd, histogram
from tests.processes import start_again, start_server
from tests.world import make_world

ROUNDS, WIDTH = 3, 0.1
MOST_BACK = 10.0  # seconds, of issue 3's criterion


def main(count: int) -> None:
    """Measure a few rounds and print each."""
    with tempfile.TemporaryDirectory(prefix="cmdop-bench-") as folder:
        home = Path(folder)
        server = start_server(home)
        world = make_world(server)
        port = str(urlsplit(server.url).port)
        try:
            with herd(world, home / "herd", count) as machines:
                print(f"{count} machines; {surroundings()}")
                for number in range(ROUNDS):
                    began = time.monotonic()
                    server.process.kill()
                    server.process.wait()
                    server.process = start_again(server, "--port", port).process
                    served = time.monotonic() - began
                    back = sorted(each.at - began for each in machines.until_all_are_up() if each.is_up)
                    verdict = "" if back[-1] - served <= MOST_BACK else "  over budget"
                    print(
                        f"\nround {number + 1}: away {served:.1f} s; after that half are back in "
                        f"{back[len(back) // 2] - served:.1f} s, all in {back[-1] - served:.1f} s "
                        f"(budget {MOST_BACK:.0f}){verdict}"
                    )
                    for moment, here in histogram([each - served for each in back], WIDTH).items():
                        if here:
                            print(f"{moment:>6.1f} s  {here:>3}  {'█' * here}")
        finally:
            world.close()
            server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
