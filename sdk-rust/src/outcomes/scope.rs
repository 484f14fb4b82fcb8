//! The scope of a request: remembers what was served in it until it is known how it ended.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rollout_rules::context::Context;
use rollout_rules::evaluate::Answer;
use rollout_rules::sli::UnitHash;
use serde_json::Value;

use super::Outcome;
use super::tallies::{Ended, Served};
use crate::client::Client;
use crate::detail::{Detail, ErrorKind, Json, Text};
use crate::shared::locked;

/// Most flags that one scope remembers; further ones are answered all the same, and counted as left out.
pub const MAX_FLAGS: usize = 64;

/// One request: checks through it are answered as the client answers them, and remembered with the variant that was
/// served, so that how the request ends counts for exactly these variants.
///
/// Only variants that a split or an exposure chose are remembered; people on lists, and answers that an app did not use since
/// they are of another type, are not.
///
/// A scope that is dropped without a word was held by a request that failed if its thread panics, and by one that
/// went well otherwise.
///
/// ```no_run
/// # use tidegate_sdk::{Client, Context, Outcome};
/// # fn pay() -> bool { true }
/// # fn serve(client: &Client) {
/// let scope = client.scope(&Context::new("user-17"));
/// let paid = if scope.bool("checkout", false) { pay() } else { true };
/// scope.finish(Outcome::failed(!paid).cost_micros(1_200));
/// # }
/// ```
pub struct Scope {
    client: Client,
    context: Context,
    began: Instant,
    served: Mutex<Vec<(Served, Option<UnitHash>)>>,
    /// Whether it is known how the request ended.
    ended: AtomicBool,
    /// Whether the thread panicked already when the scope was made: then that tells nothing.
    panicked_before: bool,
}

impl Scope {
    pub(crate) fn new(client: Client, context: Context) -> Scope {
        client.shared().outcomes.use_them();
        Scope {
            client,
            context,
            began: Instant::now(),
            served: Mutex::default(),
            ended: AtomicBool::new(false),
            panicked_before: std::thread::panicking(),
        }
    }

    /// Who asks.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// [`Client::bool`], remembered.
    pub fn bool(&self, key: &str, default: bool) -> bool {
        self.value(key, default, |answer| answer.value().as_bool())
    }

    /// [`Client::bool_detail`], remembered.
    pub fn bool_detail(&self, key: &str, default: bool) -> Detail<bool> {
        self.detail(key, default, |answer| answer.value().as_bool())
    }

    /// [`Client::string`], remembered.
    pub fn string<'d>(&self, key: &str, default: &'d str) -> Text<'d> {
        self.value(key, Text::default(default), Text::read)
    }

    /// [`Client::string_detail`], remembered.
    pub fn string_detail<'d>(&self, key: &str, default: &'d str) -> Detail<Text<'d>> {
        self.detail(key, Text::default(default), Text::read)
    }

    /// [`Client::number`], remembered.
    pub fn number(&self, key: &str, default: f64) -> f64 {
        self.value(key, default, |answer| answer.value().as_f64())
    }

    /// [`Client::number_detail`], remembered.
    pub fn number_detail(&self, key: &str, default: f64) -> Detail<f64> {
        self.detail(key, default, |answer| answer.value().as_f64())
    }

    /// [`Client::json`], remembered.
    pub fn json<'d>(&self, key: &str, default: &'d Value) -> Json<'d> {
        self.value(key, Json::default(default), |answer| Some(Json::read(answer)))
    }

    /// [`Client::json_detail`], remembered.
    pub fn json_detail<'d>(&self, key: &str, default: &'d Value) -> Detail<Json<'d>> {
        self.detail(key, Json::default(default), |answer| Some(Json::read(answer)))
    }

    /// Says how the request ended.
    pub fn finish(self, outcome: Outcome) {
        self.settle(outcome);
    }

    /// Does the request's work: an error that it gives back, or a panic, is a request that failed.
    pub fn wrap<T, E>(self, work: impl FnOnce(&Scope) -> Result<T, E>) -> Result<T, E> {
        let done = work(&self);
        self.settle(Outcome::failed(done.is_err()));
        done
    }

    /// [`wrap`](Scope::wrap) for async work. A future that is dropped before its end counts as a scope that is.
    pub async fn wrap_async<T, E>(self, work: impl AsyncFnOnce(&Scope) -> Result<T, E>) -> Result<T, E> {
        let done = work(&self).await;
        self.settle(Outcome::failed(done.is_err()));
        done
    }

    /// Says how the request ended. What is said first counts, and what is checked later is not remembered.
    pub(crate) fn settle(&self, outcome: Outcome) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let served = std::mem::take(&mut *locked(&self.served));
        let shared = self.client.shared();
        let latency = outcome.latency.unwrap_or_else(|| self.began.elapsed());
        let ended = Ended { bad: outcome.bad, cost_micros: outcome.cost_micros, latency_us: micros(latency) };
        let asked = self.context.targeting_key().map(UnitHash::of);
        shared.outcomes.add(asked, served.into_iter(), ended, shared.clock.now());
    }

    fn value<T>(&self, key: &str, default: T, read: impl FnOnce(&Answer<'_>) -> Option<T>) -> T {
        self.client.check(key, &self.context, read, |found| match found {
            Ok((Some(value), answer)) => {
                self.remember(answer);
                value
            }
            _ => default,
        })
    }

    fn detail<T>(&self, key: &str, default: T, read: impl FnOnce(&Answer<'_>) -> Option<T>) -> Detail<T> {
        self.client.check(key, &self.context, read, |found| match found {
            Err(error) => Detail::default(default, error),
            Ok((Some(value), answer)) => {
                self.remember(answer);
                Detail::served(value, answer)
            }
            Ok((None, answer)) => Detail::default(default, ErrorKind::TypeMismatch { found: answer.kind() }),
        })
    }

    fn remember(&self, answer: &Answer<'_>) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let mut served = locked(&self.served);
        // The same flag at the same revision answers the same context the same.
        let is_known = |(known, _): &(Served, _)| {
            known.revision == answer.revision()
                && known.flag == *answer.key()
                && known.variant == *answer.variant()
        };
        if served.iter().any(is_known) {
            return;
        }
        let Some(assigned) = answer.assigned(&self.context) else { return };
        if served.len() == MAX_FLAGS {
            self.client.shared().outcomes.leave_out();
            return;
        }
        let one = Served {
            flag: answer.key().clone(),
            revision: answer.revision(),
            split: assigned.split,
            variant: answer.variant().clone(),
        };
        served.push((one, assigned.unit));
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.settle(Outcome::failed(std::thread::panicking() && !self.panicked_before));
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("context", &self.context).finish_non_exhaustive()
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use rollout_rules::evaluate::EXPOSURE_SPLIT;
    use rollout_rules::sli::{Bucket, Slot};

    use super::*;
    use crate::outcomes::testing::{NOW, client, counted};

    fn checked(client: &Client, flag: &str) -> Scope {
        let scope = client.scope(&Context::new("ann"));
        assert!(scope.bool(flag, false));
        scope
    }

    #[test]
    fn what_a_request_was_served_counts_with_how_it_ended_and_what_it_was_not_does_not() {
        let client = client();
        let scope = checked(&client, "checkout");
        assert_eq!(
            scope.bool_detail("checkout", false).variant.map(|key| key.to_string()).as_deref(),
            Some("on")
        );
        assert!(!scope.bool("missing", false));
        assert!(scope.bool("words", true), "another type: the app goes by its own default");
        scope.finish(Outcome::error().cost_micros(9).took(Duration::from_millis(40)));
        let summaries = client.shared().outcomes.take_before(Slot(u32::MAX));
        let [one] = &summaries[..] else { panic!("{summaries:?}") };
        assert_eq!((one.flag.as_str(), one.split.as_str()), ("checkout", EXPOSURE_SPLIT));
        assert_eq!((one.variant.as_str(), one.flag_revision.0, one.slot), ("on", 3, Slot::at(NOW)));
        let of = &one.outcomes;
        assert_eq!((of.requests, of.bad_requests, of.units, of.cost_micros), (1, 1, 1, 9));
        assert_eq!(of.served.units(), [(UnitHash::of("ann"), ())]);
        assert_eq!(of.slow.units(), [(UnitHash::of("ann"), Bucket::of(40_000))]);
    }

    #[test]
    fn units_that_a_rollout_has_not_reached_are_those_that_the_rest_is_compared_with() {
        let client = client();
        let mut on = 0;
        for user in 0..200 {
            let scope = client.scope(&Context::new(&format!("user-{user}")));
            on += u64::from(scope.bool("half", false));
        }
        assert_eq!(
            counted(&client),
            [("off".to_owned(), 200 - on, 0, 200 - on), ("on".to_owned(), on, 0, on)]
        );
        assert!((60..140).contains(&on), "{on}");
    }

    #[test]
    fn units_of_a_split_are_what_it_is_keyed_by_and_those_that_no_share_holds_are_not_among_them() {
        let client = client();
        for account in 0..400 {
            let scope = client.scope(&Context::new("ann").with("account", f64::from(account)));
            scope.bool("arms", false);
        }
        client.scope(&Context::new("ann")).bool("arms", false);
        let summaries = client.shared().outcomes.take_before(Slot(u32::MAX));
        let [off, on] = &summaries[..] else { panic!("{summaries:?}") };
        let units: Vec<UnitHash> = (0..400).map(|account| UnitHash::of(&account.to_string())).collect();
        for arm in [off, on] {
            assert_eq!(arm.split.as_str(), "arms");
            assert!(arm.outcomes.served.units().iter().all(|(unit, ())| units.contains(unit)));
        }
        let exposed = off.outcomes.units + on.outcomes.units;
        assert!((140..260).contains(&exposed), "{exposed}");
    }

    #[test]
    fn people_that_a_rule_names_and_requests_that_check_nothing_count_nowhere() {
        let client = client();
        client.scope(&Context::new("eve")).finish(Outcome::error());
        let named = client.scope(&Context::new("eve").with("staff", true));
        assert!(named.bool("staff", false));
        named.finish(Outcome::error());
        assert!(counted(&client).is_empty());
    }

    #[test]
    fn a_scope_that_ends_without_a_word_failed_only_if_its_thread_panics() {
        let client = client();
        drop(checked(&client, "checkout"));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _scope = checked(&client, "checkout");
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(counted(&client), [("on".to_owned(), 2, 1, 1)]);
        /// Serves a request while the stack is unwound for another reason.
        struct CleansUp<'c>(&'c Client);
        impl Drop for CleansUp<'_> {
            fn drop(&mut self) {
                drop(checked(self.0, "checkout"));
            }
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _cleans_up = CleansUp(&client);
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(counted(&client), [("on".to_owned(), 1, 0, 1)]);
    }

    #[test]
    fn work_that_is_wrapped_failed_if_it_gives_back_an_error_or_panics() {
        let client = client();
        assert_eq!(checked(&client, "checkout").wrap(|_| Ok::<_, ()>(7)), Ok(7));
        assert_eq!(checked(&client, "checkout").wrap(|_| Err::<(), _>(7)), Err(7));
        let panics =
            || checked(&client, "checkout").wrap(|_| -> Result<(), ()> { resume_unwind(Box::new("")) });
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(counted(&client), [("on".to_owned(), 3, 2, 1)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let work = client.scope(&Context::new("bob")).wrap_async(async |scope| {
            assert!(scope.bool("checkout", false));
            Err::<(), _>(7)
        });
        assert_eq!(runtime.block_on(work), Err(7));
        // One that is given up.
        drop(
            checked(&client, "checkout").wrap_async(async |_| std::future::pending::<Result<(), ()>>().await),
        );
        assert_eq!(counted(&client), [("on".to_owned(), 2, 1, 2)]);
    }

    #[test]
    fn a_scope_remembers_a_bound_of_flags_and_says_so() {
        let client = client();
        let scope = client.scope(&Context::new("ann"));
        (0..MAX_FLAGS + 3).for_each(|flag| assert!(scope.bool(&format!("f-{flag}"), false)));
        scope.finish(Outcome::ok());
        assert_eq!((counted(&client).len(), client.outcome_counts().left_out), (MAX_FLAGS, 3));
    }

    #[test]
    fn many_threads_lose_nothing() {
        let client = client();
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let client = &client;
                threads.spawn(move || {
                    for user in 0..500 {
                        let scope = client.scope(&Context::new(&format!("user-{user}")));
                        assert!(scope.bool("checkout", false));
                        scope.finish(Outcome::failed((user + thread) % 5 == 0));
                    }
                });
            }
        });
        let counted = counted(&client);
        let [(_, requests, bad, units)] = &counted[..] else { panic!("{counted:?}") };
        assert_eq!((*requests, *bad), (2_000, 400));
        assert!(units.abs_diff(500) < 100, "{units}");
    }
}
