"""Home and device approval. Each view asks one door or service and shows the answer; nothing is decided here."""

from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from cmdop_server.access.actor import Actor, ActorKind
from cmdop_server.access.errors import NotFound, Refused
from cmdop_server.address import client_address
from cmdop_server.cabinet.forms import WRONG_CODE, ApprovalForm, CodeForm, hinted
from cmdop_server.credentials.queries import sign_ins_of
from cmdop_server.credentials.sign_ins import (
    PendingDevice,
    approve_device,
    deny_device,
    end_sign_in,
    pending_device,
)
from cmdop_server.requests import request_id
from cmdop_server.workspaces.queries import workspaces_of
from cmdop_wire.vocab import ErrorCode, Reach

SIGN_INS_SHOWN = 100
OUTCOME = "device_outcome"  # in the session: what the done page tells


def cabinet_actor(request: HttpRequest) -> Actor:
    """Return who acts in this cabinet session; ask only when somebody is signed in."""
    assert request.user.is_authenticated
    return Actor(
        kind=ActorKind.ACCOUNT,
        account_id=request.user.public_id,
        label=request.user.email,
        request_id=request_id(request),
        address=client_address(request),
    )


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the account, its workspaces and the terminals that are signed in to it."""
    actor = cabinet_actor(request)
    context = {"workspaces": workspaces_of(actor), "sign_ins": sign_ins_of(actor)[:SIGN_INS_SHOWN]}
    return render(request, "cabinet/home.html", context)


@require_POST
@login_required
def end_one_sign_in(request: HttpRequest, sign_in_id: str) -> HttpResponse:
    """End one of the person's own sign-ins; one of somebody else's does not exist for them."""
    try:
        end_sign_in(cabinet_actor(request), sign_in_id)
    except NotFound:
        messages.info(request, "There is no such sign-in, or it had ended already.")
    else:
        messages.success(request, "That terminal is signed out.")
    return redirect("home")


@require_http_methods(["GET", "HEAD", "POST"])
def device(request: HttpRequest) -> HttpResponse:
    """Ask for a code, show who asks with it, and let the person decide (RFC 8628 §3.3); a GET decides nothing."""
    if not request.user.is_authenticated:
        code = (request.POST or request.GET).get("user_code", "")
        return redirect_to_login(_device_address(code))
    if request.method != "POST":
        # Filled in, not looked up: somebody else's link must not spend this person's tries.
        return _ask_for_code(request, CodeForm(initial={"user_code": request.GET.get("user_code", "")[:20]}))
    form = CodeForm(request.POST)
    if not form.is_valid():
        return _ask_for_code(request, form, status=422)
    actor, code = cabinet_actor(request), form.cleaned_data["user_code"]
    try:
        pending = pending_device(actor, code)
        return _decide(request, actor, code, pending)
    except Refused as refusal:
        if _was_decided_here(request, code):
            return redirect("device_done")
        return _refuse_code(request, form, refusal)


@login_required
@require_safe
def device_done(request: HttpRequest) -> HttpResponse:
    """Tell what this browser decided last and send the person back to the terminal."""
    outcome = request.session.get(OUTCOME)
    return render(request, "cabinet/device_done.html", outcome) if outcome else redirect("device")


def _decide(request: HttpRequest, actor: Actor, code: str, pending: PendingDevice) -> HttpResponse:
    decision = request.POST.get("decision")
    if decision == "deny":
        deny_device(actor, code)
        return _done(request, code, approved=False)
    workspaces = workspaces_of(actor)
    answers = request.POST if decision == "approve" else None
    form = ApprovalForm(answers, workspaces=workspaces, hint=pending.workspace_hint)
    if not form.is_valid():
        context = {
            "form": form,
            "user_code": code,
            "pending": pending,
            "workspaces": workspaces,
            "is_hint_strange": bool(pending.workspace_hint) and hinted(workspaces, pending.workspace_hint) is None,
            "return_to": _device_address(code),
        }
        return render(request, "cabinet/device_approve.html", context, status=422 if answers else 200)
    reach, workspace_id = Reach(form.cleaned_data["reach"]), form.cleaned_data["workspace"]
    approve_device(actor, code, workspace_id, reach)
    name = next(seen.workspace.name for seen in workspaces if seen.workspace.public_id == workspace_id)
    return _done(request, code, approved=True, workspace=name if reach is Reach.WORKSPACE else "")


def _done(request: HttpRequest, code: str, **outcome: Any) -> HttpResponse:
    request.session[OUTCOME] = {"code": code, **outcome}  # the code is spent: it opens nothing any more
    return redirect("device_done")


def _was_decided_here(request: HttpRequest, code: str) -> bool:
    """Tell whether this code was decided on in this session, for instance by the first half of a double click.

    Read anew from the store: the other request may have ended after this one began.
    """
    outcome: dict[str, Any] = type(request.session)(request.session.session_key).get(OUTCOME) or {}
    return outcome.get("code") == code


def _ask_for_code(request: HttpRequest, form: CodeForm, status: int = 200) -> HttpResponse:
    code = str(form["user_code"].value() or "")
    context = {"form": form, "return_to": _device_address(code)}
    return render(request, "cabinet/device_code.html", context, status=status)


def _refuse_code(request: HttpRequest, form: CodeForm, refusal: Refused) -> HttpResponse:
    if refusal.code is ErrorCode.NOT_FOUND:
        form.add_error("user_code", WRONG_CODE)
        return _ask_for_code(request, form, status=422)
    if refusal.code is not ErrorCode.RATE_LIMITED:
        raise refusal
    wait = int(refusal.details["retry_after"])
    minutes = -(-wait // 60)
    form.add_error("user_code", f"Too many wrong codes. Try again in {minutes} minute{'' if minutes == 1 else 's'}.")
    response = _ask_for_code(request, form, status=429)
    response["Retry-After"] = str(wait)
    return response


def _device_address(code: str) -> str:
    return f"{reverse('device')}?user_code={quote(code[:20])}" if code else reverse("device")
