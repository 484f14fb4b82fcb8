//! Flags, ready to be checked: names are hashed, lists are sets, versions are parsed, regular
//! expressions are automata, weights are summed up and answers are serialized, once, when they are
//! written.

mod definition;
mod flag;
mod list;
mod matcher;
mod node;
mod regex;
#[cfg(feature = "regex-build")]
mod regex_build;
mod serve;
mod text;

pub use definition::Definition;
pub use flag::{CompiledFlag, FlagSource, Warning, WarningCause};
pub use regex::RegexError;
#[cfg(feature = "regex-build")]
pub(crate) use regex::encode_dfa;
#[cfg(feature = "regex-build")]
pub use regex_build::compile_regex;
pub use serve::ServeProblem;

pub(crate) use flag::{CompiledRule, Program, Standing, is_revived};
pub(crate) use node::{Node, Slots};
pub(crate) use serve::{CompiledServe, CompiledSplit, Unit};
