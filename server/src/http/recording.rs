//! `GET /v1/apps/{app}/environments/{environment}/recording`: what was recorded, for whoever tries rules on it. Five minutes are in
//! memory at a time.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::unfold;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, TokenId};
use rollout_rules::sli::Recorded;
use rollout_rules::time::{DAY, UnixMs};
use tokio::runtime::Handle;

use super::Shared;
use super::auth;
use super::explain::no_past;
use super::feed::stream::StreamPlace;
use super::problem::{self, Problem};
use super::reading::{CLOCKS_APART, Reading};
use crate::evaluator::recorded::{Broken, Recorder, Wanted};
use crate::sli::KEPT_SUMS;
use crate::state::Moment;

/// Most recordings that are sent at once; more get 503. Each may hold a second copy of all flags.
pub const MAX_RECORDINGS: usize = 4;
/// A piece of the stream ends with the five minutes that make it longer than this, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// `GET /v1/apps/{app}/environments/{environment}/recording?since=&flag=`.
pub async fn recording(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&["since", "flag"])?;
    let flag: Option<FlagKey> = reading.query.parse("flag")?;
    let now = reading.now;
    let since = reading.query.moment("since")?.unwrap_or(UnixMs(now.0.saturating_sub(DAY.0)));
    if since > now || now.since(since).0 > KEPT_SUMS.0 + CLOCKS_APART.0 {
        let days = KEPT_SUMS.0 / DAY.0;
        let detail = format!("the parameter `since` has to be a moment of the last {days} days");
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "since"));
    }
    let head = &reading.published.folded;
    let known = head.app(&app).filter(|known| known.environment(&environment).is_some());
    let Some(known) = known else {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    if let Some(flag) = flag.as_ref().filter(|flag| known.flag(flag).is_none()) {
        return Err(Problem::new(problem::NOT_FOUND, format!("app `{app}` has no flag `{flag}`")));
    }
    let place = StreamPlace::take(&shared.open_recordings, MAX_RECORDINGS).map_err(|_| {
        let detail =
            format!("{MAX_RECORDINGS} recordings are being sent already; try again when one is done");
        Problem::new(problem::BUSY, detail).retry_after(10)
    })?;
    let past = shared.past.at(&reading.published, Moment::Time(since), now).await.map_err(no_past)?;
    let then = past.snapshot.as_ref().clone();
    let tail = shared.log.tail(then.revision()).map_err(|error| broken(Broken::Log(error)))?;
    let wanted = Wanted { app, environment, flag, since };
    let (sli, head) = (shared.sli.clone(), std::sync::Arc::clone(head));
    let begin = move || Recorder::begin(wanted, &sli, then, tail, &head);
    let (recorder, first) = web::block(begin).await.map_err(Problem::internal)?.map_err(broken)?;
    let mut piece = Vec::new();
    write(&mut piece, &first);
    let sending =
        Sending { shared, token: reading.who.token, recorder: Some(recorder), piece, _place: place };
    let pieces = unfold(sending, |mut sending| async move {
        let piece = sending.next().await.transpose()?;
        Some((piece, sending))
    });
    Ok(HttpResponse::Ok()
        // Lines of JSON have no media type that generators of clients know.
        .content_type("text/plain")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(pieces))
}

fn broken(error: Broken) -> Problem {
    match &error {
        Broken::Log(_) => Problem::new(problem::LOG_UNAVAILABLE, error.to_string()).retry_after(2),
        Broken::Slots(_) | Broken::Unknown { .. } => Problem::internal(error),
    }
}

fn write(piece: &mut Vec<u8>, line: &Recorded) {
    // A line is made of strings and whole numbers, which have a JSON form each.
    if serde_json::to_writer(&mut *piece, line).is_ok() {
        piece.push(b'\n');
    }
}

/// A recording on its way.
struct Sending {
    shared: web::Data<Shared>,
    token: TokenId,
    /// Away while it reads; gone at the end.
    recorder: Option<Recorder>,
    piece: Vec<u8>,
    _place: StreamPlace,
}

impl Sending {
    /// The next piece. A recording that cannot go on breaks off without its last line, which its reader notices.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some(mut recorder) = self.recorder.take() {
            if self.piece.len() > PIECE_BYTES {
                self.recorder = Some(recorder);
                break;
            }
            self.may_go_on()?;
            let (runtime, mut piece) = (Handle::current(), std::mem::take(&mut self.piece));
            // Files and the log are read, which this thread's other requests must not wait for.
            let work = tokio::task::spawn_blocking(move || {
                let lines = recorder.next(&runtime)?;
                lines.iter().flatten().for_each(|line| write(&mut piece, line));
                Ok((lines.is_some().then_some(recorder), piece))
            });
            let read: Result<_, Broken> = work.await.map_err(Problem::internal)?;
            (self.recorder, self.piece) = read.map_err(broken)?;
        }
        if self.piece.is_empty() {
            return Ok(None);
        }
        Ok(Some(Bytes::from(std::mem::take(&mut self.piece))))
    }

    /// Whoever lost the right to it meanwhile gets no more, and a server that stops does not wait.
    fn may_go_on(&self) -> Result<(), Problem> {
        if *self.shared.closing.borrow() {
            return Err(Problem::new(problem::NOT_READY, "the server stops"));
        }
        let token = self.shared.published().snapshot.token(&self.token).cloned();
        let token = token.ok_or_else(|| Problem::internal("a token is gone from the snapshot"))?;
        auth::still_valid(&token, self.shared.clock.coarse())
            .map_err(|why| Problem::new(problem::UNAUTHENTICATED, why))?;
        Ok(())
    }
}
