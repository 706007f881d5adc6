//! The ICE-lite responder (RFC 8445 §2.5, reference §12.4): answers checks, never sends one, always controlled.

use std::net::SocketAddr;
use std::sync::Arc;

use rtc_stun::attributes::{ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::crypto::RTCCryptoProvider;
use rtc_stun::error_code::{CODE_ROLE_CONFLICT, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

/// The cryptography of the `rtc` family, shared by all calls.
pub(super) type Crypto = Arc<dyn RTCCryptoProvider>;

/// What a connectivity check came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// Not answered: no request, wrong integrity, broken bytes.
    Ignored(&'static str),
    /// The sender claimed our role; the response is a 487.
    RoleConflict(Vec<u8>),
    /// Answered with success.
    Valid {
        /// What to send back to the source.
        response: Vec<u8>,
        /// Whether the check carried USE-CANDIDATE.
        nominated: bool,
    },
}

/// Our fragment out of the USERNAME of a binding request: it names the call on the shared socket.
pub(super) fn addressed_ufrag(bytes: &[u8]) -> Option<String> {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).ok()?;
    if message.typ != BINDING_REQUEST {
        return None;
    }
    let username = String::from_utf8(message.get(ATTR_USERNAME).ok()?).ok()?;
    username.split_once(':').map(|(ours, _)| ours.to_owned())
}

/// Judges one check that names our `ufrag`, and writes the response.
pub(super) fn answer(bytes: &[u8], from: SocketAddr, pwd: &str, crypto: &Crypto) -> Checked {
    let mut request = Message::new();
    if request.unmarshal_binary(bytes).is_err() || request.typ != BINDING_REQUEST {
        return Checked::Ignored("not a binding request");
    }
    if request.contains(rtc_stun::attributes::ATTR_FINGERPRINT) && FINGERPRINT.check(&request).is_err() {
        return Checked::Ignored("wrong FINGERPRINT");
    }
    if !request.contains(ATTR_MESSAGE_INTEGRITY)
        || MessageIntegrity::check(&mut request, pwd.as_bytes(), crypto.crypto()).is_err()
    {
        return Checked::Ignored("wrong MESSAGE-INTEGRITY");
    }
    let conflict = request.contains(ATTR_ICE_CONTROLLED);
    let body: Box<dyn Setter> = if conflict {
        Box::new(ErrorCodeAttribute { code: CODE_ROLE_CONFLICT, reason: b"Role Conflict".to_vec() })
    } else {
        Box::new(XorMappedAddress { ip: from.ip(), port: from.port() })
    };
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(pwd.to_owned(), crypto.crypto());
    let mut response = Message::new();
    let built = response.build(&[
        Box::new(if conflict { BINDING_ERROR } else { BINDING_SUCCESS }),
        Box::new(request.transaction_id),
        body,
        Box::new(integrity),
        Box::new(FINGERPRINT),
    ]);
    match built {
        Err(_) => Checked::Ignored("the response could not be written"),
        Ok(()) if conflict => Checked::RoleConflict(response.raw),
        Ok(()) => Checked::Valid { response: response.raw, nominated: request.contains(ATTR_USE_CANDIDATE) },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rtc_stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, RawAttribute};
    use rtc_stun::message::{Getter, TransactionId};
    use rtc_stun::textattrs::TextAttribute;

    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    /// RFC 5769 §2.1; it carries ICE-CONTROLLED.
    const SAMPLE_REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
        000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";

    pub(in crate::simulator) fn crypto() -> Crypto {
        rtc_stun::crypto::default_provider().expect("a provider is compiled in")
    }

    fn attribute(typ: rtc_stun::attributes::AttrType, value: &[u8]) -> Box<dyn Setter> {
        let length = u16::try_from(value.len()).expect("short");
        Box::new(RawAttribute { typ, length, value: value.to_vec() })
    }

    /// A controlling agent's check, as a full ICE agent sends it.
    pub(in crate::simulator) fn check(
        username: &str,
        pwd: &str,
        nominate: bool,
        transaction: [u8; 12],
    ) -> Vec<u8> {
        let provider = crypto();
        let mut setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId(transaction)),
            Box::new(TextAttribute::new(ATTR_USERNAME, username.to_owned())),
            attribute(ATTR_PRIORITY, &[0x6e, 0, 1, 0xff]),
            attribute(ATTR_ICE_CONTROLLING, &[1; 8]),
        ];
        if nominate {
            setters.push(attribute(ATTR_USE_CANDIDATE, &[]));
        }
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
            pwd.to_owned(),
            provider.crypto(),
        )));
        setters.push(Box::new(FINGERPRINT));
        let mut message = Message::new();
        message.build(&setters).expect("built");
        message.raw.clone()
    }

    fn from() -> SocketAddr {
        "192.0.2.1:32853".parse().expect("address")
    }

    #[test]
    fn the_rfc_5769_request_has_valid_integrity_and_gets_487_because_it_claims_our_role() {
        let bytes = hex::decode(SAMPLE_REQUEST.replace(char::is_whitespace, "")).expect("hex");
        assert_eq!(addressed_ufrag(&bytes).as_deref(), Some("evtj"));
        let Checked::RoleConflict(response) = answer(&bytes, from(), PASSWORD, &crypto()) else {
            panic!("a conflict")
        };
        let mut message = Message::new();
        message.unmarshal_binary(&response).expect("readable");
        let mut error = ErrorCodeAttribute::default();
        error.get_from(&message).expect("ERROR-CODE");
        assert_eq!((message.typ, error.code.0), (BINDING_ERROR, 487));
    }

    #[test]
    fn the_rfc_5769_request_with_one_bit_changed_is_not_answered() {
        let bytes = hex::decode(SAMPLE_REQUEST.replace(char::is_whitespace, "")).expect("hex");
        for at in [21, 47, 70, 90, 105] {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            assert!(matches!(answer(&broken, from(), PASSWORD, &crypto()), Checked::Ignored(_)), "byte {at}");
        }
        assert!(matches!(answer(&bytes, from(), "another password here", &crypto()), Checked::Ignored(_)));
    }

    #[test]
    fn a_controlling_agents_check_is_answered_with_its_own_address() {
        let request = check("ours:theirs", PASSWORD, true, [9; 12]);
        let Checked::Valid { response, nominated } = answer(&request, from(), PASSWORD, &crypto()) else {
            panic!("valid")
        };
        assert!(nominated);
        let mut message = Message::new();
        message.unmarshal_binary(&response).expect("readable");
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).expect("XOR-MAPPED-ADDRESS");
        assert_eq!((mapped.ip, mapped.port), (from().ip(), from().port()));
        assert_eq!(message.transaction_id.0, [9; 12]);
        MessageIntegrity::check(&mut message, PASSWORD.as_bytes(), crypto().crypto()).expect("our integrity");
        FINGERPRINT.check(&message).expect("our fingerprint");
    }

    #[test]
    fn a_response_and_cut_bytes_are_ignored() {
        let request = check("ours:theirs", PASSWORD, false, [9; 12]);
        for cut in 0..request.len() {
            assert!(matches!(answer(&request[..cut], from(), PASSWORD, &crypto()), Checked::Ignored(_)));
            assert_eq!(addressed_ufrag(&request[..cut]), None);
        }
        let Checked::Valid { response, .. } = answer(&request, from(), PASSWORD, &crypto()) else { panic!() };
        assert!(matches!(answer(&response, from(), PASSWORD, &crypto()), Checked::Ignored(_)));
    }
}
