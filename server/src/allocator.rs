//! What the C library's allocator keeps of what is free. By itself it makes up to eight arenas a core, each of which
//! keeps what its busiest moment took, and having once got a large block from the system and given it back, it keeps
//! blocks of that size from then on: memory then looks as if it grew for hours. So it does where large blocks come and go
//! among small ones: one of these lands where a large block was, and the next large one makes the arena longer. Other
//! allocators are left as they are.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use self::gnu::keep_less;

/// Nothing is to be set.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_less() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod gnu {
    use std::env::var_os;
    use std::thread::available_parallelism;

    /// In bytes: what the engine takes for a segment of its log, again and again.
    const LARGE: libc::c_int = 512 * 1024;
    /// In bytes: what may be free at the end of an arena, as the C library has it as long as it does not adapt. With more, what a
    /// checkpoint takes for a moment is kept for a minute.
    const KEPT: libc::c_int = 128 * 1024;

    /// Has this process keep less; before it has threads that would get arenas. What the environment says stands.
    pub fn keep_less() {
        let cores = available_parallelism().ok().and_then(|cores| libc::c_int::try_from(cores.get()).ok());
        set("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, cores.unwrap_or(1));
        // Blocks from this size on come from the system by themselves, and go back to it.
        set("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, LARGE);
        // So does what is free at the end of an arena.
        set("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, KEPT);
    }

    #[allow(unsafe_code, reason = "no crate offers it, and the environment is read before we run")]
    fn set(variable: &str, what: libc::c_int, value: libc::c_int) {
        if var_os(variable).is_none() && var_os("GLIBC_TUNABLES").is_none() {
            // SAFETY: it takes two numbers and locks what it changes.
            unsafe { libc::mallopt(what, value) };
        }
    }

    #[cfg(test)]
    mod tests {
        use std::fs::read_to_string;

        use super::*;

        /// Whether an address belongs to anything that this process has.
        fn is_mapped(address: usize) -> bool {
            let number = |text| usize::from_str_radix(text, 16).expect("a number");
            let maps = read_to_string("/proc/self/maps").expect("a process knows what it has");
            maps.lines().any(|line| {
                let (range, _) = line.split_once(' ').expect("a range");
                let (start, end) = range.split_once('-').expect("a start and an end");
                (number(start)..number(end)).contains(&address)
            })
        }

        #[test]
        fn what_is_as_large_as_a_segment_of_the_log_goes_back_to_the_system_once_it_is_free() {
            keep_less();
            for _ in 0..3 {
                let segment = vec![1_u8; LARGE as usize];
                // Were the block a part of the heap, this would lie behind it.
                let behind = Box::new(segment.len());
                let middle = segment.as_ptr() as usize + segment.len() / 2;
                assert!(is_mapped(middle));
                drop(segment);
                assert!(!is_mapped(middle), "{behind} bytes are kept");
            }
        }
    }
}
