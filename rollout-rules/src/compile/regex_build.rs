//! Compiling regular expressions, as RE2 understands them: `\d`, `\w`, `\s` and `\b` mean ASCII,
//! everything else is Unicode, and a search looks anywhere in the text.

use alloc::string::ToString;
use alloc::vec::Vec;

use regex_automata::dfa::{StartKind, dense};
use regex_automata::nfa::thompson;
use regex_syntax::ast::parse::{Parser, ParserBuilder};
use regex_syntax::ast::{
    AssertionKind, Ast, ClassBracketed, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem,
};
use regex_syntax::hir::Hir;
use regex_syntax::hir::translate::TranslatorBuilder;

use super::regex::RegexError;
use crate::condition::MAX_DFA_BYTES;

/// Deepest nesting of a pattern, which bounds recursion.
const MAX_NESTING: u32 = 50;
/// What a DFA and the work on it may take while it is built. What fits into [`MAX_DFA_BYTES`] when it is
/// done takes a fraction of it.
const MAX_BUILD_BYTES: usize = 4 * 1024 * 1024;

/// Compiles a pattern to the bytes of a sparse DFA, in little-endian order. `ci` ignores case, as `(?i)`
/// at the beginning would.
pub fn compile_regex(pattern: &str, ci: bool) -> Result<Vec<u8>, RegexError> {
    let hir = parse(pattern, ci)?;
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .which_captures(thompson::WhichCaptures::None)
                .nfa_size_limit(Some(MAX_BUILD_BYTES)),
        )
        .build_from_hir(&hir)
        .map_err(|error| match error.size_limit() {
            Some(_) => RegexError::Enormous,
            None => RegexError::Syntax(error.to_string()),
        })?;
    let dense = dense::Builder::new()
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Unanchored)
                .dfa_size_limit(Some(MAX_BUILD_BYTES))
                .determinize_size_limit(Some(MAX_BUILD_BYTES)),
        )
        .build_from_nfa(&nfa)
        .map_err(|error| {
            if error.is_size_limit_exceeded() {
                RegexError::Enormous
            } else {
                RegexError::Syntax(error.to_string())
            }
        })?;
    let bytes = dense.to_sparse().map_err(|_| RegexError::Enormous)?.to_bytes_little_endian();
    if bytes.len() > MAX_DFA_BYTES {
        return Err(RegexError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

fn parse(pattern: &str, ci: bool) -> Result<Hir, RegexError> {
    let mut ast = ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .build()
        .parse(pattern)
        .map_err(|error| RegexError::Syntax(error.kind().to_string()))?;
    make_ascii(&mut ast);
    TranslatorBuilder::new()
        .case_insensitive(ci)
        .build()
        .translate(pattern, &ast)
        .map_err(|error| RegexError::Syntax(error.kind().to_string()))
}

/// Replaces what Perl's classes and word boundaries mean in Unicode by what they mean in ASCII.
fn make_ascii(ast: &mut Ast) {
    match ast {
        Ast::ClassPerl(class) => *ast = Ast::ClassBracketed(ascii_class(class).into()),
        Ast::ClassBracketed(class) => make_set_ascii(&mut class.kind),
        Ast::Assertion(assertion) => match assertion.kind {
            AssertionKind::WordBoundary => *ast = snippet(r"(?-u:\b)"),
            AssertionKind::NotWordBoundary => *ast = snippet(r"(?-u:\B)"),
            _ => {}
        },
        Ast::Repetition(repetition) => make_ascii(&mut repetition.ast),
        Ast::Group(group) => make_ascii(&mut group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter_mut().for_each(make_ascii),
        Ast::Concat(concat) => concat.asts.iter_mut().for_each(make_ascii),
        Ast::Empty(_) | Ast::Flags(_) | Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) => {}
    }
}

fn make_set_ascii(set: &mut ClassSet) {
    match set {
        ClassSet::Item(item) => make_item_ascii(item),
        ClassSet::BinaryOp(operation) => {
            make_set_ascii(&mut operation.lhs);
            make_set_ascii(&mut operation.rhs);
        }
    }
}

fn make_item_ascii(item: &mut ClassSetItem) {
    match item {
        ClassSetItem::Perl(class) => *item = ClassSetItem::Bracketed(ascii_class(class).into()),
        ClassSetItem::Bracketed(class) => make_set_ascii(&mut class.kind),
        ClassSetItem::Union(union) => union.items.iter_mut().for_each(make_item_ascii),
        ClassSetItem::Empty(_)
        | ClassSetItem::Literal(_)
        | ClassSetItem::Range(_)
        | ClassSetItem::Ascii(_)
        | ClassSetItem::Unicode(_) => {}
    }
}

fn ascii_class(class: &ClassPerl) -> ClassBracketed {
    let pattern = match (&class.kind, class.negated) {
        (ClassPerlKind::Digit, false) => "[0-9]",
        (ClassPerlKind::Digit, true) => "[^0-9]",
        (ClassPerlKind::Space, false) => r"[\t\n\f\r ]",
        (ClassPerlKind::Space, true) => r"[^\t\n\f\r ]",
        (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
        (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
    };
    match snippet(pattern) {
        Ast::ClassBracketed(ref class) => (**class).clone(),
        _ => unreachable!("{pattern} is a class in brackets"),
    }
}

fn snippet(pattern: &str) -> Ast {
    Parser::new().parse(pattern).expect("our own pattern is well formed")
}
