//! What a flag takes in memory: its definition, its states in two environments, both compiled, and its
//! places in their tables.
#![allow(clippy::unwrap_used, unsafe_code, reason = "tests; an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rollout_rules::compile::{CompiledFlag, Definition, FlagSource};
use rollout_rules::flag::{Flag, FlagState, Kills};
use rollout_rules::ids::{EnvKey, Revision};
use rollout_rules::segment::SegmentTable;
use rollout_rules::table::FlagTable;

/// Most memory of a flag with two variants in two environments, in bytes.
const MOST: usize = 2 * 1024;

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(rounded(layout), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(rounded(layout), Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What an allocator takes: its own word, and 16 bytes at a time.
fn rounded(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16)
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_flag_in_two_environments_takes_little_memory() {
    const FLAGS: usize = 2_000;
    let kills = Kills::default();
    let segments = SegmentTable::default();
    let environments = [EnvKey::new("production").unwrap(), EnvKey::new("sandbox").unwrap()];
    let before = LIVE.load(Relaxed);
    let mut tables = [FlagTable::default(), FlagTable::default()];
    for number in 0..FLAGS {
        let flag: Flag = serde_json::from_str(&format!(
            r#"{{"key":"checkout.new-flow-{number}","type":"boolean","off_variant":"off",
                "variants":[{{"key":"on","value":true}},{{"key":"off","value":false}}],
                "description":"The new flow of the checkout","owner":"shop@example.com",
                "created_at":"2026-01-01T00:00:00Z"}}"#
        ))
        .unwrap();
        let definition = Definition::new(Arc::new(flag));
        for (table, environment) in tables.iter_mut().zip(&environments) {
            let state: FlagState = serde_json::from_str(
                r#"{"targeting":{"on":true,"exposure":25,"serve":{"variant":"on"}},
                    "expires_at":"2026-02-01T00:00:00Z","targeting_revision":7}"#,
            )
            .unwrap();
            *table = table.with(Arc::new(CompiledFlag::compile(FlagSource {
                definition: Arc::clone(&definition),
                state: Arc::new(state),
                revision: Revision(7),
                kills: &kills,
                environment,
                shared_segments: &segments,
                app_segments: &segments,
                previous: None,
            })));
        }
    }
    let each = (LIVE.load(Relaxed) - before) / FLAGS;
    println!("{each} bytes a flag");
    assert!(each <= MOST, "{each} bytes a flag, at most {MOST} are allowed");
    drop(black_box(tables));
}
