//! Phones and trunks as the command line and the API show them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::signalling::Figures;
use crate::id::PhoneName;
use crate::sip::TrunkStatus;
use crate::sip::trunk::ServerState;
use crate::time::Wall;

/// A phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhoneRow {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it is registered.
    pub registered: bool,
    /// Since when no ring plan rings it, RFC 3339; null if they do.
    pub do_not_disturb_since: Option<String>,
}

/// All phones of the configuration.
#[must_use]
pub fn phones(names: &[PhoneName], figures: &Figures, undisturbed: &[(PhoneName, Wall)]) -> Vec<PhoneRow> {
    let row = |name: &PhoneName| PhoneRow {
        name: name.to_string(),
        registered: figures.registered.contains(name),
        do_not_disturb_since: undisturbed.iter().find(|(it, _)| it == name).map(|(_, at)| at.to_string()),
    };
    names.iter().map(row).collect()
}

/// A trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrunkRow {
    /// Its name in the configuration.
    pub name: String,
    /// How it fares, in a word or two.
    pub state: String,
    /// Its servers, best first.
    pub servers: Vec<ServerRow>,
    /// Calls up or being set up.
    pub calls: u32,
}

/// A server of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerRow {
    /// Address and port.
    pub address: String,
    /// Whether it answers.
    pub up: bool,
}

impl From<&TrunkStatus> for TrunkRow {
    fn from(status: &TrunkStatus) -> Self {
        let server = |(address, state): &(std::net::SocketAddr, ServerState)| ServerRow {
            address: address.to_string(),
            up: *state == ServerState::Up,
        };
        Self {
            name: status.name.to_string(),
            state: status.as_text().to_owned(),
            servers: status.servers.iter().map(server).collect(),
            calls: status.calls,
        }
    }
}
