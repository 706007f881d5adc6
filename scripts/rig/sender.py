"""Sends prepared RTP packets to a browser at the moment a trace says: ICE-lite, DTLS and SRTP in one small loop.

One thread does everything, and nothing but sending happens while packets are due: every packet is encrypted before
the first one leaves. Opus, jitter buffers and rate control are nowhere in it.
"""

import heapq
import select
import socket
import time
from dataclasses import dataclass, field

from aioice import stun
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate
from OpenSSL import SSL
from pylibsrtp import Policy, Session

from rig.programs import RigError
from rig.traces import Arrivals

LOOPBACK = "127.0.0.1"
PASSWORD = "a-password-of-the-rig-only"
SSRC = 0x5EED
FIRST_SEQ = 1000


@dataclass(frozen=True)
class Media:
    """What a stream carries."""

    payload_type: int
    rtpmap: str
    fmtp: str
    ticks: int


OPUS = Media(111, "opus/48000/2", "minptime=20;useinbandfec=1;maxplaybackrate=16000;sprop-maxcapturerate=16000", 960)
PCMU = Media(0, "PCMU/8000", "", 160)


@dataclass
class Stream:
    """One stream to one peer connection of the browser."""

    media: Media
    payloads: list[bytes]
    arrivals: Arrivals
    certificate: RTCCertificate
    port: socket.socket = field(init=False)
    remote: tuple[str, int] | None = None
    srtp: Session | None = None
    wire: list[tuple[float, bytes]] = field(default_factory=list)
    _dtls: SSL.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port.bind((LOOPBACK, 0))
        self.port.setblocking(False)
        self._dtls = SSL.Connection(self.certificate._create_ssl_context(srtp_profiles=SRTP_PROFILES))
        self._dtls.set_accept_state()

    def answer(self) -> str:
        """The SDP answer: we send, are ICE-lite and the server of DTLS."""
        port, media = self.port.getsockname()[1], self.media
        fingerprint = next(f for f in self.certificate.getFingerprints() if f.algorithm == "sha-256")
        lines = [
            "v=0", f"o=- 1 1 IN IP4 {LOOPBACK}", "s=-", "t=0 0", "a=ice-lite", "a=group:BUNDLE 0",
            f"m=audio {port} UDP/TLS/RTP/SAVPF {media.payload_type}", f"c=IN IP4 {LOOPBACK}",
            "a=mid:0", "a=sendonly", "a=rtcp-mux", f"a=ice-ufrag:u{port}", f"a=ice-pwd:{PASSWORD}",
            f"a=fingerprint:sha-256 {fingerprint.value}", "a=setup:passive",
            f"a=rtpmap:{media.payload_type} {media.rtpmap}", "a=ptime:20",
            f"a=ssrc:{SSRC} cname:rig", f"a=ssrc:{SSRC} msid:rig rig",
            f"a=candidate:1 1 udp 2130706431 {LOOPBACK} {port} typ host", "a=end-of-candidates",
        ]  # fmt: skip
        if media.fmtp:
            lines.insert(-5, f"a=fmtp:{media.payload_type} {media.fmtp}")
        return "\r\n".join(lines) + "\r\n"

    def receive(self) -> None:
        """Answers what the browser sent: connectivity checks and the handshake; its reports are not read."""
        while True:
            try:
                data, source = self.port.recvfrom(2048)
            except BlockingIOError:
                return
            if data[0] < 2:
                self._check(data, source)
            elif 20 <= data[0] < 64:
                self._shake(data)

    def _check(self, data: bytes, source: tuple[str, int]) -> None:
        try:
            asked = stun.parse_message(data)
        except ValueError:
            return
        if asked.message_class != stun.Class.REQUEST or not asked.check_message_integrity(PASSWORD.encode()):
            return
        told = stun.Message(asked.message_method, stun.Class.RESPONSE, asked.transaction_id)
        told.attributes["XOR-MAPPED-ADDRESS"] = source
        told.add_message_integrity(PASSWORD.encode())
        self.port.sendto(bytes(told), source)
        if self.remote is None or "USE-CANDIDATE" in asked.attributes:
            self.remote = source

    def _shake(self, data: bytes) -> None:
        self._dtls.bio_write(data)
        try:
            if self.srtp is None:
                self._dtls.do_handshake()
                self._protect()
            else:
                self._dtls.recv(2048)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            return
        except SSL.Error as error:
            raise RigError(f"DTLS with the browser failed: {error}") from None
        try:
            while True:
                self.port.sendto(self._dtls.bio_read(1400), self.remote)
        except SSL.WantReadError:
            pass

    def _protect(self) -> None:
        """Takes the keys (RFC 5764 §4.2) and encrypts everything that will be sent."""
        chosen = self._dtls.get_selected_srtp_profile()
        profile = next(each for each in SRTP_PROFILES if each.openssl_profile == chosen)
        secret = self._dtls.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        key = profile.get_key_and_salt(secret, 1)
        policy = Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile.libsrtp_profile)
        self.srtp = Session(policy)
        for at, (payload, when) in enumerate(zip(self.payloads, self.arrivals, strict=True)):
            header = bytes([0x80, self.media.payload_type | (0x80 if at == 0 else 0)])
            header += (FIRST_SEQ + at).to_bytes(2, "big") + (at * self.media.ticks).to_bytes(4, "big")
            packet = self.srtp.protect(header + SSRC.to_bytes(4, "big") + payload)
            if when is not None:
                self.wire.append((when, packet))


@dataclass
class Punctuality:
    """How late packets left, beside what their traces said."""

    packets: int
    p99_ms: float
    worst_ms: float


class Sender:
    """All streams of one round."""

    def __init__(self, streams: list[Stream]):
        self._streams = streams
        self._poll = select.epoll()
        self._by_fd = {stream.port.fileno(): stream for stream in streams}
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)

    def connect(self, seconds: float = 45.0) -> None:
        """Waits until every peer connection has its keys."""
        deadline = time.monotonic() + seconds
        while any(stream.srtp is None for stream in self._streams):
            if time.monotonic() > deadline:
                missing = sum(stream.srtp is None for stream in self._streams)
                raise RigError(f"{missing} of {len(self._streams)} peer connections never came up")
            self._serve(0.05)

    def play(self) -> tuple[float, Punctuality]:
        """Sends everything; returns when the first packet was sent (seconds since the epoch) and how punctual it was."""
        start = time.monotonic() + 0.5
        epoch = time.time() + 0.5
        due = [(start + when / 1000, at, packet, stream) for stream in self._streams for at, (when, packet) in enumerate(stream.wire)]
        queue = [(when, index) for index, (when, *_) in enumerate(due)]
        heapq.heapify(queue)
        late = []
        while queue:
            when, index = queue[0]
            ahead = when - time.monotonic()
            if ahead > 0:
                # The poll sleeps in whole milliseconds and may sleep one too long: the rest is slept exactly.
                if ahead > 0.003:
                    self._serve(ahead - 0.002)
                else:
                    time.sleep(ahead)
                continue
            heapq.heappop(queue)
            _, _, packet, stream = due[index]
            stream.port.sendto(packet, stream.remote)
            late.append(-ahead * 1000)
        late.sort()
        return epoch, Punctuality(len(late), round(late[len(late) * 99 // 100], 2), round(late[-1], 2))

    def idle(self, seconds: float) -> None:
        """Stays alive for the browser's checks."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._serve(0.05)

    def close(self) -> None:
        """Gives the sockets back."""
        for stream in self._streams:
            stream.port.close()
        self._poll.close()

    def _serve(self, seconds: float) -> None:
        for fd, _ in self._poll.poll(max(seconds, 0)):
            self._by_fd[fd].receive()


def certificate() -> RTCCertificate:
    """One for all streams of a run."""
    return RTCCertificate.generateCertificate()


__all__ = ["OPUS", "PCMU", "Media", "Punctuality", "Sender", "Stream", "certificate"]
