//! What the types that write themselves by hand look like as JSON Schema.

use alloc::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::condition::{AttributePath, Condition, Operator, SegmentRef};
use crate::flag::Tier;
use crate::ids::Digest;
use crate::percent::Exposure;
use crate::release::ArtifactDigest;
use crate::sli::{Histogram, SlowUnits, UnitList};
use crate::time::UnixMs;

macro_rules! by_hand {
    ($($name:ident as $called:literal = $schema:tt;)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $called.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

by_hand! {
    UnixMs as "Moment" = {
        "description": "A moment. Written as RFC 3339 in UTC with milliseconds; read as RFC 3339 with any offset, \
                        or as milliseconds since 1970.",
        "examples": ["2027-01-31T18:00:00.000Z"],
        "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "integer", "minimum": 0, "maximum": 253_402_300_799_999_u64 }
        ]
    };
    Exposure as "Exposure" = {
        "description": "The percentage of units that a rollout has reached, with at most three decimals.",
        "examples": [12.5],
        "type": "number", "minimum": 0, "maximum": 100
    };
    Tier as "Tier" = {
        "description": "How much an app matters: 0 personal, 1 a team depends on it, 2 the organisation does. \
                        Decides expiry, approvals and what the gate asks.",
        "type": "integer", "enum": [0, 1, 2]
    };
    Digest as "Digest" = {
        "description": "A SHA-256 digest.",
        "type": "string", "pattern": "^[0-9a-fA-F]{64}$"
    };
    ArtifactDigest as "ArtifactDigest" = {
        "description": "Names an artifact by its content, as registries do.",
        "examples": ["sha256:0f8a2b5c1d3e4f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"],
        "type": "string", "pattern": "^sha256:[0-9a-f]{64}$"
    };
    Histogram as "Histogram" = {
        "description": "How many requests took how long: pairs of a latency in microseconds and a number of requests, at most 459.",
        "examples": [[[12_000, 290], [48_000, 20]]],
        "type": "array", "maxItems": 459,
        "items": { "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 2, "maxItems": 2 }
    };
    UnitList as "UnitList" = {
        "description": "Units, each by 16 hexadecimal digits of a hash that does not depend on the variant: FNV-1a of 64 bits over the                         unit's bytes, mixed as splitmix64 does. At most 256; of more, those with the smallest hashes.",
        "type": "object", "required": ["units"], "additionalProperties": false,
        "properties": {
            "units": { "type": "array", "maxItems": 256, "items": { "type": "string", "pattern": "^[0-9a-fA-F]{16}$" } },
            "complete_below": {
                "type": "string", "pattern": "^[0-9a-fA-F]{16}$",
                "description": "Every unit with a smaller hash is listed. Left out: all are."
            }
        }
    };
    SlowUnits as "SlowUnits" = {
        "description": "Units with their slowest request: pairs of a hash, as in other lists of units, and microseconds. At most 256; of                         more, those with the smallest hashes.",
        "examples": [{ "units": [["53e56bd7f6f9d4bb", 48_000]] }],
        "type": "object", "required": ["units"], "additionalProperties": false,
        "properties": {
            "units": { "type": "array", "maxItems": 256, "items": { "type": "array", "minItems": 2, "maxItems": 2, "items": {} } },
            "complete_below": {
                "type": "string", "pattern": "^[0-9a-fA-F]{16}$",
                "description": "Every unit with a smaller hash is listed. Left out: all are."
            }
        }
    };
    SegmentRef as "SegmentRef" = {
        "description": "`key` for a segment of the app, `shared:key` for a shared one.",
        "type": "string", "pattern": "^(shared:)?[a-z0-9][a-z0-9_-]{0,63}$"
    };
}

/// A tree that is told as one object, since generators of clients do not understand a choice that holds itself.
impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let condition = generator.subschema_for::<Condition>();
        let attribute = generator.subschema_for::<AttributePath>();
        let operator = generator.subschema_for::<Operator>();
        let segment = generator.subschema_for::<SegmentRef>();
        json_schema!({
            "description": "For whom a rule or segment holds: exactly one of `all`, `any`, `not`, `segment`, or `attribute` with \
                            `op`. An attribute that is not there passes no test.",
            "type": "object",
            "properties": {
                "all": { "type": "array", "items": condition, "description": "Every one holds. Without any, it holds." },
                "any": { "type": "array", "items": condition, "description": "At least one holds." },
                "not": condition,
                "segment": segment,
                "attribute": attribute,
                "op": operator,
                "values": { "type": "array", "items": {}, "description": "What the attribute is compared with." },
                "ci": { "type": "boolean", "description": "Ignore case." },
                "dfa": {
                    "type": "array", "items": { "type": "string" },
                    "description": "In frames to SDKs: the compiled form of each regular expression.",
                },
            },
            "minProperties": 1,
            "additionalProperties": false,
        })
    }
}
