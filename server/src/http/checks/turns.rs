//! Who comes first where a token has little left of what it may ask for: whoever asked last.
//!
//! When a server stood still for some milliseconds, because the system had the core for something else, requests wait.
//! Answered in the order in which they came, those that waited longest get what the token may ask for and those that just
//! came are refused: most of what an overloaded server answers is late then. The other way round, what it answers is as quick as
//! ever, and whoever waited longest, and may have given up, is refused.
//!
//! A connection's task knows nothing of the others. So those that find little left, and not nothing, wait here until all tasks that can run by
//! now have had their turn, and are then woken, the last first. They are called by a task that hangs on no connection: one that
//! ends, or whose client reads nothing, keeps nobody waiting. Who closes its half of the connection behind its request is not
//! answered then, as with every request that is not answered at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use actix_web::rt;

/// The requests of one thread that wait for their turn: one of each connection at most.
#[derive(Default)]
pub(super) struct Turns {
    /// How many times those who waited were called.
    called: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

/// What a request waits for: that others are called than had been by then.
pub(super) struct Turn(u64);

impl Turns {
    /// Waits with the others, in the task of this waker.
    pub(super) fn join(self: &Rc<Turns>, waker: &Waker) -> Turn {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            let turns = Rc::clone(self);
            // Runs behind every task that was woken by now.
            rt::spawn(async move { turns.call() });
        }
        waiting.push(waker.clone());
        Turn(self.called.get())
    }

    /// Whether a turn has come.
    pub(super) fn has_come(&self, Turn(joined): &Turn) -> bool {
        self.called.get() != *joined
    }

    fn call(&self) {
        self.called.set(self.called.get() + 1);
        self.waiting.take().into_iter().rev().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Wake;

    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// A task that says when it is woken.
    struct Task {
        name: usize,
        woken: Arc<Mutex<Vec<usize>>>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.woken.lock().unwrap().push(self.name);
        }
    }

    #[tokio::test]
    async fn all_that_wait_are_woken_the_last_first_once_others_have_run() {
        let (turns, woken) = (Rc::new(Turns::default()), Arc::<Mutex<Vec<usize>>>::default());
        let join = |name| turns.join(&Waker::from(Arc::new(Task { name, woken: Arc::clone(&woken) })));
        let taken = || std::mem::take(&mut *woken.lock().unwrap());
        let waits = async {
            let waiting = [1, 2, 3].map(join);
            assert!(taken().is_empty() && !waiting.iter().any(|turn| turns.has_come(turn)));
            yield_now().await;
            assert_eq!(taken(), [3, 2, 1]);
            assert!(waiting.iter().all(|turn| turns.has_come(turn)));
            let late = join(4);
            assert!(taken().is_empty() && !turns.has_come(&late));
            yield_now().await;
            assert!(taken() == [4] && turns.has_come(&late));
        };
        LocalSet::new().run_until(waits).await;
    }
}
