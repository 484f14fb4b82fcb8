//! A check allocates nothing, whatever the flag is made of.
#![allow(clippy::unwrap_used, unsafe_code, reason = "tests; an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate_flag;
use rollout_rules::time::UnixMs;
use rollout_rules_tests::World;
use serde_json::{Value, json};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

/// A flag for each operator, with values that pass and values that do not.
fn world() -> World {
    let tests = [
        json!({"attribute": "plan", "op": "in", "values": ["a", "b", "c", "d", "e", "pro"]}),
        json!({"attribute": "plan", "op": "in", "values": ["PRO"], "ci": true}),
        json!({"attribute": "tags", "op": "in", "values": [["x"], {"k": [1]}, 7, true]}),
        json!({"attribute": "mail", "op": "starts_with", "values": ["ANN"], "ci": true}),
        json!({"attribute": "mail", "op": "ends_with", "values": ["@example.com", "@example.org"]}),
        json!({"attribute": "mail", "op": "contains", "values": ["ẞ", "EXAMPLE"], "ci": true}),
        json!({"attribute": "mail", "op": "regex", "values": ["^[\\w.]+@(\\p{L}|[a-z])+\\.com$"]}),
        json!({"attribute": "age", "op": "num_gte", "values": [18, "21.5"]}),
        json!({"attribute": "since", "op": "date_before", "values": ["2027-01-01T00:00:00+01:00"]}),
        json!({"attribute": "mail", "op": "date_before", "values": [1000]}),
        json!({"attribute": "version", "op": "semver_gt", "values": ["v1.2.3-rc.1+build"]}),
        json!({"attribute": "ip", "op": "cidr", "values": ["10.0.0.0/8", "2001:db8::/32"]}),
        json!({"attribute": "mail", "op": "cidr", "values": ["10.0.0.0/8"]}),
        json!({"attribute": "user.address.city", "op": "exists"}),
        json!({"segment": "beta"}),
        json!({"segment": "shared:gone"}),
    ];
    let variants = json!([{"key": "on", "value": 1}, {"key": "off", "value": 0}]);
    let flag = |key: &str, mut targeting: Value| {
        targeting["on"] = json!(true);
        json!({
            "flag": {"key": key, "type": "number", "off_variant": "off", "created_at": 0, "variants": variants},
            "state": {"expires_at": 5_000_000_000_000_u64, "targeting": targeting},
            "revision": 1,
        })
    };
    let split = |unit: Value| {
        let weights = json!([{"variant": "on", "weight": 1}, {"variant": "off", "weight": 2}]);
        json!({"split": {"id": "s", "weights": weights, "unit": unit}})
    };
    let mut flags = vec![
        flag("plain", json!({"exposure": 100, "serve": {"variant": "on"}})),
        flag("share", json!({"exposure": 12.5, "serve": {"variant": "on"}})),
        flag("split", json!({"exposure": 50, "serve": split(json!("age"))})),
        flag(
            "target",
            json!({"exposure": 0, "serve": {"variant": "on"},
            "targets": [{"variant": "off", "units": ["ann", "bob"]}]}),
        ),
        flag(
            "needs",
            json!({"exposure": 100, "serve": {"variant": "on"},
            "prerequisites": [{"flag": "plain", "variants": ["on"]}, {"flag": "split", "variants": ["on", "off"]}]}),
        ),
        flag(
            "due",
            json!({"exposure": 100, "serve": {"variant": "on"},
            "schedule": [{"id": "x", "at": 0, "exposure": 3}]}),
        ),
    ];
    for (at, test) in tests.iter().enumerate() {
        for (kind, when) in [("not", json!({"not": test})), ("is", json!({"any": [{"all": [test]}]}))] {
            let rules = json!([{"id": "r", "when": when, "serve": split(Value::Null)}]);
            flags.push(flag(
                &format!("{kind}-{at}"),
                json!({"exposure": 1, "serve": {"variant": "on"}, "rules": rules}),
            ));
        }
    }
    serde_json::from_value(json!({
        "environment": {"key": "production", "ends_at": 5_000_000_000_000_u64},
        "kills": {"app": {"environments": {"sandbox": {"id": "k", "at": 0}}, "off_before": 0,
                          "off_before_in": {"sandbox": 3}}},
        "segments": {"app": [{
            "segment": {"key": "beta", "when": {"attribute": "plan", "op": "in", "values": ["pro"]}},
            "members": ["bob"],
        }]},
        "flags": flags,
    }))
    .unwrap()
}

#[test]
fn a_check_allocates_nothing() {
    let built = world().build();
    let set = built.set();
    let contexts: Vec<Context> = [
        json!({}),
        json!({"targetingKey": "ann", "plan": "pro", "tags": ["x", {"k": [1]}], "mail": "ann.ß@example.com",
               "age": "41", "since": "2026-05-01T10:00:00Z", "version": "1.2.3", "ip": "::ffff:10.9.8.7",
               "user": {"address": {"city": "Ulm"}}}),
        json!({"targetingKey": "somebody else", "plan": 7, "tags": [true, ["x"]], "mail": "x", "age": -41,
               "since": 17, "version": "not.a.version", "ip": "2001:db8::1", "user.address.city": "Ulm"}),
    ]
    .into_iter()
    .map(|context| serde_json::from_value(context).unwrap())
    .collect();
    let keys: Vec<String> =
        set.environment.flags.sorted().iter().map(|flag| flag.key().to_string()).collect();
    for context in &contexts {
        for key in &keys {
            let count = allocations_of(|| {
                let answer = black_box(built.check(key, context, UnixMs(1_800_000_000_000)).unwrap());
                black_box((
                    answer.variant(),
                    answer.value(),
                    answer.rule(),
                    answer.split(),
                    answer.serialized(),
                ));
            });
            assert_eq!(count, 0, "{key} for {context:?}");
        }
        let count = allocations_of(|| {
            for flag in set.environment.flags.iter() {
                black_box(evaluate_flag(&set, flag, context, UnixMs(1_800_000_000_000)));
            }
            assert!(built.check("no such flag", context, UnixMs(0)).is_none());
        });
        assert_eq!(count, 0, "all flags for {context:?}");
    }
    assert!(allocations_of(|| drop(black_box(Box::new(1)))) > 0, "the counter counts");
}
