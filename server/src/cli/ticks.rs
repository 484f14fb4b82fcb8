//! Approving in a role, and the checklist that the policy gives to security.

use clap::Args;
use rollout_rules::gate::policy::Role;
use serde_json::{Value, json};

use super::failure::Failure;
use super::gate::texts;
use super::role::role;
use super::session::Session;

/// In which role somebody approves, and what they ticked.
#[derive(Args, Clone, Debug, Default)]
pub struct Ticks {
    /// In which role: platform, security or business_owner; the app's tier says which are asked for
    #[arg(long, value_parser = role)]
    role: Option<Role>,
    /// A point of the policy's checklist that you looked at, or a part of its text; may be repeated. The role security ticks all
    #[arg(long = "tick", value_name = "TEXT", requires = "role")]
    ticks: Vec<String>,
    /// Tick all points; they are shown
    #[arg(long, requires = "role", conflicts_with = "ticks")]
    tick_all: bool,
}

impl Ticks {
    /// What the server is told; the checklist is shown where it is asked for.
    pub(super) fn body(&self, session: &mut Session) -> Result<Value, Failure> {
        let Some(role) = self.role else { return Ok(json!({})) };
        if role != Role::Security && self.ticks.is_empty() && !self.tick_all {
            return Ok(json!({ "role": role }));
        }
        let policy = session.client.get("/v1/gate/policy")?.body;
        let checklist = texts(&policy["policy"]["checklist"]);
        let ticked = self.ticked(&checklist)?;
        if !session.json {
            for point in &checklist {
                let mark = if ticked.contains(point) { 'x' } else { ' ' };
                session.say(format_args!("  [{mark}] {point}"))?;
            }
        }
        match checklist.iter().find(|point| !ticked.contains(point)) {
            Some(open) if role == Role::Security => Err(Failure::usage(format!(
                "the policy asks security to look at each point: add --tick '{open}', or --tick-all"
            ))),
            _ => Ok(json!({ "role": role, "checked": ticked })),
        }
    }

    /// The points that are ticked, as the policy has them.
    fn ticked(&self, checklist: &[String]) -> Result<Vec<String>, Failure> {
        if self.tick_all {
            return Ok(checklist.to_vec());
        }
        let mut ticked = Vec::new();
        for typed in &self.ticks {
            let point = named(checklist, typed)?;
            if !ticked.contains(&point) {
                ticked.push(point);
            }
        }
        Ok(ticked)
    }

    /// ` as security`, or nothing.
    pub(super) fn as_role(&self) -> String {
        self.role.map_or_else(String::new, |role| format!(" as {role}"))
    }
}

/// The one point that is typed whole, or in part.
fn named(checklist: &[String], typed: &str) -> Result<String, Failure> {
    if let Some(point) = checklist.iter().find(|point| *point == typed) {
        return Ok(point.clone());
    }
    let part = typed.trim().to_lowercase();
    let holds = |point: &&String| !part.is_empty() && point.to_lowercase().contains(&part);
    let found: Vec<&String> = checklist.iter().filter(holds).collect();
    match found[..] {
        [only] => Ok(only.clone()),
        [] => Err(Failure::usage(format!(
            "the policy's checklist has no point `{typed}`: `tidegate policy show` shows it"
        ))),
        _ => Err(Failure::usage(format!(
            "`{typed}` is in several points of the checklist: write more of the one you mean"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checklist() -> Vec<String> {
        ["I know which data it touches", "What it newly depends on is known", "Its waivers end in time"]
            .map(str::to_owned)
            .to_vec()
    }

    fn ticked(typed: &[&str]) -> Result<Vec<String>, u8> {
        let ticks = Ticks {
            role: Some(Role::Security),
            ticks: typed.iter().map(|t| (*t).to_owned()).collect(),
            tick_all: false,
        };
        ticks.ticked(&checklist()).map_err(|failure| failure.exit_code() as u8)
    }

    #[test]
    fn a_point_is_ticked_by_its_text_or_by_a_part_that_no_other_has() {
        assert_eq!(ticked(&["WAIVERS", "Its waivers end in time"]), Ok(vec![checklist()[2].clone()]), "once");
        assert_eq!(ticked(&["which data", "depends"]), Ok(checklist()[..2].to_vec()));
        assert_eq!(ticked(&["know"]), Err(2), "two points hold it");
        assert_eq!(ticked(&["nothing"]), Err(2));
        assert_eq!(ticked(&[""]), Err(2));
    }

    #[test]
    fn all_points_are_ticked_at_once_as_the_policy_has_them() {
        let all = Ticks { role: Some(Role::Security), ticks: Vec::new(), tick_all: true };
        assert_eq!(all.ticked(&checklist()).expect("all"), checklist());
    }
}
