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

/// Processor time of the calling thread.
pub(crate) fn cpu_here() -> Duration {
    spent("/proc/thread-self/schedstat".as_ref(), "/proc/thread-self/stat".as_ref())
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
