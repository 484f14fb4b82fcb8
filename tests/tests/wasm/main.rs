//! The core in WebAssembly, in Node: it gives the answers that the native core gives, and is no larger than a page can
//! bear.

mod differential;
mod golden;
mod module;
mod node;
mod random;
