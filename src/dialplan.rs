//! From dialled digits to a business number and a WhatsApp user, and back to digits a phone can dial.

pub mod emergency;
pub mod features;
pub mod reach;

pub use emergency::{EmergencyPlan, EmergencyRoute, Extensions};
pub use features::{Feature, FeatureCodes, Wish};
pub use reach::{Neighbours, Reach};

use crate::id::{Endpoint, PhoneName, PhoneNumberId, TrunkName};
use crate::user::{Bsuid, Msisdn, UserId};

/// Who may dial out over a business number, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialEntry {
    /// The business number that makes the call.
    pub number: PhoneNumberId,
    /// Digits dialled before the user's number; may be empty.
    pub prefix: String,
    /// Phones that may use it.
    pub phones: Vec<PhoneName>,
    /// Trunks that may use it.
    pub trunks: Vec<TrunkName>,
}

impl DialEntry {
    fn allows(&self, caller: &Endpoint) -> bool {
        match caller {
            Endpoint::Phone(phone) => self.phones.contains(phone),
            Endpoint::Trunk(trunk, _) => self.trunks.contains(trunk),
        }
    }
}

/// The way from a phone to the numbers behind a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkEntry {
    /// Digits dialled before the number; not empty.
    pub prefix: String,
    /// The trunk, which gets the rest.
    pub trunk: TrunkName,
}

/// The dial plan: an entry for each business number that may be dialled out with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialPlan {
    /// In the order of the configuration; the first that allows a caller serves numbers in `+` form.
    pub entries: Vec<DialEntry>,
    /// Who can be dialled by name without WhatsApp (rule 25).
    pub phones: Vec<PhoneName>,
    /// What phones can dial without WhatsApp.
    pub trunks: Vec<TrunkEntry>,
    /// From which trunk calls may go to which other one.
    pub transit: Vec<(TrunkName, TrunkName)>,
    /// Numbers that must never reach WhatsApp (rule 10).
    pub emergency: EmergencyPlan,
    /// What phones can have done.
    pub features: FeatureCodes,
}

/// What dialled digits mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// A WhatsApp user, over this business number.
    User(PhoneNumberId, UserId),
    /// A phone of this gateway, or a number behind a trunk (rule 25).
    Desk(Endpoint),
    /// An emergency number, and where it goes; `None`: nowhere.
    Emergency(Option<Endpoint>),
    /// A feature code.
    Feature(Wish),
    /// It looks like a feature code and is none.
    UnknownCode,
    /// The digits fit a business number that this caller may not use.
    NotAllowed,
    /// The digits lead nowhere.
    Unknown,
}

impl DialPlan {
    /// Reads what `caller` dialled: an emergency number, a phone, a feature code, a prefix with a number, a
    /// number with `+`, or a dialable identity.
    #[must_use]
    pub fn resolve(&self, caller: &Endpoint, dialled: &str) -> Dialled {
        let digits: String = dialled.chars().filter(|c| !matches!(c, '-' | '.' | ' ' | '(' | ')')).collect();
        let phone = self.phones.iter().find(|phone| phone.as_str() == dialled);
        let own_phone = phone.is_some() && self.emergency.extensions == Extensions::Win;
        if dialled == emergency::SERVICE {
            return Dialled::Emergency(self.emergency.way_to_service(caller));
        }
        if self.emergency.has(&digits) && !own_phone {
            return Dialled::Emergency(self.emergency.way(caller, &digits));
        }
        if let Some(phone) = phone {
            return Dialled::Desk(Endpoint::Phone(phone.clone()));
        }
        // Who calls from behind a trunk has a PBX with codes of its own.
        let from_phone = matches!(caller, Endpoint::Phone(_));
        if let Some(wish) = self.features.read(dialled).filter(|_| from_phone) {
            return Dialled::Feature(wish);
        }
        match self.resolve_number(caller, &digits) {
            Dialled::Unknown if from_phone && dialled.starts_with(['*', '#']) => Dialled::UnknownCode,
            resolved => resolved,
        }
    }

    fn resolve_number(&self, caller: &Endpoint, digits: &str) -> Dialled {
        let scoped = scoped_from_digits(digits).map(UserId::Scoped);
        let plain = digits.strip_prefix('+').and_then(Msisdn::parse).map(UserId::Phone);
        if let Some(user) = scoped.or(plain) {
            return match self.entries.iter().find(|entry| entry.allows(caller)) {
                Some(entry) => Dialled::User(entry.number.clone(), user),
                None => Dialled::NotAllowed,
            };
        }
        let fitting = self.entries.iter().filter(|entry| digits.starts_with(&entry.prefix));
        let best = fitting.max_by_key(|entry| (entry.prefix.len(), entry.allows(caller)));
        if let Some(entry) = self.trunk_for(caller, digits, best.map_or(0, |entry| entry.prefix.len())) {
            let number = digits[entry.prefix.len()..].to_owned();
            return match number.as_str() {
                "" => Dialled::Unknown,
                number if self.emergency.has(number) => {
                    Dialled::Emergency(self.emergency.way(caller, number))
                }
                _ => Dialled::Desk(Endpoint::Trunk(entry.trunk.clone(), number)),
            };
        }
        let Some(entry) = best else { return Dialled::Unknown };
        let rest = &digits[entry.prefix.len()..];
        if self.emergency.has(rest) {
            return Dialled::Emergency(self.emergency.way(caller, rest));
        }
        match user_from_digits(rest) {
            None => Dialled::Unknown,
            Some(_) if !entry.allows(caller) => Dialled::NotAllowed,
            Some(user) => Dialled::User(entry.number.clone(), user),
        }
    }

    /// The trunk whose prefix is the longest, and longer than that of any business number.
    ///
    /// From trunk to trunk there is no way unless the configuration opens one: it would be somebody else's
    /// telephone bill.
    fn trunk_for(&self, caller: &Endpoint, digits: &str, longer_than: usize) -> Option<&TrunkEntry> {
        let may = |it: &&TrunkEntry| match caller {
            Endpoint::Phone(_) => true,
            Endpoint::Trunk(from, _) => self.leads(from, &it.trunk),
        };
        let fits = |it: &&TrunkEntry| it.prefix.len() > longer_than && digits.starts_with(&it.prefix);
        self.trunks.iter().filter(may).filter(fits).max_by_key(|it| it.prefix.len())
    }

    fn leads(&self, from: &TrunkName, to: &TrunkName) -> bool {
        self.transit.iter().any(|(one, two)| one == from && two == to)
    }

    /// Whether a transfer may join two trunks: one of them may call the other.
    #[must_use]
    pub fn joins(&self, one: &TrunkName, two: &TrunkName) -> bool {
        self.leads(one, two) || self.leads(two, one)
    }
}

fn user_from_digits(digits: &str) -> Option<UserId> {
    if let Some(scoped) = scoped_from_digits(digits) {
        return Some(UserId::Scoped(scoped));
    }
    let international = digits.strip_prefix('+').or_else(|| digits.strip_prefix("00")).unwrap_or(digits);
    // E.164 numbers do not begin with 0; a national number would ring a stranger abroad.
    let number = Msisdn::parse(international)?;
    (!number.digits().starts_with('0') && number.digits().len() >= 7).then_some(UserId::Phone(number))
}

/// The digits under which a user is shown on a phone and can be dialled back.
///
/// A number is shown as `+` and E.164. A user without a number (rule 26) is shown as `0`, the
/// letters of the id's country as 11 to 36, and the id's digits: stable, reversible, and longer than
/// any telephone number.
#[must_use]
pub fn dialable(user: &UserId) -> String {
    match (user.phone(), user.scoped()) {
        (Some(phone), _) => format!("+{}", phone.digits()),
        (None, Some(scoped)) => scoped_digits(scoped),
        (None, None) => "anonymous".to_owned(),
    }
}

/// Shortest digits of a scoped identity: more than the 15 digits of E.164 with room for prefixes.
const SCOPED_LENGTH: usize = 21;

fn scoped_digits(scoped: &Bsuid) -> String {
    let (country, tail) = scoped.as_str().split_once('.').unwrap_or(("", scoped.as_str()));
    let mut digits = String::from("0");
    for letter in country.chars() {
        digits.push_str(&letter_code(letter).to_string());
    }
    for c in tail.chars() {
        match c.to_digit(10) {
            Some(_) => digits.push(c),
            None => digits.push_str(&letter_code(c).to_string()),
        }
    }
    digits
}

/// `A` is 11, `Z` is 36, in either case.
fn letter_code(letter: char) -> u32 {
    letter.to_digit(36).map_or(0, |value| value + 1)
}

fn scoped_from_digits(digits: &str) -> Option<Bsuid> {
    if digits.len() < SCOPED_LENGTH || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest = digits.strip_prefix('0')?;
    let letter = |code: &str| {
        let value = code.parse::<u32>().ok()?.checked_sub(1)?;
        char::from_digit(value, 36).filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_uppercase())
    };
    let (first, second) = (letter(rest.get(0..2)?)?, letter(rest.get(2..4)?)?);
    Bsuid::parse(&format!("{first}{second}.{}", rest.get(4..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> DialPlan {
        let entry = |number: &str, prefix: &str, phone: &str| DialEntry {
            number: number.into(),
            prefix: prefix.into(),
            phones: vec![phone.into(), "1009".into()],
            trunks: vec!["pbx".into()],
        };
        DialPlan {
            entries: vec![entry("100", "8", "1001"), entry("200", "89", "1002")],
            phones: vec!["1001".into(), "1002".into()],
            trunks: vec![
                TrunkEntry { prefix: "0".into(), trunk: "pbx".into() },
                TrunkEntry { prefix: "88".into(), trunk: "lab".into() },
            ],
            transit: Vec::new(),
            emergency: EmergencyPlan::refusing(["112".into()]),
            features: FeatureCodes::default(),
        }
    }

    #[test]
    fn a_trunk_dials_another_trunk_only_where_the_configuration_opens_that_way() {
        let mut plan = plan();
        plan.transit = vec![("pbx".into(), "lab".into())];
        let from = |trunk: &str, digits: &str| {
            plan.resolve(&Endpoint::Trunk(trunk.into(), "200".to_owned()), digits)
        };
        assert_eq!(from("pbx", "88123"), Dialled::Desk(Endpoint::Trunk("lab".into(), "123".to_owned())));
        assert_eq!((from("lab", "0200"), from("pbx", "0200")), (Dialled::Unknown, Dialled::Unknown));
        assert!(plan.joins(&"lab".into(), &"pbx".into()) && !plan.joins(&"pbx".into(), &"pbx".into()));
        assert_eq!(from("pbx", "88112"), Dialled::Emergency(None));
    }

    #[test]
    fn rule_25_a_phone_dials_phones_by_name_and_trunks_by_prefix_but_a_trunk_dials_no_trunk() {
        let plan = plan();
        let desk = |caller: &Endpoint, digits: &str| match plan.resolve(caller, digits) {
            Dialled::Desk(to) => to.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(desk(&phone("1001"), "1002"), "phone 1002");
        assert_eq!(
            plan.resolve(&phone("1001"), "0200"),
            Dialled::Desk(Endpoint::Trunk("pbx".into(), "200".into()))
        );
        // The longest prefix decides, be it a trunk's or a business number's.
        assert_eq!(desk(&phone("1001"), "88123"), "trunk lab");
        assert!(matches!(plan.resolve(&phone("1002"), "895521955500123"), Dialled::User(..)));
        assert_eq!(desk(&phone("1001"), "0"), "Unknown");
        assert_eq!(desk(&phone("1001"), "0112"), "Emergency(None)");
        let trunk = Endpoint::Trunk("pbx".into(), "200".into());
        assert_eq!((desk(&trunk, "1001"), desk(&trunk, "0200")), ("phone 1001".into(), "Unknown".into()));
    }

    fn phone(name: &str) -> Endpoint {
        Endpoint::Phone(name.into())
    }

    fn user(digits: &str) -> UserId {
        UserId::Phone(Msisdn::parse(digits).expect("digits"))
    }

    #[test]
    fn a_prefix_names_the_business_number_and_the_longest_wins() {
        let plan = plan();
        let ana = user("5521955500123");
        assert_eq!(plan.resolve(&phone("1001"), "85521955500123"), Dialled::User("100".into(), ana.clone()));
        assert_eq!(
            plan.resolve(&phone("1001"), "8005521955500123"),
            Dialled::User("100".into(), ana.clone())
        );
        assert_eq!(plan.resolve(&phone("1002"), "89+55 21 95550-0123"), Dialled::User("200".into(), ana));
    }

    #[test]
    fn a_caller_that_may_not_use_the_number_is_told_so() {
        assert_eq!(plan().resolve(&phone("1001"), "895521955500123"), Dialled::NotAllowed);
        assert_eq!(plan().resolve(&phone("2000"), "+5521955500123"), Dialled::NotAllowed);
    }

    #[test]
    fn a_number_in_plus_form_needs_no_prefix_so_that_a_call_list_can_be_redialled() {
        let resolved = plan().resolve(&phone("1002"), &dialable(&user("5521955500123")));
        assert_eq!(resolved, Dialled::User("200".into(), user("5521955500123")));
    }

    #[test]
    fn rule_10_an_emergency_number_never_reaches_whatsapp() {
        for dialled in ["112", "8112", "0112", "+112", "1-1-2"] {
            assert_eq!(plan().resolve(&phone("1001"), dialled), Dialled::Emergency(None), "{dialled}");
            let mut routed = plan();
            routed.emergency.route = Some(EmergencyRoute::Trunk("pstn".into()));
            let way = Endpoint::Trunk("pstn".into(), "112".into());
            assert_eq!(routed.resolve(&phone("1001"), dialled), Dialled::Emergency(Some(way)), "{dialled}");
        }
    }

    #[test]
    fn rule_10_who_asks_for_help_by_the_name_of_the_service_gets_the_number_that_is_known_everywhere() {
        let mut plan = plan();
        let help = |plan: &DialPlan| plan.resolve(&phone("1001"), "urn:service:sos");
        assert_eq!(help(&plan), Dialled::Emergency(None));
        plan.emergency.route = Some(EmergencyRoute::Trunk("pstn".into()));
        let by = |number: &str| Dialled::Emergency(Some(Endpoint::Trunk("pstn".into(), number.into())));
        for (numbers, number) in
            [(&["110", "112", "911"][..], "112"), (&["000", "911"], "911"), (&["118", "113"], "113")]
        {
            plan.emergency.numbers = numbers.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(help(&plan), by(number));
        }
        plan.emergency.numbers.clear();
        assert_eq!(help(&plan), Dialled::Emergency(None), "never anything else");
    }

    #[test]
    fn rule_10_an_emergency_call_does_not_go_back_to_where_it_comes_from() {
        let mut plan = plan();
        let from = |trunk: &str| Endpoint::Trunk(trunk.into(), "200".into());
        plan.emergency.route = Some(EmergencyRoute::Trunk("pbx".into()));
        assert_eq!(plan.resolve(&from("pbx"), "112"), Dialled::Emergency(None));
        let way = Endpoint::Trunk("pbx".into(), "112".into());
        assert_eq!(plan.resolve(&from("lab"), "112"), Dialled::Emergency(Some(way)));
        plan.emergency.route = Some(EmergencyRoute::Phone("1002".into()));
        assert_eq!(plan.resolve(&phone("1001"), "0112"), Dialled::Emergency(Some(phone("1002"))));
        assert_eq!(plan.resolve(&phone("1002"), "112"), Dialled::Emergency(None));
    }

    #[test]
    fn rule_10_a_phone_named_like_an_emergency_number_is_that_phone_unless_the_file_says_otherwise() {
        let mut plan = plan();
        plan.phones.push("112".into());
        assert_eq!(plan.resolve(&phone("1001"), "112"), Dialled::Desk(phone("112")));
        assert_eq!(plan.resolve(&phone("1001"), "8112"), Dialled::Emergency(None), "a prefix means no phone");
        plan.emergency.extensions = Extensions::Yield;
        assert_eq!(plan.resolve(&phone("1001"), "112"), Dialled::Emergency(None));
    }

    #[test]
    fn a_feature_code_is_for_phones_and_one_that_nobody_knows_is_told_apart_from_a_number() {
        let plan = plan();
        let wish = Wish { feature: Feature::PickUp, argument: Some("1002".into()) };
        assert_eq!(plan.resolve(&phone("1001"), "**1002"), Dialled::Feature(wish));
        assert_eq!(plan.resolve(&phone("1001"), "*99"), Dialled::UnknownCode);
        assert_eq!(plan.resolve(&phone("1001"), "#8"), Dialled::UnknownCode);
        let trunk = Endpoint::Trunk("pbx".into(), "200".into());
        assert_eq!(plan.resolve(&trunk, "*8"), Dialled::Unknown);
    }

    #[test]
    fn rule_26_a_user_without_a_number_has_digits_that_dial_back() {
        let ana = UserId::Scoped(Bsuid::parse("BR.20995511223344556677").expect("id"));
        let digits = dialable(&ana);
        assert_eq!(digits, "0122820995511223344556677");
        assert_eq!(plan().resolve(&phone("1001"), &digits), Dialled::User("100".into(), ana.clone()));
        assert_eq!(plan().resolve(&phone("1001"), &format!("8{digits}")), Dialled::User("100".into(), ana));
    }

    #[test]
    fn digits_that_are_no_international_number_lead_nowhere() {
        for dialled in ["7123", "8", "8123", "801719999999", "1003", "", "8abc", "ü8", "8ü12345678"] {
            assert_eq!(plan().resolve(&phone("1001"), dialled), Dialled::Unknown, "{dialled}");
        }
    }
}
