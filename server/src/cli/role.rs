//! `tidegate role`: who may approve what, for which apps.

use clap::{Args, Subcommand};
use rollout_rules::gate::policy::Role;
use rollout_rules::ids::AppKey;
use serde_json::{Value, json};
use ureq::http::Method;

use super::failure::Failure;
use super::output::Table;
use super::reading::{items, text};
use super::session::Session;

const PATH: &str = "/v1/gate/roles";
const ROLES: [Role; 3] = [Role::Platform, Role::Security, Role::BusinessOwner];

/// What can be done with roles.
#[derive(Subcommand, Clone, Debug)]
pub enum RoleCommand {
    /// Give a person a role: who approves in it is asked for by the policy (an admin's token)
    Grant(Grant),
    /// Take a role from a person; approvals that they gave in it count no longer (an admin's token)
    Revoke(Grant),
    /// List who has which role
    List,
}

/// A role of a person.
#[derive(Args, Clone, Debug)]
pub struct Grant {
    /// The role: platform, security or business_owner
    #[arg(long, value_parser = role)]
    role: Role,
    /// Whose: the name that their token says
    #[arg(long, value_name = "NAME")]
    person: String,
    #[command(flatten)]
    of: Apps,
}

/// For which apps. TIDEGATE_APP is not asked: a role is given for what is typed.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Apps {
    /// For this app
    #[arg(long, short = 'a', value_name = "APP")]
    app: Option<AppKey>,
    /// For every app of this tier
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=2))]
    tier: Option<u8>,
}

/// A role by its name; `-` and `_` are the same.
pub(super) fn role(text: &str) -> Result<Role, String> {
    let name = text.replace('-', "_");
    ROLES.into_iter().find(|role| role.as_str() == name).ok_or_else(|| {
        let all: Vec<&str> = ROLES.iter().map(|role| role.as_str()).collect();
        format!("write one of {}", all.join(", "))
    })
}

impl Grant {
    fn body(&self) -> Value {
        let mut body = json!({ "role": self.role, "person": self.person });
        if let Some(app) = &self.of.app {
            body["app"] = app.as_str().into();
        }
        if let Some(tier) = self.of.tier {
            body["tier"] = tier.into();
        }
        body
    }
}

fn apps(grant: &Value) -> String {
    match (text(grant, "app"), text(grant, "tier")) {
        (app, tier) if tier.is_empty() => app,
        (_, tier) => format!("every app of tier {tier}"),
    }
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, command: RoleCommand) -> Result<(), Failure> {
    match command {
        RoleCommand::Grant(grant) => change(session, PATH, &grant, "is now"),
        RoleCommand::Revoke(grant) => change(session, &format!("{PATH}/revoke"), &grant, "is no longer"),
        RoleCommand::List => list(session),
    }
}

fn change(session: &mut Session, path: &str, grant: &Grant, verb: &str) -> Result<(), Failure> {
    let body = grant.body();
    let answer = session.client.change(Method::POST, path, &session.with_reason(body.clone()), None)?.body;
    session.answer(&answer, format!("{} {verb} {} for {}", grant.person, grant.role, apps(&body)))
}

fn list(session: &mut Session) -> Result<(), Failure> {
    let all = session.client.get(PATH)?.body;
    if session.json {
        return session.print_json(&all);
    }
    let mut table = Table::new(["ROLE", "PERSON", "FOR"]);
    for grant in items(&all) {
        table.row([text(grant, "role"), text(grant, "person"), apps(grant)]);
    }
    let none = "nobody has a role yet: tidegate role grant --role platform --person NAME --tier 1";
    Ok(table.write(&mut *session.out, session.style, none)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_go_by_their_names() {
        assert_eq!(role("business-owner"), Ok(Role::BusinessOwner));
        assert_eq!(role("security"), Ok(Role::Security));
        assert!(role("admin").expect_err("none").ends_with("platform, security, business_owner"));
    }

    #[test]
    fn a_role_is_for_an_app_or_for_a_tier() {
        let of = Apps { app: None, tier: Some(0) };
        let grant = Grant { role: Role::Platform, person: "ada".to_owned(), of };
        assert_eq!(grant.body(), json!({ "role": "platform", "person": "ada", "tier": 0 }));
        assert_eq!(apps(&grant.body()), "every app of tier 0");
        assert_eq!(apps(&json!({ "app": "shop" })), "shop");
    }
}
