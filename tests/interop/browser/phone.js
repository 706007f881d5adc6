// A browser phone: JsSIP, a microphone that plays a file, and an ear that tells pitches apart. It asks the test for
// orders and tells it what happens.

const settings = JSON.parse(document.getElementById("settings").textContent);

const tell = (what, more = {}) =>
  fetch("/tell", { method: "POST", body: JSON.stringify({ what, ...more }) }).catch(() => {});

window.onerror = (message) => tell("error", { message: String(message) });
window.onunhandledrejection = (event) => tell("error", { message: String(event.reason) });

// The package is CommonJS; one page of one test can wait for its files.
const modules = new Map();
function load(path) {
  const request = new XMLHttpRequest();
  request.open("GET", `/modules/${path}`, false);
  request.send();
  return request.status === 200 ? request.responseText : null;
}
function find(from, name) {
  if (!name.startsWith(".")) {
    const main = JSON.parse(load(`${name}/package.json`));
    const entry = typeof main.browser === "string" ? main.browser : main.main || "index.js";
    return new URL(`${name}/${entry}`, "http://m/").pathname.slice(1);
  }
  return new URL(name, `http://m/${from}`).pathname.slice(1);
}
function requireFrom(from, name) {
  const base = find(from, name);
  for (const path of [base, `${base}.js`, `${base}/index.js`]) {
    if (modules.has(path)) return modules.get(path).exports;
    const text = /\.(js|json)$/.test(path) ? load(path) : null;
    if (text === null) continue;
    const module = { exports: {} };
    modules.set(path, module);
    if (path.endsWith(".json")) module.exports = JSON.parse(text);
    else new Function("module", "exports", "require", text)(module, module.exports, (it) => requireFrom(path, it));
    return module.exports;
  }
  throw new Error(`no module ${name} for ${from}`);
}

// What was heard since it was asked last: tenths of a second by their loudest pitch.
let pitches = [];
function listen(stream) {
  // Chromium decodes a remote stream only where something plays it.
  const player = new Audio();
  player.srcObject = stream;
  player.muted = true;
  player.play();
  const context = new AudioContext();
  const ear = context.createAnalyser();
  ear.fftSize = 8192;
  ear.smoothingTimeConstant = 0;
  context.createMediaStreamSource(stream).connect(ear);
  const levels = new Float32Array(ear.frequencyBinCount);
  setInterval(() => {
    ear.getFloatFrequencyData(levels);
    const loudest = levels.reduce((best, level, at) => (level > levels[best] ? at : best), 0);
    if (levels[loudest] > -50) pitches.push((loudest * context.sampleRate) / ear.fftSize);
  }, 100);
}

async function received(session) {
  for (const report of (await session.connection.getStats()).values()) {
    if (report.type === "inbound-rtp") return { packets: report.packetsReceived, lost: report.packetsLost };
  }
  return { packets: 0, lost: 0 };
}

let session = null;
let microphone = null;

function take(connection) {
  connection.addEventListener("track", (event) => listen(new MediaStream([event.track])));
  connection.addEventListener("connectionstatechange", () => tell("connection", { state: connection.connectionState }));
}

function meet(data) {
  session = data.session;
  if (session.connection) take(session.connection);
  else session.on("peerconnection", (event) => take(event.peerconnection));
  for (const event of ["confirmed"]) session.on(event, (more) => tell(event, { by: more?.originator }));
  for (const event of ["ended", "failed"]) session.on(event, (more) => tell(event, { cause: more.cause, status: more.message?.status_code }));
  if (data.originator === "remote") session.answer({ mediaStream: microphone });
}

async function obey(phone, order) {
  if (order.act === "call") phone.call(order.target, { mediaStream: microphone });
  if (order.act === "hold") session.hold({}, () => tell("held", {}));
  if (order.act === "unhold") session.unhold({}, () => tell("resumed", {}));
  if (order.act === "hangup") session.terminate();
  if (order.act === "key") session.sendDTMF(order.key, { transportType: "RFC2833" });
  if (order.act === "heard") {
    tell("heard", { pitches, ...(await received(session)) });
    pitches = [];
  }
}

async function main() {
  const JsSIP = requireFrom("", "jssip");
  const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  microphone = await navigator.mediaDevices.getUserMedia({ audio: constraints });
  const phone = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(settings.socket)],
    uri: settings.uri,
    password: settings.password,
    register_expires: 120,
  });
  phone.on("registered", () => tell("registered"));
  phone.on("registrationFailed", (event) => tell("error", { message: `not registered: ${event.cause}` }));
  phone.on("newRTCSession", meet);
  phone.start();
  for (;;) {
    const order = await (await fetch("/order")).json();
    if (order.act) await obey(phone, order);
  }
}

main().catch((error) => tell("error", { message: `${error}\n${error.stack}` }));
