"""A registered host, and the tokens that bring new ones in. Secrets are stored as keyed hashes only."""

from django.db import models

from cmdop_wire.ids import make_id
from cmdop_wire.vocab import GateMode


def new_machine_id() -> str:
    """Return a fresh ``mch_…`` id."""
    return make_id("machine")


def new_join_token_id() -> str:
    """Return a fresh ``jtk_…`` id."""
    return make_id("join_token")


class Machine(models.Model):
    """A host in exactly one workspace. ``hostname`` is unique there, ``name`` across names and hostnames (D-5).

    The folded columns are what is compared. ``seeded_at`` tells when its agent took the workspace's defaults for the
    gate; ``bypass_accepted`` that whoever registered it there agreed to ``bypass`` (D-25).
    """

    public_id = models.CharField(max_length=40, unique=True, default=new_machine_id)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="machines")
    hostname = models.CharField(max_length=253)
    hostname_fold = models.CharField(max_length=253)
    name = models.CharField(max_length=100)
    name_fold = models.CharField(max_length=300)  # folding can triple a text
    tags = models.JSONField(default=dict)
    os = models.CharField(max_length=60, default="")
    arch = models.CharField(max_length=60, default="")
    agent_version = models.CharField(max_length=60, default="")
    boot_id = models.CharField(max_length=80, default="")
    registered_by = models.CharField(max_length=40)  # a plain id: account, key or join token
    registered_by_label = models.CharField(max_length=320)
    registered_at = models.DateTimeField()
    last_seen_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True)
    gate_mode = models.CharField(max_length=20, default=GateMode.STRICT)  # as the machine reports it
    metrics = models.JSONField(null=True)
    credential_hash = models.CharField(max_length=64, unique=True)
    credential_at = models.DateTimeField()
    seeded_at = models.DateTimeField(null=True)
    bypass_accepted = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "hostname_fold"], name="one_machine_a_hostname"),
            models.UniqueConstraint(fields=["workspace", "name_fold"], name="one_machine_a_name"),
        ]


class JoinToken(models.Model):
    """Brings one machine into a workspace, within a day at most; for images and fleets (D-21)."""

    public_id = models.CharField(max_length=40, unique=True, default=new_join_token_id)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="join_tokens")
    name = models.CharField(max_length=80, default="")
    secret_hash = models.CharField(max_length=64, unique=True)
    created_by = models.CharField(max_length=40)  # a plain id: account or key
    created_by_label = models.CharField(max_length=320)
    creator_account = models.CharField(max_length=40, default="")  # whose power it is, asked again at redemption
    creator_key = models.CharField(max_length=40, default="")  # the key it was made with, if it was one
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    redeemed_at = models.DateTimeField(null=True)
    machine_id = models.CharField(max_length=40, default="")  # the plain id of the machine that came with it

    class Meta:
        indexes = [models.Index(fields=["workspace", "id"], name="join_token_by_workspace")]
