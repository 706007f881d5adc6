//! What the kernel knows of this process: processor time of threads, resident memory.

use std::fs;
use std::time::Duration;

/// Processor time of this process' threads whose names begin with `prefix`.
pub(crate) fn cpu_of(prefix: &str) -> Duration {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    tasks
        .flatten()
        .filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(prefix))
        })
        .map(|task| spent(&task.path().join("schedstat"), &task.path().join("stat")))
        .sum()
}

/// Processor time of the calling thread, cheap enough to be read at every wake-up.
pub(crate) fn thread_clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours and lives until the call returns; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// Keeps the calling thread on the processor it runs on, if the kernel lets it.
pub(crate) fn pin_here() {
    // SAFETY: all-zero bytes are a valid, empty set; the number is checked against its size; thread 0
    // is the caller, and the size given is that of the set.
    unsafe {
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        if let Ok(cpu @ 0..1024) = usize::try_from(libc::sched_getcpu()) {
            libc::CPU_SET(cpu, &mut one);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
        }
    }
}

fn spent(exact: &std::path::Path, coarse: &std::path::Path) -> Duration {
    let nanos = fs::read_to_string(exact)
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .filter(|nanos: &u64| *nanos > 0);
    if let Some(nanos) = nanos {
        return Duration::from_nanos(nanos);
    }
    // Some kernels keep no exact figure: ticks of 10 ms, user and system.
    let text = fs::read_to_string(coarse).unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory in bytes.
pub(crate) fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
