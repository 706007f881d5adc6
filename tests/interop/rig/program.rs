//! A real program beside the test: its output in files, its end certain.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long tests wait for a level before they fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running program; dropped, it is killed, and its last words are shown if the test failed.
pub(crate) struct Program {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Program {
    /// Starts a program with both outputs in `folder/name.log`.
    pub(crate) fn start(name: &str, folder: &Path, command: &mut Command) -> Self {
        let output = folder.join(format!("{name}.log"));
        let log = File::create(&output).expect("the test's folder can be written");
        let both = log.try_clone().expect("a file handle can be doubled");
        command.stdin(Stdio::null()).stdout(log).stderr(both);
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} cannot be started ({error}); scripts/interop installs what these tests need")
        });
        Self { name: name.to_owned(), child, output }
    }

    /// All that it wrote so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).replace('\r', "\n")
    }

    /// Sends a signal to this one process.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("process ids fit");
        // SAFETY: kill on our own child, which we have not waited for yet.
        unsafe { libc::kill(pid, signal) };
    }

    /// Kills it and its children, if it was started as the leader of a process group.
    pub(crate) fn kill_group(&mut self) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("process ids fit");
        // SAFETY: kill on the group of our own child, which we have not waited for yet.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
        drop(self.child.wait());
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait_for(&what, PATIENCE, || self.child.try_wait().expect("our own child can be waited for"))
    }

    /// Waits for a condition, and fails at once if the program dies meanwhile.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        wait_for(what, PATIENCE, || {
            let found = look(&self.output());
            let status = self.child.try_wait().expect("our own child can be waited for");
            assert!(found.is_some() || status.is_none(), "{what}: {} ended: {status:?}", self.name);
            found
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            show_tail(&self.name, &self.output());
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test harness shows it with the failure")]
fn show_tail(name: &str, output: &str) {
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with("[0:")).collect();
    let tail = lines[lines.len().saturating_sub(40)..].join("\n");
    eprintln!("--- last lines of {name} ---\n{tail}");
}

/// Polls a level until it holds; panics with `what` after the deadline.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a condition is true.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, PATIENCE, || holds().then_some(()));
}
