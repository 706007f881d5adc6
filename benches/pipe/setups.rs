//! What the set-up of a call costs one thread: ports, ICE, DTLS, SRTP, codecs; a hundred of them a second.

use std::time::{Duration, Instant};

use cordboard::io::bench::{Rig, cpu_of, raise_file_limit};

use crate::{PEERS, SILENT};

/// Between two set-ups.
const APART: Duration = Duration::from_micros(9_500);

pub(crate) fn run(calls: usize) {
    raise_file_limit();
    let mut rig = Rig::start(1, &[PEERS, SILENT]).expect("the engine and the far ends start");
    // The first call pays for what all share: the thread's tables, the certificate.
    rig.set_up().expect("a call");
    rig.run(Duration::from_secs(1));
    let (cpu, start) = (cpu_of("media-"), Instant::now());
    for at in 1..=calls as u32 {
        rig.set_up().expect("a call");
        std::thread::sleep((APART * at).saturating_sub(start.elapsed()));
    }
    let wall = start.elapsed();
    rig.run(Duration::from_millis(500));
    let cpu = cpu_of("media-").saturating_sub(cpu);
    let connected = rig.connected().saturating_sub(1);
    let (_, failed) = rig.finish().expect("every call ends");

    println!("{calls} set-ups on one thread, {:.1} a second", calls as f64 / wall.as_secs_f64());
    println!("  connected                 {connected:>9} of {calls}, failed {}", failed.len());
    println!(
        "  processor per set-up      {:>9.2} ms (at most 2.8)",
        cpu.as_secs_f64() * 1e3 / calls.max(1) as f64
    );
}
