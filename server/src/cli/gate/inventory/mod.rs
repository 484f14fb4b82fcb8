//! What an app's folder holds, as far as the gate asks: how many sources, and which files describe infrastructure or name
//! dependencies.

mod templates;
mod terraform;

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::templates::is_template;
use super::presence::{is_test_path, is_tool_settings};
use super::walk::{Listed, WalkError, own_files};

/// What a report of the inventory says it is.
pub const INVENTORY_FORMAT: &str = "tidegate.inventory/1";
/// Most files that are named of a kind; the first by path.
pub const MAX_NAMED: usize = 100;
/// How much of a YAML or JSON file is read to see whether it describes infrastructure.
const HEAD_BYTES: u64 = 64 * 1024;

/// How much of a file of Terraform is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The report that goes to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryReport {
    /// [`INVENTORY_FORMAT`].
    pub format: String,
    /// Files of the app, those that Git ignores, built ones and libraries aside.
    pub files: u64,
    /// Source files of a language that is known, tests and settings of tools aside.
    pub sources: u64,
    /// Files that describe infrastructure, by path, at most [`MAX_NAMED`].
    pub infrastructure: Vec<String>,
    /// What those among them declare that Terraform reads, by path.
    pub declared: Vec<DeclaredNames>,
    /// Files that name dependencies, by path, at most [`MAX_NAMED`].
    pub manifests: Vec<String>,
}

/// What a file of Terraform declares, as plans name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredNames {
    /// Its path in the app's folder.
    pub path: String,
    /// Resources and modules, such as `aws_s3_bucket.data` and `module.network`, in order, at most [`MAX_NAMED`].
    pub names: Vec<String>,
}

/// Looks through an app's folder.
pub fn inventory(folder: &Path) -> Result<InventoryReport, WalkError> {
    let files = own_files(folder)?;
    let sources = files.iter().filter(|file| is_source(&file.path)).count();
    let infrastructure: Vec<&Listed> =
        files.iter().filter(|file| describes_infrastructure(file)).take(MAX_NAMED).collect();
    let named = |is_it: &dyn Fn(&Listed) -> bool| -> Vec<String> {
        files.iter().filter(|file| is_it(file)).take(MAX_NAMED).map(|file| file.path.clone()).collect()
    };
    Ok(InventoryReport {
        format: INVENTORY_FORMAT.to_owned(),
        files: files.len() as u64,
        sources: sources as u64,
        infrastructure: infrastructure.iter().map(|file| file.path.clone()).collect(),
        declared: infrastructure.iter().filter_map(|file| terraform::declared(file)).collect(),
        manifests: named(&|file| names_dependencies(&file.path)),
    })
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn ending_of(path: &str) -> &str {
    name_of(path).rsplit_once('.').map_or("", |(_, ending)| ending)
}

fn is_source(path: &str) -> bool {
    const ENDINGS: [&str; 38] = [
        "py", "js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts", "vue", "svelte", "rs", "go", "java",
        "kt", "kts", "scala", "groovy", "rb", "php", "cs", "fs", "vb", "c", "h", "cc", "cpp", "hpp", "swift",
        "m", "dart", "ex", "exs", "pl", "lua", "r", "sh", "ipynb",
    ];
    ENDINGS.contains(&ending_of(path))
        && ![".d.ts", ".d.mts", ".d.cts"].iter().any(|declares| path.ends_with(declares))
        && !is_test_path(path)
        && !is_tool_settings(path)
}

fn names_dependencies(path: &str) -> bool {
    const NAMES: [&str; 33] = [
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "Pipfile",
        "Pipfile.lock",
        "poetry.lock",
        "uv.lock",
        "pdm.lock",
        "environment.yml",
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "pnpm-lock.yaml",
        "yarn.lock",
        "bun.lock",
        "deno.json",
        "deno.lock",
        "go.mod",
        "go.sum",
        "Cargo.toml",
        "Cargo.lock",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "gradle.lockfile",
        "Gemfile",
        "Gemfile.lock",
        "composer.json",
        "composer.lock",
        "mix.exs",
        "pubspec.yaml",
        "Package.swift",
        "packages.config",
    ];
    let name = name_of(path);
    let is_requirements = name.starts_with("requirements") && matches!(ending_of(name), "txt" | "in");
    // `requirements/base.txt`
    let in_requirements = path.rsplit('/').nth(1) == Some("requirements") && ending_of(name) == "txt";
    NAMES.contains(&name)
        || is_requirements
        || in_requirements
        || matches!(ending_of(name), "csproj" | "fsproj")
}

fn describes_infrastructure(file: &Listed) -> bool {
    // A platform's own form of an app, such as `fly.toml`, is none: no scanner and no plan reads it, so nobody could ever show it.
    const NAMES: [&str; 9] = [
        "Pulumi.yaml",
        "Pulumi.yml",
        "cdk.json",
        "serverless.yml",
        "serverless.yaml",
        "Chart.yaml",
        "kustomization.yaml",
        "kustomization.yml",
        "terragrunt.hcl",
    ];
    let name = name_of(&file.path);
    let by_name = NAMES.contains(&name)
        || [".tf", ".tofu", ".tf.json", ".tofu.json", ".tfvars", ".bicep"]
            .iter()
            .any(|end| name.ends_with(end));
    by_name || (matches!(ending_of(name), "yaml" | "yml" | "json" | "template") && is_template(&head(file)))
}

/// The beginning of a file; of one that cannot be read, nothing.
fn head(file: &Listed) -> String {
    read(file, HEAD_BYTES)
}

/// A whole file, as far as anybody writes one.
fn whole(file: &Listed) -> String {
    read(file, MAX_FILE_BYTES)
}

fn read(file: &Listed, most: u64) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(&file.full).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}
