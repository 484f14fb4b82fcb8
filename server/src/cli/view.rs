//! A flag as the API shows it, and how people see it.

use std::collections::BTreeMap;

use rollout_rules::flag::{
    FlagKind, Hold, Kill, Prerequisite, Rule, ScheduledChange, Serve, Target, Variant,
};
use rollout_rules::ids::EnvKey;
use rollout_rules::percent::Exposure;
use rollout_rules::time::UnixMs;
use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::output::{Table, Tone, fields, tone_of_serving};
use super::rollout_view::RolloutView;
use super::session::Session;
use super::when;

/// A flag as the API shows it. Members that are not listed are of no use here.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct FlagView {
    /// Its key.
    pub key: String,
    /// Its app.
    pub app: String,
    /// The revision that last changed it.
    pub revision: u64,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: FlagKind,
    /// Its answers.
    pub variants: Vec<Variant>,
    /// Its answer while off.
    pub off_variant: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Whether it stays when a budget disables the rest.
    #[serde(default)]
    pub critical: bool,
    /// How it travels to web pages: `values` or `rules`; none: not at all.
    #[serde(default)]
    pub browser: Option<String>,
    /// How often its life was extended.
    #[serde(default)]
    pub extensions: u32,
    /// When it was archived.
    #[serde(default)]
    pub archived_at: Option<UnixMs>,
    /// Its kills.
    #[serde(default)]
    pub killed: KilledView,
    /// What it does, by environment.
    #[serde(default)]
    pub environments: BTreeMap<String, StateView>,
}

/// The kills of a flag itself.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct KilledView {
    /// In all environments.
    #[serde(default)]
    pub all: Option<Kill>,
    /// In these.
    #[serde(default)]
    pub environments: BTreeMap<String, Kill>,
}

/// A flag in one environment.
#[derive(Clone, Debug, Deserialize)]
pub struct StateView {
    /// Whether it is on.
    pub on: bool,
    /// How many get `serve`.
    pub exposure: Exposure,
    /// What the exposed get.
    pub serve: Serve,
    /// Who always gets what.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Its rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// What must be satisfied.
    #[serde(default)]
    pub prerequisites: Vec<Prerequisite>,
    /// What waits for its time.
    #[serde(default)]
    pub schedule: Vec<ScheduledChange>,
    /// When it dies.
    pub expires_at: UnixMs,
    /// Its last rollout.
    #[serde(default)]
    pub rollout: Option<RolloutView>,
    /// Who holds it, if automation does.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// What it does, in a few words.
    #[serde(default)]
    pub serving: String,
    /// Why it travels to web pages as values though it is marked to travel as rules.
    #[serde(default)]
    pub browser_kept_back: Option<String>,
}

impl FlagView {
    /// Reads a flag from an answer.
    pub(super) fn read(body: &Value, session: &Session) -> Result<FlagView, Failure> {
        FlagView::deserialize(body)
            .map_err(|error| session.client.strange(&format!("a flag that says: {error}")))
    }

    /// The state in an environment: the named one, or the only one there is.
    pub(super) fn state<'a>(
        &'a self,
        named: Option<&'a EnvKey>,
    ) -> Result<(&'a str, &'a StateView), Failure> {
        let known = || self.environments.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        match named {
            Some(key) => match self.environments.get_key_value(key.as_str()) {
                Some((key, state)) => Ok((key, state)),
                None => Err(Failure::missing(format!(
                    "{} has no environment {key}; it has {}",
                    self.app,
                    known()
                ))),
            },
            None => match self.environments.iter().next() {
                Some((key, state)) if self.environments.len() == 1 => Ok((key, state)),
                _ => Err(Failure::usage(format!("say where with --env: {}", known()))),
            },
        }
    }

    /// One line on a state: `on for 30%`.
    pub(super) fn serving(&self, environment: &str) -> &str {
        self.environments.get(environment).map_or("", |state| state.serving.as_str())
    }
}

/// Shows a flag in full.
pub(super) fn show(session: &mut Session, flag: &FlagView) -> Result<(), Failure> {
    let kind = serde_json::to_value(flag.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    let killed = match (&flag.killed.all, flag.killed.environments.is_empty()) {
        (Some(kill), _) => format!("killed in all environments since {}", when::shown(kill.at, session.now)),
        (None, false) => {
            let places: Vec<&str> = flag.killed.environments.keys().map(String::as_str).collect();
            format!("killed in {}", places.join(", "))
        }
        (None, true) => String::new(),
    };
    let variants: Vec<String> =
        flag.variants.iter().map(|variant| format!("{}={}", variant.key, variant.value)).collect();
    let facts = [
        ("flag", flag.key.clone()),
        ("app", flag.app.clone()),
        ("description", flag.description.clone()),
        ("type", kind.unwrap_or_default()),
        ("variants", variants.join(", ")),
        ("off variant", flag.off_variant.clone()),
        ("owner", flag.owner.clone()),
        ("critical", if flag.critical { "yes".to_owned() } else { String::new() }),
        ("browser", flag.browser.clone().unwrap_or_default()),
        ("extended", if flag.extensions > 0 { format!("{} times", flag.extensions) } else { String::new() }),
        ("revision", flag.revision.to_string()),
        ("archived", flag.archived_at.map_or_else(String::new, |at| when::shown(at, session.now))),
        ("state", killed),
    ];
    fields(&mut *session.out, session.style, &facts)?;
    session.say("")?;
    let mut table = Table::new(["ENVIRONMENT", "SERVING", "EXPOSED GET", "EXPIRES"]);
    for (key, state) in &flag.environments {
        table.toned_row(vec![
            (key.clone(), Tone::Plain),
            (state.serving.clone(), tone_of_serving(&state.serving)),
            (serve(&state.serve), Tone::Plain),
            (when::shown(state.expires_at, session.now), Tone::Plain),
        ]);
    }
    table.write(&mut *session.out, session.style, "no environments")?;
    for (key, state) in &flag.environments {
        details(session, key, state)?;
    }
    Ok(())
}

/// Lists, rules, prerequisites and what is scheduled in one environment.
fn details(session: &mut Session, environment: &str, state: &StateView) -> Result<(), Failure> {
    let mut lines = Vec::new();
    if let Some(hold) = &state.hold {
        lines.push(format!("held since {}: {}", when::shown(hold.at, session.now), hold.reason));
    }
    lines.extend(state.browser_kept_back.iter().map(|why| format!("in the browser: {why}")));
    // One that was completed shows in what is served.
    if let Some(rollout) = state.rollout.as_ref().filter(|rollout| rollout.status != "completed") {
        lines.push(format!("rollout: {}; plan {}", rollout.line(session.now), rollout.plan));
    }
    for prerequisite in &state.prerequisites {
        let variants: Vec<&str> = prerequisite.variants.iter().map(AsRef::as_ref).collect();
        lines.push(format!("needs {} to answer {}", prerequisite.flag, variants.join(" or ")));
    }
    for target in &state.targets {
        let shown: Vec<&str> = target.units.iter().take(5).map(AsRef::as_ref).collect();
        let more = target.units.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("target {}{more} -> {}", shown.join(", "), target.variant));
    }
    for rule in &state.rules {
        let when = serde_json::to_string(&rule.when).unwrap_or_default();
        lines.push(format!("rule {}: {when} -> {}", rule.id, serve(&rule.serve)));
    }
    for change in &state.schedule {
        lines.push(format!(
            "scheduled {}: {} {}",
            change.id,
            scheduled(change),
            when::shown(change.at, session.now)
        ));
    }
    if lines.is_empty() {
        return Ok(());
    }
    session.say("")?;
    session.say(format_args!("in {environment}:"))?;
    lines.iter().try_for_each(|line| session.say(format_args!("  {line}")))
}

/// What a scheduled change does: `off`, `on at 30%`.
pub(super) fn scheduled(change: &ScheduledChange) -> String {
    let on = change.on.map(|on| if on { "on" } else { "off" });
    let exposure = change.exposure.map(|exposure| format!("{exposure}%"));
    match (on, exposure) {
        (Some(on), Some(exposure)) => format!("{on} at {exposure}"),
        (Some(on), None) => on.to_owned(),
        (None, Some(exposure)) => format!("exposure {exposure}"),
        (None, None) => "nothing".to_owned(),
    }
}

/// A serve in one line: `on`, `a=50, b=50 (control a)`.
pub(super) fn serve(serve: &Serve) -> String {
    match serve {
        Serve::Variant(variant) => variant.to_string(),
        Serve::Split(split) => {
            let shares: Vec<String> =
                split.weights.iter().map(|share| format!("{}={}", share.variant, share.weight)).collect();
            let control =
                split.control.as_ref().map_or_else(String::new, |control| format!(" (control {control})"));
            format!("{}{control}", shares.join(", "))
        }
    }
}
