//! `[features]`: codes that phones dial, and who may take whose calls.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::check::endpoint_fault;
use super::reader::{Reader, Section};
use super::sections::{Draft, secs};
use super::setting::{Setting, words};
use crate::dialplan::features::{Argument, Feature, FeatureCodes, codes_meet, meets_prefix};
use crate::dialplan::reach::Reach;
use crate::id::Endpoint;

words!(Reach, "\"group\" or \"anybody\"", "group" => Reach::Group, "anybody" => Reach::Anybody);

/// `[features]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeaturesConfig {
    /// The codes.
    pub codes: FeatureCodes,
    /// Whose ringing calls a phone may take.
    pub pick_up_by: Reach,
    /// `[features.parking]`
    pub parking: ParkingConfig,
}

/// `[features.parking]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkingConfig {
    /// The numbers under which calls are parked.
    pub slots: RangeInclusive<u16>,
    /// When a call that nobody fetches goes back.
    pub timeout: Duration,
    /// Who gets it if the phone that parked it does not take it back.
    pub overflow: Option<Endpoint>,
    /// Whose parked calls a phone may fetch.
    pub retrieve_by: Reach,
}

/// What a phone can dial to have something done.
struct Code(String);

impl Setting for Code {
    const WANTED: &'static str =
        "a code of at most 8 digits, * and #, in quotes; \"\" switches the feature off";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?;
        let dialable = |b: u8| b.is_ascii_digit() || b == b'*' || b == b'#';
        (text.len() <= 8 && text.bytes().all(dialable)).then(|| Self(text.to_owned()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// Numbers of parking places.
struct Slots(RangeInclusive<u16>);

/// More would not fit on any wall.
const MOST_SLOTS: u16 = 1000;

impl Setting for Slots {
    const WANTED: &'static str = "a range of up to 1,000 numbers, lower one first, such as \"701-720\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (first, last) = value.as_str()?.split_once('-')?;
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first > 0 && first <= last && last - first < MOST_SLOTS).then_some(Self(first..=last))
    }
    fn write(&self) -> String {
        format!("\"{}-{}\"", self.0.start(), self.0.end())
    }
}

/// Reads the section.
pub(super) fn features(section: &mut Section<'_, '_, '_>) -> Option<FeaturesConfig> {
    let mut codes = Vec::new();
    let mut good = true;
    for feature in Feature::all() {
        match section.or(feature.key(), Code(feature.default_code().to_owned())) {
            Some(code) => codes.push((feature, code.0)),
            None => good = false,
        }
    }
    let pick_up_by = section.or("pick_up_by", Reach::Group);
    let parking = section.part("parking", parking);
    good.then_some(())?;
    Some(FeaturesConfig { codes: FeatureCodes::new(codes), pick_up_by: pick_up_by?, parking: parking? })
}

fn parking(section: &mut Section<'_, '_, '_>) -> Option<ParkingConfig> {
    let slots = section.or("slots", Slots(701..=720));
    let timeout = section.or("timeout", secs(120));
    let why = "a user waits: nobody should be forgotten";
    let timeout = section.within("timeout", timeout, &(secs(10)..=secs(3600)), why);
    let overflow = section.optional::<Endpoint>("overflow", "\"trunk:pbx/299\"");
    let retrieve_by = section.or("retrieve_by", Reach::Anybody);
    Some(ParkingConfig { slots: slots?.0, timeout: timeout?, overflow: overflow?, retrieve_by: retrieve_by? })
}

/// Finds codes that mean two things.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    let Some(features) = &draft.features else { return };
    if let Some((problem, remedy)) =
        features.parking.overflow.as_ref().and_then(|it| endpoint_fault(draft, it))
    {
        reader.fault_at("features.parking.overflow", problem, remedy);
    }
    let codes: Vec<(Feature, &str)> = features.codes.iter().collect();
    for (at, (feature, code)) in codes.iter().enumerate() {
        let clash = codes[..at].iter().find(|other| codes_meet(**other, (*feature, code)));
        let meets = clash.map(|(other, second)| format!("features.{other} (\"{second}\")"));
        let meets = meets.or_else(|| taken_by(draft, *feature, code));
        if let Some(meets) = meets {
            let problem = format!("\"{code}\" cannot be told from {meets}");
            let remedy = format!("{feature} = \"{}\", or \"\" to switch it off", feature.default_code());
            reader.fault_at(&format!("features.{feature}"), problem, remedy);
        }
    }
}

/// Who else is meant by digits that begin with, or are, a code.
fn taken_by(draft: &Draft, feature: Feature, code: &str) -> Option<String> {
    let behind = feature.argument() != Argument::None;
    let phone = |name: &str| name == code || (behind && name.starts_with(code));
    let names = draft.phones.iter().filter_map(|it| it.name.as_ref());
    if let Some(name) = names.map(crate::id::PhoneName::as_str).find(|name| phone(name)) {
        return Some(format!("the phone \"{name}\""));
    }
    let numbers = draft.emergency.iter().flat_map(|it| &it.numbers);
    if let Some(number) = numbers.into_iter().find(|it| phone(it)) {
        return Some(format!("the emergency number {number}"));
    }
    for (index, number) in draft.numbers.iter().enumerate() {
        if let Some(Some(dial)) = &number.dial
            && meets_prefix(feature, code, &dial.prefix)
        {
            return Some(format!("the prefix \"{}\" of number[{}]", dial.prefix, index + 1));
        }
    }
    let prefixes = draft.trunks.iter().filter_map(|it| it.config.as_ref()?.dial_prefix.as_ref());
    prefixes
        .into_iter()
        .find(|it| meets_prefix(feature, code, it))
        .map(|it| format!("the dial_prefix \"{it}\""))
}
