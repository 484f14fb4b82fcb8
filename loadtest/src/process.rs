//! What the system knows of a process and of a core, and the end of a process.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Between two looks whether a process has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The memory that a process holds, in KiB; 0 if it has ended.
pub fn resident_kib(process: u32) -> u64 {
    status_kib(process, "VmRSS:")
}

/// The part of that which is read from files, as its own program is, in KiB; 0 if it has ended. The system takes it back
/// whenever it needs memory, and reads it again.
pub(crate) fn file_kib(process: u32) -> u64 {
    status_kib(process, "RssFile:")
}

/// The most memory that a process ever held, in KiB; 0 if it has ended.
pub fn peak_kib(process: u32) -> u64 {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, name: &str) -> u64 {
    let status = read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
}

/// How a process ended; none if it has not after so long: then it still runs.
pub(crate) fn ended_within(process: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let give_up = Instant::now() + limit;
    loop {
        let ended = process.try_wait()?;
        if ended.is_some() || Instant::now() > give_up {
            return Ok(ended);
        }
        std::thread::sleep(LOOK);
    }
}

/// Kills a process, and waits for its end.
pub(crate) fn kill(process: &mut Child) {
    // It may have ended already.
    let _ = process.kill();
    let _ = process.wait();
}

/// The system tells the time of a whole process in hundredths of a second, that in the system and that outside of it each.
const TICK_NS: u64 = 10_000_000;
/// By so much that may be off between two looks.
const TICKS_OFF_NS: u64 = 2 * TICK_NS;

/// The time that a process has had on cores.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    /// Its threads by their numbers, with nanoseconds.
    threads: BTreeMap<u32, u64>,
    /// All of it, that of threads that have ended included, in nanoseconds of whole ticks; none if the system does not tell.
    whole_ns: Option<u64>,
}

impl CpuTime {
    /// Of a process; nothing if it has ended.
    pub(crate) fn of(process: u32) -> CpuTime {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let of = |task: std::fs::DirEntry| {
            let thread = task.file_name().to_str()?.parse().ok()?;
            let schedule = read_to_string(task.path().join("schedstat")).ok()?;
            Some((thread, schedule.split_whitespace().next()?.parse().ok()?))
        };
        let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        CpuTime { threads: tasks.filter_map(of).collect(), whole_ns: whole_ns(&stat) }
    }

    /// The nanoseconds since an earlier look; none if the process has ended, or the system does not tell. What threads had that came or went meanwhile
    /// is known in whole ticks only.
    pub(crate) fn ns_since(&self, earlier: &CpuTime) -> Option<u64> {
        if self.threads.is_empty() || earlier.threads.is_empty() {
            return None;
        }
        let sum = |time: &CpuTime| time.threads.values().sum::<u64>();
        let by_threads = sum(self).saturating_sub(sum(earlier));
        let whole = self.whole_ns?.saturating_sub(earlier.whole_ns?);
        let are_same = self.threads.keys().eq(earlier.threads.keys());
        Some(if are_same && whole <= by_threads + TICKS_OFF_NS { by_threads } else { whole })
    }
}

/// The time of a process by its line; its name, which may hold anything, is in brackets.
fn whole_ns(stat: &str) -> Option<u64> {
    let (_, numbers) = stat.rsplit_once(')')?;
    let ticks: Vec<u64> =
        numbers.split_whitespace().skip(11).take(2).map_while(|text| text.parse().ok()).collect();
    let [outside, inside] = *ticks.first_chunk::<2>()?;
    Some((outside + inside) * TICK_NS)
}

/// Where the time of a core went since the machine started, in ticks of the system's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CoreTime {
    busy: u64,
    stolen: u64,
    all: u64,
}

impl CoreTime {
    /// Of a core by its number; nothing where the system does not tell.
    pub(crate) fn of(core: usize) -> CoreTime {
        CoreTime::read(&read_to_string("/proc/stat").unwrap_or_default(), core).unwrap_or_default()
    }

    fn read(stat: &str, core: usize) -> Option<CoreTime> {
        let name = format!("cpu{core}");
        let line = stat.lines().find(|line| line.split(' ').next() == Some(&name))?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|text| text.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guests' time is in user and nice already.
        let [user, nice, system, idle, waiting, irq, soft_irq, stolen] = *ticks.first_chunk::<8>()?;
        let busy = user + nice + system + irq + soft_irq;
        Some(CoreTime { busy, stolen, all: busy + idle + waiting + stolen })
    }

    /// The shares since an earlier look at the same core: how long it was busy, and how long the hypervisor had it.
    pub(crate) fn shares_since(&self, earlier: &CoreTime) -> Option<(f64, f64)> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all > 0)?;
        #[allow(clippy::cast_precision_loss, reason = "ticks of minutes")]
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / all as f64;
        Some((share(self.busy, earlier.busy), share(self.stolen, earlier.stolen)))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn shares_of_a_core_are_of_the_time_between_two_looks() {
        let before = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 100 0 50 800 10 0 0 0 0 0\ncpu10 1 1 1 1 1 1 1 1 0 0";
        let after = "cpu0 140 5 60 830 10 0 5 10 0 0\n";
        let [before, after] = [before, after].map(|stat| CoreTime::read(stat, 0).expect("a line for it"));
        let (busy, stolen) = after.shares_since(&before).expect("time has passed");
        assert!((busy - 0.6).abs() < 1e-9 && (stolen - 0.1).abs() < 1e-9, "{busy} {stolen}");
        assert_eq!(after.shares_since(&after), None);
        assert_eq!(CoreTime::read("cpu0 1 2 3", 0), None);
        assert_eq!(CoreTime::read("cpu1 1 2 3 4 5 6 7 8", 0), None);
    }

    #[test]
    fn a_process_that_does_not_end_is_waited_for_so_long_and_not_longer() {
        // It reads for as long as the other end of its pipe is open.
        let mut endless =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a cat");
        let soon = ended_within(&mut endless, Duration::from_millis(100)).expect("it can be waited for");
        assert_eq!(soon, None);
        drop(endless.stdin.take());
        let ended = ended_within(&mut endless, Duration::from_secs(60)).expect("it can be waited for");
        assert!(ended.is_some_and(|status| status.success()));
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let own = std::process::id();
        assert!(resident_kib(own) > 0 && peak_kib(own) >= resident_kib(own));
        assert_eq!((CpuTime::of(u32::MAX), resident_kib(u32::MAX)), (CpuTime::default(), 0));
        assert_eq!(CpuTime::of(own).ns_since(&CpuTime::default()), None, "it was not there");
    }

    #[test]
    fn time_of_threads_that_came_and_went_is_that_of_the_process() {
        let at = |threads: &[(u32, u64)], whole_ns: u64| CpuTime {
            threads: threads.iter().copied().collect(),
            whole_ns: Some(whole_ns),
        };
        let before = at(&[(7, 100), (8, 50)], 40 * TICK_NS);
        assert_eq!(at(&[(7, 130), (8, 60)], 40 * TICK_NS).ns_since(&before), Some(40));
        assert_eq!(
            at(&[(7, 130), (8, 60)], 42 * TICK_NS).ns_since(&before),
            Some(40),
            "ticks are not that exact"
        );
        assert_eq!(at(&[(7, 130), (8, 60)], 45 * TICK_NS).ns_since(&before), Some(5 * TICK_NS));
        assert_eq!(at(&[(7, 130)], 41 * TICK_NS).ns_since(&before), Some(TICK_NS));
        assert_eq!(at(&[(7, 130), (9, 1)], 47 * TICK_NS).ns_since(&before), Some(7 * TICK_NS));
        assert_eq!(CpuTime::default().ns_since(&before), None);
    }

    #[test]
    fn a_thread_that_has_ended_has_had_its_time() {
        let own = std::process::id();
        let before = CpuTime::of(own);
        let had_ns = || {
            let schedule = read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
            schedule.split(' ').next().and_then(|text| text.parse::<u64>().ok()).expect("a number")
        };
        let work = move || while had_ns() < 6 * TICK_NS {};
        std::thread::spawn(work).join().expect("it ends");
        let had = CpuTime::of(own).ns_since(&before).expect("this process is there");
        assert!(had >= 4 * TICK_NS, "{had}");
    }

    #[test]
    fn the_line_of_a_process_is_read_behind_its_name() {
        let line = "12 (a b) 3 (x)) S 1 12 12 0 -1 4194560 2000 0 0 0 150 25 7 9 20 0 4 0 100 1 1";
        assert_eq!(whole_ns(line), Some(175 * TICK_NS));
        assert_eq!(whole_ns("12 (a) S 1 12"), None);
        assert_eq!(whole_ns(""), None);
    }
}
