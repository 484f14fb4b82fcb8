//! The faulty app of the gate's fixtures, in a folder where it can be mended, on a server whose gate is closed.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::prerequisites::repository;
use crate::{Api, Server, Tool};

/// The app's key.
pub const APP: &str = "discount";
/// The channel that the app's owner is told through.
pub const OWNERS: &str = "owners";
/// The file that is deployed, from the app's folder.
pub const ARTIFACT: &str = "dist/discount.tar";
/// Where the reports of its scanners and tests lie, from the app's folder.
const REPORTS: &str = "reports";
/// The reports that its pipeline makes.
const MADE: [&str; 7] = [
    "junit.xml",
    "coverage.cobertura.xml",
    "detect-secrets.json",
    "grype.json",
    "sbom.cdx1.6.json",
    "semgrep.sarif",
    "tfplan.json",
];

/// The app in its folder, its server, and the people and the pipeline that work on it.
pub struct Discount {
    /// The server, whose gate is enforced.
    pub server: Server,
    /// Its API with all rights.
    pub admin: Api,
    /// Writes the app.
    pub ada: Tool,
    /// Answers for the platform.
    pub ben: Tool,
    /// Builds it.
    pub pipeline: Tool,
    folder: TempDir,
}

impl Discount {
    /// The faulty app of a team: tier 1, owned by whoever listens at `owner`, with nothing decided yet.
    ///
    /// # Panics
    /// When a step is refused.
    #[must_use]
    pub fn begin(owner: Option<&str>) -> Discount {
        let server = Server::start_with(&[
            ("TIDEGATE_GATE_ENFORCEMENT", "enforce"),
            ("TIDEGATE_WEBHOOKS_ALLOW_PRIVATE", "true"),
        ]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let admin = server.admin();
        let environments =
            json!([{"key": "production", "kind": "production"}, {"key": "trial", "kind": "sandbox"}]);
        let app = json!({"key": APP, "tier": 1, "owner": OWNERS, "environments": environments});
        admin.post("/v1/apps", &app).expect(201);
        if let Some(url) = owner {
            admin
                .post(
                    "/v1/apps/discount/channels",
                    &json!({"name": OWNERS, "target": {"chat": {"url": url}}}),
                )
                .expect(201);
        }
        let grant =
            json!({"role": "platform", "person": "ben", "app": APP, "reason": "he runs the platform"});
        assert_eq!(admin.post("/v1/gate/roles", &grant).status / 100, 2);
        let who = |scope: &str, actor: Value| {
            let made = admin.post("/v1/tokens", &json!({"scope": scope, "app": APP, "actor": actor}));
            let secret = made.expect(201)["secret"].as_str().expect("a secret").to_owned();
            Tool::new(&server, &secret, APP, folder.path())
        };
        let ada = who("editor", json!({"type": "human", "name": "ada"}));
        let ben = who("operator", json!({"type": "human", "name": "ben"}));
        let pipeline = who("ci", json!({"type": "service", "name": "pipeline"}));
        let app = Discount { admin, ada, ben, pipeline, server, folder };
        copy(&fixtures().join("faulty/app"), app.folder());
        std::fs::create_dir(app.folder().join(REPORTS)).expect("a folder");
        MADE.iter().for_each(|report| put(&app, "faulty", report));
        app.pack();
        app
    }

    /// The same with nothing wrong with it.
    ///
    /// # Panics
    /// When a step is refused.
    #[must_use]
    pub fn mended(owner: Option<&str>) -> Discount {
        let app = Discount::begin(owner);
        app.remove("src/config.py");
        app.remove("src/loyalty.py");
        copy(&fixtures().join("clean/app"), app.folder());
        MADE.iter().for_each(|report| app.report(report));
        app.pack();
        app
    }

    /// Where it lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Takes a file of the app from the app that has nothing wrong with it.
    pub fn mend(&self, file: &str) {
        let to = self.folder().join(file);
        std::fs::copy(fixtures().join("clean/app").join(file), to).expect("a file of the clean app");
    }

    /// Takes a file out of the app.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder().join(file)).expect("a file of the app");
    }

    /// Makes a report anew: that of the app that has nothing wrong with it.
    pub fn report(&self, report: &str) {
        put(self, "clean", report);
    }

    /// Packs what is deployed.
    ///
    /// # Panics
    /// When there is no `tar`.
    pub fn pack(&self) {
        std::fs::create_dir_all(self.folder().join("dist")).expect("a folder");
        let packed = Command::new("tar")
            .args(["-cf", ARTIFACT, "requirements.txt", "src"])
            .current_dir(self.folder())
            .status();
        assert!(packed.is_ok_and(|status| status.success()), "tar packs what is deployed");
    }

    /// The words of a check of the gate, as its pipeline asks for it.
    #[must_use]
    pub fn check<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        ["gate", "check", "--env", "production", "--artifact", ARTIFACT].iter().chain(more).copied().collect()
    }

    /// A token for the servers of the app in production.
    #[must_use]
    pub fn server_token(&self) -> String {
        self.admin.create_token("sdk-server", APP, "production")
    }
}

/// The folder with the evidence that the gate is tested with.
#[must_use]
pub fn fixtures() -> PathBuf {
    repository().join("tests/fixtures/gate")
}

fn put(app: &Discount, of: &str, report: &str) {
    let from = fixtures().join(of).join("evidence").join(report);
    std::fs::copy(from, app.folder().join(REPORTS).join(report)).expect("a report of the fixtures");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder of the fixtures") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file of the fixtures");
        }
    }
}
