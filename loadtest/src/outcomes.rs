//! What an app tells of its requests.

use serde_json::{Value, json};

/// Units that a summary lists.
const UNITS: u64 = 20;

/// A summary of what was served of a flag in the slot that begins at this moment, in milliseconds since 1970: of its
/// variant `on` or `off` by the number, to 20 units. Each number has units of its own.
pub fn summary(flag: &str, number: u64, slot_ms: u64) -> Value {
    let variant = if number.is_multiple_of(2) { "on" } else { "off" };
    // In the form of their hashes.
    let unit = |unit: u64| format!("{:016x}", (number * UNITS + unit).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let served: Vec<String> = (0..UNITS).map(unit).collect();
    let slow: Vec<Value> = served.iter().map(|unit| json!([unit, 20_000])).collect();
    json!({
        "flag": flag, "flag_revision": 5, "split": ".exposure", "variant": variant, "slot": slot_ms,
        "outcomes": {
            "units": UNITS, "requests": 60, "bad_requests": 1, "cost_micros": 600,
            "latency": [[8_000, 30], [16_000, 20], [20_000, 9], [90_000, 1]],
            "served": { "units": served }, "bad": { "units": [served[0]] }, "slow": { "units": slow },
        },
    })
}
