//! What the tests share: the real server under test, its API, and the real clients that drive it.

pub mod prerequisites;
