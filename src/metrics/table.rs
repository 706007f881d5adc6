//! Every metric there is: name, kind, help, labels and buckets.
//!
//! Events are counted where they happen ([`Counter`], [`Histogram`]); figures that live elsewhere, in
//! media threads or in the user agent, are read at a scrape ([`Total`], [`Gauge`], [`Distribution`]).

use std::marker::PhantomData;

use super::label::{
    Build, CallEnd, CapOf, Denied, DeskEnd, Drifted, GraphRequest, Labels, LeftMessage, LegWay,
    NumberDirection, OfAction, OfKind, OfLeg, OfListener, OfLonger, OfLookup, OfMeaning, OfNumber,
    OfOperation, OfPart, OfPhone, OfRealm, OfServer, OfSeverity, OfStage, OfTrunk, OfWay, OfWebhook,
    OfWorker, Requested, Space,
};

/// How a metric is counted and printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only goes up; counted as it happens. Prints with `_total`.
    Counter,
    /// Only goes up; read at a scrape. Prints with `_total`.
    Total,
    /// Goes up and down; read at a scrape.
    Gauge,
    /// Spans or sizes in buckets with these upper bounds; counted as they happen.
    Histogram(&'static [f64]),
    /// Spans or sizes in buckets; counted elsewhere, read at a scrape.
    Distribution,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name, without `_total`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// One sentence without a full stop at its end.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What the labels can be.
    pub spaces: &'static [Space],
}

/// Makes a handle type per kind, so that nobody can set what is counted.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),+) => {
        $($(#[$doc])*
        #[derive(Debug)]
        pub struct $name<L> {
            pub(super) metric: Metric,
            labels: PhantomData<fn(L)>,
        }

        impl<L: Labels> $name<L> {
            const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
                let metric = Metric { name, kind, help, labels: L::NAMES, spaces: L::SPACES };
                Self { metric, labels: PhantomData }
            }
        })+
    };
}

handles! {
    /// Counted as it happens.
    Counter,
    /// Counted elsewhere, read at a scrape.
    Total,
    /// Read at a scrape.
    Gauge,
    /// Observed as it happens.
    Histogram,
    /// Observed elsewhere, read at a scrape.
    Distribution
}

/// Spans of set-up and of requests, in seconds: from a webhook's few milliseconds to Meta's 30 s.
const SETUP: &[f64] = &[0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0];
/// Mean opinion scores: the limits of table B.1 of ITU-T G.107, and some between.
const MOS: &[f64] = &[2.0, 2.58, 3.1, 3.6, 3.8, 4.03, 4.2, 4.34, 4.5];
/// Shares of lost packets: from what nobody hears to what nobody bears.
const LOSS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2];
/// Jitter in seconds; playout begins at 40 ms.
const JITTER: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2];
/// Round trips in seconds; beyond 400 ms people talk at the same time.
const ROUND_TRIP: &[f64] = &[0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0];
/// Lengths of conversations, in seconds; Meta charges by 6 s.
const TALK: &[f64] = &[6.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];

/// Seconds between two clocks; Meta's counts whole seconds, and 6 s are a pulse.
const DIFFERENCE: &[f64] = &[1.0, 2.0, 3.0, 6.0, 12.0, 30.0, 60.0, 300.0];

/// The one table: handle, kind and labels, name, help, and buckets where there are some.
macro_rules! table {
    ($($handle:ident: $kind:ident<$labels:ty> = $name:literal, $help:literal $(, $buckets:ident)?;)+) => {
        $(
            #[doc = $help]
            pub static $handle: $kind<$labels> = $kind::new($name, Kind::$kind $(($buckets))?, $help);
        )+
        /// Every row, in the order of `/metrics`.
        pub static TABLE: &[&Metric] = &[$(&$handle.metric),+];
    };
}

table! {
    CALLS: Counter<CallEnd> = "cordboard_calls", "Calls that ended, by what ended them and whose doing it was";
    CALLS_ACTIVE: Gauge<NumberDirection> = "cordboard_calls_active", "Calls that are up or being set up";
    CALL_TALK: Histogram<NumberDirection> = "cordboard_call_talk_seconds",
        "Time from answer to end of answered calls", TALK;
    DESK_CALLS: Counter<DeskEnd> = "cordboard_desk_calls",
        "Calls between phones and trunks that ended, by what ended them and whose doing it was";
    DESK_ACTIVE: Gauge<()> = "cordboard_desk_calls_active", "Calls between phones and trunks that are up or being set up";
    DESK_TALK: Histogram<()> = "cordboard_desk_call_talk_seconds",
        "Time from answer to end of answered calls between phones and trunks", TALK;
    CALL_DIFFERENCE: Histogram<OfLonger> = "cordboard_call_duration_difference_seconds",
        "How far the duration in Meta's terminate, which is billed, and our own clock are apart", DIFFERENCE;
    CALLS_UNTIMED: Counter<NumberDirection> = "cordboard_calls_untimed",
        "Answered calls that ended without a duration from Meta: their cost is an estimate";
    CALL_MOS: Histogram<OfListener> = "cordboard_call_mos",
        "Conversational MOS (ITU-T G.107) of ended calls as the listener had them, both legs together", MOS;
    CALLS_UNRATED: Counter<OfListener> = "cordboard_calls_unrated",
        "Ended calls whose MOS is unknown because a far end sent no receiver reports";
    CALL_SETUP: Histogram<OfStage> = "cordboard_call_setup_seconds",
        "Time from the webhook or the phone's INVITE to each stage of set-up", SETUP;
    DENIALS: Counter<Denied> = "cordboard_call_denials", "Business-initiated calls refused before dialling";
    CAP_USED: Gauge<OfNumber> = "cordboard_cap_used", "Connected business-initiated calls in the window of cap_per_number";
    CAP_LIMIT: Gauge<OfNumber> = "cordboard_cap_limit", "The cap_per_number of the configuration";
    CAP_WARNINGS: Counter<CapOf> = "cordboard_cap_warnings", "Calls that brought a cap to its warning mark";
    INITIATIONS: Gauge<OfNumber> = "cordboard_initiations_used", "Business-initiated calls begun in the last 24 hours";
    DRIFT: Counter<Drifted> = "cordboard_permission_drift",
        "Times that Meta's account of a permission or a limit differed from ours, and won";
    VOICEMAILS: Counter<LeftMessage> = "cordboard_voicemails", "Voice messages of users to nobody, by what became of them";
    REQUESTS: Counter<Requested> = "cordboard_permission_requests", "Permission requests by what became of them";
    ACCOUNT_NOTICES: Counter<OfSeverity> = "cordboard_account_notices", "Warnings and restrictions of Meta's for bad quality";
    RESTRICTED: Gauge<OfNumber> = "cordboard_restricted", "Whether Meta restricts the number's calls to users";
    PICKUP: Gauge<OfNumber> = "cordboard_pickup_ratio",
        "Share of the users' calls of the last 24 hours that were picked up; absent without calls";
    PICKUP_BEFORE: Gauge<OfNumber> = "cordboard_pickup_ratio_week",
        "The same of the seven days before: the trend";
    PICKUP_CALLS: Gauge<OfNumber> = "cordboard_pickup_calls", "The users' calls of the last 24 hours that the share is of";
    PICKUP_LOW: Gauge<OfNumber> = "cordboard_pickup_low", "Whether the share is below the bar of the configuration";
    RESERVATIONS: Gauge<OfNumber> = "cordboard_cap_reserved", "Places of the cap held by calls that are not answered yet";

    WEBHOOKS: Total<OfWebhook> = "cordboard_webhooks", "Webhook requests by what became of them";
    WEBHOOK_DURATION: Distribution<()> = "cordboard_webhook_duration_seconds",
        "Time from the headers of a signed webhook to our answer";
    WEBHOOK_AGE: Histogram<()> = "cordboard_webhook_age_seconds",
        "Time from Meta's time stamp to the arrival of a call event", SETUP;
    GRAPH: Counter<GraphRequest> = "cordboard_graph_requests", "Requests to the Graph API by their end";
    GRAPH_DURATION: Histogram<OfAction> = "cordboard_graph_request_duration_seconds",
        "Time a request to the Graph API took", SETUP;
    GRAPH_ERRORS: Counter<OfMeaning> = "cordboard_graph_errors", "Errors of Meta by their meaning, in replies and in webhooks";

    SIP_DATAGRAMS: Total<OfWay> = "cordboard_sip_datagrams", "SIP datagrams";
    SIP_FAULTS: Total<OfKind> = "cordboard_sip_parse_errors", "SIP datagrams that were no usable message, by what was wrong";
    SIP_EVENTS: Total<OfKind> = "cordboard_sip_events",
        "Repetitions, challenges, wrong credentials and other events of the SIP side";
    REFUSED: Total<OfKind> = "cordboard_refused",
        "Dial attempts and webhook events that never became a call, by reason";
    SIP_DROPPED: Total<OfKind> = "cordboard_sip_dropped", "SIP messages dropped without an answer, by why";
    SIP_BANS: Total<OfKind> = "cordboard_sip_bans", "Bans that began, by why";
    SIP_BANNED: Gauge<OfKind> = "cordboard_sip_banned", "Bans that hold: of whole sources, and of users at a source";
    SIP_REGISTERED: Gauge<()> = "cordboard_sip_bindings", "Registered addresses of phones";
    SIP_SUBSCRIPTIONS: Gauge<()> = "cordboard_sip_subscriptions",
        "Subscriptions of phones to the state of others and to their mailboxes";
    PHONE_REGISTERED: Gauge<OfPhone> = "cordboard_phone_registered", "Whether a phone of the configuration is registered";
    SIP_CONNECTIONS: Gauge<OfKind> = "cordboard_sip_connections", "Open SIP connections by transport";
    SIP_CONNECTION_ENDS: Total<OfKind> = "cordboard_sip_connections_ended",
        "SIP connections that were refused, could not be opened or had to be closed, by why";
    HOOK_EVENTS: Total<OfKind> = "cordboard_hook_events",
        "Events for receivers of the API: delivered, tries that failed and are repeated, given up";
    TRUNK_SERVER_UP: Gauge<OfServer> = "cordboard_trunk_server_up", "Whether a server of a trunk gets calls";
    TRUNK_REGISTERED: Gauge<OfTrunk> = "cordboard_trunk_registered", "Whether we are registered with a trunk that wants it";
    TRUNK_LOGIN_REFUSED: Gauge<OfTrunk> = "cordboard_trunk_login_refused", "Whether a trunk refuses our user or password";
    TRUNK_CALLS: Gauge<OfTrunk> = "cordboard_trunk_calls", "Calls of a trunk that are up or being set up";
    TRUNK_TURNED_AWAY: Total<OfTrunk> = "cordboard_trunk_turned_away",
        "Calls that max_calls or max_calls_per_second of a trunk kept out";
    TRUNK_FAILOVERS: Total<OfTrunk> = "cordboard_trunk_failovers",
        "Calls to a trunk that went on to its next server";
    DNS_LOOKUPS: Total<OfLookup> = "cordboard_dns_lookups", "Searches for the servers of a trunk's name in DNS, by outcome";
    DNS_WAITS: Total<OfTrunk> = "cordboard_dns_waits", "Calls that waited for DNS because nothing was known of their trunk";
    DNS_STALE: Gauge<OfTrunk> = "cordboard_dns_names_stale", "Names of a trunk whose old answer is used because no name server answers";
    DNS_UNKNOWN: Gauge<OfTrunk> = "cordboard_dns_names_unknown", "Names of a trunk of which no server is known";
    SIP_LEGS: Gauge<()> = "cordboard_sip_legs", "SIP calls that are up or being set up";
    SIP_TRANSACTIONS: Gauge<()> = "cordboard_sip_transactions", "SIP transactions that are not over";

    MEDIA_DATAGRAMS: Total<OfWay> = "cordboard_media_datagrams", "Datagrams of the media threads, STUN and DTLS included";
    MEDIA_TROUBLE: Total<OfKind> = "cordboard_media_trouble",
        "Sends that failed, timers served more than 10 ms late, panics caught";
    MEDIA_PACKETS: Total<LegWay> = "cordboard_media_packets", "RTP packets, to within a second";
    MEDIA_BYTES: Total<LegWay> = "cordboard_media_bytes", "Bytes of RTP packets without UDP and IP";
    MEDIA_LOST: Total<OfLeg> = "cordboard_media_packets_lost", "RTP packets that never came from a leg";
    MEDIA_LATE: Total<OfLeg> = "cordboard_media_packets_late", "RTP packets that came too late to be played";
    MEDIA_DUPLICATE: Total<OfLeg> = "cordboard_media_packets_duplicate", "RTP packets that came twice";
    MEDIA_RECOVERED: Total<OfLeg> = "cordboard_media_frames_recovered",
        "Lost frames of a leg that forward error correction brought back";
    MEDIA_CONCEALED: Total<OfLeg> = "cordboard_media_frames_concealed", "Lost frames of a leg that were guessed";
    MEDIA_COMFORT: Total<OfLeg> = "cordboard_media_frames_comfort", "Comfort frames sent to a leg because the other was silent";
    MEDIA_REFUSED: Total<OfLeg> = "cordboard_media_packets_refused",
        "RTP packets of a leg that were not usable: foreign source, unknown payload type, broken payload";
    MEDIA_MOS: Histogram<LegWay> = "cordboard_media_mos",
        "Conversational MOS (ITU-T G.107) of each stream of ended calls, where reports make it known", MOS;
    MEDIA_LOSS: Histogram<LegWay> = "cordboard_media_loss_ratio",
        "Share of a stream's packets that were lost, per ended call", LOSS;
    MEDIA_JITTER: Histogram<LegWay> = "cordboard_media_jitter_seconds",
        "Mean interarrival jitter of a stream, per ended call", JITTER;
    MEDIA_ROUND_TRIP: Histogram<OfLeg> = "cordboard_media_round_trip_seconds",
        "Mean round trip to a leg's far end by RTCP, per ended call", ROUND_TRIP;
    MEDIA_TRANSIT: Distribution<OfLeg> = "cordboard_media_transit_seconds",
        "Time inside the gateway of a packet that a leg sent";
    MEDIA_LAG: Gauge<OfWorker> = "cordboard_media_worker_lag_seconds",
        "How late a media thread served its most urgent timer lately, at worst";
    MEDIA_UTILISATION: Gauge<OfWorker> = "cordboard_media_worker_utilisation",
        "Share of the last second in which a media thread was awake, 0 to 1";
    MEDIA_CPU: Total<OfWorker> = "cordboard_media_worker_cpu_seconds", "Processor time of a media thread";
    MEDIA_STATE: Gauge<OfKind> = "cordboard_media_capacity_state",
        "1 for how new calls are treated: normal, economical, frugal or refusing";
    MEDIA_CAPACITY: Gauge<()> = "cordboard_media_capacity_calls",
        "Talking calls that the media threads carry before new ones are refused, as learnt from their load";
    MEDIA_COST: Gauge<()> = "cordboard_media_call_cost_ratio",
        "What a talking call costs as a share of a processor, as learnt";
    MEDIA_CALLS: Gauge<OfWorker> = "cordboard_media_worker_calls", "Calls of a media thread";
    PORTS_USED: Gauge<OfRealm> = "cordboard_media_ports_used", "UDP ports in use or in quarantine";
    PORTS: Gauge<OfRealm> = "cordboard_media_ports", "UDP ports of the configuration";

    RECORDINGS: Total<OfKind> = "cordboard_recordings", "Recordings that ended, by what ended them; complete is good";
    RECORDINGS_ACTIVE: Gauge<()> = "cordboard_recordings_active", "Calls that are being recorded";
    RECORDING_BYTES: Total<()> = "cordboard_recording_bytes", "Bytes of recordings given to the disk";
    RECORDING_LOST: Total<OfKind> = "cordboard_recording_packets_lost",
        "Packets of recorded calls that are missing in their recording, by why";

    STORE_UP: Gauge<()> = "cordboard_store_up", "Whether the store took its last write";
    STORE_DURATION: Distribution<OfOperation> = "cordboard_store_duration_seconds",
        "Time a write took, waiting included, whatever became of it";
    STORE_WRITES: Total<()> = "cordboard_store_writes", "Writes that were committed";
    STORE_COMMITS: Total<()> = "cordboard_store_commits", "Transactions that the writes took";
    STORE_FAILURES: Total<OfKind> = "cordboard_store_failures", "Writes that did not succeed";
    STORE_QUEUE: Gauge<()> = "cordboard_store_queue", "Writes that wait";

    TASKS: Gauge<()> = "cordboard_tasks", "Tasks of the asynchronous runtime that are alive";
    LOG_DROPPED: Total<()> = "cordboard_log_dropped", "Lines of the log that nobody read in time";
    CERTIFICATE_EXPIRES: Gauge<OfKind> = "cordboard_certificate_expires_seconds",
        "When the certificate of a listener ends, in seconds since 1970";
    READY: Gauge<()> = "cordboard_ready", "Whether new calls are taken";
    DRAINING: Gauge<()> = "cordboard_draining", "Whether a stop is under way";
    PANICS: Counter<OfPart> = "cordboard_panics", "Panics that were caught: bugs of ours";
    BUILD_INFO: Gauge<Build> = "cordboard_build_info", "Always 1; the labels say what runs";
    START_TIME: Gauge<()> = "process_start_time_seconds", "Start of the process in seconds since 1970";
    CPU: Total<()> = "process_cpu_seconds", "Processor time in seconds";
    MEMORY: Gauge<()> = "process_resident_memory_bytes", "Resident memory";
    OPEN_FILES: Gauge<()> = "process_open_fds", "Open file descriptors, sockets included";
    MAX_FILES: Gauge<()> = "process_max_fds", "How many file descriptors may be open";
}
