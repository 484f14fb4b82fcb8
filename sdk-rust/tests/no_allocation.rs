//! Checks allocate nothing.
#![allow(unsafe_code, clippy::unwrap_used, reason = "counting needs an allocator, tests may unwrap")]

mod peer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use peer::{Peer, live};
use serde_json::Value;
use tidegate_sdk::Context;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: it only counts, and leaves the work to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations<T>(check: impl Fn() -> T) -> u64 {
    let work = || drop(black_box(check()));
    // Once before: the first look of a thread at a shared state sets up what later looks use.
    work();
    let before = ALLOCATIONS.get();
    (0..1_000).for_each(|_| work());
    ALLOCATIONS.get() - before
}

#[test]
fn checks_of_every_type_and_their_details_allocate_nothing() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    let ann = Context::new("ann").with("plan", "pro");
    let bob = Context::new("bob");
    assert_eq!(allocations(|| Box::new(1)), 1_000, "the counter counts");
    assert_eq!(allocations(|| client.bool("checkout", &ann, false)), 0);
    assert_eq!(allocations(|| client.bool("split", &bob, false)), 0);
    assert_eq!(allocations(|| client.string("colour", &ann, "red")), 0);
    assert_eq!(allocations(|| client.string("staff", &ann, "red")), 0);
    assert_eq!(allocations(|| client.number("limit", &ann, 1.0)), 0);
    assert_eq!(allocations(|| client.json("layout", &ann, &Value::Null)), 0);
    assert_eq!(allocations(|| client.bool_detail("checkout", &ann, false)), 0);
    assert_eq!(allocations(|| client.string_detail("staff", &bob, "red")), 0);
    assert_eq!(allocations(|| client.bool_detail("nobody", &ann, false)), 0);
    assert_eq!(allocations(|| client.number_detail("colour", &ann, 1.0)), 0);
}
