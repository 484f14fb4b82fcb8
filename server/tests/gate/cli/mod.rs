//! What `tidegate gate` sees in an app's folder, and how it shows a decision.

mod artifact;
mod discover;
mod inventory;
mod javascript;
mod presence;
mod python;
mod render;

use tidegate::cli::gate::presence::{Presence, SourceText, presence_of};

/// The folder of an app among the fixtures.
fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/gate")).join(name)
}

/// Presence in made-up files.
fn found(files: &[(&str, &str)]) -> Presence {
    let sources =
        files.iter().map(|(path, text)| SourceText { path: (*path).to_owned(), text: (*text).to_owned() });
    presence_of(&sources.collect::<Vec<_>>())
}

/// The tests that count for a file.
fn tests_of(files: &[(&str, &str)], path: &str) -> Vec<String> {
    let found = found(files);
    assert_eq!(found.problems, [], "every file is read");
    let file = found.report.files.into_iter().find(|file| file.path == path);
    file.unwrap_or_else(|| panic!("{path} is a source file with functions")).tests
}
