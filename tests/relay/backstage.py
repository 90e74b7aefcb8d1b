"""What happens to the network between a machine and the relay, for ``Server.backstage``."""


def drop(machine_id: str) -> int:
    """Break the machine's link as a lost network would; its credential and its streams stay."""
    from django.conf import settings

    from cmdop_server.relay.cuts import Cut
    from cmdop_server.relay.doorway import knock
    from cmdop_wire.frames import CloseCode

    lost = Cut("restart", machine_id=machine_id, ends_link=True, keeps_streams=True, code=CloseCode.GOING_AWAY)
    return int(knock(settings.DATA_DIR, lost, 5))
