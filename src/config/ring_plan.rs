//! Ring plans: `ring`, `[[number.step]]`, `overflow` and `[[group]]`.

use std::time::Duration;

use toml::de::DeValue;

use super::check::{endpoint_fault, unique};
use super::peers::Name;
use super::reader::{Reader, Section};
use super::sections::{Draft, secs};
use super::setting::{Setting, words};
use super::voicemail::LastTarget;
use crate::id::{Endpoint, NumberLabel};

/// What an overflow is left of the accept window: enough for something that answers by itself, and for the two
/// seconds after which a silent trunk is given up.
pub const OVERFLOW_KEPT: Duration = Duration::from_secs(5);
/// What Graph is left of it for `accept` at the least.
const ACCEPT_KEPT: Duration = Duration::from_secs(1);
/// Each ring is an INVITE; a plan is for people, not for a call centre.
const MOST_RINGS: usize = 64;

/// Who rings when a user calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingPlanConfig {
    /// One after another; none if every call is rejected.
    pub steps: Vec<RingStepConfig>,
    /// Who gets a call that none of them has taken.
    pub overflow: Option<LastTarget>,
}

impl RingPlanConfig {
    /// Everybody who may ring, in the order of the plan.
    pub fn targets(&self) -> impl Iterator<Item = &Endpoint> {
        let last = self.overflow.as_ref().and_then(LastTarget::endpoint);
        self.steps.iter().flat_map(|it| &it.targets).chain(last)
    }

    /// How long a user's call may ring here at most, in a window of `window`.
    #[must_use]
    pub fn longest(&self, window: Duration) -> Duration {
        // Whoever rings last may do so for what is left of the window.
        if self.overflow.as_ref().is_some_and(|it| it.endpoint().is_some()) {
            return window;
        }
        let step = |step: &RingStepConfig| {
            let turns = if step.order == RingOrder::OneByOne { step.targets.len() } else { 1 };
            step.ring.map_or(window, |it| it.saturating_mul(u32::try_from(turns).unwrap_or(u32::MAX)))
        };
        let all = self.steps.iter().map(step).fold(Duration::ZERO, Duration::saturating_add);
        all.min(window)
    }
}

/// `[[number.step]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingStepConfig {
    /// Who rings; groups are resolved.
    pub targets: Vec<Endpoint>,
    /// How long each of them rings; `None` for as long as Meta waits.
    pub ring: Option<Duration>,
    /// In which order.
    pub order: RingOrder,
    /// Which tone; `None`: the number's.
    pub alert: Option<String>,
    /// Whether the phones answer by themselves.
    pub auto_answer: bool,
}

/// How the targets of a step ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingOrder {
    /// All at once.
    Together,
    /// Each for the whole time of the step, then the next one.
    OneByOne,
}

words!(RingOrder, "\"together\" or \"one_by_one\"",
    "together" => RingOrder::Together, "one_by_one" => RingOrder::OneByOne);

/// Who is to ring, as the file writes it.
#[derive(Clone)]
pub(super) enum Target {
    One(Endpoint),
    Group(String),
}

impl Setting for Target {
    const WANTED: &'static str = "\"phone:NAME\", \"trunk:NAME/NUMBER\" or \"group:NAME\"";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value.as_str()?.split_once(':')? {
            ("group", name) if !name.is_empty() => Some(Self::Group(name.to_owned())),
            _ => Endpoint::read(value).map(Self::One),
        }
    }
    fn write(&self) -> String {
        match self {
            Self::One(endpoint) => endpoint.write(),
            Self::Group(name) => format!("\"group:{name}\""),
        }
    }
}

/// `[[group]]`: who belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// What ring plans call it.
    pub name: String,
    /// Who belongs to it, in the order of the file.
    pub members: Vec<Endpoint>,
    /// The business numbers whose missed calls its phones call back.
    pub callbacks: Vec<NumberLabel>,
}

/// A group as far as it could be read.
pub(super) struct GroupDraft {
    pub(super) name: Option<String>,
    pub(super) members: Option<Vec<Endpoint>>,
    callbacks: Option<Vec<Name>>,
}

impl GroupDraft {
    /// The group, if everything in it is good.
    pub(super) fn complete(self) -> Option<GroupConfig> {
        let callbacks = self.callbacks?.into_iter().map(|it| it.0.as_str().into()).collect();
        Some(GroupConfig { name: self.name?, members: self.members?, callbacks })
    }
}

/// A plan as far as it could be read.
pub(super) struct PlanDraft {
    ring: Option<Vec<Target>>,
    steps: Vec<StepDraft>,
    overflow: Option<Option<LastTarget>>,
}

struct StepDraft {
    targets: Option<Vec<Target>>,
    ring: Option<Duration>,
    order: Option<RingOrder>,
    alert: Option<Option<String>>,
    auto_answer: Option<bool>,
}

/// `[[group]]`
pub(super) fn group(section: &mut Section<'_, '_, '_>) -> GroupDraft {
    let name = section.required::<Name>("name", "\"desk\"").map(|it| it.0);
    let members = section.list::<Endpoint>("members", None, "[\"phone:1001\", \"trunk:pbx/200\"]");
    let callbacks = section.list::<Name>("callbacks", Some(Vec::new()), "[\"support\"]");
    GroupDraft { name, members, callbacks }
}

/// The plan of a `[[number]]`.
pub(super) fn plan(section: &mut Section<'_, '_, '_>) -> PlanDraft {
    let ring = section.list::<Target>("ring", Some(Vec::new()), "[\"phone:1001\", \"trunk:pbx/200\"]");
    let steps = section.each("step", step);
    let overflow = section.optional::<LastTarget>("overflow", "\"trunk:pbx/299\"");
    PlanDraft { ring, steps, overflow }
}

fn step(section: &mut Section<'_, '_, '_>) -> StepDraft {
    let targets = section.list::<Target>("targets", None, "[\"phone:1001\", \"group:desk\"]");
    let ring = section.or("ring", secs(12));
    let why = "nobody answers faster, and Meta gives a call up 30 to 60 s after its webhook";
    let ring = section.within("ring", ring, &(secs(3)..=secs(55)), why);
    let order = section.or("order", RingOrder::Together);
    let alert = section.optional::<Name>("alert", "\"urgent\"").map(|it| it.map(|it| it.0));
    let auto_answer = section.or("auto_answer", false);
    StepDraft { targets, ring, order, alert, auto_answer }
}

impl PlanDraft {
    /// The plan, if everything in it is good.
    pub(super) fn resolve(&self, groups: &[GroupDraft]) -> Option<RingPlanConfig> {
        let mut steps = Vec::new();
        let ring = self.ring.as_deref()?;
        if !ring.is_empty() {
            let targets = resolved(ring, groups);
            let order = RingOrder::Together;
            steps.push(RingStepConfig { targets, ring: None, order, alert: None, auto_answer: false });
        }
        for step in &self.steps {
            let targets = resolved(step.targets.as_deref()?, groups);
            steps.push(RingStepConfig {
                targets,
                ring: Some(step.ring?),
                order: step.order?,
                alert: step.alert.clone()?,
                auto_answer: step.auto_answer?,
            });
        }
        Some(RingPlanConfig { steps, overflow: self.overflow.clone()? })
    }

    /// Whether this takes what nobody has taken.
    pub(super) fn ends_in(&self, last: &LastTarget) -> bool {
        matches!(&self.overflow, Some(Some(it)) if it == last)
    }

    /// Whether the plan has an end of its own.
    pub(super) fn has_overflow(&self) -> bool {
        matches!(self.overflow, Some(Some(_)))
    }

    /// Each list of targets and the key under which it stands.
    fn lists(&self, number: &str) -> impl Iterator<Item = (String, &[Target])> {
        let ring = self.ring.iter().map(move |it| (format!("{number}.ring"), it.as_slice()));
        let steps = self.steps.iter().enumerate().filter_map(move |(at, step)| {
            Some((format!("{number}.step[{}].targets", at + 1), step.targets.as_deref()?))
        });
        ring.chain(steps)
    }
}

/// The targets without groups; a group that is not there has nobody, and a fault of its own.
fn resolved(targets: &[Target], groups: &[GroupDraft]) -> Vec<Endpoint> {
    let members = |target: &Target| match target {
        Target::One(endpoint) => vec![endpoint.clone()],
        Target::Group(name) => {
            let group = groups.iter().find(|it| it.name.as_ref() == Some(name));
            group.and_then(|it| it.members.clone()).unwrap_or_default()
        }
    };
    targets.iter().flat_map(members).collect()
}

/// Compares plans with phones, trunks, groups and the time that Meta leaves.
pub(super) fn compare(reader: &mut Reader<'_>, draft: &Draft) {
    groups(reader, draft);
    for (index, number) in draft.numbers.iter().enumerate() {
        let key = format!("number[{}]", index + 1);
        either_or(reader, &key, &number.plan);
        for (key, targets) in number.plan.lists(&key) {
            known(reader, &key, targets, draft);
            let all = resolved(targets, &draft.groups);
            unique(reader, "target", all.iter().map(|it| (key.clone(), Some(Shown(it)))));
        }
        if let Some(Some(LastTarget::Ring(target))) = &number.plan.overflow
            && let Some((problem, remedy)) = endpoint_fault(draft, target)
        {
            reader.fault_at(&format!("{key}.overflow"), problem, remedy);
        }
        if let Some(plan) = number.plan.resolve(&draft.groups) {
            too_many(reader, &key, &plan);
            window(reader, &key, &plan, draft);
        }
    }
}

fn groups(reader: &mut Reader<'_>, draft: &Draft) {
    let names = draft.groups.iter().enumerate();
    unique(reader, "name", names.map(|(i, it)| (format!("group[{}].name", i + 1), it.name.clone())));
    for (index, group) in draft.groups.iter().enumerate() {
        let key = format!("group[{}].members", index + 1);
        let Some(members) = &group.members else { continue };
        if members.is_empty() {
            let remedy = "members = [\"phone:1001\"], or remove the group".to_owned();
            reader.fault_at(&key, "the group has nobody".to_owned(), remedy);
        }
        for (problem, remedy) in members.iter().filter_map(|it| endpoint_fault(draft, it)) {
            reader.fault_at(&key, problem, remedy);
        }
        unique(reader, "member", members.iter().map(|it| (key.clone(), Some(Shown(it)))));
        callbacks(reader, index, group, draft);
    }
}

/// Who is called back must have called a number of the file.
fn callbacks(reader: &mut Reader<'_>, index: usize, group: &GroupDraft, draft: &Draft) {
    let numbers = draft.numbers.iter().filter_map(|it| it.label.as_ref()).map(NumberLabel::as_str);
    let numbers: Vec<&str> = numbers.collect();
    let unknown = group.callbacks.iter().flatten().filter(|it| !numbers.contains(&it.0.as_str()));
    for label in unknown {
        let problem = format!("there is no [[number]] with the label {:?}", label.0);
        let remedy = format!("one or more of {}", numbers.join(", "));
        reader.fault_at(&format!("group[{}].callbacks", index + 1), problem, remedy);
    }
}

/// `ring` is a plan of one step; beside `step` nobody could tell which of them begins.
fn either_or(reader: &mut Reader<'_>, number: &str, plan: &PlanDraft) {
    let Some(ring) = &plan.ring else { return };
    let key = format!("{number}.ring");
    if !ring.is_empty() && !plan.steps.is_empty() {
        let written = ring.iter().map(Target::write).collect::<Vec<_>>().join(", ");
        let problem = "stands beside [[number.step]]: a plan is written in one way or the other".to_owned();
        let remedy = format!("make it the first step: [[number.step]] with targets = [{written}]");
        reader.fault_at(&key, problem, remedy);
    }
    if ring.is_empty() && plan.steps.is_empty() && !matches!(plan.overflow, Some(Some(_))) {
        let problem = "nobody rings when a user calls: every call will be rejected".to_owned();
        reader.warn_at(&key, problem, "ring = [\"phone:1001\"]".to_owned());
    }
    for (at, _) in
        plan.steps.iter().enumerate().filter(|(_, it)| it.targets.as_ref().is_some_and(Vec::is_empty))
    {
        let remedy = "targets = [\"phone:1001\"], or remove the step".to_owned();
        reader.fault_at(
            &format!("{number}.step[{}].targets", at + 1),
            "nobody rings in this step".to_owned(),
            remedy,
        );
    }
}

fn known(reader: &mut Reader<'_>, key: &str, targets: &[Target], draft: &Draft) {
    for target in targets {
        let fault = match target {
            Target::One(endpoint) => endpoint_fault(draft, endpoint),
            Target::Group(name) => group_fault(draft, name),
        };
        if let Some((problem, remedy)) = fault {
            reader.fault_at(key, problem, remedy);
        }
    }
}

fn group_fault(draft: &Draft, name: &str) -> Option<(String, String)> {
    let known: Vec<&str> = draft.groups.iter().filter_map(|it| it.name.as_deref()).collect();
    let missing = !known.contains(&name);
    missing.then(|| {
        let problem = format!("there is no [[group]] with name = \"{name}\"");
        (problem, super::check::choices(&known, "[[group]]"))
    })
}

fn too_many(reader: &mut Reader<'_>, number: &str, plan: &RingPlanConfig) {
    let rings: usize = plan.steps.iter().map(|it| it.targets.len()).sum();
    if rings > MOST_RINGS {
        let problem = format!("the plan rings {rings} times for one call; {MOST_RINGS} are allowed");
        let remedy = "let a trunk ring so many: \"trunk:pbx/200\" for a group of the PBX".to_owned();
        let key = if plan.steps.len() == 1 { "ring" } else { "step[1].targets" };
        reader.fault_at(&format!("{number}.{key}"), problem, remedy);
    }
}

/// Warns of the first target whose turn comes when Meta does not wait any more.
fn window(reader: &mut Reader<'_>, number: &str, plan: &RingPlanConfig, draft: &Draft) {
    let Some(calls) = &draft.calls else { return };
    let rung = plan.overflow.as_ref().and_then(LastTarget::endpoint);
    let kept = if rung.is_some() { OVERFLOW_KEPT } else { Duration::ZERO };
    let left = calls.accept_window.saturating_sub(ACCEPT_KEPT + kept);
    let mut begins = Duration::ZERO;
    for (at, step) in plan.steps.iter().enumerate() {
        let Some(ring) = step.ring else { return };
        let turns = if step.order == RingOrder::OneByOne { step.targets.len() } else { 1 };
        for turn in 0..turns {
            let late = if begins >= left { step.targets.get(turn) } else { None };
            if let Some(target) = late {
                let overflow = if kept.is_zero() { "" } else { " and the overflow" };
                let problem = format!(
                    "the turn of {} never comes while those before it ring: calls.accept_window leaves {} for all \
                     steps, after {} for Graph{overflow}",
                    Shown(target),
                    left.write().trim_matches('"'),
                    (ACCEPT_KEPT + kept).write().trim_matches('"'),
                );
                let remedy =
                    "shorten the ring times of the steps before, or ring several together".to_owned();
                reader.warn_at(&format!("{number}.step[{}].targets", at + 1), problem, remedy);
                return;
            }
            begins += ring;
        }
    }
}

/// An endpoint as the file writes it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shown<'e>(&'e Endpoint);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Endpoint::Phone(name) => write!(f, "phone:{name}"),
            Endpoint::Trunk(name, number) => write!(f, "trunk:{name}/{number}"),
        }
    }
}
