//! Why each check matters and how to mend what it finds, for who is no engineer.

use alloc::format;
use alloc::string::String;

use crate::gate::decision::CheckName;

/// What to do where it is not known what an app may be built from.
pub(super) const SET_SOURCE: &str = "Have the platform team say it once: `tidegate app source set APP --repository URL --repository-id N \
     --builder URI --build-type URI`.";

/// What to do where the source of an app leaves open who signs for it.
pub(super) const CLOSE_SOURCE: &str = "Have the platform team say who may sign for the app: `tidegate app source set APP --signer NAME` for keys, `--workflow REF` and `--ref REF` \
     for certificates. A tier that denies takes no signature before that is said.";

/// What to do where the tier asks for the pipeline's own token.
pub(super) const ASK_AS_THE_PIPELINE: &str = "Have the pipeline ask with a token of its own issuer: on GitHub give the job `permissions: id-token: write` and `gate check` its `--audience`, \
     on GitLab hand one of `id_tokens` over as `TIDEGATE_ID_TOKEN`. The platform team names the issuer in the policy once (`trust.issuers`).";

/// A number of things: `1 finding`, `2 findings`.
pub(super) fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Why it matters.
pub(super) fn why(check: CheckName) -> &'static str {
    match check {
        CheckName::Evidence => "What cannot be read may hide anything, so it counts against the build.",
        CheckName::Identity => {
            "Whoever can ask in the app's name could wave through a build that is not the app's."
        }
        CheckName::Secrets => {
            "A password or key in code is known to everybody who ever sees the code, and stays in its history."
        }
        CheckName::TestsPresent => "Code that no test looks at breaks without anybody noticing.",
        CheckName::TestsPass => {
            "A test that fails says that the app does not do what somebody wanted it to do."
        }
        CheckName::ContractTests => {
            "Other apps rely on how this one answers; contract tests see that it stays so."
        }
        CheckName::Coverage => "Lines that no test runs can do anything.",
        CheckName::Code => "Analysers know patterns that have let attackers in before.",
        CheckName::Infrastructure => {
            "What is set up wrongly can open data to everybody, give away all rights, or cost a lot of money."
        }
        CheckName::Sbom => {
            "When a library turns out to be dangerous, the list says at once which apps have it."
        }
        CheckName::Licences => "Some licences demand that the whole app be given away under the same terms.",
        CheckName::Vulnerabilities => "Known holes are tried by attackers' programs within hours.",
        CheckName::Signature => "A signature shows that nobody exchanged the artifact after it was built.",
        CheckName::Provenance => {
            "It shows that the artifact was built from the app's code, by a builder that is trusted."
        }
    }
}

/// How to mend it.
pub(super) fn fix(check: CheckName) -> &'static str {
    match check {
        CheckName::Evidence => {
            "Make each named report again as its line says, and hand it in unchanged; or leave it out, if another one says the same."
        }
        CheckName::Identity => {
            "Ask from the app's own pipeline, or have its source corrected: `tidegate app source set APP --repository URL --repository-id N \
             --builder URI --build-type URI`, with `--workflow REF` and `--issuer NAME` where it names those."
        }
        CheckName::Secrets => {
            "Take the secret out of the code, read it from an environment variable, and replace it with a new one where it is \
             used: the old one is known. If a word only looks like a secret, have the security team sign that it is none: a mark in the \
             report counts for nothing."
        }
        CheckName::TestsPresent => {
            "Write a test for each named file that calls what is in it and checks the result."
        }
        CheckName::TestsPass => {
            "Mend the code, or the test if it asks for what is no longer wanted. Do not skip it."
        }
        CheckName::ContractTests => "Run the contract tests in the pipeline and hand in their JUnit report.",
        CheckName::Coverage => "Write tests for the least covered files, and hand in the report of coverage.",
        CheckName::Code => {
            "Mend what the analyser names, as its rule says. If none looked at the code, run one, such as semgrep, and hand in its SARIF."
        }
        CheckName::Infrastructure => {
            "Change what is named in the infrastructure files, and make the plan anew."
        }
        CheckName::Sbom => {
            "Make a list of what the app is made of, in the pipeline: for example with `cyclonedx-py environment --of JSON > sbom.json` or \
             `npx @cyclonedx/cyclonedx-npm > sbom.json`."
        }
        CheckName::Licences => {
            "Replace the named libraries by others, or have the licence looked at and waived. If none is named, hand in an SBOM: a list of what the \
             app is made of, with licences."
        }
        CheckName::Vulnerabilities => {
            "Upgrade the named libraries to the version given with each, and build again."
        }
        CheckName::Signature => {
            "Sign the artifact in the pipeline with a key that the policy names, and lay the bundle beside it: `cosign sign-blob --key … \
             --bundle app.tar.gz.sigstore.json app.tar.gz`."
        }
        CheckName::Provenance => {
            "Have a builder that the app may use attest how it built: SLSA provenance v1, signed with a key that the policy names. \
             `tidegate app source show APP` says which builders, build types and repository those are."
        }
    }
}
