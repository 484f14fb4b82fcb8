//! What an app has prepared for the day on which something goes wrong: its guardrails, the jobs that they run, the
//! channels on which they tell people; and what became of each act.

mod acts;
mod sets;
mod targets;

pub use self::acts::{
    Act, Acted, Acting, Cause, EffectId, KEPT_ACTED, KEPT_CLOSED_RUNS, Lowered, MAX_AUTOMATIC_A_DAY, Run,
    RunState,
};
pub use self::sets::{Guardrails, InForce, MAX_GUARDRAILS, Source, tier_defaults};
pub use self::targets::{
    Channel, ChannelTarget, Credential, Job, JobPatch, MAX_CHANNELS, MAX_CREDENTIAL_BYTES, MAX_JOBS,
    MAX_RECIPIENTS, OWNER, Payload, REVERT_JOB, job_of,
};
