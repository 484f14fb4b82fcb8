//! What figures are of: a closed list. A line of it is the name in the program, the name in files, what tables call
//! it, and its unit.

macro_rules! measures {
    ($($(#[$doc:meta])* $measure:ident = $name:literal, $words:literal, $unit:ident;)+) => {
        /// What a figure counts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Measure { $($(#[$doc])* $measure,)+ }

        impl Measure {
            /// All of them with the names that files use.
            pub(crate) const ALL: &[(&'static str, Measure)] = &[$(($name, Measure::$measure),)+];

            /// Its name in files.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Measure::$measure => $name,)+ }
            }

            /// What tables call it.
            pub(crate) fn words(self) -> &'static str {
                match self { $(Measure::$measure => $words,)+ }
            }

            pub(crate) fn unit(self) -> Unit {
                match self { $(Measure::$measure => Unit::$unit,)+ }
            }
        }
    };
}

measures! {
    /// Answers for each second that the server's threads had on a core.
    ChecksPerCpuSecond = "checks_per_cpu_second", "answers a CPU second", PerSecond;
    /// Answers a second.
    Throughput = "throughput", "answers a second", PerSecond;
    /// From the request for an event to the last client that has it; the middle event of each turn, and
    /// of those the middle one.
    EventToLastMs = "event_to_last_ms", "event to the last client", Ms;
    /// CPU time of the server for an event, by each client that has it.
    CpuUsPerClient = "cpu_us_per_client", "CPU time an event and client", Us;
    /// From the first client that connects to the last that has its stream; the worst of all storms.
    StormS = "storm_s", "until all are connected, at worst", Seconds;
    /// Memory of the server that a client takes.
    KibPerClient = "kib_per_client", "memory a client", Kib;
    /// From the moment a server is killed to the last client that is served again; the worst.
    LastBackS = "last_back_s", "last client back", Seconds;
    /// How long a check waited that was answered after the server said that it is ready, from then or from when it was
    /// due; the worst.
    CheckWaitMs = "check_wait_ms", "longest wait of a check", Ms;
    /// From the last request of an overload until nothing is refused any more, and nothing slow.
    RecoveryS = "recovery_s", "until all is as before", Seconds;
    /// The share of what is offered that is told when to come again.
    ToldWhen = "told_when", "told when to come again", Share;
    /// How much memory grows in a minute, at most by what was seen.
    KibPerMinute = "kib_per_minute", "memory a minute, at most", Kib;
    /// Memory that was taken in all.
    KibTaken = "kib_taken", "memory taken", Kib;
    /// An operator's kill; the worst.
    KillMs = "kill_ms", "worst of the kills", Ms;
    /// A look at the server's health; the worst.
    HealthMs = "health_ms", "worst look at health", Ms;
    /// How much memory grows in half an hour, at most by what was seen.
    GrowthKib = "growth_kib", "memory in half an hour", Kib;
    /// The same, at least by what was seen: above nothing, it grows by more than its noise.
    LeastGrowthKib = "least_growth_kib", "the same, at least", Kib;
    /// Memory that a token takes which was made and revoked.
    KibPerToken = "kib_per_token", "memory a revoked token", Kib;
    /// How many minutes of a busy installation have passed.
    TrafficMinutes = "traffic_minutes", "minutes of traffic", Minutes;
    /// What 99 of 100 answers do not pass.
    P99Ms = "p99_ms", "p99 of checks", Ms;
    /// The same with those during which the sender stood still.
    P99OfAllMs = "p99_of_all_ms", "p99 of all checks", Ms;
    /// CPU time of the server for each check that it answered, with whatever it did beside.
    CpuUsPerCheck = "cpu_us_per_check", "CPU time a check, all told", Us;
    /// CPU time of a check in process.
    NsPerCheck = "ns_per_check", "CPU time a check", Ns;
    /// Checks in process for a second of CPU time of each thread.
    CheckRate = "check_rate", "checks a CPU second", PerSecond;
    /// Memory of the server, once it is up.
    RssKib = "rss_kib", "memory", Kib;
    /// Memory that a flag takes, by what more of them take more.
    BytesPerFlag = "bytes_per_flag", "memory a flag", Bytes;
    /// Memory that an app takes with its flags, by what more of them take more.
    BytesPerApp = "bytes_per_app", "memory an app", Bytes;
    /// All flags of the app, asked for one after another; the middle one.
    BulkMs = "bulk_ms", "all flags", Ms;
    /// The same, unchanged.
    UnchangedMs = "unchanged_ms", "all flags, unchanged", Ms;
}

/// In what a measure is counted. A new one is a line here and one in [`Unit::sign`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    Ms,
    Us,
    Ns,
    Bytes,
    Kib,
    Seconds,
    Minutes,
    /// A part of a whole.
    Share,
}

impl Measure {
    /// What stands for it where nobody sees into the server's process.
    pub(crate) fn seen_from_outside(self) -> Option<Measure> {
        (self == Measure::ChecksPerCpuSecond).then_some(Measure::Throughput)
    }
}

impl Unit {
    /// As it stands behind a value.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Unit::PerSecond => "/s",
            Unit::Ms => "ms",
            Unit::Us => "us",
            Unit::Ns => "ns",
            Unit::Bytes => "B",
            Unit::Kib => "KiB",
            Unit::Seconds => "s",
            Unit::Minutes => "min",
            Unit::Share => "",
        }
    }

    /// A value of it: as many digits as it is worth looking at.
    pub(crate) fn said(self, value: f64) -> String {
        let digits = match value.abs() {
            large if large >= 1_000.0 => 0,
            middle if middle >= 10.0 => 1,
            _ => 2,
        };
        let space = if self == Unit::PerSecond { "" } else { " " };
        format!("{value:.digits$}{space}{}", self.sign())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_one_line_and_values_have_their_unit() {
        for (at, (name, measure)) in Measure::ALL.iter().enumerate() {
            assert_eq!(measure.name(), *name);
            assert!(Measure::ALL[..at].iter().all(|(other, _)| other != name), "{name} twice");
        }
        let said = |value| Measure::Throughput.unit().said(value);
        assert_eq!([said(61_234.4), said(13.84), said(1.234)], ["61234/s", "13.8/s", "1.23/s"]);
    }
}
