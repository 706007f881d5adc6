//! `[sip.defence]`: who may speak, how fast, and who is banned.

use std::time::Duration;

use super::reader::Section;
use super::setting::Setting;
use crate::sip::defence::{Acl, Rate};
use crate::sip::{DefenceSettings, Transport};

/// A part of a User-Agent; upper and lower case are the same.
struct Word(String);

impl Setting for Word {
    const WANTED: &'static str = "a part of a User-Agent, at least four letters, in quotes";
    fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
        let text = value.as_str()?.trim();
        // Fewer would be found in the names of honest phones.
        (text.len() >= 4).then(|| Self(text.to_ascii_lowercase()))
    }
    fn write(&self) -> String {
        self.0.write()
    }
}

/// Reads the section; what is left out is as [`DefenceSettings::default`] says.
pub(super) fn defence(section: &mut Section<'_, '_, '_>) -> Option<DefenceSettings> {
    let usual = DefenceSettings::default();
    let enabled = section.or("enabled", usual.enabled);
    let allow = section.list("allow", Some(usual.acl.allow), "[\"192.168.0.0/16\"]");
    let deny = section.list("deny", Some(usual.acl.deny), "[\"192.0.2.0/24\"]");
    let lists = [
        (Transport::Udp, section.list("allow_udp", Some(Vec::new()), "[\"192.168.0.0/16\"]")),
        (Transport::Tcp, section.list("allow_tcp", Some(Vec::new()), "[\"192.168.0.0/16\"]")),
        (Transport::Tls, section.list("allow_tls", Some(Vec::new()), "[\"192.168.0.0/16\"]")),
        (Transport::Ws, section.list("allow_ws", Some(Vec::new()), "[\"127.0.0.1\"]")),
        (Transport::Wss, section.list("allow_wss", Some(Vec::new()), "[\"192.168.0.0/16\"]")),
    ];
    let trusted = section.list("trusted", Some(usual.trusted), "[\"192.168.1.0/24\"]");
    let words = usual.scanners.into_iter().map(Word).collect();
    let scanners = section.list("scanners", Some(words), "[\"friendly-scanner\"]");
    let failures = section.or("failures", count(usual.failures));
    let failures = section.within("failures", failures, &(1..=1000), "a phone with an old password tries on");
    let strangers = section.or("strangers", count(usual.strangers));
    let strangers = section.within("strangers", strangers, &(2..=1000), "an office has several phones");
    let span = Duration::from_secs(1)..=Duration::from_hours(24);
    let window = section.or("window", usual.window);
    let window = section.within("window", window, &span, "it is kept in memory");
    let ban = section.or("ban", usual.ban);
    let ban = section.within("ban", ban, &span, "a mistake must end by itself");
    let ban_max = section.or("ban_max", usual.ban_max);
    let span = Duration::from_secs(1)..=Duration::from_hours(24 * 31);
    let ban_max = section.within("ban_max", ban_max, &span, "addresses change hands");
    if let (Some(ban), Some(ban_max)) = (ban, ban_max)
        && ban > ban_max
    {
        let problem = "the longest ban is shorter than the first".to_owned();
        section.fault_of("ban_max", problem, format!("ban_max = {}  (or more)", ban.write()));
    }
    let per_second = section.or("rate", usual.rate.per_second);
    let per_second = section.within("rate", per_second, &(1..=1_000_000), "it is messages a second");
    let burst = section.or("burst", usual.rate.burst);
    let burst = section.within("burst", burst, &(10..=1_000_000), "phones of an office start together");
    let new_requests = section.or("new_requests", usual.new_requests);
    let new_requests =
        section.within("new_requests", new_requests, &(1..=1_000_000), "it is requests a second");
    let by_transport =
        lists.into_iter().map(|(transport, list)| Some((transport, list?))).collect::<Option<_>>();
    Some(DefenceSettings {
        enabled: enabled?,
        by_transport: by_transport?,
        acl: Acl { allow: allow?, deny: deny? },
        trusted: trusted?,
        scanners: scanners?.into_iter().map(|word| word.0).collect(),
        failures: usize::try_from(failures?).ok()?,
        strangers: usize::try_from(strangers?).ok()?,
        window: window?,
        ban: ban?,
        ban_max: ban_max?,
        rate: Rate { per_second: per_second?, burst: burst? },
        new_requests: new_requests?,
        max_sources: usual.max_sources,
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
