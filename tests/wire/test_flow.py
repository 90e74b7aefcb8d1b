"""Flow control: whatever is cut, dropped, repeated or overtaken, the receiver gets every byte once and in order."""

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cmdop_wire.flow import Receiver, Sender
from cmdop_wire.frames import Malformed

WINDOW = 16


def view(data: bytes) -> memoryview:
    return memoryview(data)


class Link(RuleBasedStateMachine):
    """A sender and a receiver with something in between that loses everything in flight whenever it likes.

    Nobody tells the sender that a cut happened: until the receiver resumes, it goes on sending, as a client does
    whose machine lost its link.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sender, self.receiver = Sender(WINDOW), Receiver(WINDOW)
        self.written, self.read = bytearray(), bytearray()
        self.consumed = 0
        self.there: deque[tuple[str, int, bytes]] = deque()
        self.back: deque[tuple[str, int]] = deque()

    @rule(size=st.integers(1, 2 * WINDOW))
    def send(self, size: int) -> None:
        data = bytes((len(self.written) + number) % 251 for number in range(min(size, self.sender.room)))
        if data and not self.sender.is_ended:
            self.written += data
            self.there.append(("data", self.sender.send(data), data))

    @precondition(lambda self: not self.sender.is_ended)
    @rule()
    def end(self) -> None:
        self.sender.is_ended = True
        self.there.append(("end", self.sender.sent, b""))

    @precondition(lambda self: self.there)
    @rule()
    def arrive(self) -> None:
        word, offset, data = self.there.popleft()
        if word == "data":
            self.read += self.receiver.take(offset, view(data))
        elif self.receiver.end(offset):
            assert self.read == self.written

    @precondition(lambda self: self.consumed < len(self.read))
    @rule(data=st.data())
    def consume(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(1, len(self.read) - self.consumed))
        self.consumed += size
        limit = self.receiver.consume(size)
        if limit is not None:
            self.back.append(("window", limit))

    @precondition(lambda self: self.back)
    @rule()
    def hear(self) -> None:
        word, number = self.back.popleft()
        if word == "window":
            self.sender.granted(number)
        else:
            self.there.extend(("data", offset, data) for offset, data in self.sender.again(number))
            if self.sender.is_ended:
                self.there.append(("end", self.sender.sent, b""))

    @rule(count=st.integers(0, 5))
    def cut(self, count: int) -> None:
        """Lose what is in flight, but for the oldest ``count`` messages each way, which had arrived already."""
        while len(self.there) > count:
            self.there.pop()
        while len(self.back) > count:
            self.back.pop()

    @rule()
    def resume(self) -> None:
        self.back.append(("resumed", self.receiver.received))
        self.back.append(("window", self.receiver.limit))

    @invariant()
    def nothing_is_lost_repeated_or_invented(self) -> None:
        assert self.written.startswith(self.read)
        assert self.receiver.received == len(self.read)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.read) - self.consumed <= WINDOW
        assert self.sender.kept <= 2 * WINDOW

    def teardown(self) -> None:
        """After one more resume everything arrives, and there is room again."""
        self.resume()
        if not self.sender.is_ended:
            self.end()
        while self.back or self.there:
            while self.back:
                self.hear()
            while self.there:
                self.arrive()
            if self.consumed < len(self.read):
                limit = self.receiver.consume(len(self.read) - self.consumed)
                self.consumed = len(self.read)
                self.back.extend([("window", limit)] if limit is not None else [])
        assert self.read == self.written
        assert self.receiver.is_ended
        assert self.sender.room >= WINDOW // 2


TestLink = Link.TestCase


def test_a_sender_is_held_to_the_grant_and_a_receiver_notices_one_who_is_not() -> None:
    receiver = Receiver(WINDOW)
    assert bytes(receiver.take(0, view(b"x" * WINDOW))) == b"x" * WINDOW
    with pytest.raises(Malformed, match="window"):
        receiver.take(WINDOW, view(b"x"))
    with pytest.raises(Malformed, match="window"):
        receiver.take(10**15, view(b"x"))
    sender = Sender(WINDOW)
    sender.send(b"x" * WINDOW)
    assert sender.room == 0
    with pytest.raises(AssertionError):
        sender.send(b"x")


def test_half_a_window_is_granted_at_a_time() -> None:
    receiver = Receiver(WINDOW)
    receiver.take(0, view(b"x" * WINDOW))
    grants = [receiver.consume(1) for _ in range(WINDOW)]
    assert [grant for grant in grants if grant is not None] == [WINDOW + WINDOW // 2, 2 * WINDOW]


def test_what_comes_after_a_gap_waits_for_what_is_missing() -> None:
    receiver = Receiver(WINDOW)
    assert bytes(receiver.take(4, view(b"efgh"))) == b""
    assert not receiver.end(8)
    assert bytes(receiver.take(0, view(b"abcdef"))) == b"abcdef"
    assert bytes(receiver.take(4, view(b"efgh"))) == b"gh"
    assert receiver.end(8)
    assert not receiver.end(8)


def test_nothing_follows_an_end_and_an_end_stands() -> None:
    receiver = Receiver(WINDOW)
    receiver.take(0, view(b"abc"))
    with pytest.raises(Malformed):
        receiver.end(2)
    assert receiver.end(3)
    assert bytes(receiver.take(0, view(b"abc"))) == b""
    for act in (lambda: receiver.take(3, view(b"d")), lambda: receiver.end(2), lambda: receiver.end(4)):
        with pytest.raises(Malformed):
            act()


def test_only_what_is_missing_is_sent_again() -> None:
    sender = Sender(WINDOW)
    for data in (b"abc", b"def", b"g"):
        sender.send(data)
    assert list(sender.again(0)) == [(0, b"abc"), (3, b"def"), (6, b"g")]
    assert list(sender.again(4)) == [(4, b"ef"), (6, b"g")]
    assert list(sender.again(7)) == []


def test_grants_that_are_old_or_senseless() -> None:
    sender = Sender(WINDOW)
    sender.send(b"x" * 10)
    sender.granted(WINDOW + 4)
    sender.granted(WINDOW)  # overtaken
    assert sender.limit == WINDOW + 4
    with pytest.raises(Malformed):
        sender.granted(WINDOW + 11)


@pytest.mark.parametrize("received", [-1, 3, 11, 10**12])
def test_a_peer_that_claims_what_cannot_be(received: int) -> None:
    sender = Sender(WINDOW)
    for _ in range(5):
        sender.send(b"xx")
    sender.granted(WINDOW + 4)  # so the first four are forgotten
    with pytest.raises(Malformed):
        sender.again(received)


def test_a_receiver_may_begin_in_the_middle() -> None:
    receiver = Receiver(WINDOW, start=100)
    assert bytes(receiver.take(98, view(b"abcd"))) == b"cd"
    assert receiver.received == 102
