//! How time and allocations are measured: CPU time of this thread, so that other work on the machine
//! does not count, and a counting allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use super::world::PEOPLE;
use crate::figures::median;

/// CPU time of one sample, in nanoseconds: so short that a machine that changes its speed does so between
/// rounds, and seldom within one.
const SAMPLE_NS: f64 = 4e6;
/// CPU time spent before the first sample, in nanoseconds.
const WARM_UP_NS: f64 = 60e6;
/// Pairs of samples for a difference.
const PAIRS: usize = 4_000;
/// CPU time of one of a pair, in nanoseconds.
const PAIR_NS: f64 = 1e5;

/// Calls whose allocations are counted.
pub const CALLS: usize = 1_024;

/// Counts allocations, each by the thread that makes it: those of a client's own thread are none of a check.
pub struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[allow(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[allow(unsafe_code, reason = "a system call")]
fn clock(id: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let done = unsafe { libc::clock_gettime(id, &raw mut time) };
    debug_assert_eq!(done, 0, "Linux has these clocks");
    time
}

/// CPU time of this thread, in nanoseconds.
#[allow(clippy::cast_precision_loss, reason = "a run takes minutes")]
fn cpu_ns() -> f64 {
    let time = clock(libc::CLOCK_THREAD_CPUTIME_ID);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Milliseconds since 1970 by the clock that is cheap to read.
#[allow(clippy::cast_sign_loss, reason = "after 1970")]
#[inline]
pub fn coarse_ms() -> u64 {
    let time = clock(libc::CLOCK_REALTIME_COARSE);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// An engine's way of doing a scenario: is given a running number, and returns something that depends on
/// the answer.
pub type Work<'w> = Box<dyn FnMut(usize) -> usize + 'w>;

/// What a call of each takes, in nanoseconds, in so many pairs of samples; who goes first is another each time.
pub fn pairs(one: &mut dyn FnMut() -> f64, other: &mut dyn FnMut() -> f64, count: usize) -> Vec<(f64, f64)> {
    let pair = |pair: usize| {
        if pair.is_multiple_of(2) {
            let one = one();
            (one, other())
        } else {
            let other = other();
            (one(), other)
        }
    };
    (0..count).map(pair).collect()
}

/// Gives a sample each time: what a call takes, in nanoseconds. Whatever is to be warm is after this.
pub fn sampling<'w>(work: Work<'w>) -> impl FnMut() -> f64 + use<'w> {
    let mut sample = counted_sampling(work);
    move || sample().ns
}

/// Calls one after another.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// What each took, in nanoseconds of CPU time.
    pub ns: f64,
    /// How many there have been, those that warmed up among them.
    pub so_far: usize,
}

/// As [`sampling`] does, and says how often it has called.
pub fn counted_sampling<'w>(mut work: Work<'w>) -> impl FnMut() -> Calls + use<'w> {
    let (calls, mut so_far) = calibrate(&mut work, SAMPLE_NS);
    move || {
        so_far += calls;
        Calls { ns: sample(&mut work, 0, calls), so_far }
    }
}

/// What a call takes, in nanoseconds of CPU time of this thread, until it is told that it is enough.
pub fn until(work: &dyn Fn(usize) -> usize, is_enough: &dyn Fn() -> bool) -> Calls {
    let (start, mut calls) = (cpu_ns(), 0);
    while !is_enough() {
        for person in 0..PEOPLE {
            black_box(work(black_box(person)));
        }
        calls += PEOPLE;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts of calls")]
    let ns = (cpu_ns() - start) / calls.max(1) as f64;
    Calls { ns, so_far: calls }
}

/// How much longer a call of `with` takes than one of `without`, in nanoseconds: the middle one of the differences of
/// many pairs, each so short that the machine seldom changes within it. A few nanoseconds drown in what it does
/// from one sample of [`sampling`] to the next.
pub fn difference(without: &mut Work<'_>, with: &mut Work<'_>) -> f64 {
    let calls = calibrate(without, PAIR_NS).0.max(calibrate(with, PAIR_NS).0);
    let pairs = (0..PAIRS).map(|pair| {
        let from = pair * calls;
        if pair % 2 == 0 {
            let without = sample(without, from, calls);
            sample(with, from, calls) - without
        } else {
            let with = sample(with, from, calls);
            with - sample(without, from, calls)
        }
    });
    median(&pairs.collect::<Vec<f64>>())
}

/// CPU time of a call, in nanoseconds, on average of so many from a running number on.
#[allow(clippy::cast_precision_loss, reason = "counts of calls")]
fn sample(work: &mut Work<'_>, from: usize, calls: usize) -> f64 {
    let start = cpu_ns();
    for call in from..from + calls {
        black_box(work(black_box(call)));
    }
    (cpu_ns() - start) / calls as f64
}

/// Warms up and finds how many calls make a sample of this length; and how many warmed up.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of calls"
)]
fn calibrate(work: &mut Work<'_>, sample_ns: f64) -> (usize, usize) {
    let start = cpu_ns();
    let mut calls = 0;
    while cpu_ns() - start < WARM_UP_NS {
        for _ in 0..64 {
            black_box(work(black_box(calls)));
            calls += 1;
        }
    }
    let each = (cpu_ns() - start) / calls as f64;
    (((sample_ns / each) as usize).max(3), calls)
}

/// How often a call allocates, where [`Counting`] is the allocator.
#[allow(clippy::cast_precision_loss, reason = "counts of allocations")]
pub fn allocations(work: &mut Work<'_>) -> f64 {
    let before = ALLOCATIONS.get();
    for call in 0..CALLS {
        black_box(work(black_box(call)));
    }
    (ALLOCATIONS.get() - before) as f64 / CALLS as f64
}
