//! A response body that is an event stream: it sleeps until there is news or a heartbeat is due.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use bytes::Bytes;

use super::wakers::{Bell, Place, Sleeper, Wakeful};
use crate::http::problem::{self, Problem};

/// Sent when nothing else is, so that clients can tell a quiet stream from a dead one.
pub const HEARTBEAT: Bytes = Bytes::from_static(b": hb\n\n");
/// Most bytes handed to a connection before it is flushed: of its buffer, with the head of the answer, half a page
/// of memory is then ever touched, however large an event is.
const CHUNK_BYTES: usize = 1536;

/// What a stream does next.
pub enum Step {
    /// Sends this.
    Send(Bytes),
    /// Sleeps until something is new.
    Sleep,
    /// Ends. The client comes back if it wants to.
    End,
}

/// Where the events of one stream come from.
pub trait Source: Wakeful {
    /// What comes next. With `beat`, a heartbeat is due.
    fn step(&self, beat: bool) -> Step;
}

/// One of the streams that may be open at once; given back when dropped.
pub struct StreamPlace(Arc<AtomicUsize>);

impl StreamPlace {
    /// Takes a place, or refuses with 503.
    pub fn take(open: &Arc<AtomicUsize>, most: usize) -> Result<StreamPlace, Problem> {
        let before = open.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace(Arc::clone(open));
        if before < most {
            return Ok(place);
        }
        let detail = "the server holds as many event streams as its settings allow; come back later";
        Err(Problem::new(problem::TOO_MANY_STREAMS, detail).retry_after(5))
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Body {
    source: Rc<dyn Source>,
    sleeper: Rc<Sleeper>,
    /// The rest of an event that is larger than a chunk.
    rest: RefCell<Bytes>,
    /// A chunk is to be flushed before the next.
    flushing: Cell<bool>,
    _in_list: Place,
    _in_count: StreamPlace,
}

impl Body {
    fn next_chunk(&self) -> Step {
        let mut rest = self.rest.borrow_mut();
        if rest.is_empty() {
            match self.source.step(self.sleeper.take_beat()) {
                Step::Send(event) => *rest = event,
                other => return other,
            }
        }
        let length = rest.len().min(CHUNK_BYTES);
        Step::Send(rest.split_to(length))
    }
}

impl MessageBody for Body {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        // First: whatever becomes new while we look wakes us again.
        self.sleeper.sleep(context.waker());
        if self.flushing.take() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.next_chunk() {
            Step::Send(chunk) => {
                self.flushing.set(!self.rest.borrow().is_empty());
                Poll::Ready(Some(Ok(chunk)))
            }
            Step::Sleep => Poll::Pending,
            Step::End => Poll::Ready(None),
        }
    }
}

/// Answers with an event stream. Has to be called on the thread that serves the request.
pub fn answer(source: Rc<impl Source + 'static>, bell: &Bell, place: StreamPlace) -> HttpResponse {
    let sleeper = Rc::new(Sleeper::default());
    let wakeful: Rc<dyn Wakeful> = Rc::clone(&source) as Rc<dyn Wakeful>;
    let body = Body {
        _in_list: Place::enter(bell, wakeful, Rc::clone(&sleeper)),
        source,
        sleeper,
        rest: RefCell::new(Bytes::new()),
        flushing: Cell::new(false),
        _in_count: place,
    };
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        // Some proxies hold streams back unless told otherwise.
        .insert_header(("x-accel-buffering", "no"))
        .body(body)
}
