//! Bodies that nobody reads: who is refused for asking too often, or without a token, is refused before the body is
//! looked at. HTTP/1.1 can then go on only over a new connection, and connecting again is what an overloaded server
//! needs least. So a short body is read to its end after all.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header;
use bytes::Bytes;
use futures_util::Stream;

/// Most of a body that is read for nobody, in bytes. After a longer one the connection is closed.
const MAX_DRAINED_BYTES: usize = 64 * 1024;
/// How long the rest of a body is waited for; then the connection is closed.
const DRAINING: Duration = Duration::from_millis(100);

/// A body that can still be read when whoever was to read it is gone.
#[derive(Clone)]
pub(super) struct KeptBody(Rc<RefCell<Rest>>);

struct Rest {
    payload: Payload,
    ended: bool,
}

impl KeptBody {
    /// The body of a request, if it has one.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<KeptBody> {
        let headers = request.headers();
        if !headers.contains_key(header::CONTENT_LENGTH) && !headers.contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let body = KeptBody(Rc::new(RefCell::new(Rest { payload: request.take_payload(), ended: false })));
        request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
        Some(body)
    }

    /// Reads what nobody has read.
    pub(super) async fn drain(self) {
        let mut left = MAX_DRAINED_BYTES;
        let rest = poll_fn(|context| {
            loop {
                match ready!(self.0.borrow_mut().poll(context)) {
                    Some(Ok(bytes)) if bytes.len() <= left => left -= bytes.len(),
                    _ => return Poll::Ready(()),
                }
            }
        });
        // What does not come costs the connection.
        let _ = tokio::time::timeout(DRAINING, rest).await;
    }
}

impl Rest {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.payload).poll_next(context);
        self.ended = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

impl Stream for KeptBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll(context)
    }
}
