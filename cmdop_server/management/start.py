"""``start``: refuse what is unsafe, take the data directory, and only then load what it takes to serve."""

from cmdop_server import checks, data_dir
from cmdop_server.management import opening


def start(*, ready_json: bool) -> int:
    """Serve until SIGTERM or SIGINT; return 0 after draining."""
    opening.private_process()
    config = opening.configuration()
    checks.refuse_unsafe(config)
    data_dir.open_dir(config.data_dir)
    lock = data_dir.lock(config.data_dir)
    try:
        data_dir.open_secrets(config)
        data_dir.make_private_dir(config.data_dir / "mail")
        data_dir.forget_running(config.data_dir)
        from cmdop_server.management.serving import serve_here  # noqa: PLC0415 - most of a start-up is its imports

        return serve_here(config, ready_json=ready_json)
    finally:
        data_dir.forget_running(config.data_dir)
        lock.release()
