"""The reviewed table: every operation of the API × every kind of caller, in acme. Read it with a finger.

A row is an operation, with a remark where one operation is asked for different actions. The columns:

- ``owner`` … ``guest``: somebody with this role in acme, signed in for acme (the guest column is also asked by one
  who owns globex: what one is there counts for nothing here);
- ``stranger``: signed in, but not for acme: an outsider, somebody who was removed, globex's owner, acme's guest while
  signed in for globex, also with a sign-in for all;
- ``nobody``: no credential, nonsense, a mistyped key, a key never issued, a revoked and an expired key, the key of
  somebody who was removed, the token of an ended sign-in;
- ``owner's``, ``member's``: their personal keys with every scope they may give; ``guest's``: a personal key of a former
  member who is a guest now; ``shared``: a workspace key with every scope; ``foreign``: the same in globex;
- ``opened by``: the scopes of which one alone lets a workspace key through; any other one gets 403.

``run_command`` is asked of a machine whose agent is away: 409 is the answer to whoever may run something there.

The action beside the operation is what the row proves; it must be the operation's declared one or one of its ``also``.
"""

from dataclasses import dataclass

COLUMNS = (
    "owner", "admin", "member", "guest", "stranger", "nobody", "owner's", "member's", "guest's", "shared", "foreign"
)  # fmt: skip

TABLE = """
operation                        | action               | owner admin member guest | stranger nobody | owner's member's guest's shared foreign | opened by
show_me                          | account.view         | 200   200   200    200   | 200      401    | 200     200      200     200    200     | any
list_my_workspaces               | account.view         | 200   200   200    200   | 200      401    | 200     200      200     200    200     | any
list_my_sessions                 | account.edit         | 200   200   200    200   | 200      401    | 403     403      403     403    403     |
end_my_session                   | account.edit         | 204   204   204    204   | 204      401    | 403     403      403     403    403     |
end_my_session, somebody else's  | account.edit         | 404   404   404    404   | 404      401    | 403     403      403     403    403     |
list_my_tokens                   | account.edit         | 200   200   200    200   | 200      401    | 403     403      403     403    403     |
show_token                       | account.view         | 200   200   200    200   | 200      401    | 200     200      200     200    200     | any
start_device                     | public               | 200   200   200    200   | 200      200    | 200     200      200     200    200     | any
create_token                     | public               | 200   200   200    200   | 200      200    | 200     200      200     200    200     | any
revoke_token                     | public               | 200   200   200    200   | 200      200    | 200     200      200     200    200     | any
show_version                     | public               | 200   200   200    200   | 200      200    | 200     200      200     200    200     | any
list_workspaces                  | account.view         | 200   200   200    200   | 200      401    | 200     200      200     200    200     | any
create_workspace                 | workspace.create     | 201   201   201    201   | 201      401    | 403     403      403     403    403     |
preview_slug                     | account.view         | 200   200   200    200   | 200      401    | 200     200      200     200    200     | any
show_workspace                   | workspace.view       | 200   200   200    200   | 404      401    | 200     200      200     200    404     | machines:read
update_workspace                 | settings.edit        | 200   403   403    403   | 404      401    | 403     403      403     403    404     |
show_usage                       | workspace.view       | 200   200   200    200   | 404      401    | 200     200      200     200    404     | machines:read
show_onboarding                  | settings.view        | 200   200   403    403   | 404      401    | 403     403      403     403    404     |
update_onboarding                | settings.edit        | 200   403   403    403   | 404      401    | 403     403      403     403    404     |
list_members                     | member.list          | 200   200   200    200   | 404      401    | 200     200      200     200    404     | members:read
set_role                         | member.update_role   | 200   200   403    403   | 404      401    | 403     403      403     403    404     |
set_role, of an owner            | member.update_role   | 200   403   403    403   | 404      401    | 403     403      403     403    404     |
set_role, to owner               | member.update_role   | 200   403   403    403   | 404      401    | 403     403      403     403    404     |
remove_member                    | member.remove        | 204   204   403    403   | 404      401    | 403     403      403     403    404     |
remove_member, an owner          | member.remove        | 204   403   403    403   | 404      401    | 403     403      403     403    404     |
remove_member, oneself           | member.leave         | 204   204   204    204   | 404      401    | 403     403      403     403    404     |
list_keys                        | key.list_own         | 200   200   200    403   | 404      401    | 200     200      403     200    404     | keys:read
list_keys, everybody's           | key.list_all         | 200   200   403    403   | 404      401    | 200     403      403     200    404     | keys:read
create_key                       | key.create_personal  | 201   201   201    403   | 404      401    | 403     403      403     403    404     |
create_key, for the workspace    | key.create_workspace | 201   201   403    403   | 404      401    | 403     403      403     403    404     |
show_key                         | key.list_own         | 200   200   200    403   | 404      401    | 200     200      403     200    404     | keys:read
show_key, the workspace's        | key.list_own         | 200   200   404    403   | 404      401    | 200     404      403     200    404     | keys:read
revoke_key                       | key.revoke_own       | 200   200   200    403   | 404      401    | 403     403      403     403    404     |
revoke_key, the workspace's      | key.revoke_any       | 200   200   404    403   | 404      401    | 403     403      403     403    404     |
list_machines                    | machine.view         | 200   200   200    200   | 404      401    | 200     200      200     200    404     | machines:read
show_machine                     | machine.view         | 200   200   200    200   | 404      401    | 200     200      200     200    404     | machines:read
update_machine                   | machine.update       | 200   200   403    403   | 404      401    | 200     403      403     200    404     | machines:write
remove_machine                   | machine.remove       | 204   204   403    403   | 404      401    | 204     403      403     204    404     | machines:write
move_machine                     | machine.move         | 200   200   403    403   | 404      401    | 403     403      403     403    404     |
create_machine_ticket            | session.operate      | 201   201   201    403   | 404      401    | 201     201      403     201    404     | commands:execute
create_machine_ticket, to watch  | session.observe      | 201   201   201    201   | 404      401    | 201     201      201     201    404     | sessions:observe
create_machine_ticket, to run    | command.execute      | 201   201   201    403   | 404      401    | 201     201      403     201    404     | commands:execute
create_machine_ticket, to read   | file.read            | 201   201   201    403   | 404      401    | 201     201      403     201    404     | files:read
create_machine_ticket, to write  | file.write           | 201   201   201    403   | 404      401    | 201     201      403     201    404     | files:write
register_machine                 | machine.register     | 201   201   403    403   | 201      401    | 201     403      403     201    201     | machines:write
list_join_tokens                 | machine.enroll       | 200   200   403    403   | 404      401    | 200     403      403     200    404     | machines:write
create_join_token                | machine.enroll       | 201   201   403    403   | 404      401    | 201     403      403     201    404     | machines:write
revoke_join_token                | machine.enroll       | 200   200   403    403   | 404      401    | 200     403      403     200    404     | machines:write
list_sessions                    | session.list         | 200   200   200    200   | 404      401    | 200     200      200     200    404     | machines:read
show_session                     | session.list         | 200   200   200    200   | 404      401    | 200     200      200     200    404     | machines:read
terminate_session                | session.operate      | 200   200   200    403   | 404      401    | 200     200      403     200    404     | commands:execute
terminate_session, not one's own | session.terminate_any| 200   200   403    403   | 404      401    | 403     403      403     403    404     |
create_session_ticket            | session.observe      | 201   201   201    201   | 404      401    | 201     201      201     201    404     | sessions:observe
run_command                      | command.execute      | 409   409   409    403   | 404      401    | 409     409      403     409    404     | commands:execute
list_events                      | audit.view           | 200   200   200    200   | 404      401    | 200     200      200     200    404     | audit:read
show_head                        | audit.view           | 200   200   200    200   | 404      401    | 200     200      200     200    404     | audit:read
"""

# Served beside the API: address, and what somebody without a session gets there (GET). Pages decide by their own
# session; the tests of the cabinet walk them.
PAGES = {
    "/version": 200,
    "/.well-known/cmdop": 200,
    "/api/v1/openapi.json": 200,
    "/": 302,
    "/device": 302,
    "/device/done": 302,
    "/sign-ins/sig_0123456789abcdefghjk/end": 405,
    "/accounts/login/": 200,
    "/accounts/logout/": 302,
    "/accounts/inactive/": 200,
    "/accounts/signup/": 200,
    "/accounts/reauthenticate/": 302,
    "/accounts/confirm-email/": 200,
    "/accounts/confirm-email/MQ:x/": 200,
    "/accounts/password/change/": 302,
    "/accounts/password/set/": 302,
    "/accounts/password/reset/": 200,
    "/accounts/password/reset/done/": 200,
    "/accounts/password/reset/key/1-x/": 200,
    "/accounts/password/reset/key/done/": 200,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    action: str
    statuses: dict[str, int]
    scopes: frozenset[str]

    @property
    def operation(self) -> str:
        """Return the id of the operation."""
        return self.name.partition(",")[0]

    def expected(self, column: str, scope: str | None = None) -> int:
        """Return the status for a caller of ``column``; with ``scope`` for a workspace key of only that one."""
        if scope is None:
            return self.statuses[column]
        return self.statuses["shared"] if self.scopes & {scope, "any"} else 403


def rows() -> list[Row]:
    """Return the table, parsed; ``ValueError`` when a line does not fit its head."""
    head, *lines = TABLE.strip().splitlines()
    if tuple(" ".join(head.split("|")[2:5]).split()) != COLUMNS:
        raise ValueError("the head of the table does not name the columns")
    parsed = []
    for line in lines:
        name, action, *statuses, scopes = (cell.strip() for cell in line.split("|"))
        numbers = " ".join(statuses).split()
        parsed.append(Row(name, action, dict(zip(COLUMNS, map(int, numbers), strict=True)), frozenset(scopes.split())))
    return parsed
