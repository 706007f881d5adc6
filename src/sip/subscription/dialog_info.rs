//! Busy lamps: the calls of a phone as `application/dialog-info+xml` (RFC 4235 §4).

use std::fmt::{self, Write as _};

use crate::id::LegId;
use crate::masked::Masked;

use super::Scope;
use super::xml::escape;

/// A phone with more calls than this is busy, and the rest of them is not told.
pub const MOST_DIALOGS: usize = 16;

/// How far a call of the watched phone is (RFC 4235 §3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogState {
    /// Begun; nothing rings yet.
    Trying,
    /// It rings at one of the two sides.
    Early,
    /// They talk.
    Confirmed,
    /// It is over.
    Terminated,
}

impl DialogState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Early => "early",
            Self::Confirmed => "confirmed",
            Self::Terminated => "terminated",
        }
    }
}

/// Who began a call, as the watched phone sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The watched phone.
    Initiator,
    /// The other side.
    Recipient,
}

impl Direction {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Recipient => "recipient",
        }
    }
}

/// Who is at the other side; only where watchers may see it.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user part of its address.
    pub number: String,
    /// A name; may be empty.
    pub display: String,
}

/// Shows no number.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Peer").field(&Masked::new(&self.number)).finish()
    }
}

/// What a call is called between the watched phone and us: enough to take it over (RFC 3891).
#[derive(Clone, PartialEq, Eq)]
pub struct DialogName {
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of the watched phone.
    pub local_tag: String,
    /// Our tag.
    pub remote_tag: String,
}

/// Shows no tags.
impl fmt::Debug for DialogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DialogName").field(&self.call_id).finish()
    }
}

/// One call of a watched phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedDialog {
    /// Which call; its number is the dialog's `id`.
    pub leg: LegId,
    /// Who began it.
    pub direction: Direction,
    /// How far it is.
    pub state: DialogState,
    /// With whom.
    pub peer: Option<Peer>,
    /// For a watcher that may take it over.
    pub name: Option<DialogName>,
}

impl WatchedDialog {
    fn ended(&self) -> Self {
        Self { state: DialogState::Terminated, peer: None, name: None, ..self.clone() }
    }
}

/// What differs between what was told and what is: new and changed calls, and those that are over.
#[must_use]
pub fn changes(told: &[WatchedDialog], now: &[WatchedDialog]) -> Vec<WatchedDialog> {
    let over = told.iter().filter(|it| !now.iter().any(|other| other.leg == it.leg));
    let other = now.iter().filter(|it| !told.contains(it));
    over.map(WatchedDialog::ended).chain(other.cloned()).collect()
}

/// All calls, and those that are over since the last telling: many phones put a lamp out only by `terminated`.
#[must_use]
pub fn everything(told: &[WatchedDialog], now: &[WatchedDialog]) -> Vec<WatchedDialog> {
    let over = told.iter().filter(|it| !now.iter().any(|other| other.leg == it.leg));
    over.map(WatchedDialog::ended).chain(now.iter().cloned()).collect()
}

/// The document number `version` about the calls of `phone@domain`.
///
/// Call-ID and tags (RFC 4235 §4.1.2) are told to who may take the call over only: to know them is all it takes
/// (RFC 3891 §6).
#[must_use]
pub fn print(version: u32, scope: Scope, (phone, domain): (&str, &str), dialogs: &[WatchedDialog]) -> String {
    let state = match scope {
        Scope::Everything => "full",
        Scope::Changes => "partial",
    };
    let (phone, domain) = (escape(phone), escape(domain));
    let mut out = format!(
        "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" \
         state=\"{state}\" entity=\"sip:{phone}@{domain}\">\r\n"
    );
    for dialog in dialogs {
        let _ = write!(
            out,
            "<dialog id=\"{}\"{} direction=\"{}\"><state>{}</state><local><identity>sip:{phone}@{domain}</identity></local>",
            dialog.leg.0,
            dialog.name.as_ref().map(name).unwrap_or_default(),
            dialog.direction.as_str(),
            dialog.state.as_str(),
        );
        if let Some(peer) = &dialog.peer {
            let uri = format!("sip:{}@{domain}", escape(&peer.number));
            let display = match peer.display.as_str() {
                "" => String::new(),
                display => format!(" display=\"{}\"", escape(display)),
            };
            let _ =
                write!(out, "<remote><identity{display}>{uri}</identity><target uri=\"{uri}\"/></remote>");
        }
        out.push_str("</dialog>\r\n");
    }
    out.push_str("</dialog-info>\r\n");
    out
}

/// The attributes by which an INVITE with Replaces names the call.
fn name(name: &DialogName) -> String {
    let DialogName { call_id, local_tag, remote_tag } = name;
    let [call_id, local, remote] = [call_id, local_tag, remote_tag].map(|it| escape(it));
    format!(" call-id=\"{call_id}\" local-tag=\"{local}\" remote-tag=\"{remote}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(leg: u64, state: DialogState) -> WatchedDialog {
        WatchedDialog { leg: LegId(leg), direction: Direction::Recipient, state, peer: None, name: None }
    }

    #[test]
    fn a_document_has_its_number_its_scope_and_each_call_with_who_began_it() {
        let mut it = dialog(7, DialogState::Early);
        it.peer = Some(Peer { number: "+5521955500123".to_owned(), display: "A \"<B>\"".to_owned() });
        let text = print(3, Scope::Everything, ("1001", "gw.example.com"), &[it]);
        assert_eq!(
            text,
            "<?xml version=\"1.0\"?>\r\n\
             <dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"3\" state=\"full\" \
             entity=\"sip:1001@gw.example.com\">\r\n\
             <dialog id=\"7\" direction=\"recipient\"><state>early</state>\
             <local><identity>sip:1001@gw.example.com</identity></local>\
             <remote><identity display=\"A &quot;&lt;B&gt;&quot;\">sip:+5521955500123@gw.example.com</identity>\
             <target uri=\"sip:+5521955500123@gw.example.com\"/></remote></dialog>\r\n\
             </dialog-info>\r\n"
        );
    }

    #[test]
    fn who_may_take_a_call_over_is_told_its_name_and_no_letter_of_it_breaks_the_document() {
        let mut it = dialog(7, DialogState::Early);
        let [call_id, local_tag, remote_tag] = ["a<b&c@host", "t\"1", "ours"].map(str::to_owned);
        it.name = Some(DialogName { call_id, local_tag, remote_tag });
        let text = print(3, Scope::Everything, ("1001", "gw.example.com"), std::slice::from_ref(&it));
        assert!(
            text.contains(
                "<dialog id=\"7\" call-id=\"a&lt;b&amp;c@host\" local-tag=\"t&quot;1\" remote-tag=\"ours\" direction="
            ),
            "{text}"
        );
        assert_eq!((it.ended().name, format!("{it:?}").contains("ours")), (None, false));
    }

    #[test]
    fn changes_are_what_is_new_or_different_and_what_is_over() {
        let told =
            [dialog(1, DialogState::Confirmed), dialog(2, DialogState::Early), dialog(3, DialogState::Early)];
        let now = [
            dialog(2, DialogState::Confirmed),
            dialog(3, DialogState::Early),
            dialog(4, DialogState::Trying),
        ];
        let states = |all: Vec<WatchedDialog>| all.iter().map(|it| (it.leg.0, it.state)).collect::<Vec<_>>();
        assert_eq!(
            states(changes(&told, &now)),
            [(1, DialogState::Terminated), (2, DialogState::Confirmed), (4, DialogState::Trying)]
        );
        assert_eq!(
            states(everything(&told, &now)),
            [
                (1, DialogState::Terminated),
                (2, DialogState::Confirmed),
                (3, DialogState::Early),
                (4, DialogState::Trying)
            ]
        );
        assert_eq!(changes(&now, &now), []);
    }
}
