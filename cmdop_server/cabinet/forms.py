"""What people type and choose. The forms only check what was chosen; the services decide whether it may be."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms

from cmdop_server.workspaces.queries import Seen
from cmdop_wire.ids import fold_user_code
from cmdop_wire.vocab import Reach, WorkspaceKind

WRONG_CODE = "This code is wrong, used or too old. Check it, or run cmdop login again for a new one."


class CodeForm(forms.Form):
    """The code that a terminal shows; its shape is not checked, so that every wrong code gets the same answer."""

    user_code = forms.CharField(max_length=40, error_messages={"max_length": WRONG_CODE, "required": "Enter the code."})

    def clean_user_code(self) -> str:
        """Return the code in its canonical form."""
        return fold_user_code(self.cleaned_data["user_code"])


class ApprovalForm(forms.Form):
    """What an approved sign-in may enter: one of the person's own workspaces, or all of them (D-16)."""

    reach = forms.ChoiceField(
        choices=[(reach, reach) for reach in Reach],
        error_messages={"required": "Choose what it may enter.", "invalid_choice": "Choose what it may enter."},
    )
    workspace = forms.ChoiceField(
        error_messages={
            "required": "Choose one of your workspaces.",
            "invalid_choice": "Choose one of your workspaces.",
        },
    )

    def __init__(self, data: Mapping[str, Any] | None, *, workspaces: Sequence[Seen], hint: str = "") -> None:
        super().__init__(data, initial={"reach": Reach.WORKSPACE, "workspace": preselected(workspaces, hint)})
        field = self.fields["workspace"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(seen.workspace.public_id, seen.workspace.slug) for seen in workspaces]


def hinted(workspaces: Sequence[Seen], hint: str) -> Seen | None:
    """Return the workspace that the terminal asked for by slug or id, if it is among ``workspaces``."""
    return next((seen for seen in workspaces if hint and hint in (seen.workspace.slug, seen.workspace.public_id)), None)


def preselected(workspaces: Sequence[Seen], hint: str) -> str:
    """Return the id of the workspace to offer first: asked for, else personal, else any; ``""`` if there is none."""
    asked = hinted(workspaces, hint)
    personal = (seen for seen in workspaces if seen.workspace.kind == WorkspaceKind.PERSONAL)
    offered = asked or next(personal, None) or next(iter(workspaces), None)
    return offered.workspace.public_id if offered else ""
