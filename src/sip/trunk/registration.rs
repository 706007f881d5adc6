//! Our own registration with a trunk (RFC 3261 §10.2): when to send which REGISTER to which server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::random::Random;

use super::super::message::{Name, NameAddr, Response, SipUri};

/// How we register with a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterSettings {
    /// The user part of our address of record there.
    pub user: String,
    /// How long a registration is asked for.
    pub expires: Duration,
    /// The pause after the first round in which no server took it; doubles up to [`RegisterSettings::longest`].
    pub shortest: Duration,
    /// The longest pause between two rounds, and the one after our credentials were refused.
    pub longest: Duration,
}

impl RegisterSettings {
    /// The usual times: 10 min, pauses of 5 s to 5 min.
    #[must_use]
    pub fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            expires: Duration::from_mins(10),
            shortest: Duration::from_secs(5),
            longest: Duration::from_mins(5),
        }
    }
}

/// Why a registration does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationFailure {
    /// The password is wrong, or the server asks in a way we cannot answer.
    Login,
    /// The server refused it with that status.
    Refused(u16),
    /// No server answered.
    Silent,
}

/// How far a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// The first round is not over.
    Trying,
    /// It stands, at this server.
    Registered(SocketAddr),
    /// It does not stand.
    Failed(RegistrationFailure),
    /// It was given back.
    Ended,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing before that time.
    Wait(Instant),
    /// A REGISTER is out; at that time it counts as lost.
    Out(Instant),
    /// The one that ends the registration is out.
    Leaving,
    Over,
}

/// A server that says nothing for so long is given up for the next one; the transaction would wait 32 s.
const PATIENCE: Duration = Duration::from_secs(8);

/// A REGISTER to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Attempt {
    pub(in crate::sip) server: SocketAddr,
    pub(in crate::sip) expires: Duration,
}

/// One registration.
#[derive(Debug)]
pub(in crate::sip) struct Registration {
    settings: RegisterSettings,
    state: RegistrationState,
    step: Step,
    /// The servers of this round that were not tried yet; the next one last.
    left: Vec<SocketAddr>,
    /// Rounds without success in a row.
    failures: u32,
    /// What is asked for now: a 423 raises it.
    expires: Duration,
    /// The standing registration lapses then.
    until: Option<Instant>,
    /// A 423 was obeyed in this round already.
    raised: bool,
    /// Why this round's servers did not take it, the most telling reason.
    worst: RegistrationFailure,
    at: Option<SocketAddr>,
}

impl Registration {
    pub(in crate::sip) fn new(now: Instant, settings: RegisterSettings, random: &mut Random) -> Self {
        // Not every gateway of a provider at the very second its power is back.
        let begin = now + Duration::from_millis(random.below(500).into());
        let expires = settings.expires;
        Self {
            settings,
            state: RegistrationState::Trying,
            step: Step::Wait(begin),
            left: Vec::new(),
            failures: 0,
            expires,
            until: None,
            raised: false,
            worst: RegistrationFailure::Silent,
            at: None,
        }
    }

    pub(in crate::sip) fn settings(&self) -> &RegisterSettings {
        &self.settings
    }

    pub(in crate::sip) fn state(&self) -> RegistrationState {
        self.state
    }

    /// Whether it needs nothing more, because it was given back or never stood.
    pub(in crate::sip) fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    pub(in crate::sip) fn poll_timeout(&self) -> Option<Instant> {
        match (self.step, self.until) {
            (Step::Wait(at) | Step::Out(at), until) => Some(until.map_or(at, |until| at.min(until))),
            (Step::Leaving | Step::Over, _) => None,
        }
    }

    /// Time passed; a REGISTER may be due, and a registration may have lapsed.
    ///
    /// `servers` are the places to register at, the most wanted first; a round begins with the one where we are.
    pub(in crate::sip) fn handle_timeout(&mut self, now: Instant, servers: &[SocketAddr]) -> Option<Attempt> {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            self.state = RegistrationState::Failed(self.worst);
        }
        if !matches!(self.step, Step::Wait(at) if at <= now) {
            return None;
        }
        self.raised = false;
        self.worst = RegistrationFailure::Silent;
        self.left = servers.iter().rev().copied().collect();
        if let Some(at) = self.at.filter(|at| self.until.is_some() && servers.contains(at)) {
            self.left.retain(|server| *server != at);
            self.left.push(at);
        }
        self.next(now, None)
    }

    /// Whether the REGISTER that is out was not answered in time; the caller says [`Registration::lost`].
    pub(in crate::sip) fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.step, Step::Out(until) if until <= now)
    }

    /// A server is back: no need to wait for the end of the pause.
    pub(in crate::sip) fn hurry(&mut self, now: Instant) {
        if let (Step::Wait(at), RegistrationState::Failed(RegistrationFailure::Silent)) =
            (self.step, self.state)
        {
            self.step = Step::Wait(at.min(now));
        }
    }

    /// The next server of this round, or the pause until the next one.
    fn next(&mut self, now: Instant, pause: Option<Duration>) -> Option<Attempt> {
        if let Some(server) = self.left.pop() {
            self.step = Step::Out(now + PATIENCE);
            self.at = Some(server);
            return Some(Attempt { server, expires: self.expires });
        }
        let doubled = self.settings.shortest.saturating_mul(1 << self.failures.min(16));
        let longest = self.settings.longest;
        let wait = match (pause, self.worst) {
            (Some(asked), _) => asked.max(self.settings.shortest),
            (None, RegistrationFailure::Login) => longest,
            (None, _) => doubled.min(longest),
        };
        self.failures = self.failures.saturating_add(1);
        self.step = Step::Wait(now + wait);
        if self.until.is_none() {
            self.state = RegistrationState::Failed(self.worst);
        }
        None
    }

    /// The server took it, until then.
    fn taken(&mut self, now: Instant, granted: Duration, random: &mut Random) {
        let server = self.at.expect("an answer follows an attempt");
        self.state = RegistrationState::Registered(server);
        self.until = Some(now + granted);
        self.failures = 0;
        // Between 75 and 90 % of the time, so that a lost datagram or two still leave it standing.
        let share = 0.75 + f64::from(random.below(150)) / 1000.0;
        self.step = Step::Wait(now + granted.mul_f64(share));
    }

    /// A final answer other than a challenge; the next REGISTER, if one is due at once.
    pub(in crate::sip) fn answered(
        &mut self,
        now: Instant,
        response: &Response,
        contact: &SipUri,
        random: &mut Random,
    ) -> Option<Attempt> {
        if self.step == Step::Leaving {
            self.left_behind();
            return None;
        }
        let retry_after = retry_after(response);
        match response.status {
            200..300 => {
                self.taken(now, granted(response, contact).unwrap_or(self.expires), random);
                None
            }
            423 if !self.raised => {
                let least = response.headers.get(&Name::MinExpires).and_then(|it| it.trim().parse().ok());
                self.expires = Duration::from_secs(least.unwrap_or(3600)).max(self.expires);
                self.raised = true;
                self.step = Step::Out(now + PATIENCE);
                let server = self.at?;
                Some(Attempt { server, expires: self.expires })
            }
            401 | 403 | 407 => self.refused(now, RegistrationFailure::Login, retry_after, random),
            status => self.refused(now, RegistrationFailure::Refused(status), retry_after, random),
        }
    }

    /// Our credentials are wrong.
    pub(in crate::sip) fn login_refused(&mut self, now: Instant, random: &mut Random) -> Option<Attempt> {
        if self.step == Step::Leaving {
            self.left_behind();
            return None;
        }
        self.refused(now, RegistrationFailure::Login, None, random)
    }

    /// Nobody answered.
    pub(in crate::sip) fn lost(&mut self, now: Instant, random: &mut Random) -> Option<Attempt> {
        if self.step == Step::Leaving {
            self.left_behind();
            return None;
        }
        self.refused(now, RegistrationFailure::Silent, None, random)
    }

    fn refused(
        &mut self,
        now: Instant,
        failure: RegistrationFailure,
        pause: Option<Duration>,
        random: &mut Random,
    ) -> Option<Attempt> {
        if !matches!(self.step, Step::Out(_)) {
            return None;
        }
        let telling = |it: RegistrationFailure| match it {
            RegistrationFailure::Silent => 0,
            RegistrationFailure::Refused(_) => 1,
            RegistrationFailure::Login => 2,
        };
        if telling(failure) >= telling(self.worst) {
            self.worst = failure;
        }
        let next = self.next(now, pause);
        if let Step::Wait(at) = self.step {
            // Between half of the pause and all of it (RFC 5626 §4.5), but never before a server's own word.
            let pause_of = at.saturating_duration_since(now);
            let jitter = if pause.is_some() { Duration::ZERO } else { pause_of / 2 };
            self.step = Step::Wait(at - jitter.mul_f64(f64::from(random.below(1000)) / 1000.0));
        }
        next
    }

    /// Gives the registration back; the REGISTER to send, if it stands.
    pub(in crate::sip) fn leave(&mut self) -> Option<Attempt> {
        let stands = self.until.take().is_some();
        let server = match self.state {
            RegistrationState::Registered(server) if stands => server,
            _ => {
                self.left_behind();
                return None;
            }
        };
        self.step = Step::Leaving;
        Some(Attempt { server, expires: Duration::ZERO })
    }

    fn left_behind(&mut self) {
        self.state = RegistrationState::Ended;
        self.step = Step::Over;
        self.until = None;
    }
}

/// `Retry-After` in seconds; a comment or parameters may follow (RFC 3261 §20.33).
pub(in crate::sip) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers.get(&Name::RetryAfter)?;
    let digits: String = value.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(Duration::from_secs)
}

/// How long the server keeps us: `expires` of our Contact, or else Expires (RFC 3261 §10.2.4).
fn granted(response: &Response, ours: &SipUri) -> Option<Duration> {
    let contacts: Vec<NameAddr> =
        response.headers.list(&Name::Contact).into_iter().filter_map(NameAddr::parse).collect();
    let same = |it: &&NameAddr| it.sip().is_some_and(|uri| uri.key() == ours.key());
    // A server behind a NAT may write our address as it saw it; alone, it is still ours.
    let own = contacts.iter().find(same).or(if contacts.len() == 1 { contacts.first() } else { None });
    let written = own.and_then(|it| it.params.get("expires")).or(response.headers.get(&Name::Expires))?;
    let seconds: u64 = written.trim().parse().ok()?;
    // A server that grants nothing is asked again soon, not in a loop.
    Some(Duration::from_secs(seconds.max(10)))
}

#[cfg(test)]
mod tests {
    use super::super::super::message::Headers;
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn contact() -> SipUri {
        SipUri::parse("sip:acme@192.0.2.1:5060").expect("a URI")
    }

    fn response(status: u16, lines: &[(&str, &str)]) -> Response {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(Name::parse(name), *value);
        }
        Response { status, phrase: String::new(), headers, body: Vec::new() }
    }

    struct Rig {
        it: Registration,
        now: Instant,
        random: Random,
        servers: Vec<SocketAddr>,
    }

    impl Rig {
        fn new(servers: u16) -> Self {
            let (now, mut random) = (Instant::now(), Random::from_number(1));
            let it = Registration::new(now, RegisterSettings::new("acme"), &mut random);
            let servers = (1..=servers).map(|port| SocketAddr::from(([192, 0, 2, 9], port))).collect();
            Self { it, now, random, servers }
        }

        /// Waits for the next REGISTER: the seconds that passed, and where it goes.
        fn wait(&mut self) -> (Duration, Attempt) {
            let began = self.now;
            loop {
                self.now = self.it.poll_timeout().expect("goes on");
                assert!(!self.it.is_overdue(self.now), "nobody answered");
                if let Some(attempt) = self.it.handle_timeout(self.now, &self.servers) {
                    return (self.now - began, attempt);
                }
            }
        }

        fn answer(&mut self, response: &Response) -> Option<Attempt> {
            self.it.answered(self.now, response, &contact(), &mut self.random)
        }

        fn lost(&mut self) -> Option<Attempt> {
            self.it.lost(self.now, &mut self.random)
        }
    }

    #[test]
    fn a_registration_is_refreshed_before_it_lapses_at_the_server_where_it_stands() {
        let mut rig = Rig::new(2);
        let (_, first) = rig.wait();
        assert_eq!((first.server, first.expires), (rig.servers[0], seconds(600)));
        let second = rig.lost().expect("the next server at once");
        assert_eq!(second.server, rig.servers[1]);
        let ok = response(
            200,
            &[("Contact", "<sip:other@h>;expires=9, <sip:acme@192.0.2.1>;expires=120"), ("Expires", "7")],
        );
        assert_eq!(rig.answer(&ok), None);
        assert_eq!(rig.it.state(), RegistrationState::Registered(rig.servers[1]));
        let (after, refresh) = rig.wait();
        assert!((seconds(90)..=seconds(108)).contains(&after), "{after:?}");
        assert_eq!(refresh.server, rig.servers[1]);
        // The server where we are is gone: the others, while the registration still counts.
        assert_eq!(rig.lost().expect("the other").server, rig.servers[0]);
        assert_eq!(rig.lost(), None);
        assert_eq!(rig.it.state(), RegistrationState::Registered(rig.servers[1]));
    }

    #[test]
    fn a_registration_that_nobody_refreshes_lapses_to_the_nanosecond() {
        let mut rig = Rig::new(1);
        rig.wait();
        rig.answer(&response(200, &[("Expires", "100")]));
        let until = rig.now + seconds(100);
        rig.wait();
        rig.lost();
        rig.it.handle_timeout(until - Duration::from_nanos(1), &[]);
        assert!(matches!(rig.it.state(), RegistrationState::Registered(_)));
        rig.it.handle_timeout(until, &[]);
        assert_eq!(rig.it.state(), RegistrationState::Failed(RegistrationFailure::Silent));
    }

    #[test]
    fn the_pause_after_a_round_without_success_doubles_with_jitter_up_to_five_minutes() {
        let mut rig = Rig::new(2);
        let mut longest = seconds(5);
        for _ in 0..10 {
            rig.wait();
            rig.lost();
            assert_eq!(rig.lost(), None);
            assert_eq!(rig.it.state(), RegistrationState::Failed(RegistrationFailure::Silent));
            let (pause, _) = rig.wait();
            assert!((longest / 2..=longest).contains(&pause), "{pause:?} of {longest:?}");
            // The round that has just begun fails, too.
            rig.lost();
            rig.lost();
            longest = (longest * 4).min(seconds(300));
        }
    }

    #[test]
    fn a_server_that_wants_longer_registrations_is_obeyed_once() {
        let mut rig = Rig::new(1);
        rig.wait();
        let brief = response(423, &[("Min-Expires", "1800")]);
        assert_eq!(rig.answer(&brief).map(|it| it.expires), Some(seconds(1800)));
        assert_eq!(rig.answer(&brief), None);
        assert_eq!(rig.it.state(), RegistrationState::Failed(RegistrationFailure::Refused(423)));
    }

    #[test]
    fn a_server_that_names_a_time_is_not_asked_before_and_a_wrong_password_not_often() {
        let mut rig = Rig::new(1);
        rig.wait();
        rig.answer(&response(503, &[("Retry-After", "77 (busy)")]));
        assert_eq!(rig.wait().0, seconds(77));
        assert_eq!(rig.it.login_refused(rig.now, &mut rig.random), None);
        assert_eq!(rig.it.state(), RegistrationState::Failed(RegistrationFailure::Login));
        assert!(rig.wait().0 >= seconds(150));
    }

    #[test]
    fn a_server_that_is_back_ends_the_pause_but_not_that_of_a_wrong_password() {
        let mut rig = Rig::new(1);
        rig.wait();
        rig.lost();
        rig.it.hurry(rig.now);
        assert_eq!(rig.wait().0, Duration::ZERO);
        rig.it.login_refused(rig.now, &mut rig.random);
        rig.it.hurry(rig.now);
        assert!(rig.wait().0 > seconds(100));
    }

    #[test]
    fn a_server_that_says_nothing_for_eight_seconds_is_given_up() {
        let mut rig = Rig::new(2);
        rig.wait();
        let until = rig.now + seconds(8);
        assert_eq!(rig.it.poll_timeout(), Some(until));
        assert!(!rig.it.is_overdue(until - Duration::from_nanos(1)) && rig.it.is_overdue(until));
    }

    #[test]
    fn at_shutdown_a_standing_registration_is_given_back_and_no_other() {
        let mut rig = Rig::new(1);
        assert_eq!(rig.it.leave(), None);
        assert!(rig.it.is_over());
        let mut rig = Rig::new(1);
        rig.wait();
        rig.answer(&response(200, &[("Expires", "100")]));
        let leave = rig.it.leave().expect("stands");
        assert_eq!((leave.server, leave.expires), (rig.servers[0], Duration::ZERO));
        assert!(!rig.it.is_over());
        assert_eq!(rig.answer(&response(200, &[])), None);
        assert!(rig.it.is_over());
        assert_eq!(rig.it.poll_timeout(), None);
    }
}
