"""Django's view of the configuration; ``config.py`` reads the environment and refuses, this only passes it on."""

import os
from typing import Any
from urllib.parse import urlsplit

from cmdop_server import data_dir as data_directory
from cmdop_server.config import Config, load
from cmdop_server.database import bounded
from cmdop_server.limits import BODY_BYTES, LOCK_SECONDS, RATE_LIMITS
from cmdop_server.values import Network, PostgresUrl

CMDOP_CONFIG: Config = load(os.environ)
DATA_DIR = CMDOP_CONFIG.data_dir

DEBUG = False
ROOT_URLCONF = "cmdop_server.urls"
AUTH_USER_MODEL = "accounts.Account"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LOGGING_CONFIG = None  # logs.configure() does it, once a process

# Without secrets these names are absent, so that whoever reads one fails instead of keying with nothing.
_secrets = data_directory.read_secrets(CMDOP_CONFIG)
if _secrets is not None:
    SECRET_KEY: str = _secrets.secret_key
    CMDOP_PEPPER: bytes = _secrets.pepper
    CMDOP_AUDIT_KEY: bytes = _secrets.audit_key

# `start` sets the variable to where it really listens before Django reads this.
CMDOP_PUBLIC_URL: str = CMDOP_CONFIG.public_url or f"http://{CMDOP_CONFIG.host}:{CMDOP_CONFIG.port}"
CMDOP_RELAY_URL: str = CMDOP_CONFIG.relay_url or CMDOP_PUBLIC_URL
CMDOP_SIGNUP: str = str(CMDOP_CONFIG.signup)
CMDOP_TRUSTED_PROXIES: tuple[Network, ...] = CMDOP_CONFIG.proxies
CMDOP_RATE_LIMITS: dict[str, str] = {**RATE_LIMITS, **CMDOP_CONFIG.rate_limits}

_public_host = urlsplit(CMDOP_PUBLIC_URL).hostname or ""
_bracketed = [f"[{host}]" if ":" in host else host for host in (_public_host, CMDOP_CONFIG.host)]
ALLOWED_HOSTS = [*_bracketed, "127.0.0.1", "localhost", "[::1]", *CMDOP_CONFIG.allowed_hosts]
CSRF_TRUSTED_ORIGINS = [CMDOP_PUBLIC_URL]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "cmdop_server.cabinet",  # before allauth: its templates are the ones to be found first
    "allauth",
    "allauth.account",
    "cmdop_server.audit",
    "cmdop_server.accounts",
    "cmdop_server.workspaces",
    "cmdop_server.credentials",
    "cmdop_server.machines",
    "cmdop_server.sessions",
    "cmdop_server.relay",
    "cmdop_server.api",
]
MIDDLEWARE = [
    "cmdop_server.address.ForwardedMiddleware",
    "cmdop_server.requests.RequestMiddleware",
    "cmdop_server.health.HealthMiddleware",
    "cmdop_server.headers.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "cmdop_server.cabinet.refusals.RefusalMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # serve each app's own folder; there is no collecting step to forget
WHITENOISE_MAX_AGE = 3600
WHITENOISE_ALLOW_ALL_ORIGINS = False
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_BYTES


def _postgresql(url: PostgresUrl) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.name,
        "USER": url.user,
        "PASSWORD": url.password,
        "HOST": url.host,
        "PORT": url.port,
        "CONN_HEALTH_CHECKS": True,
        # One connection a thread at most; `check` replaces those that a database restart has killed.
        "OPTIONS": {
            **url.parameters,
            "pool": {
                "min_size": 1,
                "max_size": CMDOP_CONFIG.threads + 2,
                "timeout": 10,
                "connection_class": bounded(),
            },
            "connect_timeout": int(url.parameters.get("connect_timeout", "5")),
        },
    }


def _sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(data_directory.database_path(DATA_DIR)),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # Writers queue at BEGIN instead of failing at the first write of a transaction that began as a read.
            "transaction_mode": "IMMEDIATE",
            "timeout": LOCK_SECONDS,
            # FULL, not NORMAL: in WAL mode NORMAL may lose the last acknowledged commits when the power fails, and
            # an acknowledged revocation must not come undone. It costs one fsync a write, which we can afford.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
        },
    }


DATABASES = {"default": _postgresql(CMDOP_CONFIG.database) if CMDOP_CONFIG.database else _sqlite()}

# In the database, so that every worker throttles with the same counters; nothing that must last lives here.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cmdop_cache"}}

# --- sign-in pages and cabinet sessions -------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["cmdop_server.accounts.backend.PasswordBackend"]
PASSWORD_HASHERS = ["cmdop_server.passwords.BoundedArgon2Hasher"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "cmdop_server.passwords.MaximumLengthValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "username", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
IS_SECURE: bool = CMDOP_CONFIG.is_secure
_prefix = "__Host-" if IS_SECURE else ""
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_NAME = f"{_prefix}cmdop_session"
SESSION_COOKIE_AGE = 7 * 24 * 3600
SESSION_COOKIE_SECURE = IS_SECURE
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = f"{_prefix}cmdop_csrf"
CSRF_COOKIE_SECURE = IS_SECURE
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "cmdop_server.answers.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

ACCOUNT_ADAPTER = "cmdop_server.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "signup": "cmdop_server.accounts.forms.SignupForm",
    "reset_password": "cmdop_server.accounts.forms.ResetPasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = "username"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"  # the operator's accounts are born verified
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = urlsplit(CMDOP_PUBLIC_URL).scheme
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    # Per address and per account: what an attacker with many addresses gets against one account stays small, and
    # the owner of that account is never locked out for longer than a quarter of an hour.
    "login_failed": "20/m/ip,5/m/key,10/15m/key",
    "reset_password": "10/m/ip,3/15m/key",
    "signup": "10/m/ip",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
}

# --- transport --------------------------------------------------------------------------------------------------
if CMDOP_TRUSTED_PROXIES:
    # address.ForwardedMiddleware has dropped this header unless a trusted proxy sent it.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if IS_SECURE else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- mail -------------------------------------------------------------------------------------------------------
DEFAULT_FROM_EMAIL = SERVER_EMAIL = CMDOP_CONFIG.mail_from
if CMDOP_CONFIG.smtp is None:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(DATA_DIR / "mail")
else:
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST = CMDOP_CONFIG.smtp.host
    EMAIL_PORT = CMDOP_CONFIG.smtp.port
    EMAIL_HOST_USER = CMDOP_CONFIG.smtp.user
    EMAIL_HOST_PASSWORD = CMDOP_CONFIG.smtp.password
    EMAIL_USE_SSL = CMDOP_CONFIG.smtp.implicit_tls
    EMAIL_USE_TLS = bool(CMDOP_CONFIG.smtp.password) and not CMDOP_CONFIG.smtp.implicit_tls
    EMAIL_TIMEOUT = 10
