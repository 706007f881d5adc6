//! The one way in which commands ask the running gateway, and start what they wait with.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::Runtime;

use super::{Exit, complain};
use crate::config::AdminConfig;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A runtime for one command.
pub(super) fn runtime() -> Result<Runtime, Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        complain(format_args!("cordboard cannot start its threads: {error}"));
        Exit::Internal
    })
}

/// The administrator's HTTP of a running gateway.
pub(super) struct Gateway {
    client: Client,
    base: String,
}

impl Gateway {
    /// A request to `path`.
    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// What `path` lists.
    pub(super) async fn list<T: serde::de::DeserializeOwned>(&self, path: &str) -> reqwest::Result<T> {
        self.request(reqwest::Method::GET, path).send().await?.error_for_status()?.json().await
    }
}

/// Asks the gateway of a configuration; what prevents it is said to the administrator.
pub(super) fn ask<T>(
    config: &Path,
    path: &str,
    ask: impl AsyncFnOnce(&Gateway) -> reqwest::Result<T>,
) -> Result<T, Exit> {
    let address = admin_of(config).ok_or(Exit::Usage)?;
    let outcome = runtime()?.block_on(async {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        ask(&Gateway { client, base: format!("http://{address}") }).await
    });
    outcome.map_err(|error| {
        complain(format_args!(
            "http://{address}{path} (admin.listen): {error}; does the gateway run, with this configuration?"
        ));
        Exit::Unavailable
    })
}

/// Where the gateway of a configuration answers its administrator.
fn admin_of(config: &Path) -> Option<SocketAddr> {
    let mut address = AdminConfig::read(config).map_err(complain).ok()?.listen;
    // A listener on every address answers on loopback too.
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}
