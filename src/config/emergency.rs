//! `[emergency]`: numbers that must never reach WhatsApp (rule 10).

use toml::de::DeValue;

use super::check::endpoint_fault;
use super::peers::{Digits, Number};
use super::reader::{Reader, Section};
use super::sections::Draft;
use super::setting::Setting;
use super::sounds::Country;
use crate::dialplan::emergency::{EmergencyPlan, EmergencyRoute, Extensions, of_country};
use crate::id::Endpoint;

impl Setting for EmergencyRoute {
    const WANTED: &'static str = "\"trunk:NAME\" or \"phone:NAME\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()?.split_once(':')? {
            (_, "") => None,
            // Which number is called is the caller's choice.
            ("trunk", name) if !name.contains('/') => Some(Self::Trunk(name.into())),
            ("phone", name) => Some(Self::Phone(name.into())),
            _ => None,
        }
    }
    fn write(&self) -> String {
        match self {
            Self::Trunk(name) => format!("\"trunk:{name}\""),
            Self::Phone(name) => format!("\"phone:{name}\""),
        }
    }
}

/// Reads the section.
pub(super) fn emergency(section: &mut Section<'_, '_, '_>) -> Option<EmergencyPlan> {
    let known = ["000", "110", "112", "113", "115", "118", "119", "190", "191", "192", "193", "911", "999"];
    let known = known.map(|it| Digits(it.to_owned())).into();
    let numbers = section.list::<Digits>("numbers", Some(known), "[\"112\", \"911\"]");
    let of = section.list::<Country>("countries", Some(Vec::new()), "[\"DE\"]");
    let over = section.or("over_extensions", false);
    let route = section.optional::<EmergencyRoute>("route", "\"trunk:pstn\"");
    let caller = section.optional::<Number>("caller", "\"493055500010\"");
    let mut all: Vec<String> = numbers?.into_iter().map(|it| it.0).collect();
    if all.iter().any(|it| it.is_empty() || it.contains('*')) {
        section.fault_of(
            "numbers",
            "an emergency number is made of digits".to_owned(),
            "[\"112\"]".to_owned(),
        );
        return None;
    }
    for country in of? {
        let Some(numbers) = of_country(&country.0) else {
            let problem = format!("the emergency numbers of {} are not known here", country.0);
            let remedy = "two letters of ISO 3166; or write its numbers in emergency.numbers".to_owned();
            section.fault_of("countries", problem, remedy);
            return None;
        };
        all.extend(numbers.into_iter().map(str::to_owned));
    }
    Some(EmergencyPlan {
        numbers: all.into_iter().collect(),
        route: route?,
        caller: caller?.map(|it| format!("+{}", it.0.digits())),
        extensions: if over? { Extensions::Yield } else { Extensions::Win },
    })
}

/// Looks for a way that leads nowhere and for phones that nobody can dial.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    let Some(plan) = &draft.emergency else { return };
    let way = plan.route.as_ref().map(|route| match route {
        EmergencyRoute::Trunk(name) => Endpoint::Trunk(name.clone(), "112".to_owned()),
        EmergencyRoute::Phone(name) => Endpoint::Phone(name.clone()),
    });
    if let Some((problem, remedy)) = way.as_ref().and_then(|it| endpoint_fault(draft, it)) {
        reader.fault_at("emergency.route", problem, remedy);
    }
    for (index, phone) in draft.phones.iter().enumerate() {
        let Some(name) = phone.name.as_ref().filter(|it| plan.has(it.as_str())) else { continue };
        let who = match plan.extensions {
            Extensions::Win => "who dials it reaches this phone and no help",
            Extensions::Yield => "nobody can dial this phone",
        };
        let problem = format!("\"{name}\" is an emergency number: {who}");
        let remedy = "give the phone another name; emergency.over_extensions says who wins".to_owned();
        reader.warn_at(&format!("phone[{}].name", index + 1), problem, remedy);
    }
}
