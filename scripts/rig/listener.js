// Opens as many peer connections as the rig wants, keeps every sample that WebRTC's receiver gives out, and posts
// them when the rig says that everything was sent. `MediaStreamTrackProcessor` hands out the receiver's own frames:
// no resampler and no second buffer stand behind it. A muted element is what makes the browser pull.
"use strict";
const ask = async (path, body) => {
  const answer = await fetch(path, body === undefined ? {} : { method: "POST", body });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
};

class Listener {
  constructor(index) {
    this.index = index;
    this.chunks = [];
    this.times = [];
    this.rates = [];
    this.statistics = {};
  }

  async open() {
    this.connection = new RTCPeerConnection();
    this.connection.addTransceiver("audio", { direction: "recvonly" });
    this.connection.ontrack = (event) => this.keep(event.track);
    await this.connection.setLocalDescription();
    const answer = await ask(`/offer/${this.index}`, this.connection.localDescription.sdp);
    await this.connection.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  }

  async keep(track) {
    const element = new Audio();
    element.muted = true;
    element.srcObject = new MediaStream([track]);
    document.body.append(element);
    element.play();
    const reader = new MediaStreamTrackProcessor({ track, maxBufferSize: 500 }).readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const samples = new Float32Array(value.numberOfFrames);
      value.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const short = new Int16Array(samples.length);
      for (let at = 0; at < samples.length; at++) {
        short[at] = Math.max(-32768, Math.min(32767, Math.round(samples[at] * 32768)));
      }
      this.chunks.push(short);
      this.times.push(value.timestamp / 1000);
      this.rates.push(value.sampleRate);
      value.close();
    }
  }

  // What WebRTC counted; asked for as the last packet leaves, so that the silence after it does not count.
  async count() {
    for (const report of (await this.connection.getStats()).values()) {
      if (report.type === "inbound-rtp") this.statistics = report;
    }
  }

  async tell() {
    this.connection.close();
    const lengths = this.chunks.map((chunk) => chunk.length);
    const facts = { statistics: this.statistics, lengths, times: this.times, rates: this.rates };
    await ask(`/facts/${this.index}`, JSON.stringify(facts));
    await ask(`/samples/${this.index}`, new Blob(this.chunks));
  }
}

const run = async () => {
  const count = Number(await (await ask("/count")).text());
  const listeners = Array.from({ length: count }, (_, index) => new Listener(index));
  for (const listener of listeners) await listener.open();
  // How this page's clock stands to everybody's.
  await ask("/clock", String(performance.timeOrigin));
  while ((await (await ask("/over")).text()) !== "yes") await new Promise((done) => setTimeout(done, 100));
  await Promise.all(listeners.map((listener) => listener.count()));
  // What waits in a jitter buffer comes out, and a little silence behind it.
  await new Promise((done) => setTimeout(done, 1000));
  for (const listener of listeners) await listener.tell();
  await ask("/done", "");
};
addEventListener("load", () => run().catch((error) => ask("/failed", String(error.stack ?? error))));
