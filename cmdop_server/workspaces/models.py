"""The tenant, its people and its defaults for new machines."""

from django.conf import settings
from django.db import models

from cmdop_wire.ids import make_id
from cmdop_wire.vocab import GateMode, Plan, Role, WorkspaceKind, WorkspaceState


def new_workspace_id() -> str:
    """Return a fresh ``ws_…`` id."""
    return make_id("workspace")


class Workspace(models.Model):
    """A tenant. The id is identity, the slug a label (D-1)."""

    public_id = models.CharField(max_length=40, unique=True, default=new_workspace_id)
    slug = models.CharField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=[(kind, kind) for kind in WorkspaceKind])
    state = models.CharField(max_length=20, default=WorkspaceState.ACTIVE)
    plan = models.CharField(max_length=20, choices=[(plan, plan) for plan in Plan])
    description = models.CharField(max_length=500, blank=True, default="")
    timezone = models.CharField(max_length=60, default="UTC")
    locale = models.CharField(max_length=20, default="en")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=40, default="")  # a plain account id
    # New-machine defaults, applied once at registration.
    onboarding_tags = models.JSONField(default=dict)
    onboarding_name_pattern = models.CharField(max_length=120, default="${hostname}")
    onboarding_gate_mode = models.CharField(max_length=20, default=GateMode.DEFAULT)
    onboarding_gate_rules = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.slug


class SlugClaim(models.Model):
    """Every slug ever used and the workspace it belongs to for ever, purged or not (D-3)."""

    slug = models.CharField(max_length=63, primary_key=True)
    workspace_id = models.CharField(max_length=40, db_index=True)
    claimed_at = models.DateTimeField(auto_now_add=True)


class Membership(models.Model):
    """An account inside a workspace, with its role; re-adding someone makes a new row that revives nothing (D-17)."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="memberships")
    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=[(role, role) for role in Role])
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "account"], name="one_membership_each"),
        ]
