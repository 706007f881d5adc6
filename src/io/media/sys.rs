//! The kernel calls that the standard library has not: batched receive with time stamps, pinning, clocks.
//!
//! All `unsafe` of the media shell stands in this file.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Datagrams taken from one socket in one call.
const BATCH: usize = 16;
/// Longer datagrams than any media packet or handshake flight on an Ethernet are cut and dropped.
const LONGEST: usize = 2048;
/// Room for one `SCM_TIMESTAMPNS` message, with space to spare.
const CONTROL: usize = 64;
/// A stamp older than this says that the wall clock was set, not that the packet waited.
const OLDEST: Duration = Duration::from_secs(1);

/// Control data must be aligned like its header.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// A received datagram.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// The sender.
    pub from: SocketAddr,
    /// When the kernel received it, on the monotonic clock.
    pub arrived: Instant,
    /// The bytes.
    pub bytes: &'a mut [u8],
}

/// Buffers for one batch; one per worker.
pub struct Batch {
    bytes: Box<[[u8; LONGEST]; BATCH]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    /// Where the kernel finds the boxes above, which never move.
    parts: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    /// How many of the headers the kernel has written to.
    used: usize,
    filled: Vec<(usize, Option<SocketAddr>, Instant)>,
}

// SAFETY: the pointers inside lead to the batch's own boxes only, which move with it.
unsafe impl Send for Batch {}

impl Batch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        // SAFETY: all-zero bytes are valid for these C structures of integers and pointers.
        let (name, part, header): (libc::sockaddr_storage, libc::iovec, libc::mmsghdr) =
            unsafe { MaybeUninit::zeroed().assume_init() };
        let mut batch = Self {
            bytes: Box::new([[0; LONGEST]; BATCH]),
            names: Box::new([name; BATCH]),
            controls: Box::new(std::array::from_fn(|_| Control([0; CONTROL]))),
            parts: Box::new([part; BATCH]),
            headers: Box::new([header; BATCH]),
            used: BATCH,
            filled: Vec::with_capacity(BATCH),
        };
        for at in 0..BATCH {
            batch.parts[at].iov_base = batch.bytes[at].as_mut_ptr().cast();
            batch.parts[at].iov_len = LONGEST;
            let message = &mut batch.headers[at].msg_hdr;
            message.msg_iov = &raw mut batch.parts[at];
            message.msg_iovlen = 1;
            message.msg_name = (&raw mut batch.names[at]).cast();
            message.msg_control = batch.controls[at].0.as_mut_ptr().cast();
        }
        batch
    }

    /// Takes what waits on a non-blocking socket, at most one batch; tells whether more may wait.
    ///
    /// # Errors
    /// What `recvmmsg` says, other than that nothing waits.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<bool> {
        self.filled.clear();
        // The kernel wrote how long names and control data were; where it wrote nothing, all is as it was.
        for header in &mut self.headers[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = CONTROL as _;
        }
        // SAFETY: the headers point to buffers of the lengths given, which live until the call
        // returns and are referred to by nothing else; the count is that of the array.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            // A failed call may have written to the first.
            self.used = 1;
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) };
        };
        // The one behind the last is tried too.
        self.used = (count + 1).min(BATCH);
        let (mono, wall) = (Instant::now(), SystemTime::now());
        for (at, header) in self.headers.iter().take(count).enumerate() {
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let length = if cut { 0 } else { (header.msg_len as usize).min(LONGEST) };
            let age = stamp(&header.msg_hdr).and_then(|it| wall.duration_since(it).ok());
            let age = age.filter(|age| *age < OLDEST).unwrap_or_default();
            let arrived = mono.checked_sub(age).unwrap_or(mono);
            self.filled.push((length, address(&self.names[at]), arrived));
        }
        Ok(count == BATCH)
    }

    /// When the kernel received the first datagram of the last batch.
    pub(super) fn first_arrival(&self) -> Option<Instant> {
        self.filled.first().map(|(.., arrived)| *arrived)
    }

    /// The datagrams of the last batch.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        self.filled.iter().zip(self.bytes.iter_mut()).filter_map(|((length, from, arrived), bytes)| {
            let from = (*from)?;
            Some(Datagram { from, arrived: *arrived, bytes: bytes.get_mut(..*length)? })
        })
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// The kernel's receive time of a message.
fn stamp(message: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: the header was filled by the kernel and its control buffer is alive; the CMSG macros
    // stay inside `msg_controllen`.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !control.is_null() {
        // SAFETY: not null, so it points to a whole header inside the control buffer.
        let header = unsafe { &*control };
        if header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_TIMESTAMPNS {
            // SAFETY: the kernel puts a `timespec` behind a header of this type; it may be unaligned.
            let time = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
            let seconds = u64::try_from(time.tv_sec).ok()?;
            let nanos = u32::try_from(time.tv_nsec).ok()?;
            return UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
        }
        // SAFETY: as for the first header.
        control = unsafe { libc::CMSG_NXTHDR(message, control) };
    }
    None
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which structure it is; the storage is large and aligned enough.
            let it = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(it.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(it.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let it = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(it.sin6_addr.s6_addr);
            // A dual-stack socket shows IPv4 senders in IPv6 clothes.
            let ip = ip.to_ipv4_mapped().map_or(ip.into(), Into::into);
            Some(SocketAddr::new(ip, u16::from_be(it.sin6_port)))
        }
        _ => None,
    }
}

/// Asks the kernel to stamp every datagram of a socket with its receive time.
///
/// # Errors
/// What `setsockopt` says.
pub fn stamp_datagrams(socket: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is an int that lives until the call returns, and its size is given.
    let done = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Processor time of the calling thread.
pub(super) fn thread_clock() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is ours and lives until the call returns.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// Keeps the calling thread on the `at`-th of the processors it may use, counted round.
///
/// # Errors
/// What the scheduler calls say, for instance in a sandbox.
pub(super) fn pin_to_processor(at: usize) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid, empty set.
    let mut allowed: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: thread 0 is the caller, and the size is that of the set.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let usable: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the number is below the size of the set.
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &allowed) })
        .collect();
    let cpu = *usable.get(at % usable.len().max(1)).ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: all-zero bytes are a valid, empty set.
    let mut one: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the number is below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut one) };
    // SAFETY: thread 0 is the caller, and the size is that of the set.
    if unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_batch_brings_bytes_sender_and_the_kernels_receive_time() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_nonblocking(true).unwrap();
        stamp_datagrams(receiver.as_raw_fd()).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = Instant::now();
        for text in ["one", "two"] {
            sender.send_to(text.as_bytes(), receiver.local_addr().unwrap()).unwrap();
        }
        sender.send_to(&[7; LONGEST + 1], receiver.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new();
        assert!(!batch.receive(&receiver).unwrap());
        let got: Vec<_> = batch.datagrams().map(|it| (it.bytes.to_vec(), it.from, it.arrived)).collect();
        assert_eq!(got[0].0, b"one");
        assert_eq!(got[1].0, b"two");
        assert_eq!(got[2].0, b"", "a datagram that was cut is empty");
        assert_eq!(got[0].1, sender.local_addr().unwrap());
        // The two clocks are read one after the other.
        assert!(got[0].2 + Duration::from_millis(1) > before && got[0].2 <= Instant::now());
        assert!(!batch.receive(&receiver).unwrap());
        assert_eq!(batch.datagrams().count(), 0);
    }
}
