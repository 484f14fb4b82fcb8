//! Ready-made middleware: opens the scope of each request, hands it to the handler, and tells how it ended. A status of 500
//! or above, or an error instead of an answer, is a request that failed; so is a panic.

#[cfg(feature = "actix")]
pub mod actix;
#[cfg(feature = "tower")]
pub mod tower;

use std::ops::Deref;
use std::sync::Arc;

use crate::outcomes::{Outcome, Scope};

/// The scope of a request, as a handler finds it among the request's extensions. Reads as a [`Scope`].
///
/// How the request ended is said by the middleware, or by whoever says it first with [`finish`](RequestScope::finish). What is
/// checked after the answer was made is not remembered.
#[derive(Clone, Debug)]
pub struct RequestScope(Arc<Scope>);

impl RequestScope {
    pub(crate) fn new(scope: Scope) -> RequestScope {
        RequestScope(Arc::new(scope))
    }

    /// Says how the request ended, in place of the middleware: for requests whose answer does not tell, or that cost
    /// something.
    pub fn finish(&self, outcome: Outcome) {
        self.0.settle(outcome);
    }

    pub(crate) fn answered(&self, failed: bool) {
        self.0.settle(Outcome::failed(failed));
    }
}

impl Deref for RequestScope {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.0
    }
}
