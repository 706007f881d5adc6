//! `[trunk.numbers]`, `[trunk.caller]` and `[trunk.headers]`: how a trunk writes numbers and is told who calls.

use toml::de::DeValue;

use super::reader::Section;
use super::setting::{Setting, words};
use crate::sip::trunk::{
    CallerHeader, CustomHeader, FactHeaders, FromShows, NumberForm, NumberOf, NumberPattern, NumberRule,
    NumberWay, Numbering, Presentation, RuleFault, UserToUser,
};

words!(NumberForm, "\"as_is\", \"e164\", \"digits\", \"00\" or \"national\"",
    "as_is" => NumberForm::AsIs, "e164" => NumberForm::Plus, "digits" => NumberForm::Digits,
    "00" => NumberForm::DoubleZero, "national" => NumberForm::National);
words!(NumberWay, "\"out\" or \"in\"", "out" => NumberWay::Out, "in" => NumberWay::In);
words!(NumberOf, "\"called\" or \"caller\"",
    "called" => NumberOf::Called, "caller" => NumberOf::Caller);
words!(FromShows, "\"caller\" or \"account\"",
    "caller" => FromShows::Caller, "account" => FromShows::Account);
words!(CallerHeader, "\"asserted\", \"preferred\" or \"none\"",
    "asserted" => CallerHeader::Asserted, "preferred" => CallerHeader::Preferred,
    "none" => CallerHeader::Nothing);
words!(UserToUser, "\"none\", \"wa_call\" or \"payload\"",
    "none" => UserToUser::Nothing, "wa_call" => UserToUser::WaCall, "payload" => UserToUser::Payload);

/// A country code of the telephone network.
struct CountryCode(String);

impl Setting for CountryCode {
    const WANTED: &'static str = "a country code: 1 to 3 digits in quotes, without + or 00";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let digits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        (digits && !text.starts_with('0')).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// What stands before a number inside its country.
struct TrunkPrefix(String);

impl Setting for TrunkPrefix {
    const WANTED: &'static str = "up to 4 digits in quotes, or \"\" where there is nothing before a number";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        (text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// The beginning of a number, or what takes its place; may be empty.
struct Piece(String);

impl Setting for Piece {
    const WANTED: &'static str = "a text in quotes of up to 64 printable characters without spaces";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        (text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// A header of ours; empty for none.
struct HeaderName(Option<CustomHeader>);

impl Setting for HeaderName {
    const WANTED: &'static str = "the name of a header that begins with X-, or \"\" for none";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()? {
            "" => Some(Self(None)),
            name => CustomHeader::parse(name).map(|it| Self(Some(it))),
        }
    }
    fn write(&self) -> String {
        format!("{:?}", self.0.as_ref().map_or("", CustomHeader::as_str))
    }
}

/// `[trunk.numbers]`
pub(super) fn numbers(section: &mut Section<'_, '_, '_>) -> Option<Numbering> {
    let form = section.or("form", NumberForm::AsIs);
    let country = section.optional::<CountryCode>("country", "\"49\"");
    let trunk_prefix = section.or("trunk_prefix", TrunkPrefix("0".to_owned()));
    if let (Some(NumberForm::National), Some(None)) = (form, &country) {
        let problem = "cannot be \"national\" without a country".to_owned();
        section.fault_of("form", problem, "country = \"49\"  (the code of the trunk's country)".to_owned());
        return None;
    }
    let rules: Option<Vec<NumberRule>> = section.each("rules", rule).into_iter().collect();
    Some(Numbering {
        form: form?,
        country: country?.map(|it| it.0),
        trunk_prefix: trunk_prefix?.0,
        rules: rules?,
    })
}

/// One of `rules`
fn rule(section: &mut Section<'_, '_, '_>) -> Option<NumberRule> {
    let way = section.required::<NumberWay>("way", "\"out\"");
    let of = section.required::<NumberOf>("of", "\"called\"");
    let replacement = section.required::<Piece>("write", "\"\"").map(|it| it.0);
    let pattern = match (section.has("prefix"), section.has("match")) {
        (true, false) => {
            let prefix = section.required::<Piece>("prefix", "\"0049\"");
            prefix.map(|it| NumberPattern::Prefix(it.0))
        }
        (false, true) => {
            let text = section.required::<String>("match", "\"^0(.*)$\"");
            text.zip(replacement.as_ref()).and_then(|(text, to)| expression(section, &text, to))
        }
        (both, _) => {
            let problem = if both { "cannot stand beside match" } else { "or match must be there" };
            let remedy = "prefix = \"0049\", or match = \"^0049(.*)$\", one of the two".to_owned();
            section.fault_of("prefix", problem.to_owned(), remedy);
            None
        }
    };
    Some(NumberRule { way: way?, of: of?, pattern: pattern?, replacement: replacement? })
}

fn expression(section: &mut Section<'_, '_, '_>, text: &str, to: &str) -> Option<NumberPattern> {
    match NumberPattern::expression(text, to) {
        Ok(pattern) => Some(pattern),
        Err(RuleFault::Expression(said)) => {
            let problem = format!("{text:?} is no regular expression: {said}");
            section.fault_of("match", problem, "match = \"^0(.*)$\"".to_owned());
            None
        }
        Err(RuleFault::Group(group)) => {
            let problem = format!("names a group {group:?} that match does not have");
            let remedy = "write = \"${1}9\" where a digit or a letter follows the group".to_owned();
            section.fault_of("write", problem, remedy);
            None
        }
    }
}

/// `[trunk.caller]`; `account`: whether the trunk knows us by a user name.
pub(super) fn caller(section: &mut Section<'_, '_, '_>, account: bool) -> Option<Presentation> {
    let from = section.or("from", FromShows::Caller);
    let header = section.or("header", CallerHeader::Asserted);
    let privacy = section.or("privacy", false);
    let diversion = section.or("diversion", false);
    if from == Some(FromShows::Account) && !account {
        let problem = "cannot be \"account\": the trunk has neither login nor register".to_owned();
        section.fault_of("from", problem, "from = \"caller\", or add login to the trunk".to_owned());
        return None;
    }
    Some(Presentation { from: from?, header: header?, privacy: privacy?, diversion: diversion? })
}

/// `[trunk.headers]`
pub(super) fn headers(section: &mut Section<'_, '_, '_>) -> Option<FactHeaders> {
    let mut seen: Vec<String> = Vec::new();
    let mut name = |key: &'static str, default: &str| {
        let name = section.or(key, HeaderName(CustomHeader::parse(default)))?.0;
        let lower = name.as_ref().map(|it| it.as_str().to_ascii_lowercase());
        if let Some(lower) = lower {
            if seen.contains(&lower) {
                let problem = "is already the name of another header".to_owned();
                section.fault_of(key, problem, format!("{key} = \"{default}\""));
                return None;
            }
            seen.push(lower);
        }
        Some(name)
    };
    let (wa_call, user_id) = (name("wa_call", "X-WA-Call-ID"), name("user_id", "X-WA-User-ID"));
    let payload = name("payload", "X-WA-Payload");
    let business_number = name("business_number", "X-WA-Business-Number");
    let user_to_user = section.or("user_to_user", UserToUser::Nothing);
    Some(FactHeaders {
        wa_call: wa_call?,
        user_id: user_id?,
        payload: payload?,
        business_number: business_number?,
        user_to_user: user_to_user?,
    })
}
