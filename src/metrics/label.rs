//! Labels: closed enums and names from the configuration, so that the number of series is bounded.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::call::Fault;
use crate::call::record::CallDirection;
use crate::id::{NumberLabel, PhoneName, TrunkName};

/// The values that a label can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// These; a series for each is there from the start, so that the first event is seen as a rise.
    Closed(&'static [&'static str]),
    /// The business numbers of the configuration.
    Numbers,
    /// A bounded set that only its owner knows: causes, reasons, phones, trunks, workers.
    Other,
}

/// One value of a label.
pub trait LabelValue {
    /// What it can be.
    const SPACE: Space;
    /// What it is.
    fn text(&self) -> Cow<'_, str>;
}

/// All labels of a series, in the order of the table.
pub trait Labels {
    /// Their names.
    const NAMES: &'static [&'static str];
    /// What each can be.
    const SPACES: &'static [Space];
    /// What each is.
    fn values(&self) -> Vec<Cow<'_, str>>;
}

impl Labels for () {
    const NAMES: &'static [&'static str] = &[];
    const SPACES: &'static [Space] = &[];
    fn values(&self) -> Vec<Cow<'_, str>> {
        Vec::new()
    }
}

macro_rules! names {
    ($($type:ty => $space:expr),+) => {
        $(impl LabelValue for $type {
            const SPACE: Space = $space;
            fn text(&self) -> Cow<'_, str> {
                self.as_str().into()
            }
        })+
    };
}
names!(NumberLabel => Space::Numbers, PhoneName => Space::Other, TrunkName => Space::Other);

impl LabelValue for Fault {
    const SPACE: Space = Space::Closed(&["user", "phone", "meta", "policy", "us"]);
    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }
}

impl LabelValue for CallDirection {
    const SPACE: Space = Space::Closed(&["user_initiated", "business_initiated"]);
    fn text(&self) -> Cow<'_, str> {
        self.as_str().into()
    }
}

/// A word out of an enum of another module: a hang-up cause, a denial's reason, a parser's fault.
///
/// It takes only what is written in the program, never what a peer sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(pub &'static str);

impl LabelValue for Word {
    const SPACE: Space = Space::Other;
    fn text(&self) -> Cow<'_, str> {
        self.0.into()
    }
}

/// A media worker, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerIndex(pub usize);

impl LabelValue for WorkerIndex {
    const SPACE: Space = Space::Other;
    fn text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

/// Where a trunk's server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerAddress(pub SocketAddr);

impl LabelValue for ServerAddress {
    const SPACE: Space = Space::Other;
    fn text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

/// Makes enums whose variants are the values of a label.
macro_rules! closed {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $text:literal,)+ })+) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$item])* $variant,)+
        }

        impl LabelValue for $name {
            const SPACE: Space = Space::Closed(&[$($text),+]);
            fn text(&self) -> Cow<'_, str> {
                match self { $(Self::$variant => $text.into(),)+ }
            }
        })+
    };
}

closed! {
    /// A moment of a call's set-up.
    Stage {
        /// The INVITE to the phone was sent, or `connect` to Meta.
        Sent = "sent",
        /// The called side rang.
        Ringing = "ringing",
        /// The called side answered.
        Answered = "answered",
        /// Meta's `accept` returned.
        Accepted = "accepted",
        /// ICE had a working pair.
        Ice = "ice",
        /// DTLS was up.
        Dtls = "dtls",
        /// The first speech packet went to the user.
        AudioToUser = "audio_to_user",
        /// The first speech packet went to the phone.
        AudioToPhone = "audio_to_phone",
    }
    /// A request to Graph.
    GraphAction {
        /// `pre_accept`
        PreAccept = "pre_accept",
        /// `accept`
        Accept = "accept",
        /// `reject`
        Reject = "reject",
        /// `terminate`
        Terminate = "terminate",
        /// `connect`
        Connect = "connect",
        /// `GET call_permissions`
        Permissions = "call_permissions",
    }
    /// How a request to Graph ended.
    GraphOutcome {
        /// As asked.
        Done = "done",
        /// Meta said no.
        Refused = "refused",
        /// No answer in time.
        TimedOut = "timed_out",
        /// No connection.
        Unreachable = "unreachable",
        /// An answer that makes no sense.
        Unreadable = "unreadable",
    }
    /// One of the two legs of a call.
    Leg {
        /// Towards WhatsApp.
        WhatsApp = "whatsapp",
        /// Towards the phone or trunk.
        Phone = "phone",
    }
    /// Which way something went, seen from here.
    Way {
        /// It was received.
        In = "in",
        /// It was sent.
        Out = "out",
    }
    /// Who hears a call.
    Listener {
        /// The WhatsApp user.
        User = "user",
        /// The phone or trunk.
        Phone = "phone",
    }
    /// Whose clock had a call last longer.
    Longer {
        /// Meta's, which is billed.
        Meta = "meta",
        /// Ours.
        Us = "us",
        /// Neither, to the second.
        Neither = "neither",
    }
    /// One side of the gateway.
    Realm {
        /// Towards WhatsApp.
        Outside = "outside",
        /// Towards phones and trunks.
        Inside = "inside",
    }
    /// What the store was asked.
    StoreOperation {
        /// To make webhooks durable.
        Receive = "receive",
        /// To open a call's record.
        Open = "open_record",
        /// To close a call's record.
        Close = "close_record",
        /// To decide on and reserve an outgoing call.
        Reserve = "reserve",
        /// Anything else.
        Other = "other",
    }
    /// What Meta told of the account.
    Severity {
        /// A warning.
        Warning = "warning",
        /// A restriction.
        Restriction = "restriction",
    }
    /// Where a panic was caught.
    Part {
        /// In one call's decisions.
        Call = "call",
        /// In one call's media.
        Media = "media",
        /// In the SIP user agent.
        Sip = "sip",
        /// Elsewhere.
        Other = "other",
    }
}

/// Makes the label sets of the table.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $field:ident: $type:ty,)+ })+) => {
        $($(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[$item])* pub $field: $type,)+
        }

        impl Labels for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            const SPACES: &'static [Space] = &[$(<$type as LabelValue>::SPACE),+];
            fn values(&self) -> Vec<Cow<'_, str>> {
                vec![$(self.$field.text()),+]
            }
        })+
    };
}

labels! {
    /// The end of a call.
    CallEnd {
        /// The business number.
        number: NumberLabel,
        /// Who called whom.
        direction: CallDirection,
        /// The label of its `HangupCause`.
        cause: Word,
        /// Whose doing.
        fault: Fault,
    }
    /// The end of a call between desks.
    DeskEnd {
        /// The label of its `HangupCause`.
        cause: Word,
        /// Whose doing.
        fault: Fault,
    }
    /// Calls of a business number, one way.
    NumberDirection {
        /// The business number.
        number: NumberLabel,
        /// Who called whom.
        direction: CallDirection,
    }
    /// A business number.
    OfNumber {
        /// The business number.
        number: NumberLabel,
    }
    /// A stage of set-up.
    OfStage {
        /// Who called whom.
        direction: CallDirection,
        /// Which moment.
        stage: Stage,
    }
    /// A refused attempt to call.
    Denied {
        /// The business number.
        number: NumberLabel,
        /// The label of the policy's reason.
        reason: Word,
    }
    /// A difference between Meta's account of a permission and ours.
    Drifted {
        /// The business number.
        number: NumberLabel,
        /// Which way.
        kind: Word,
    }
    /// A cap of a business number.
    CapOf {
        /// The business number.
        number: NumberLabel,
        /// Its name.
        cap: Word,
    }
    /// A permission request.
    Requested {
        /// The business number.
        number: NumberLabel,
        /// What became of it.
        outcome: Word,
    }
    /// A user who was to leave a message.
    LeftMessage {
        /// The business number.
        number: NumberLabel,
        /// `left`, `empty`, `failed`, `lost`.
        outcome: Word,
    }
    /// A kind of notice of Meta's.
    OfSeverity {
        /// How bad it is.
        severity: Severity,
    }
    /// A webhook.
    OfWebhook {
        /// What became of it.
        outcome: Word,
    }
    /// A request to Graph and its end.
    GraphRequest {
        /// What was asked.
        action: GraphAction,
        /// How it ended.
        outcome: GraphOutcome,
    }
    /// A kind of request to Graph.
    OfAction {
        /// What was asked.
        action: GraphAction,
    }
    /// A code of Meta's.
    OfMeaning {
        /// The label of its meaning.
        meaning: Word,
    }
    /// A way.
    OfWay {
        /// Received or sent.
        way: Way,
    }
    /// A kind of something that another module names.
    OfKind {
        /// Its word.
        kind: Word,
    }
    /// A phone of the configuration.
    OfPhone {
        /// Its name.
        phone: PhoneName,
    }
    /// A trunk of the configuration.
    OfTrunk {
        /// Its name.
        trunk: TrunkName,
    }
    /// A server of a trunk.
    OfServer {
        /// The trunk.
        trunk: TrunkName,
        /// The server's address, as the configuration has it.
        server: ServerAddress,
    }
    /// Something about the names of a trunk.
    OfLookup {
        /// The trunk.
        trunk: TrunkName,
        /// Its word.
        outcome: Word,
    }
    /// A leg and a way.
    LegWay {
        /// Which leg.
        leg: Leg,
        /// Received or sent.
        way: Way,
    }
    /// A leg.
    OfLeg {
        /// Which leg.
        leg: Leg,
    }
    /// Who hears a call.
    OfListener {
        /// Who.
        listener: Listener,
    }
    /// A media worker.
    OfWorker {
        /// Which one.
        worker: WorkerIndex,
    }
    /// A side of the gateway.
    OfRealm {
        /// Which side.
        realm: Realm,
    }
    /// An operation of the store.
    OfOperation {
        /// Which one.
        operation: StoreOperation,
    }
    /// Two clocks that measured the same call.
    OfLonger {
        /// Whose had it last longer.
        longer: Longer,
    }
    /// Where a panic was caught.
    OfPart {
        /// Where.
        part: Part,
    }
    /// The build.
    Build {
        /// The version of the package.
        version: Word,
    }
}
