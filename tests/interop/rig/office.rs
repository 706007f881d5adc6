//! An office behind a NAT, out of network namespaces: the test and the gateway in one, the phone in another, and a
//! router between them that knows only how to reach out. Namespaces have no names and end with the test.
//!
//! ```text
//!  gateway, user        router                          phone
//!  10.77.0.1 ────────── 10.77.0.2 │ 192.168.77.1 ────── 192.168.77.10
//!                       masquerade, ports as it is told
//! ```

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::process::Command;

/// Where the gateway is.
pub(crate) const GATEWAY_IP: &str = "10.77.0.1";
/// What the gateway sees of the office.
pub(crate) const ROUTER_IP: &str = "10.77.0.2";
/// Where the phone believes to be.
pub(crate) const PHONE_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 10);

/// A network of its own, there as long as the value lives.
struct Namespace(File);

/// The namespace that this thread is in.
fn current() -> Namespace {
    Namespace(File::open("/proc/thread-self/ns/net").expect("procfs"))
}

/// Puts this thread into a new, empty namespace, and with it every program that it starts.
fn unshare() -> io::Result<Namespace> {
    // SAFETY: changes nothing but which network this thread sees.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(current())
}

impl Namespace {
    fn enter(&self) {
        // SAFETY: an open descriptor of a network namespace; changes nothing but which network this thread sees.
        let entered = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(entered, 0, "{}", io::Error::last_os_error());
    }

    /// As `ip` names it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// The three networks; this thread is in the gateway's.
pub(crate) struct Office {
    gateway: Namespace,
    router: Namespace,
    phone: Namespace,
}

impl Office {
    /// Builds it around this thread; `None`, with the reason told, on a machine that allows no namespaces.
    #[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
    pub(crate) fn build(mapped: Range<u16>) -> Option<Self> {
        let networks = || Ok::<_, io::Error>((unshare()?, unshare()?, unshare()?));
        let (phone, router, gateway) = match networks() {
            Ok(it) => it,
            Err(error) => {
                eprintln!("SKIPPED: this machine allows no network namespaces ({error}); run as root");
                return None;
            }
        };
        let office = Self { gateway, router, phone };
        run("ip link set lo up");
        run(&format!("ip link add g0 type veth peer name r0 netns {}", office.router.path()));
        run(&format!("ip addr add {GATEWAY_IP}/24 dev g0"));
        run("ip link set g0 up");
        office.inside(&office.router, || {
            run("ip link set lo up");
            run(&format!("ip link add r1 type veth peer name l0 netns {}", office.phone.path()));
            run(&format!("ip addr add {ROUTER_IP}/24 dev r0"));
            run("ip addr add 192.168.77.1/24 dev r1");
            run("ip link set r0 up");
            run("ip link set r1 up");
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root in its own namespace");
        });
        office.at_phone(|| {
            run("ip link set lo up");
            run(&format!("ip addr add {PHONE_IP}/24 dev l0"));
            run("ip link set l0 up");
            run("ip route add default via 192.168.77.1");
        });
        office.map_to(mapped);
        Some(office)
    }

    /// Does something in the phone's network; what is opened and started there stays there.
    pub(crate) fn at_phone<T>(&self, work: impl FnOnce() -> T) -> T {
        self.inside(&self.phone, work)
    }

    fn inside<T>(&self, place: &Namespace, work: impl FnOnce() -> T) -> T {
        place.enter();
        let done = work();
        self.gateway.enter();
        done
    }

    /// The router uses these ports from now on and forgets what it has mapped, as one does that has dialled in anew.
    pub(crate) fn map_to(&self, ports: Range<u16>) {
        let rules = format!(
            "flush ruleset\ntable ip nat {{\nchain out {{\ntype nat hook postrouting priority 100;\n\
             oifname \"r0\" meta l4proto {{ udp, tcp }} masquerade to :{}-{}\n}}\n}}\n",
            ports.start,
            ports.end - 1
        );
        self.inside(&self.router, || {
            let done = Command::new("nft").arg(rules).status();
            let done =
                done.unwrap_or_else(|error| panic!("nft ({error}); scripts/interop installs nftables"));
            assert!(done.success(), "nft takes the rules");
            // Masquerading forgets what left by a line that went down.
            run("ip link set r0 down");
            run("ip link set r0 up");
        });
    }

    /// Seconds after which the router forgets a mapping that nobody used.
    pub(crate) fn forget_after(&self, seconds: u32) {
        self.inside(&self.router, || {
            for name in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
                let path = format!("/proc/sys/net/netfilter/{name}");
                std::fs::write(path, seconds.to_string()).expect("root in its own namespace");
            }
        });
    }
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}
