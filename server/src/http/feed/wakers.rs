//! Wakes thousands of streams cheaply. Each worker thread keeps a list of its own streams; a change
//! wakes one task a thread, and that task wakes the streams of its thread, which costs no lock and no
//! system call. The same task beats the heart of each stream, spread evenly over time, so that ten
//! thousand heartbeats never come at once in front of a kill.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::watch;

/// A stream that is silent hears from the server this often.
pub const HEARTBEAT_SECONDS: usize = 15;

/// What the wakers of all threads listen to.
pub struct Bell {
    rings: watch::Sender<u64>,
}

impl Default for Bell {
    fn default() -> Self {
        Bell { rings: watch::Sender::new(0) }
    }
}

impl Bell {
    /// Wakes every stream that has something to look at.
    pub fn ring(&self) {
        self.rings.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// What a waker asks of a stream before it wakes it.
pub trait Wakeful {
    /// Whether there is something new for it.
    fn has_news(&self) -> bool;
}

struct Slot {
    stream: Rc<dyn Wakeful>,
    waker: Rc<Sleeper>,
}

/// Where a stream leaves its waker when it has nothing to send.
#[derive(Default)]
pub struct Sleeper {
    waker: RefCell<Option<Waker>>,
    beat: Cell<bool>,
}

impl Sleeper {
    /// Leaves the waker, to be called at the next news or heartbeat.
    pub fn sleep(&self, waker: &Waker) {
        let mut place = self.waker.borrow_mut();
        match &*place {
            Some(present) if present.will_wake(waker) => {}
            _ => *place = Some(waker.clone()),
        }
    }

    /// Whether a heartbeat is due; it is due once.
    pub fn take_beat(&self) -> bool {
        self.beat.take()
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[derive(Default)]
struct Streams {
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<usize>>,
}

thread_local! {
    static STREAMS: RefCell<Option<Rc<Streams>>> = const { RefCell::new(None) };
}

/// A stream's place in the list of its thread; dropped with the stream.
pub struct Place {
    streams: Rc<Streams>,
    index: usize,
}

impl Place {
    /// Enters a stream into the list of this thread, and starts the thread's waker if it is the first.
    /// Has to be called on a thread that runs local tasks.
    pub fn enter(bell: &Bell, stream: Rc<dyn Wakeful>, waker: Rc<Sleeper>) -> Place {
        let streams = STREAMS.with_borrow_mut(|present| {
            Rc::clone(present.get_or_insert_with(|| {
                let streams = Rc::new(Streams::default());
                actix_web::rt::spawn(keep_waking(Rc::clone(&streams), bell.rings.subscribe()));
                streams
            }))
        });
        let slot = Some(Slot { stream, waker });
        let free = streams.free.borrow_mut().pop();
        let mut slots = streams.slots.borrow_mut();
        let index = match free {
            Some(index) => {
                slots[index] = slot;
                index
            }
            None => {
                slots.push(slot);
                slots.len() - 1
            }
        };
        drop(slots);
        Place { streams, index }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let slot = self.streams.slots.borrow_mut()[self.index].take();
        self.streams.free.borrow_mut().push(self.index);
        // The waker may own the task that owns the stream: dropped with no list borrowed.
        drop(slot);
    }
}

async fn keep_waking(streams: Rc<Streams>, mut rings: watch::Receiver<u64>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut second = 0;
    loop {
        tokio::select! {
            biased;
            rung = rings.changed() => {
                if rung.is_err() {
                    // The server is gone; wake everybody to notice.
                    streams.each(|_, slot| slot.waker.wake());
                    STREAMS.with_borrow_mut(|present| *present = None);
                    return;
                }
                streams.each(|_, slot| {
                    if slot.stream.has_news() {
                        slot.waker.wake();
                    }
                });
            }
            _ = seconds.tick() => {
                second = (second + 1) % HEARTBEAT_SECONDS;
                streams.each(|index, slot| {
                    if index % HEARTBEAT_SECONDS == second {
                        slot.waker.beat.set(true);
                        slot.waker.wake();
                    }
                });
            }
        }
    }
}

impl Streams {
    fn each(&self, mut visit: impl FnMut(usize, &Slot)) {
        // Waking only queues a task, it runs nothing: no stream can leave the list meanwhile.
        for (index, slot) in self.slots.borrow().iter().enumerate() {
            if let Some(slot) = slot {
                visit(index, slot);
            }
        }
    }
}
