//! Every connection takes a file descriptor, and shells allow few. The server takes what the system
//! lets it have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything that is no connection: the log, checkpoints, threads' pipes, the listener.
const OWN: u64 = 256;

/// Raises this process's limit as far as `connections` need and the system allows. Answers with how many
/// connections fit.
pub fn make_room(connections: usize) -> usize {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OWN);
    let limit = getrlimit(Resource::Nofile);
    let (Some(current), most) = (limit.current, limit.maximum) else { return connections };
    let allowed = wanted.min(most.unwrap_or(wanted));
    let mut open = current;
    if current < allowed {
        let raised = Rlimit { current: Some(allowed), maximum: most };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            open = allowed;
        }
    }
    let room = open.saturating_sub(OWN).max(1);
    usize::try_from(room).unwrap_or(usize::MAX).min(connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_as_far_as_needed_and_no_further_than_allowed() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit { current: Some(300), maximum: before.maximum };
        setrlimit(Resource::Nofile, low).expect("a soft limit may be lowered");
        assert_eq!(make_room(20), 20);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(300));
        assert_eq!(make_room(400), 400);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(400 + OWN));
        if let Some(most) = before.maximum {
            assert_eq!(make_room(usize::MAX), usize::try_from(most - OWN).expect("fits"));
        }
        setrlimit(Resource::Nofile, before).expect("as it was");
    }
}
