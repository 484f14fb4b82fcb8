//! What the C library's allocator keeps of what is free. By itself it makes up to eight arenas a core, each of which
//! keeps what its busiest moment took, and having once got a large block from the system and given it back, it keeps
//! blocks of that size from then on: memory then looks as if it grew for hours. Other allocators are left as they are.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use self::gnu::keep_less;

/// Nothing is to be set.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_less() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod gnu {
    use std::env::var_os;
    use std::thread::available_parallelism;

    /// In bytes: more than the engine takes for a segment of its log, again and again.
    const LARGE: libc::c_int = 1024 * 1024;

    /// Has this process keep less; before it has threads that would get arenas. What the environment says stands.
    pub fn keep_less() {
        let cores = available_parallelism().ok().and_then(|cores| libc::c_int::try_from(cores.get()).ok());
        set("MALLOC_ARENA_MAX", libc::M_ARENA_MAX, cores.unwrap_or(1));
        // Blocks from this size on come from the system by themselves, and go back to it.
        set("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, LARGE);
        // So does what is free at the end of an arena.
        set("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, LARGE);
    }

    #[allow(unsafe_code, reason = "no crate offers it, and the environment is read before we run")]
    fn set(variable: &str, what: libc::c_int, value: libc::c_int) {
        if var_os(variable).is_none() && var_os("GLIBC_TUNABLES").is_none() {
            // SAFETY: it takes two numbers and locks what it changes.
            unsafe { libc::mallopt(what, value) };
        }
    }
}
