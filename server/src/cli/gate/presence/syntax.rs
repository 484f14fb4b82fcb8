//! Parsing of source text into syntax trees, within bounds: broken text, deep text and text that takes long are told apart.

use std::ops::ControlFlow;

use tree_sitter::{Language, Node, ParseOptions, Parser, Tree};

/// Largest source file that is parsed. A larger one counts as a file with a function and without tests.
pub(super) const MAX_SOURCE_BYTES: u64 = 1024 * 1024;
/// Deepest nesting of a syntax tree that is walked, far above what people write.
const MAX_TREE_DEPTH: usize = 400;
/// How often the parser reports progress before it is stopped: every report stands for a hundred of its steps, and the
/// longest honest file takes a fifth of it. Steps are counted, not seconds, so every machine gives the same answer.
const MAX_PARSE_REPORTS: usize = 200_000;

/// A language whose functions and tests are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    /// Python.
    Python,
    /// JavaScript, with or without JSX.
    JavaScript,
    /// TypeScript.
    TypeScript,
    /// TypeScript with JSX.
    Tsx,
}

impl Tongue {
    /// The language of a file, by the end of its name.
    pub(super) fn of(path: &str) -> Option<Tongue> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (stem, end) = name.rsplit_once('.')?;
        match end {
            "py" => Some(Tongue::Python),
            "js" | "jsx" | "mjs" | "cjs" => Some(Tongue::JavaScript),
            // Declarations alone hold nothing that runs.
            "ts" | "mts" | "cts" if stem.ends_with(".d") => None,
            "ts" | "mts" | "cts" => Some(Tongue::TypeScript),
            "tsx" => Some(Tongue::Tsx),
            _ => None,
        }
    }

    fn grammar(self) -> Language {
        match self {
            Tongue::Python => tree_sitter_python::LANGUAGE.into(),
            Tongue::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Tongue::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            Tongue::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
        }
    }
}

/// Why a source file could not be read as source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// It cannot be opened.
    Unreadable,
    /// It is larger than 1 MiB.
    TooLarge,
    /// It is not UTF-8.
    NotText,
    /// It is not what its language allows. The line, from 1, where that begins.
    Syntax {
        /// The line, from 1.
        line: u32,
    },
    /// It is nested deeper than any hand-written file.
    TooDeep,
    /// It takes longer to parse than any hand-written file.
    TooSlow,
}

/// Parses a text.
pub(super) fn parse(tongue: Tongue, text: &str) -> Result<Tree, ProblemKind> {
    let mut parser = Parser::new();
    // A grammar of another generation than the parser would be a fault of the build, and every file would say so.
    parser.set_language(&tongue.grammar()).map_err(|_| ProblemKind::Unreadable)?;
    let mut reports = 0_usize;
    let mut budget = |_: &tree_sitter::ParseState| {
        reports += 1;
        if reports > MAX_PARSE_REPORTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let bytes = text.as_bytes();
    let mut read = |at: usize, _| bytes.get(at..).unwrap_or_default();
    let options = ParseOptions::new().progress_callback(&mut budget);
    let tree = parser.parse_with_options(&mut read, None, Some(options)).ok_or(ProblemKind::TooSlow)?;
    check(&tree)?;
    Ok(tree)
}

/// Walks the tree once, without recursion, so that everything after may recurse.
fn check(tree: &Tree) -> Result<(), ProblemKind> {
    let mut cursor = tree.walk();
    let mut depth = 0;
    loop {
        let node = cursor.node();
        if node.is_error() || node.is_missing() {
            return Err(ProblemKind::Syntax { line: line_of(node) });
        }
        if cursor.goto_first_child() {
            depth += 1;
            if depth > MAX_TREE_DEPTH {
                return Err(ProblemKind::TooDeep);
            }
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return Ok(());
            }
            depth -= 1;
        }
    }
}

fn line_of(node: Node<'_>) -> u32 {
    u32::try_from(node.start_position().row).unwrap_or(u32::MAX).saturating_add(1)
}

/// The text of a node.
pub(super) fn text_of<'t>(node: Node<'_>, text: &'t str) -> &'t str {
    text.get(node.byte_range()).unwrap_or_default()
}

/// The text of a node without white space, to compare expressions by.
pub(super) fn bare_text(node: Node<'_>, text: &str) -> String {
    text_of(node, text).split_whitespace().collect()
}

/// The named parts of a node, comments aside.
pub(super) fn parts<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|part| !part.is_extra()).collect()
}

/// The part of a node that its grammar calls so.
pub(super) fn part<'t>(node: Node<'t>, field: &str) -> Option<Node<'t>> {
    node.child_by_field_name(field)
}

/// Whether the node or anything in it is of one of these kinds.
pub(super) fn holds(node: Node<'_>, kinds: &[&str]) -> bool {
    kinds.contains(&node.kind()) || parts(node).into_iter().any(|part| holds(part, kinds))
}
