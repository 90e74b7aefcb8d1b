"""Django's view of the configuration; ``config.py`` reads the environment and refuses, this only passes it on."""

import base64
import os
from pathlib import Path

DATA_DIR = Path(os.environ.get("CMDOP_DATA_DIR") or Path.home() / ".local/share/cmdop/server")
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "cmdop_server.urls"
AUTH_USER_MODEL = "accounts.Account"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

SECRET_KEY = os.environ.get("CMDOP_SECRET_KEY", "")
CMDOP_PEPPER: bytes = os.environ.get("CMDOP_PEPPER", "").encode()
CMDOP_AUDIT_KEY: bytes = base64.b64decode(os.environ.get("CMDOP_AUDIT_KEY", ""))
CMDOP_PUBLIC_URL: str = os.environ.get("CMDOP_PUBLIC_URL", "http://127.0.0.1:8787")
CMDOP_SIGNUP: str = os.environ.get("CMDOP_SIGNUP", "closed")

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "cmdop_server.audit",
    "cmdop_server.accounts",
    "cmdop_server.workspaces",
    "cmdop_server.credentials",
    "cmdop_server.api",
    "cmdop_server.cabinet",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATA_DIR / "cmdop.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    },
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cmdop_cache"}}
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
STATIC_URL = "/static/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
