"""A very small Meta whose WebRTC side is aiortc: another ICE, DTLS, SRTP and Opus than the gateway's and the simulator's.

It speaks Graph (`/v…/{number}/calls`, `/call_permissions`), posts signed webhooks, and offers the part of the
simulator's control API that the tests use (`/sim/calls`, `/sim/users`). aiortc is made ICE-lite as Meta is: it answers
checks, never sends any, is always controlled. One JSON line on stdout says where it listens.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import re
import sys
import time
import traceback
import urllib.request
import wave
from fractions import Fraction
from pathlib import Path

import aioice.ice
import aiortc.rtcicetransport
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import CODECS
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

FRAME = 0.02


class LiteConnection(aioice.ice.Connection):
    """RFC 8445 §2.5: answers checks and takes what the other side nominates."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # A peer that claims to be controlled as well always gets 487.
        self._tie_breaker = 0
        self._connected = asyncio.Event()

    @property
    def ice_controlling(self):
        return False

    @ice_controlling.setter
    def ice_controlling(self, _):
        pass

    async def connect(self):
        self._early_checks_done = True
        for check in self._early_checks:
            self.check_incoming(*check)
        self._early_checks.clear()
        await self._connected.wait()

    def check_incoming(self, message, addr, protocol):
        if "USE-CANDIDATE" not in message.attributes:
            return
        component = protocol.local_candidate.component
        remote = aioice.Candidate(
            foundation="prflx", component=component, transport="udp", priority=1, host=addr[0], port=addr[1], type="prflx"
        )
        pair = aioice.ice.CandidatePair(protocol, remote)
        pair.nominated, pair.state = True, aioice.ice.CandidatePair.State.SUCCEEDED
        if component not in self._nominated:
            self._nominated[component] = pair
        self._check_list_done = True
        self._connected.set()


aiortc.rtcicetransport.Connection = LiteConnection
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
CODECS["audio"][0].payloadType = 111
del CODECS["audio"][1:]


class Voice(MediaStreamTrack):
    """What the user says: a WAV file over and over from `start` on, silence before; one frame each 20 ms."""

    kind = "audio"

    def __init__(self, wav):
        super().__init__()
        with wave.open(wav, "rb") as source:
            self.rate = source.getframerate()
            self.samples = np.frombuffer(source.readframes(source.getnframes()), "<i2")
        self.frame = int(self.rate * FRAME)
        self.sent, self.spoken, self.speaking, self.began = 0, 0, False, None

    async def recv(self):
        self.began = self.began or time.monotonic()
        await asyncio.sleep(max(0, self.began + self.sent * FRAME - time.monotonic()))
        pcm = np.zeros(self.frame, "<i2")
        if self.speaking:
            pcm = np.take(self.samples, range(self.spoken, self.spoken + self.frame), mode="wrap")
            self.spoken += self.frame
        frame = AudioFrame(format="s16", layout="mono", samples=self.frame)
        frame.planes[0].update(pcm.tobytes())
        frame.sample_rate, frame.pts, frame.time_base = self.rate, self.sent * self.frame, Fraction(1, self.rate)
        self.sent += 1
        return frame


class Call:
    """One call between a user and the business."""

    def __init__(self, meta, call_id, user, speak, record, initiated_by):
        self.meta, self.id, self.user, self.record, self.initiated_by = meta, call_id, user, record, initiated_by
        self.state, self.stages, self.violations, self.heard = "new", {}, [], []
        self.pre_accepted, self.start, self.terminate, self.received = None, None, None, {}
        self.mid = "audio"
        self.voice = Voice(speak)
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peer.addTrack(self.voice)
        self.peer.on("track", lambda track: setattr(self, "ear", asyncio.ensure_future(self.listen(track))))

    def stage(self, name):
        self.stages[name] = int(time.time() * 1000)
        self.state = name

    async def listen(self, track):
        try:
            while True:
                frame = await track.recv()
                self.heard.append(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)].astype("<i2"))
                self.rate = frame.sample_rate
        except MediaStreamError:
            pass

    async def offer(self):
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.shaped("actpass")

    async def take_answer(self, sdp):
        self.check(sdp)
        plain = sdp.replace("a=mid:audio", f"a=mid:{self.mid}").replace("BUNDLE audio", f"BUNDLE {self.mid}")
        await self.peer.setRemoteDescription(RTCSessionDescription(plain, "answer"))

    async def answer(self, offer):
        self.check(offer)
        await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        return self.shaped("active")

    def check(self, sdp):
        """The rules of §12.3 whose breach ends real calls."""
        rules = {
            "one media section": len(re.findall(r"^m=", sdp, re.M)) == 1,
            "CRLF line ends": sdp.count("\n") == sdp.count("\r\n"),
            "one SHA-256 fingerprint": re.findall(r"a=fingerprint:(\S+)", sdp.lower()) == ["sha-256"],
            "full ICE": "a=ice-lite" not in sdp,
            "rtcp-mux": "a=rtcp-mux" in sdp,
            "sendrecv": "a=sendrecv" in sdp,
        }
        self.violations += [f"SDP: {rule}" for rule, kept in rules.items() if not kept]

    def shaped(self, setup):
        """aiortc's description in the shape that Meta writes."""
        own = self.peer.localDescription.sdp

        def own_value(name):
            return re.search(rf"a={name}(\S+)", own).group(1)

        self.mid = own_value("mid:")
        mid = "audio" if setup == "actpass" else self.mid
        ip = "127.0.0.1"
        opus = re.search(r"a=rtpmap:(\d+) opus/48000/2", own).group(1)
        port = re.search(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+)", own).group(1)
        ssrc, cname = re.search(r"a=ssrc:(\d+) cname:(\S+)", own).groups()
        lines = [
            "v=0", f"o=- {int(time.time() * 1000)} 2 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mid}",
            "a=msid-semantic: WMS 3f0c2a10", "a=ice-lite", f"m=audio {port} UDP/TLS/RTP/SAVPF {opus} 126",
            f"c=IN IP4 {ip}", "a=rtcp:9 IN IP4 0.0.0.0",
            f"a=candidate:1177000111 1 udp 2122260223 {ip} {port} typ host generation 0 network-cost 50",
            f"a=ice-ufrag:{own_value('ice-ufrag:')}", f"a=ice-pwd:{own_value('ice-pwd:')}",
            f"a=fingerprint:sha-256 {own_value('fingerprint:sha-256 ')}",
            f"a=setup:{setup}", f"a=mid:{mid}", "a=sendrecv", "a=msid:3f0c2a10 WhatsAppTrack1", "a=rtcp-mux",
            f"a=rtpmap:{opus} opus/48000/2", f"a=rtcp-fb:{opus} transport-cc",
            f"a=fmtp:{opus} maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;sprop-maxcapturerate=16000;useinbandfec=1",
            "a=rtpmap:126 telephone-event/8000", "a=maxptime:20", "a=ptime:20", f"a=ssrc:{ssrc} cname:{cname}",
        ]
        return "\r\n".join(lines) + "\r\n"

    async def figures(self):
        """Inbound and outbound counts by aiortc's own statistics."""
        if self.peer.connectionState != "closed":
            for report in (await self.peer.getStats()).values():
                if report.type == "inbound-rtp":
                    self.received.update(received=report.packetsReceived, lost=report.packetsLost, ssrcs=[report.ssrc])
                elif report.type == "outbound-rtp":
                    self.received["sent"] = report.packetsSent
        return {"received": 0, "sent": 0, "lost": 0, **self.received}

    async def told(self):
        return {
            "call": self.id, "state": self.state, "stages": self.stages, "rtp": await self.figures(),
            "violations": self.violations, "terminate": self.terminate, "ice": self.peer.iceConnectionState,
            "dtls": self.peer.connectionState,
        }

    async def finish(self):
        """Ends the call at Meta's side: media stops, the recording is written, `terminate` goes out."""
        if self.terminate:
            return
        self.stage("ending")
        end = int(time.time())
        self.terminate = {"status": "COMPLETED"}
        if self.start:
            self.terminate |= {"start_time": str(self.start), "end_time": str(end), "duration": end - self.start}
        await self.figures()
        await self.peer.close()
        if self.record and self.heard:
            with wave.open(self.record, "wb") as out:
                out.setnchannels(1)
                out.setsampwidth(2)
                out.setframerate(self.rate)
                out.writeframes(np.concatenate(self.heard).tobytes())
        await self.meta.post_call(self, "terminate", **self.terminate)
        self.stage("ended")


class Meta:
    """Graph, webhooks and control of one business number."""

    def __init__(self, asked):
        self.number, self.digits = asked.number.split("=")
        self.webhook = asked.webhook
        self.secret = Path(asked.app_secret_file).read_text().strip().encode()
        self.token = Path(asked.access_token_file).read_text().strip()
        self.calls, self.users = {}, {}

    async def post(self, field, value):
        base = {"messaging_product": "whatsapp"}
        base["metadata"] = {"display_phone_number": self.digits, "phone_number_id": self.number}
        changes = [{"field": field, "value": base | value}]
        body = json.dumps(
            {"object": "whatsapp_business_account", "entry": [{"id": "204500667788990", "changes": changes}]}
        ).encode()
        signature = "sha256=" + hmac.new(self.secret, body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature}

        def send():
            with urllib.request.urlopen(urllib.request.Request(self.webhook, body, headers), timeout=10) as answer:
                return answer.status

        return await asyncio.to_thread(send)

    async def post_call(self, call, event, **more):
        ours, theirs = (call.user, self.digits) if call.initiated_by == "user" else (self.digits, call.user)
        told = {"id": call.id, "from": ours, "to": theirs, "event": event, "timestamp": str(int(time.time()))}
        told["direction"] = "USER_INITIATED" if call.initiated_by == "user" else "BUSINESS_INITIATED"
        contacts = [{"profile": {"name": "Ana"}, "wa_id": call.user}] if call.initiated_by == "user" else []
        await self.post("calls", {"contacts": contacts, "calls": [told | more]})

    async def post_status(self, call, status):
        told = {"id": call.id, "type": "call", "status": status, "timestamp": str(int(time.time()))}
        call.stage(status.lower())
        await self.post("calls", {"statuses": [told | {"recipient_id": call.user}]})

    async def place(self, body):
        call = Call(self, f"wacid.aiortc{len(self.calls)}", body["from"], body["speak"], body.get("record"), "user")
        self.calls[call.id] = call
        offer = await call.offer()
        call.stage("connect")
        await self.post_call(call, "connect", session={"sdp_type": "offer", "sdp": offer})
        return {"call": call.id}

    async def graph(self, body):
        action = body.get("action")
        if action == "connect":
            user = self.users.get(body["to"], {})
            call = Call(self, f"wacid.aiortc{len(self.calls)}", body["to"], user["speak"], user.get("record"), "business")
            self.calls[call.id] = call
            asyncio.ensure_future(self.ring(call, body["session"]["sdp"], user))
            return {"messaging_product": "whatsapp", "calls": [{"id": call.id}]}
        call = self.calls[body["call_id"]]
        call.stages[action] = int(time.time() * 1000)
        if action in ("pre_accept", "accept"):
            if body["session"]["sdp_type"] != "answer":
                call.violations.append(f"{action}: sdp_type {body['session']['sdp_type']}")
            if call.pre_accepted is None:
                call.pre_accepted = body["session"]["sdp"]
                await call.take_answer(call.pre_accepted)
            elif call.pre_accepted != body["session"]["sdp"]:
                call.violations.append("accept: not the SDP of pre_accept")
        if action == "accept":
            received = (await call.figures())["received"]
            if received:
                call.violations.append(f"{received} RTP packets before accept")
            call.stage("accepted")
            call.start, call.voice.speaking = int(time.time()), True
        if action in ("reject", "terminate"):
            asyncio.ensure_future(call.finish())
        return {"messaging_product": "whatsapp", "success": True}

    async def ring(self, call, offer, user):
        try:
            answer = await call.answer(offer)
            await self.post_call(call, "connect", session={"sdp_type": "answer", "sdp": answer})
            await self.post_status(call, "RINGING")
            await asyncio.sleep(user.get("answer_after_ms", 500) / 1000)
            if not call.terminate:
                call.start, call.voice.speaking = int(time.time()), True
                await self.post_status(call, "ACCEPTED")
        except Exception:
            call.violations.append(traceback.format_exc())

    async def route(self, method, path, query, headers, body):
        if path.startswith("/v"):
            if headers.get("authorization") != f"Bearer {self.token}":
                return 401, {"error": {"code": 190, "message": "bad token", "type": "OAuthException"}}
            if path.endswith("/call_permissions"):
                can = [{"action_name": "start_call", "can_perform_action": True, "limits": []}]
                return 200, {"messaging_product": "whatsapp", "permission": {"status": "permanent"}, "actions": can}
            return 200, await self.graph(body)
        if path == "/sim/violations":
            return 200, [violation for call in self.calls.values() for violation in call.violations]
        if path == "/sim/calls":
            return 200, await self.place(body) if method == "POST" else [await call.told() for call in self.calls.values()]
        if found := re.fullmatch(r"/sim/users/(\d+)", path):
            self.users[found.group(1)] = body
            return 200, {}
        if found := re.fullmatch(r"/sim/calls/([^/]+)(/hangup)?", path):
            call = self.calls[found.group(1)]
            if found.group(2):
                await call.finish()
            return 200, await call.told()
        return 404, {"error": {"message": f"no {method} {path}"}}


async def serve(meta, reader, writer):
    """One HTTP/1.1 request per connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        fields = (line.split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
        headers = {name.lower(): value.strip() for name, value in fields}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        path, _, query = target.partition("?")
        try:
            status, answer = await meta.route(method, path, query, headers, json.loads(raw) if raw else {})
        except Exception:
            traceback.print_exc()
            status, answer = 500, {"error": {"message": traceback.format_exc()}}
        body = json.dumps(answer).encode()
        lines = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(lines.encode() + body)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser()
    for name in ("--webhook", "--app-secret-file", "--access-token-file", "--number"):
        parser.add_argument(name, required=True)
    meta = Meta(parser.parse_args())
    server = await asyncio.start_server(lambda reader, writer: serve(meta, reader, writer), "127.0.0.1", 0)
    print(json.dumps({"http": "127.0.0.1:%d" % server.sockets[0].getsockname()[1]}), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
