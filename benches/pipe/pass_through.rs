//! Opus from user to phone and back without a codec, against the bare sockets and SRTP of the same packets.

use std::time::{Duration, Instant};

use cordboard::io::bench::sound::Sound;
use cordboard::io::bench::{Rig, cpu_of, raise_file_limit, resident};

use crate::bare::sockets_and_srtp;
use crate::{PASS_THROUGH, PEERS, rtpengine};

pub(crate) fn run(sound: &Sound, calls: usize, seconds: usize, workers: usize, beside: bool) {
    let before = sockets_and_srtp(sound, calls, seconds);
    raise_file_limit();
    let mut rig = Rig::start(workers, &[PEERS, PASS_THROUGH]).expect("the engine and the far ends start");
    rig.add_call().expect("a call");
    rig.run(Duration::from_secs(1));
    let memory = resident();
    for _ in 1..calls {
        rig.add_call().expect("a call");
    }
    rig.run(Duration::from_secs(2));
    let (figures, cpu, start) = (rig.figures(), cpu_of("media-"), Instant::now());
    rig.run(Duration::from_secs(seconds as u64));
    let (cpu, wall) = (cpu_of("media-").saturating_sub(cpu), start.elapsed());
    let packets = rig.figures().sent - figures.sent;
    let grown = resident().saturating_sub(memory);
    let (summaries, failed) = rig.finish().expect("every call ends");
    assert!(failed.is_empty(), "{failed:?}");
    let after = sockets_and_srtp(sound, calls, seconds);
    let bare = (before + after) / 2;

    println!("{calls} calls, Opus on both sides, {seconds} s, real sockets on loopback");
    println!("  what the engine did       {}", summaries.first().map_or("nothing", |it| it.codecs.as_str()));
    let second = |cpu: Duration| cpu.as_secs_f64() / wall.as_secs_f64();
    println!("  engine                    {:>9.4} processor seconds a second", second(cpu));
    println!(
        "  bare sockets and SRTP     {:>9.4} (before {:.4}, after {:.4})",
        second(bare),
        second(before),
        second(after)
    );
    println!("  engine / bare             {:>9.3} (at most 3)", cpu.as_secs_f64() / bare.as_secs_f64());
    if beside {
        let span = Duration::from_secs(seconds as u64);
        rtpengine::tell(rtpengine::Phones::Opus, calls, span, second(cpu));
    }
    println!("  per packet sent           {:>9.2} µs", cpu.as_secs_f64() * 1e6 / packets.max(1) as f64);
    if calls > 1 {
        println!("  memory per active call    {:>9} KiB", grown / 1024 / (calls as u64 - 1));
    }
    crate::tell(&summaries);
}
