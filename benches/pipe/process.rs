//! The clock and the place of a thread that is measured.

use std::time::Duration;

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
