//! Bytes that nobody meant to send, made of bytes that somebody did: whatever comes from outside is read
//! whole or refused in words, and nothing panics. The corpus is in `tests/fuzz/corpus/`, a folder for each
//! target; what once broke something stays there.
//!
//! In `make test` each target runs a fixed number of inputs from a fixed seed. Longer, and another way each
//! time: `TIDEGATE_FUZZ_SECONDS=600 cargo nextest run -p tidegate-tests --test fuzz`. `TIDEGATE_FUZZ_SEED=N`
//! repeats a run, `TIDEGATE_FUZZ_KEEP=1` adds inputs that had something new to their outcome to the corpus.
//! The seed is told first, and a long run has the input that it reads in `fuzz-NAME-now`, in the folder for
//! tests of the target folder: what ends the process, or never ends, can be read again.

mod context;
mod entry;
mod feed;
mod gate;
mod mutate;
mod reach;
mod run;
mod settings;
mod shapes;
mod tree;
