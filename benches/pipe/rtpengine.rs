//! The same calls through Debian's rtpengine: same far ends, same sound, same machine, one after the other.
//!
//! rtpengine forwards in its own process here: its kernel module is not there, and could not transcode.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordboard::io::bench::{FarEnds, cpu_of_process};

use crate::{PASS_THROUGH, PEERS};

/// A call's reply comes within this, or rtpengine is not there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What rtpengine did.
struct Measured {
    /// Processor seconds a second, all its threads.
    load: f64,
    /// Resident bytes a call.
    memory: u64,
}

/// What the phones behind it take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phones {
    /// G.711, so it transcodes.
    Pcmu,
    /// Opus, so it decrypts and encrypts.
    Opus,
}

/// A running rtpengine; it ends with this value.
struct Rtpengine {
    process: Child,
    control: UdpSocket,
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Rtpengine {
    fn start() -> io::Result<Self> {
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let listen: SocketAddr = ([127, 0, 0, 1], port).into();
        let process = Command::new("rtpengine")
            .args(["--foreground", "--table=-1", "--interface=127.0.0.1", "--log-level=2", "--log-stderr"])
            .args(["--port-min=30000", "--port-max=39999", "--num-threads=2"])
            .arg(format!("--listen-ng={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let control = UdpSocket::bind("127.0.0.1:0")?;
        control.connect(listen)?;
        control.set_read_timeout(Some(Duration::from_millis(200)))?;
        let engine = Self { process, control };
        let end = Instant::now() + PATIENCE;
        while engine.ask("ping", "d7:command4:pinge").is_err() {
            if Instant::now() > end {
                return Err(io::Error::other("rtpengine does not answer"));
            }
        }
        Ok(engine)
    }

    /// Sends a request of its control protocol (bencode over UDP, a cookie in front) and gives the answer.
    fn ask(&self, cookie: &str, request: &str) -> io::Result<String> {
        let mut bytes = [0; 8192];
        self.control.send(format!("{cookie} {request}").as_bytes())?;
        let length = self.control.recv(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// A description through it.
    fn pass(&self, call: usize, command: &str, further: &str, sdp: &str) -> io::Result<String> {
        let request = format!(
            "d{}{}{}{}{further}{}{}e",
            pair("command", command),
            pair("call-id", &format!("bench-{call}")),
            pair("from-tag", "user"),
            if command == "answer" { pair("to-tag", "phone") } else { String::new() },
            // Never both: rtpengine's own address in every case.
            "7:replacel6:origin18:session-connectione",
            pair("sdp", sdp),
        );
        let answer = self.ask(&format!("{command}{call}"), &request)?;
        let found = answer.split_once("3:sdp").and_then(|(_, rest)| {
            let (length, rest) = rest.split_once(':')?;
            rest.get(..length.parse().ok()?)
        });
        found.map(str::to_owned).ok_or_else(|| io::Error::other(answer))
    }

    fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

fn pair(key: &str, value: &str) -> String {
    format!("{}:{key}{}:{value}", key.len(), value.len())
}

/// Sets up `calls` calls through it and lets them talk.
fn measure(far_ends: &[String], phones: Phones, calls: usize, span: Duration) -> io::Result<Measured> {
    let engine = Rtpengine::start()?;
    let mut ends = FarEnds::start(far_ends)?;
    let mut resident = 0;
    // Plain RTP, no ICE; of the codecs only what the phones take.
    let codecs = match phones {
        Phones::Pcmu => "5:codecd5:stripl3:alle9:transcodel4:PCMUee",
        Phones::Opus => "",
    };
    let to_phone = format!(
        "{codecs}{}{}{}",
        pair("ICE", "remove"),
        pair("transport-protocol", "RTP/AVP"),
        pair("DTLS", "passive")
    );
    for call in 0..calls {
        ends.meet_across(
            |offer| engine.pass(call, "offer", &to_phone, offer),
            |answer| engine.pass(call, "answer", "", answer),
        )?;
        if call == 0 {
            std::thread::sleep(Duration::from_secs(1));
            resident = engine.resident();
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let pid = engine.process.id();
    ends.heard()?;
    let (cpu, start) = (cpu_of_process(pid), Instant::now());
    std::thread::sleep(span);
    let (cpu, wall) = (cpu_of_process(pid).saturating_sub(cpu), start.elapsed());
    let heard = ends.heard()?;
    let memory = engine.resident().saturating_sub(resident) / (calls.max(2) as u64 - 1);
    ends.stop();
    if heard * 10 < calls as u64 * 2 * 50 * span.as_secs() * 9 {
        return Err(io::Error::other(format!("only {heard} packets came through")));
    }
    Ok(Measured { load: cpu.as_secs_f64() / wall.as_secs_f64(), memory })
}

/// Prints what rtpengine takes for the calls for which the engine took `ours` processor seconds a second.
pub(crate) fn tell(phones: Phones, calls: usize, span: Duration, ours: f64) {
    let mut arguments = vec![PEERS.to_owned()];
    if phones == Phones::Opus {
        arguments.push(PASS_THROUGH.to_owned());
    }
    match measure(&arguments, phones, calls, span) {
        Ok(theirs) => {
            println!("  rtpengine                 {:>9.4} processor seconds a second", theirs.load);
            println!("    calls per core, against {:>9.3} times its", theirs.load / ours);
            println!("    its memory per call     {:>9} KiB", theirs.memory / 1024);
        }
        Err(error) => println!("  rtpengine                 not measured: {error}"),
    }
}
