"""What each plan allows, as data. ``None`` means no limit."""

from dataclasses import dataclass

from cmdop_wire.vocab import Plan


@dataclass(frozen=True, slots=True)
class Limits:
    """How many members and machines a workspace of this plan may have."""

    members: int | None
    machines: int | None


LIMITS: dict[Plan, Limits] = {
    Plan.PERSONAL: Limits(members=1, machines=5),
    Plan.STARTER: Limits(members=10, machines=25),
    Plan.SCALE: Limits(members=100, machines=1000),
    Plan.ENTERPRISE: Limits(members=None, machines=None),
}
TEAM_PLANS = (Plan.STARTER, Plan.SCALE, Plan.ENTERPRISE)
