//! Presence of a phone as `application/pidf+xml` (RFC 3863), with "on the phone" (RFC 4480 §3.2).

use super::dialog_info::{DialogState, WatchedDialog};
use super::xml::escape;

/// Whether a phone can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is registered.
    Open,
    /// It is not.
    Closed,
}

/// The document about `phone@domain`.
#[must_use]
pub fn print((phone, domain): (&str, &str), reach: Reach, dialogs: &[WatchedDialog]) -> String {
    let entity = format!("sip:{}@{}", escape(phone), escape(domain));
    let basic = match reach {
        Reach::Open => "open",
        Reach::Closed => "closed",
    };
    let talks = dialogs.iter().any(|it| it.state != DialogState::Terminated);
    let activity = if talks { "<rpid:activities><rpid:on-the-phone/></rpid:activities>" } else { "" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"{entity}\">\r\n\
         <tuple id=\"phone\"><status><basic>{basic}</basic></status><contact>{entity}</contact></tuple>\r\n\
         <dm:person id=\"person\">{activity}</dm:person>\r\n</presence>\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::dialog_info::Direction;
    use super::*;
    use crate::id::LegId;

    #[test]
    fn a_phone_is_open_while_registered_and_on_the_phone_while_it_has_a_call() {
        let call = WatchedDialog {
            leg: LegId(1),
            direction: Direction::Initiator,
            state: DialogState::Early,
            peer: None,
            name: None,
        };
        let talking = print(("1001", "h"), Reach::Open, &[call]);
        assert!(talking.contains("<basic>open</basic>") && talking.contains("on-the-phone"), "{talking}");
        let gone = print(("1001", "h"), Reach::Closed, &[]);
        assert!(gone.contains("<basic>closed</basic>") && !gone.contains("on-the-phone"), "{gone}");
    }
}
