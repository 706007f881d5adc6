//! `[emergency]`: numbers that must never reach WhatsApp (rule 10).

use super::peers::Digits;
use super::reader::{Reader, Section};
use super::sections::Draft;
use super::sounds::Country;
use crate::dialplan::emergency::{EmergencyPlan, Extensions, countries, of_country};

/// Reads the section.
pub(super) fn emergency(section: &mut Section<'_, '_, '_>) -> Option<EmergencyPlan> {
    let known = ["000", "110", "112", "113", "115", "118", "119", "190", "191", "192", "193", "911", "999"];
    let known = known.map(|it| Digits(it.to_owned())).into();
    let numbers = section.list::<Digits>("numbers", Some(known), "[\"112\", \"911\"]");
    let of = section.list::<Country>("countries", Some(Vec::new()), "[\"DE\"]");
    let over = section.or("over_extensions", false);
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
            let remedy =
                format!("write them in numbers; known are {}", countries().collect::<Vec<_>>().join(", "));
            section.fault_of("countries", problem, remedy);
            return None;
        };
        all.extend(numbers.into_iter().map(str::to_owned));
    }
    Some(EmergencyPlan {
        numbers: all.into_iter().collect(),
        route: None,
        extensions: if over? { Extensions::Yield } else { Extensions::Win },
    })
}

/// Looks for phones that nobody can dial.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    let Some(plan) = &draft.emergency else { return };
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
