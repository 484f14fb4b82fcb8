//! How much this process uses of the CPU and memory that it may use, as rules on them ask. Read on Linux; elsewhere nothing
//! is told, and such rules have nothing to judge. Bounds of control groups are known where those are of version 2; with
//! version 1 what counts is the machine's memory, and the cores that the process may run on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rollout_rules::sli::Gauges;
use tokio::time::Instant;

const WHOLE_MILLIONTHS: u128 = 1_000_000;
/// Where control groups are seen.
const GROUPS: &str = "/sys/fs/cgroup";
/// A core, as bounds of CPU time are told.
const CORE_THOUSANDTHS: u32 = 1_000;

/// Reads what is used, once in a slot.
pub(super) struct Usage {
    /// When CPU time was read last, and how much had been used by then.
    last: Option<(Instant, Duration)>,
    /// How much CPU time there is in a second: 500 is half a core's.
    cores_thousandths: u32,
    memory_bytes: Option<u64>,
}

impl Usage {
    pub(super) fn new(now: Instant) -> Usage {
        Usage {
            last: cpu_time().map(|used| (now, used)),
            cores_thousandths: cpu_allowed(),
            memory_bytes: memory_allowed(),
        }
    }

    /// What was used: CPU since the last call, memory at this moment.
    pub(super) fn read(&mut self, now: Instant) -> Gauges {
        let used = cpu_time();
        let before = std::mem::replace(&mut self.last, used.map(|used| (now, used)));
        let cpu = used.zip(before).and_then(|(used, (then, before))| {
            let could = now.duration_since(then).as_nanos().saturating_mul(self.cores_thousandths.into());
            millionths(used.saturating_sub(before).as_nanos(), could / u128::from(CORE_THOUSANDTHS))
        });
        let memory = resident_bytes().zip(self.memory_bytes);
        Gauges {
            cpu_millionths: cpu,
            memory_millionths: memory.and_then(|(used, of)| millionths(u128::from(used), u128::from(of))),
        }
    }
}

/// A part of a whole, which stops at all of it.
fn millionths(part: u128, whole: u128) -> Option<u32> {
    let told = part.saturating_mul(WHOLE_MILLIONTHS).checked_div(whole)?.min(WHOLE_MILLIONTHS);
    u32::try_from(told).ok()
}

#[cfg(target_os = "linux")]
fn cpu_time() -> Option<Duration> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(used.tv_sec).ok()?, u32::try_from(used.tv_nsec).ok()?))
}

#[cfg(not(target_os = "linux"))]
fn cpu_time() -> Option<Duration> {
    None
}

/// The cores that the process may run on, or the smallest share of time of a control group that it is in.
fn cpu_allowed() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let cores = u32::try_from(cores).unwrap_or(u32::MAX).saturating_mul(CORE_THOUSANDTHS);
    share_of_groups(&groups(), Path::new(GROUPS)).map_or(cores, |share| share.min(cores))
}

fn resident_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// What the machine has, or the smallest bound of a control group that the process is in.
fn memory_allowed() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kibibytes(&text, "MemTotal:"));
    machine.into_iter().chain(bound_of_groups(&groups(), Path::new(GROUPS))).min()
}

fn groups() -> String {
    fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

/// What a file says in the control group (version 2) that is named there and in those around it, as far as they are seen
/// from here: in a container the innermost is often the root.
fn told_by_groups(groups: &str, mount: &Path, file: &str) -> Vec<String> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let around = Path::new(path).ancestors().map(|group| mount.join(group).join(file));
    around.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

/// The smallest bound on memory, in bytes.
fn bound_of_groups(groups: &str, mount: &Path) -> Option<u64> {
    let told = told_by_groups(groups, mount, "memory.max");
    // One that has no bound says `max`.
    told.iter().filter_map(|text| text.trim().parse().ok()).min()
}

/// The smallest bound on CPU time, in thousandths of a core.
fn share_of_groups(groups: &str, mount: &Path) -> Option<u32> {
    let share = |text: &String| {
        // `50000 100000`: so many microseconds in each so many. One that has no bound says `max 100000`.
        let (quota, period) = text.trim().split_once(' ')?;
        let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
        let share = quota.checked_mul(CORE_THOUSANDTHS.into())?.checked_div(period)?;
        Some(u32::try_from(share).unwrap_or(u32::MAX).max(1))
    };
    told_by_groups(groups, mount, "cpu.max").iter().filter_map(share).min()
}

/// A line of `/proc` such as `VmRSS:   5120 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_bound_of_the_groups_around_a_process_is_what_it_may_use() {
        let mount = tempfile::tempdir().expect("a folder");
        let inner = mount.path().join("apps/shop");
        fs::create_dir_all(&inner).expect("folders");
        fs::write(mount.path().join("apps/memory.max"), "4096\n").expect("written");
        fs::write(inner.join("memory.max"), "max\n").expect("written");
        assert_eq!(bound_of_groups("0::/apps/shop\n", mount.path()), Some(4_096));
        fs::write(inner.join("memory.max"), "1024\n").expect("written");
        assert_eq!(bound_of_groups("3:cpu:/x\n0::/apps/shop\n", mount.path()), Some(1_024));
        assert_eq!(bound_of_groups("0::/elsewhere\n", mount.path()), None);
        // A container sees its own group as the root.
        fs::write(mount.path().join("memory.max"), "512\n").expect("written");
        assert_eq!(bound_of_groups("0::/../../host\n", mount.path()), Some(512));
    }

    #[test]
    fn a_part_of_a_core_is_all_that_a_group_may_use() {
        let mount = tempfile::tempdir().expect("a folder");
        let inner = mount.path().join("apps/shop");
        fs::create_dir_all(&inner).expect("folders");
        let inside = "0::/apps/shop\n";
        assert_eq!(share_of_groups(inside, mount.path()), None);
        fs::write(inner.join("cpu.max"), "max 100000\n").expect("written");
        assert_eq!(share_of_groups(inside, mount.path()), None);
        fs::write(mount.path().join("apps/cpu.max"), "150000 100000\n").expect("written");
        assert_eq!(share_of_groups(inside, mount.path()), Some(1_500));
        fs::write(inner.join("cpu.max"), "50000 100000\n").expect("written");
        assert_eq!(share_of_groups(inside, mount.path()), Some(500));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn half_a_core_that_is_busy_all_the_time_is_all_of_it() {
        let used = cpu_time().expect("Linux");
        let then = Instant::now();
        let mut usage =
            Usage { last: Some((then, Duration::ZERO)), cores_thousandths: 500, memory_bytes: None };
        // As long a time as twice what was used.
        let gauges = usage.read(then + used * 2);
        assert_eq!(gauges.cpu_millionths, Some(1_000_000));
    }

    #[test]
    fn a_part_of_what_there_is_is_told_in_millionths_and_never_more_than_all() {
        assert_eq!(millionths(1, 4), Some(250_000));
        assert_eq!(millionths(9, 4), Some(1_000_000));
        assert_eq!(millionths(1, 0), None);
        assert_eq!(kibibytes("Name: x\nVmRSS:\t    2 kB\n", "VmRSS:"), Some(2_048));
        assert_eq!(kibibytes("VmRSS:\t2 pages\n", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_works_uses_cpu_and_some_of_its_memory() {
        let then = Instant::now();
        let mut usage = Usage::new(then);
        let used = cpu_time().expect("Linux");
        let mut work = 1_u64;
        while cpu_time().expect("Linux") < used + Duration::from_millis(5) {
            work = std::hint::black_box(work.wrapping_mul(31));
        }
        // A second in which 5 ms or more were used, whatever the machine's clock says.
        let gauges = usage.read(then + Duration::from_secs(1));
        assert!(gauges.cpu_millionths >= Some(5_000_000 / usage.cores_thousandths), "{gauges:?}");
        assert!(gauges.memory_millionths.is_some_and(|part| part > 0 && part < 1_000_000), "{gauges:?}");
    }
}
