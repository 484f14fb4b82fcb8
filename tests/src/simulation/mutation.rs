//! The laws that are checked, and the mistakes that each of them catches.

use std::fmt;

/// What must hold in every history, by the numbers of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// 1: nodes at one revision are equal, and equal to the fold of the log.
    FoldAlike,
    /// 3: nobody's command takes effect after a change that they had not seen.
    NothingStale,
    /// 3: each entry is what its command becomes at the very place where it stands.
    DecidedWhereItStands,
    /// 3: one request makes at most one entry, whatever happened to its acknowledgements.
    OneRequestOneEntry,
    /// 3: automation acts on what it measured; what somebody changed since is measured anew.
    ActsOnMeasured,
    /// 4: a kill is never refused for want of a log, and in the end it is in the log.
    KillsArrive,
    /// 4: a kill takes effect once, however often it is in the log.
    KillsCountOnce,
    /// 4 and 8: what is killed stays dead until it is revived, and is off then.
    KillsHold,
    /// 5: what was published or answered is in the log for ever.
    PublishedIsDurable,
    /// 5: an answer says what the log says.
    AnswersAreTrue,
    /// 5: an act that was acknowledged is in the log, and every node knows of it.
    ActsArrive,
    /// 6: an effect runs after it is in the log, and by one node at a time.
    EffectsRunOnce,
    /// 6: one cause makes automation act once.
    AutomationActsOnce,
    /// 6: guardrails act once for a cause on one revision of a flag, and on a whole app once in a day.
    ActsOnceForACause,
    /// 6: automation acts on an app so often within a day, and then leaves it to people.
    LeftToPeople,
    /// 6: what an act asks for is called before it is written down as done, once, and in the end it is.
    JobsAreCalled,
    /// 6: however often it is called, it is under one key of its own.
    JobsKeepTheirKey,
    /// 7: every anchor names an earlier entry of the chain.
    AnchorsHold,
    /// 9: what an agent asks for raises nothing in production.
    AgentsOnlyPropose,
    /// 9: an act raises nothing, and what automation took down stays down until people bring it back.
    AutomationOnlyLowers,
    /// 9: raising in production takes the approvals of other people.
    OthersApprove,
    /// 9: nothing is raised in production that the gate has not let pass, or does not any more.
    GateStands,
    /// 9: a scheduled step is made so once, not before its time.
    StepsWhenDue,
    /// 9: a rollout comes to no stage but the next, and by the clock only when the one before was held.
    StageByStage,
}

impl Law {
    /// Every one.
    pub const ALL: &[Law] = &[
        Law::FoldAlike,
        Law::NothingStale,
        Law::ActsOnMeasured,
        Law::DecidedWhereItStands,
        Law::OneRequestOneEntry,
        Law::KillsArrive,
        Law::KillsCountOnce,
        Law::KillsHold,
        Law::PublishedIsDurable,
        Law::AnswersAreTrue,
        Law::ActsArrive,
        Law::EffectsRunOnce,
        Law::AutomationActsOnce,
        Law::ActsOnceForACause,
        Law::LeftToPeople,
        Law::JobsAreCalled,
        Law::JobsKeepTheirKey,
        Law::AnchorsHold,
        Law::AgentsOnlyPropose,
        Law::AutomationOnlyLowers,
        Law::OthersApprove,
        Law::GateStands,
        Law::StepsWhenDue,
        Law::StageByStage,
    ];
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident breaks $($law:ident)|+;)*) => {
        /// A mistake that a server could have. With one of them, a simulation must find the law broken
        /// that forbids it; otherwise nobody checks that law.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutation {
            $($(#[$doc])* $name,)*
        }

        impl Mutation {
            /// Every one.
            pub const ALL: &[Mutation] = &[$(Mutation::$name),*];

            /// The laws that it breaks.
            pub fn breaks(self) -> &'static [Law] {
                match self {
                    $(Mutation::$name => &[$(Law::$law),+],)*
                }
            }
        }
    };
}

mutations! {
    /// A command that is decided again takes the flag's present revision for the one that was seen.
    RefreshSeen breaks NothingStale;
    /// Appends expect a position and not a predecessor, while several are under way.
    ExpectPositionOnly breaks DecidedWhereItStands;
    /// What automation asks for is appended at the new head when it lost the race.
    AppendWithoutDecidingAgain breaks AutomationActsOnce | ActsOnceForACause;
    /// An append of unknown outcome is repeated without looking whether it is there.
    RepeatWithoutLooking breaks OneRequestOneEntry;
    /// Once one append has failed, a node does not recognise the others that it sent when the tail shows
    /// them.
    LoseTrack breaks AnswersAreTrue;
    /// A caller who heard nothing gets a new idempotency key for the same request.
    RetryUnderNewKey breaks OneRequestOneEntry | AutomationActsOnce;
    /// A kill expects the head like everything else, and gives up after a few races.
    KillBounded breaks KillsArrive;
    /// A kill that the log cannot take is written to the journal and not put in effect.
    NoOverlay breaks KillsHold;
    /// The overlay goes when the log has accepted the kill, before the node has folded it.
    OverlayEndsEarly breaks KillsHold;
    /// The journal of kills is not read at a restart.
    ForgetJournal breaks KillsArrive | KillsHold;
    /// Kills of the journal are appended under new kill ids.
    JournalRenamesKills breaks KillsCountOnce;
    /// Readers see what the log has accepted and not yet flushed.
    PublishBeforeDurable breaks PublishedIsDurable;
    /// Callers are answered when the log has accepted, before it has flushed.
    AnswerBeforeDurable breaks AnswersAreTrue;
    /// A node misses an entry now and then.
    SkipEntry breaks FoldAlike;
    /// A node steps over entries that it does not know.
    SkipUnknownEntry breaks FoldAlike;
    /// A node claims effects without asking whether somebody else does them.
    ClaimWithoutDeciding breaks EffectsRunOnce;
    /// An act is decided as if what is served now had been measured.
    ActOnWhatIs breaks ActsOnMeasured;
    /// A node does not remember for which causes automation has acted.
    ForgetCauses breaks ActsOnceForACause;
    /// A node does not count how often automation has acted.
    ForgetCap breaks LeftToPeople;
    /// A checkpoint leaves out what guardrails did.
    CheckpointWithoutActs breaks FoldAlike | ActsArrive;
    /// An evaluator takes a hold back once nothing speaks against the flag any more.
    GiveBack breaks AutomationOnlyLowers;
    /// A node writes down that a job was done when it has claimed it.
    FinishBeforeCalling breaks JobsAreCalled;
    /// Each attempt of a job has a key of its own.
    KeyOfTheAttempt breaks JobsKeepTheirKey;
    /// A node runs an effect when it is asked for, before that is in the log.
    RunBeforeDurable breaks EffectsRunOnce;
    /// Anchors name entries that may never be.
    AnchorOnSpeculation breaks AnchorsHold;
    /// An agent passes for the person it acts for.
    AgentPassesForHuman breaks AgentsOnlyPropose;
    /// Anybody's approval passes for somebody else's.
    ApproveForOthers breaks OthersApprove;
    /// A node shows what the gate says, and asks nobody for it.
    GateUnasked breaks GateStands;
    /// Timers apply steps by the clock of whoever is ahead.
    TimerAheadOfTime breaks StepsWhenDue | StageByStage;
}
