//! What an app says of itself: CPU and memory.

use serde::{Deserialize, Serialize};

use super::guardrail::Sli;

/// How much an app uses of what it has, in millionths; of several processes that of the worst. Absent: not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gauges {
    /// Of its CPU, averaged over the slot. More than all of it counts as all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millionths: Option<u32>,
    /// Of its memory, at the most in the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_millionths: Option<u32>,
}

impl Gauges {
    /// Adds what another process told. The order does not matter.
    pub fn merge(&mut self, other: Gauges) {
        self.cpu_millionths = self.cpu_millionths.max(other.cpu_millionths);
        self.memory_millionths = self.memory_millionths.max(other.memory_millionths);
    }

    /// The value of an SLI that is a gauge.
    pub fn value(self, sli: Sli) -> Option<u64> {
        let told = match sli {
            Sli::Cpu => self.cpu_millionths,
            Sli::Memory => self.memory_millionths,
            _ => None,
        };
        told.map(|told| u64::from(told.min(1_000_000)))
    }
}
