//! Whose signatures an app may use. A key has to be one that its source names. A certificate has to have been given to the app's repository by
//! its number, for one of its workflows, and for production on a branch and by an event that production is built from: that somebody can run
//! some workflow in the repository is not enough.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::String;

use super::Bench;
use super::signed::repository;
use crate::flag::EnvironmentKind;
use crate::gate::facts::{CertificateClaims, Claim, SignerId};
use crate::gate::pipeline::{NotForProduction, is_workflow, runs_for_production};
use crate::gate::policy::Level;
use crate::gate::trust::Source;

const NO_SIGNER: &str = "the app's source names no signer, so every key of the policy could sign for it: name those that may with \
                         `tidegate app source set APP --signer NAME`";
const NO_WORKFLOW: &str = "the app's source names no workflow, so every workflow of its repository could sign for it: name those that may \
                           with `tidegate app source set APP --workflow OWNER/REPOSITORY/.github/workflows/FILE`";
const NO_REF: &str = "the app's source names neither branches nor the workflow's version, so every branch could sign for it: name them with \
                      `tidegate app source set APP --ref main`";
const NO_NUMBER: &str = "the app's source names no repository number, and names can be taken over: say it with `tidegate app source set APP \
                         --repository-id N`";

impl Bench<'_> {
    /// Why a signature does not count for what it says; none: it does. What the source leaves open bars where the tier denies, and else is
    /// told.
    pub(super) fn barred(&self, signer: &SignerId, claim: &Claim) -> Option<String> {
        let level = match claim {
            Claim::Artifact => self.policy.signature,
            // That nobody said what the app may be built from is told by the check itself.
            Claim::Provenance(_) if self.subject.source.is_none() => Level::Off,
            Claim::Provenance(_) => self.policy.provenance,
            Claim::Sbom => self.policy.sbom.unsigned,
            _ => Level::Off,
        };
        let open = || self.left_open(signer).filter(|_| level == Level::Deny).map(str::to_owned);
        self.not_the_apps(signer).or_else(open)
    }

    /// What the app's source leaves open, so that more could have signed than somebody decided. Told as what to do about it.
    pub(super) fn left_open(&self, signer: &SignerId) -> Option<&'static str> {
        let source = self.subject.source;
        let Some(claims) = &signer.certificate else {
            return source.is_none_or(|it| it.signers.is_empty()).then_some(NO_SIGNER);
        };
        let source = source?;
        let is_whole = |may: &String| named(source, claims).any(|name| name == *may);
        match source.workflows.is_empty() {
            true => Some(NO_WORKFLOW),
            false if self.is_production() && source.refs.is_empty() => {
                (!source.workflows.iter().any(is_whole)).then_some(NO_REF)
            }
            false => None,
        }
    }

    /// Whether a word of the security role counts: which vulnerabilities do no harm, and which words are no secrets. A certificate shows that
    /// a pipeline ran, and a pipeline is not the security role.
    pub(super) fn may_sign(&self, signer: &SignerId) -> bool {
        signer.certificate.is_none() && self.is_named(signer)
    }

    /// Whether somebody may say that something is wrong: whoever could sign for the app at all.
    pub(super) fn may_warn(&self, signer: &SignerId) -> bool {
        let Some(claims) = &signer.certificate else { return self.is_named(signer) };
        let is_it = |may: &Option<String>, is: &Option<String>| may.is_none() || may == is;
        let of_it = |source: &Source| {
            is_repository(source, claims)
                && is_it(&source.repository_id, &claims.repository_id)
                && is_it(&source.owner_id, &claims.owner_id)
        };
        self.is_named(signer) && self.subject.source.is_some_and(of_it)
    }

    /// Whether a certificate may name a builder in what it signs: the workflow that signed itself, or one that the authority says it may.
    pub(super) fn may_claim(&self, signer: &SignerId, claims: &CertificateClaims, builder: &str) -> bool {
        let workflow = signer_workflow(claims);
        let authority = self.trust.authorities.iter().find(|authority| authority.name == signer.name);
        let mut told = authority.into_iter().flat_map(|authority| &authority.builders);
        is_workflow(builder, workflow)
            || told
                .any(|it| is_workflow(&it.workflow, workflow) && it.builders.iter().any(|may| may == builder))
    }

    pub(super) fn is_production(&self) -> bool {
        self.subject.kind == EnvironmentKind::Production
    }

    fn is_named(&self, signer: &SignerId) -> bool {
        self.subject.source.is_none_or(|it| it.signers.is_empty() || it.signers.contains(&signer.name))
    }

    /// Why a signer is none of the app's, whatever its source leaves open.
    fn not_the_apps(&self, signer: &SignerId) -> Option<String> {
        if !self.is_named(signer) {
            return Some("its signer is not one of the app's".to_owned());
        }
        let claims = signer.certificate.as_ref()?;
        let Some(source) = self.subject.source else {
            return Some("nobody said what the app may be built from".to_owned());
        };
        let Some(number) = &source.repository_id else { return Some(NO_NUMBER.to_owned()) };
        let is_the_apps = is_repository(source, claims)
            && claims.repository_id.as_ref() == Some(number)
            && (source.owner_id.is_none() || source.owner_id == claims.owner_id);
        if !is_the_apps {
            return Some("its certificate was given to a repository that is not the app's".to_owned());
        }
        if !self.is_its_issuer(source, claims) {
            return Some(format!("its certificate was given on the word of {}", claims.issuer));
        }
        let is_one = |may: &String| named(source, claims).any(|name| is_workflow(may, &name));
        if !source.workflows.is_empty() && !source.workflows.iter().any(is_one) {
            let workflow = signer_workflow(claims);
            return Some(format!(
                "it is signed by the workflow `{workflow}`, which the app's source does not name"
            ));
        }
        if !self.is_production() {
            return None;
        }
        let (event, git_ref) = (claims.trigger.as_deref(), claims.git_ref.as_deref());
        let bar = runs_for_production(
            source.refs.as_slice(),
            event.unwrap_or_default(),
            git_ref.unwrap_or_default(),
        );
        bar.err().map(|bar| format!("it is signed by a workflow that {}", ran(&bar)))
    }

    /// Whether a certificate goes back to the issuer whose numbers the source means. It names issuers as the policy calls them.
    fn is_its_issuer(&self, source: &Source, claims: &CertificateClaims) -> bool {
        let Some(name) = &source.issuer else { return true };
        self.trust.issuers.iter().any(|issuer| issuer.name == *name && issuer.issuer == claims.issuer)
    }
}

/// For what a workflow ran that stands for nothing in production.
pub(super) fn ran(bar: &NotForProduction) -> String {
    match bar {
        NotForProduction::PullRequest => {
            "ran for a pull or merge request, or does not say for what".to_owned()
        }
        NotForProduction::Event { event } => {
            format!("was started by `{event}`, which production is not built on")
        }
        NotForProduction::Ref { git_ref } => {
            let git_ref = git_ref.as_deref().unwrap_or("no branch that it names");
            format!("ran for `{git_ref}`, and the app's source takes production from other branches and tags")
        }
    }
}

fn is_repository(source: &Source, claims: &CertificateClaims) -> bool {
    let (may, is) = (source.repository.as_deref(), claims.repository.as_deref());
    may.is_some() && may.map(repository) == is.map(repository)
}

/// The workflow that a certificate is for; old ones say it as their name alone.
fn signer_workflow(claims: &CertificateClaims) -> &str {
    claims.signer_workflow.as_deref().unwrap_or(&claims.identity)
}

/// How a source may name a certificate's workflow: by its address, or as tokens of pipelines do, without `https://` or without the host. It has
/// to be at the host of the app's repository.
fn named<'a>(source: &'a Source, claims: &'a CertificateClaims) -> impl Iterator<Item = String> + 'a {
    let address = signer_workflow(claims);
    let home = source.repository.as_deref().map(repository).unwrap_or_default();
    let host_at = home.find("://").map_or(0, |at| at + 3);
    let host_end = home[host_at..].find('/').map_or(home.len(), |at| host_at + at);
    let at_home = address.strip_prefix(&home[..host_end]).and_then(|rest| rest.strip_prefix('/'));
    let at_home = at_home.filter(|_| host_end > host_at).map(str::to_owned);
    let host = home[host_at..host_end].to_owned();
    at_home.into_iter().flat_map(move |path| [format!("{host}/{path}"), path, address.to_owned()])
}
