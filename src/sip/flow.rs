//! A flow: the pair of addresses two ends talk over.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Our address and the peer's, over UDP; a reply on the same flow passes every NAT the request passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// The local socket address.
    pub local: SocketAddr,
    /// The peer's address as seen here.
    pub remote: SocketAddr,
}
