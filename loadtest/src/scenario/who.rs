//! Whose figures there are: a closed list. A line of it is the name in the program and the name in files and on the
//! command line.

use crate::peers::{LIBRARIES, Peer};

macro_rules! whos {
    ($($(#[$doc:meta])* $who:ident = $name:literal,)+) => {
        /// Who, or what, a figure is of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Who { $($(#[$doc])* $who,)+ }

        impl Who {
            /// All of them with their names.
            pub(crate) const ALL: &[(&'static str, Who)] = &[$(($name, Who::$who),)+];

            /// Its name in files.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Who::$who => $name,)+ }
            }
        }
    };
}

impl Who {
    /// The server of somebody else that it is, if it is one.
    pub(crate) fn peer(self) -> Option<Peer> {
        match self {
            Who::Edge => Some(Peer::Edge),
            Who::Unleash => Some(Peer::Unleash),
            _ => None,
        }
    }

    /// Whether it is an engine of somebody else, in process.
    pub(crate) fn is_library(self) -> bool {
        LIBRARIES.iter().any(|(_, who)| *who == self)
    }
}

whos! {
    /// The server that is measured: ours, or the target.
    Tidegate = "tidegate",
    /// The same server, of an app with many flags.
    TidegateMany = "tidegate-many",
    /// A bare handler that gets the same request and reads its body.
    Floor = "floor",
    /// A bare handler that gets a request without a body, by GET.
    FloorGet = "floor-get",
    /// As the floor, but with an answer as long as ours.
    FloorSameLength = "floor-same-length",
    /// Checks of a server that has nothing else to do.
    Alone = "alone",
    /// Checks while flags are changed.
    WithChanges = "with-changes",
    /// Alone, on a server whose files lie in memory.
    AloneInMemory = "alone-in-memory",
    /// While flags are changed, on such a server.
    WithChangesInMemory = "with-changes-in-memory",
    /// Checks while summaries come in and decisions are made.
    WithReports = "with-reports",
    /// Checks while summaries come in.
    WithSummaries = "with-summaries",
    /// Checks while decisions are made.
    WithDecisions = "with-decisions",
    /// Rules written by hand in Rust, with what no engine can do without.
    ExtendedFloor = "extended-floor",
    /// A flag that is off.
    CheckOff = "check-off",
    /// A flag that is on for 30 %.
    CheckRollout = "check-rollout",
    /// A flag with three rules.
    CheckRules = "check-rules",
    /// A hundred flags in a loop.
    CheckLoop = "check-loop",
    /// A flag for the users on a list.
    CheckList = "check-list",
    /// The SDK on one thread.
    OneThread = "one-thread",
    /// The SDK on two threads at once.
    TwoThreads = "two-threads",
    /// The rules written by hand on one thread.
    FloorOneThread = "floor-one-thread",
    /// The rules written by hand on two threads at once.
    FloorTwoThreads = "floor-two-threads",
    /// Our engine as WebAssembly, for somebody new at each check.
    Wasm = "wasm",
    /// The same for the same person again and again.
    WasmAgain = "wasm-again",
    /// A rule written by hand in JavaScript, with what no engine can do without: it is data.
    ByHand = "by-hand",
    /// The same rule as code that does nothing else.
    ByHandAsCode = "by-hand-as-code",
    /// A server with few flags.
    FewFlags = "few-flags",
    /// One whose app has many.
    ManyFlags = "many-flags",
    /// One whose app has as many as it may.
    MostFlags = "most-flags",
    /// One with many apps.
    ManyApps = "many-apps",
    /// One with as many apps as there may be.
    MostApps = "most-apps",
    /// A server that writes an event to every socket, one after another, and does nothing else.
    RawWrites = "raw-writes",
    /// A server of the same web framework with a channel for each client.
    Channels = "channels",
    /// The same server with little to do.
    Quiet = "quiet",
    /// The same server after it had too much to do.
    AfterStorm = "after-storm",
    /// The same server in a long storm of too much.
    LongStorm = "long-storm",
    /// What the server is allowed to take.
    Capacity = "capacity",
    /// Unleash Edge, a peer.
    Edge = "edge",
    /// The server of Unleash, a peer.
    Unleash = "unleash",
    /// The engine of Unleash's SDKs, in process, as are the next ones.
    UnleashRust = "unleash-rust",
    /// The core of Eppo's SDKs.
    Eppo = "eppo",
    /// The evaluation of LaunchDarkly's server SDK.
    LaunchDarkly = "launchdarkly",
    /// GrowthBook's SDK.
    GrowthBook = "growthbook",
    /// Statsig's server SDK.
    Statsig = "statsig",
    /// The engine of Flagsmith's SDKs.
    Flagsmith = "flagsmith",
    /// The engine of flagd's providers.
    Flagd = "flagd",
}
