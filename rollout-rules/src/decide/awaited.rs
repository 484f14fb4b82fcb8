//! What a raise in production waits for, told all at once: the gate first, then the people who have to approve.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Refusal;
use crate::flag::Tier;
use crate::gate::policy::Role;
use crate::governance::{Enforcement, Rules};
use crate::snapshot::Snapshot;

/// Two answers as one, so that who has to wait for the gate and for approvals learns of both at once. Whoever may not at all is told
/// that alone.
pub(super) fn gate_first(gate: Result<(), Refusal>, may: Result<(), Refusal>) -> Result<(), Refusal> {
    match (gate, may) {
        (
            Err(Refusal::GateMissing { missing, .. }),
            Err(besides @ (Refusal::ApprovalsNeeded { .. } | Refusal::RolesMissing { .. })),
        ) => Err(Refusal::GateMissing { missing, besides: Some(Box::new(besides)) }),
        (Err(gate), Ok(())) => Err(gate),
        // Nobody collects approvals that count for nothing.
        (
            Err(outdated @ Refusal::ProposalOutdated { .. }),
            Err(Refusal::ApprovalsNeeded { .. } | Refusal::RolesMissing { .. }),
        ) => Err(outdated),
        (_, may) => may,
    }
}

impl Rules {
    /// The roles in which somebody has to approve what raises production at a tier, each a person of their own.
    pub fn roles_asked<'s>(&self, snapshot: &'s Snapshot, tier: Tier) -> &'s [Role] {
        match self.gate {
            Enforcement::Enforce => &snapshot.policy().of(tier).approvers,
            Enforcement::Report => &[],
        }
    }
}

impl Refusal {
    /// The refusals that end when the gate lets a build pass, or when people approve.
    pub(super) fn fmt_awaited(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::GateMissing { missing, besides } => {
                if missing.is_empty() {
                    f.write_str(
                        "the gate has no passing decision that still stands: run the gate for this release",
                    )?;
                } else {
                    write!(f, "the gate has no passing decision; it misses: {}", missing.join("; "))?;
                }
                besides.as_ref().map_or(Ok(()), |besides| write!(f, "; besides, {besides}"))
            }
            Refusal::ApprovalsNeeded { needed, have, roles } => {
                let takes =
                    if *needed == 1 { "approval by another person" } else { "approvals by other people" };
                write!(f, "raising in production takes {needed} {takes} at this app's tier, ")?;
                match have {
                    0 => f.write_str("and there is none")?,
                    1 => f.write_str("and there is 1")?,
                    have => write!(f, "and there are {have}")?,
                }
                if !roles.is_empty() {
                    write!(f, "; somebody has to approve {}", in_roles(roles))?;
                }
                f.write_str(": propose the change and ask for them")
            }
            Refusal::RolesMissing { roles } => write!(
                f,
                "at this app's tier somebody has to approve {}: propose the change and ask for it",
                in_roles(roles)
            ),
            other => f.write_str(other.code()),
        }
    }
}

/// `as security and as business_owner, a person each`.
fn in_roles(roles: &[Role]) -> String {
    let names: Vec<String> = roles.iter().map(|role| alloc::format!("as {role}")).collect();
    let each = if roles.len() > 1 { ", a person each" } else { "" };
    alloc::format!("{}{each}", names.join(" and "))
}
