"""Every limit of the HTTP side, in one place and with its unit."""

BODY_BYTES = 1 << 20  # a request body; nothing of ours comes near it
API_BODY_BYTES = 256 << 10  # of the API, which says so before anything is read from it
BODY_SECONDS = 30  # to receive it whole
WAITING_REQUESTS = 256  # accepted and not yet worked on, per process; beyond it the answer is 503
BACKLOG = 1024  # connections the kernel keeps for us
KEEP_ALIVE_SECONDS = 15
LOCK_SECONDS = 20  # for what another change holds; beyond it 503, before a client gives up (READ_TIMEOUT of the SDK)
REST_SECONDS = 15  # in the middle of a change; less than LOCK_SECONDS, so that who waits gets what is let go
PASSWORD_BYTES = 4096  # longer ones are refused before hashing
HASHING_WAIT_SECONDS = 5.0  # for a free slot; beyond it the answer is 503
HEAD_BYTES = 64 << 10  # request line and headers
HEAD_SECONDS = 20  # to receive them whole, from the moment the connection stands

# How often one may ask. Generous: they stop a runaway loop, not a busy team. CMDOP_RATE_LIMITS overrides by name.
RATE_LIMITS = {
    "address": "30000/minute",
    "sign_in": "1800/minute",  # the public operations of /auth and join tokens, per address
    "credential": "6000/minute",
    "account": "12000/minute",
    # Websockets to the relay. A short window: who dials without end is stopped before others have waited long, and who
    # ran into it by bad luck may dial again soon.
    "relay_address": "6000/10 second",  # fleets behind one address that come back after a restart
    "relay_credential": "1500/10 second",  # a program that runs commands one after the other comes to a third of it
    "relay_account": "3000/10 second",  # with all credentials of theirs; a shared key is nobody's and counts by itself
    "relay_machine": "60/minute",  # an agent waits for a second on average, and longer each time
}
