//! What somebody asks for.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{BrowserMark, GateCommand, NewEnvironment, Reach, RunbookCommand, TargetingPatch};
use crate::flag::{FlagKind, HoldCause, Segment, SegmentScope, Tier, Variant};
use crate::governance::Token;
use crate::ids::{
    AppKey, Digest, EnvKey, FlagKey, KillId, NodeId, ProposalId, Revision, ScheduleId, SegmentKey, TokenId,
    VariantKey, WebhookId,
};
use crate::plan::RolloutPlan;
use crate::proposal::Approving;
use crate::release::Deployed;
use crate::rollout::Finding;
use crate::runbook::Acting;
use crate::sli::guardrail::Guardrail;
use crate::time::UnixMs;
use crate::webhook::{Webhook, WebhookPatch};

/// What somebody asks for. Keys name what exists; absent fields stay. Its schema tells of what can be proposed only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Make an app. Without environments it gets `production` and `sandbox`.
    CreateApp {
        /// Its key.
        key: AppKey,
        /// Its name for people.
        #[serde(default)]
        name: String,
        /// Who answers for it.
        #[serde(default)]
        owner: String,
        /// How much it matters.
        #[serde(default)]
        tier: Tier,
        /// What it may cost a month, in millionths of `currency`.
        monthly_budget_micros: Option<u64>,
        /// ISO 4217 code.
        currency: Option<String>,
        /// Its first environments.
        environments: Option<Vec<NewEnvironment>>,
        /// Attributes whose values no page may learn.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sensitive: Vec<String>,
    },
    /// Change what is known of an app.
    UpdateApp {
        /// Which.
        app: AppKey,
        /// Its name for people.
        name: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// How much it matters.
        tier: Option<Tier>,
        /// What it may cost a month, in millionths of `currency`.
        monthly_budget_micros: Option<u64>,
        /// ISO 4217 code.
        currency: Option<String>,
        /// Attributes whose values no page may learn, all anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sensitive: Option<Vec<String>>,
    },
    /// Make an environment.
    CreateEnvironment {
        /// The app.
        app: AppKey,
        /// What to make.
        #[serde(flatten)]
        environment: NewEnvironment,
    },
    /// Move the end of a preview.
    ExtendEnvironment {
        /// The app.
        app: AppKey,
        /// The preview.
        environment: EnvKey,
        /// Its new end.
        ends_at: UnixMs,
    },
    /// Remove an environment with all flag states in it.
    RemoveEnvironment {
        /// The app.
        app: AppKey,
        /// Which.
        environment: EnvKey,
    },
    /// A preview ended a while ago: tell whoever keeps what belongs to it, and then remove it.
    #[cfg_attr(feature = "schema", schemars(skip))]
    EndPreview {
        /// The app.
        app: AppKey,
        /// The preview.
        environment: EnvKey,
    },
    /// Make a flag; it is off everywhere. A boolean flag without variants gets `on` and `off`.
    CreateFlag {
        /// The app.
        app: AppKey,
        /// Its key.
        key: FlagKey,
        /// What its values are.
        #[serde(rename = "type", default = "super::patch::boolean")]
        kind: FlagKind,
        /// Its answers.
        #[serde(default)]
        variants: Vec<Variant>,
        /// Its answer while off; the last variant if none is named (`off` for a boolean without variants).
        off_variant: Option<VariantKey>,
        /// What it is for.
        #[serde(default)]
        description: String,
        /// Who answers for it; the app's owner if nobody is named.
        #[serde(default)]
        owner: String,
        /// Critical flags stay when a budget disables the rest.
        #[serde(default)]
        critical: bool,
        /// When it expires; what tier and kind say, if none is given. Cut to what each environment allows.
        expires_at: Option<UnixMs>,
        /// How it travels to pages; not at all if nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        browser: Option<BrowserMark>,
    },
    /// Change a flag's definition.
    UpdateFlag {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Its answers.
        variants: Option<Vec<Variant>>,
        /// Its answer while off.
        off_variant: Option<VariantKey>,
        /// What it is for.
        description: Option<String>,
        /// Who answers for it.
        owner: Option<String>,
        /// Critical flags stay when a budget disables the rest.
        critical: Option<bool>,
        /// How it travels to pages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        browser: Option<BrowserMark>,
    },
    /// Change what a flag does in an environment: on, off, exposure, rules.
    SetTargeting {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// What changes.
        #[serde(flatten)]
        patch: Box<TargetingPatch>,
    },
    /// Give a flag a longer life. Needs a reason.
    ExtendFlag {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Only there; none: everywhere.
        environment: Option<EnvKey>,
        /// When it expires; the longest that each environment allows if none is given. Cut to that if it is for all.
        expires_at: Option<UnixMs>,
    },
    /// End a flag for good.
    ArchiveFlag {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
    },
    /// Kill: everything, an app or a flag serves off variants at once. Never stale, never refused twice.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Kill {
        /// The caller's name for the act.
        kill_id: KillId,
        /// What.
        reach: Reach,
        /// Only there; none: in all environments.
        environment: Option<EnvKey>,
    },
    /// Take a kill back; what it killed is off then. Needs a reason.
    Revive {
        /// What.
        reach: Reach,
        /// Only there; none: in all environments.
        environment: Option<EnvKey>,
    },
    /// Automation holds a flag state at its off variant.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Hold {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// On whose account.
        cause: HoldCause,
    },
    /// Make or change a segment.
    PutSegment {
        /// Where it lives.
        scope: SegmentScope,
        /// What it is.
        segment: Segment,
    },
    /// Members come to or leave a segment, in chunks that fit one entry.
    ChangeSegmentMembers {
        /// Where it lives.
        scope: SegmentScope,
        /// Which.
        segment: SegmentKey,
        /// Who comes.
        #[serde(default)]
        add: Vec<Arc<str>>,
        /// Who leaves.
        #[serde(default)]
        remove: Vec<Arc<str>>,
    },
    /// Remove a segment that nothing refers to.
    RemoveSegment {
        /// Where it lives.
        scope: SegmentScope,
        /// Which.
        segment: SegmentKey,
    },
    /// Make a token. The shell draws the secret and passes its hash.
    #[cfg_attr(feature = "schema", schemars(skip))]
    CreateToken {
        /// As the log will keep it.
        token: Token,
    },
    /// Stop a token.
    #[cfg_attr(feature = "schema", schemars(skip))]
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// Store a command for others to approve and apply.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Propose {
        /// Its name; the shell draws it.
        id: ProposalId,
        /// What would be done.
        command: Box<Command>,
    },
    /// Approve a proposal as it was shown.
    #[cfg_attr(feature = "schema", schemars(skip))]
    ApproveProposal(Approving),
    /// Turn a proposal down, or withdraw one's own.
    #[cfg_attr(feature = "schema", schemars(skip))]
    RejectProposal {
        /// Which.
        id: ProposalId,
    },
    /// Do what a proposal says, decided again now.
    #[cfg_attr(feature = "schema", schemars(skip))]
    ApplyProposal {
        /// Which.
        id: ProposalId,
        /// The hash of what was shown.
        hash: Digest,
    },
    /// A scheduled change fell due: decide it again and make it so.
    #[cfg_attr(feature = "schema", schemars(skip))]
    ApplySchedule {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// The environment.
        environment: EnvKey,
        /// Which.
        schedule: ScheduleId,
    },
    /// Ask for something outside to be done.
    #[cfg_attr(feature = "schema", schemars(skip))]
    RequestEffect {
        /// What kind.
        effect: String,
        /// What it needs.
        payload: serde_json::Value,
    },
    /// Claim an effect.
    #[cfg_attr(feature = "schema", schemars(skip))]
    ClaimEffect {
        /// The revision of the request.
        request: Revision,
        /// Which of what an act of a guardrail asked for; none: the request asked for one thing.
        nth: Option<u8>,
        /// For which node.
        node: NodeId,
        /// Until when.
        lease_until: UnixMs,
    },
    /// Report the end of an effect.
    #[cfg_attr(feature = "schema", schemars(skip))]
    FinishEffect {
        /// The revision of the request.
        request: Revision,
        /// As in the claim.
        nth: Option<u8>,
        /// By which node.
        node: NodeId,
        /// Whether it worked.
        succeeded: bool,
        /// What came back.
        outcome: String,
    },
    /// Make a webhook. The shell draws its id and its first secret.
    #[cfg_attr(feature = "schema", schemars(skip))]
    CreateWebhook {
        /// As the log will keep it.
        webhook: Webhook,
    },
    /// Change a webhook, or give it a new secret.
    #[cfg_attr(feature = "schema", schemars(skip))]
    UpdateWebhook {
        /// Which.
        id: WebhookId,
        /// What changes.
        patch: WebhookPatch,
    },
    /// Remove a webhook, with what was not delivered.
    #[cfg_attr(feature = "schema", schemars(skip))]
    RemoveWebhook {
        /// Which.
        id: WebhookId,
    },
    /// Start a rollout of a flag in an environment, at the first stage of the plan.
    StartRollout {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// Its stages.
        plan: RolloutPlan,
    },
    /// Stop the clock of a rollout. What is served stays.
    #[cfg_attr(feature = "schema", schemars(skip))]
    PauseRollout {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
    },
    /// Let the clock of a paused rollout go on.
    ResumeRollout {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
    },
    /// End a rollout at 0 %.
    #[cfg_attr(feature = "schema", schemars(skip))]
    AbortRollout {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
    },
    /// Bring a rollout to its next stage, whatever it waits for.
    AdvanceRollout {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
    },
    /// Tidegate looks at a rollout: what the plan and the outcomes say is done, one stage at a time.
    #[cfg_attr(feature = "schema", schemars(skip))]
    StepRollout {
        /// The app.
        app: AppKey,
        /// Which.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// When the rollout that was looked at was started. If another runs meanwhile, nothing is done.
        started_at: UnixMs,
        /// The stage that was looked at. If another stands meanwhile, nothing is done.
        stage: u8,
        /// What outcomes say of it.
        finding: Finding,
    },
    /// Write the guardrails of a flag or an app's defaults anew, or clear them.
    SetGuardrails {
        /// The app.
        app: AppKey,
        /// The flag; none: the app's defaults.
        flag: Option<FlagKey>,
        /// Only there; none: in all environments that have no list of their own.
        environment: Option<EnvKey>,
        /// All of them; none: what stands above them holds again.
        guardrails: Option<Vec<Guardrail>>,
    },
    /// Make, change or remove whom an app's guardrails call, or try again what was given up.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Runbook {
        /// The app.
        app: AppKey,
        /// What of it.
        change: RunbookCommand,
    },
    /// Automation acts on a guardrail: it lowers, and asks for what is to be done outside.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Act {
        /// On what, why and how.
        acting: Box<Acting>,
    },
    /// Tell which artifact was deployed.
    #[cfg_attr(feature = "schema", schemars(skip))]
    ReportRelease(Deployed),
    /// Change what the gate says, or how it comes to it.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Gate(GateCommand),
    /// Do for real what a guardrail does, to see that it works.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Drill {
        /// The app.
        app: AppKey,
        /// The flag.
        flag: FlagKey,
        /// Where.
        environment: EnvKey,
        /// One of the rules that hold there.
        guardrail: Guardrail,
    },
}
