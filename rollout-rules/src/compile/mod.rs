//! Flags, ready to be checked: names are hashed, lists are sets, versions are parsed, regular
//! expressions are automata, weights are summed up and answers are serialized, once, when they are
//! written.

mod decimal;
mod definition;
mod flag;
mod fold;
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

#[cfg(any(target_arch = "wasm32", test))]
pub(crate) use decimal::exact::parse as exact_number;
pub(crate) use flag::{CompiledRule, CompiledTold, Program, Standing, is_revived};
pub(crate) use node::{Node, Slots};
pub(crate) use serve::{CompiledServe, CompiledSplit, Unit};
