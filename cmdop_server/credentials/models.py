"""Every secret the control plane accepts, each as a keyed hash: keys, sign-ins with their token families, grants.

Look-ups go by hash, so there is no prefix oracle and no timing to measure.
"""

from django.conf import settings
from django.db import models

from cmdop_wire.ids import make_id
from cmdop_wire.vocab import KeyKind, Reach


def new_key_id() -> str:
    """Return a fresh ``key_…`` id."""
    return make_id("key")


def new_sign_in_id() -> str:
    """Return a fresh ``sig_…`` id."""
    return make_id("sign_in")


def new_family_id() -> str:
    """Return a fresh ``fam_…`` id."""
    return make_id("family")


class Key(models.Model):
    """An API key. ``owner`` is set for personal keys only; ``created_by`` is kept for both, as a plain id."""

    public_id = models.CharField(max_length=40, unique=True, default=new_key_id)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="keys")
    kind = models.CharField(max_length=20, choices=[(kind, kind) for kind in KeyKind])
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="keys")
    created_by = models.CharField(max_length=40)
    created_by_label = models.CharField(max_length=320)
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=80)
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    last_used_address = models.CharField(max_length=60, default="")

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "owner", "created_at"], name="key_by_owner"),
            models.Index(fields=["workspace", "id"], name="key_by_workspace"),  # the order of its pages
        ]


class SignIn(models.Model):
    """One approved device grant; families of it end with it (D-16)."""

    public_id = models.CharField(max_length=40, unique=True, default=new_sign_in_id)
    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sign_ins")
    reach = models.CharField(max_length=20, choices=[(reach, reach) for reach in Reach])
    client = models.CharField(max_length=120)
    address = models.CharField(max_length=60)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_because = models.CharField(max_length=40, default="")


class TokenFamily(models.Model):
    """The access and refresh tokens that rotate under one sign-in in one workspace."""

    public_id = models.CharField(max_length=40, unique=True, default=new_family_id)
    sign_in = models.ForeignKey(SignIn, on_delete=models.CASCADE, related_name="families")
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, related_name="token_families")
    created_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    revoked_because = models.CharField(max_length=40, default="")


class Token(models.Model):
    """An access or refresh token; ``successor`` is the refresh token that replaced this one."""

    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="tokens")
    kind = models.CharField(max_length=10)  # access | refresh
    secret_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    successor = models.OneToOneField("self", on_delete=models.SET_NULL, null=True, related_name="predecessor")
    rotated_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)


class DeviceGrant(models.Model):
    """One device code with the code that a person types (RFC 8628); redeemed once, inside a transaction."""

    device_hash = models.CharField(max_length=64, unique=True)
    user_hash = models.CharField(max_length=64, unique=True)
    client = models.CharField(max_length=120)
    address = models.CharField(max_length=60)
    workspace_hint = models.CharField(max_length=63, default="")
    interval = models.PositiveIntegerField(default=5)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    polled_at = models.DateTimeField(null=True)
    approved_at = models.DateTimeField(null=True)
    denied_at = models.DateTimeField(null=True)
    redeemed_at = models.DateTimeField(null=True)
    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True)
    workspace = models.ForeignKey("workspaces.Workspace", on_delete=models.CASCADE, null=True)
    reach = models.CharField(max_length=20, default=Reach.WORKSPACE)


class SignInToken(models.Model):
    """The operator's one-time token, ten minutes, redeemed by ``cmdop login --token -`` (D-16)."""

    secret_hash = models.CharField(max_length=64, unique=True)
    account = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    redeemed_at = models.DateTimeField(null=True)


class WrongUserCode(models.Model):
    """One try with a user code that is none; too many by one account or address must wait (RFC 8628 §5.1)."""

    who = models.CharField(max_length=60)  # usr_… or an address
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["who", "at"], name="wrong_code_by_who")]
