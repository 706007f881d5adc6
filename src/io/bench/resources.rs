//! What the kernel knows of this process: processor time of threads, resident memory, open files.

use std::fs;
use std::time::Duration;

/// Processor time of this process' threads whose names begin with `prefix`.
#[must_use]
pub fn cpu_of(prefix: &str) -> Duration {
    cpu_of_threads("self", prefix)
}

/// Processor time of all threads of another process.
#[must_use]
pub fn cpu_of_process(pid: u32) -> Duration {
    cpu_of_threads(&pid.to_string(), "")
}

fn cpu_of_threads(process: &str, prefix: &str) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Duration::ZERO };
    tasks
        .flatten()
        .filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(prefix))
        })
        .map(|task| spent(&task.path().join("schedstat"), &task.path().join("stat")))
        .sum()
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
#[must_use]
pub fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Lets this process open as many files as it may: a call takes three sockets here and two at its far ends.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours and lives until the calls return.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
