//! `GET /v1/backup`: the whole log up to the revision that was published when the request came, as one
//! stream, the kills in effect that the log had not taken, and what the gate keeps of the decisions at that revision. The log goes on
//! meanwhile; what comes later is not in it.
//!
//! The log comes first: it is what a server cannot do without. A decision's files were on disk before its entry was published, and none goes
//! while a backup is on its way, so that all files that the log names at that revision are there when their turn comes.

use std::vec::IntoIter;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::unfold;
use rollout_rules::governance::Scope;
use rollout_rules::ids::{Revision, TokenId};
use tokio::runtime::Handle;

use super::Shared;
use super::audience::Query;
use super::auth::{self, Principal};
use super::backup_files::KeptFiles;
use super::feed::stream::StreamPlace;
use super::problem::{self, Problem};
use crate::backup::{Encoder, Header, KillAhead};
use crate::log::{LogEntry, Tail};

/// Most backups that are sent at once; more get 503. Each holds up to one batch of entries in memory.
pub const MAX_BACKUPS: usize = 2;
/// A piece of the stream ends with the entry that makes it longer than this, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The log holds the hashes of all tokens, the secrets of all webhooks, and what every app does.
fn may_back_up(who: &Principal) -> Result<(), Problem> {
    if who.scope == Scope::Admin && who.app.is_none() && who.environment.is_none() {
        return Ok(());
    }
    let detail = "a backup holds everything: it takes an admin's token that is bound to no app";
    Err(Problem::new(problem::NOT_ALLOWED, detail))
}

/// `GET /v1/backup`.
pub async fn backup(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    may_back_up(&who)?;
    Query::of(&request)?.only(&[])?;
    let place = StreamPlace::take(&shared.open_backups, MAX_BACKUPS).map_err(|_| {
        let detail = format!("{MAX_BACKUPS} backups are being taken already; try again when one is done");
        Problem::new(problem::BUSY, detail).retry_after(30)
    })?;
    // Before it is said which files belong to it: from here on none goes.
    let hold = shared.gate.as_ref().map(|gate| (gate.clone(), gate.hold()));
    // What is published is durable, and what is durable stays as it is.
    let published = shared.published_full();
    let folded = &published.folded;
    // At the same moment: a kill is either of the log or ahead of it.
    let kills = published.overlays.iter().map(|overlay| KillAhead {
        kill_id: overlay.kill_id.clone(),
        reach: overlay.reach.clone(),
        environment: overlay.environment.clone(),
        at: overlay.at,
    });
    let now = shared.clock.now();
    let kept = hold.map(|(gate, hold)| KeptFiles::of(gate, hold, folded, now));
    if kept.is_none() {
        tracing::warn!("the gate is closed: what it keeps is not in the backup");
    }
    let header = Header {
        log: shared.log_id().clone(),
        first: Revision(1),
        last: folded.revision(),
        hash: folded.hash(),
        at: now,
        gate_files: kept.as_ref().map(KeptFiles::count),
    };
    let tail = shared
        .log
        .tail(Revision::ZERO)
        .map_err(|error| Problem::new(problem::LOG_UNAVAILABLE, error.to_string()).retry_after(2))?;
    tracing::info!(token = %who.token, revision = %header.last, "a backup begins");
    let name = format!("tidegate-{}-{}.backup", header.log, header.last);
    let mut piece = Vec::new();
    let encoder = Encoder::begin(&header, &mut piece);
    let copying = Copying {
        token: who.token,
        end: header.last,
        done: Revision::ZERO,
        kills: Some(kills.collect()),
        kept,
        tail: Some(tail),
        batch: Vec::new().into_iter(),
        encoder: Some(encoder),
        piece,
        shared,
        _place: place,
    };
    let pieces = unfold(copying, |mut copying| async move {
        let piece = copying.next().await.transpose()?;
        Some((piece, copying))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(pieces))
}

/// A backup on its way.
struct Copying {
    shared: web::Data<Shared>,
    token: TokenId,
    /// The last revision that belongs to it.
    end: Revision,
    done: Revision,
    /// What comes after it; gone once the log is ended.
    kills: Option<Vec<KillAhead>>,
    /// What comes then; away while files are read, gone once all were.
    kept: Option<KeptFiles>,
    /// Away while it reads.
    tail: Option<Box<dyn Tail>>,
    batch: IntoIter<LogEntry>,
    /// Gone once the last line is written.
    encoder: Option<Encoder>,
    /// What is to be sent next.
    piece: Vec<u8>,
    _place: StreamPlace,
}

impl Copying {
    /// The next piece. A backup that cannot go on breaks off without its last line, which its reader notices.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some(encoder) = &mut self.encoder {
            if self.done >= self.end {
                self.after_the_log().await?;
            } else if let Some(entry) = self.batch.next() {
                encoder.entry(entry.revision, entry.hash, &entry.bytes, &mut self.piece);
                self.done = entry.revision;
            } else {
                self.batch = self.read().await?.into_iter();
            }
            if self.piece.len() > PIECE_BYTES {
                break;
            }
        }
        if self.piece.is_empty() {
            return Ok(None);
        }
        // Many pieces may be made of what was read at once: others have their turn meanwhile.
        tokio::task::yield_now().await;
        Ok(Some(Bytes::from(std::mem::take(&mut self.piece))))
    }

    /// Ends the log, then goes through what the gate keeps, a piece at a time, then ends all.
    async fn after_the_log(&mut self) -> Result<(), Problem> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(()) };
        if let Some(kills) = self.kills.take() {
            kills.iter().for_each(|kill| encoder.kill(kill, &mut self.piece));
            encoder.log_ends(&mut self.piece);
        }
        let Some(mut kept) = self.kept.take() else {
            encoder.end(&mut self.piece);
            return Ok(());
        };
        self.go_on()?;
        let mut piece = std::mem::take(&mut self.piece);
        let read = tokio::task::spawn_blocking(move || {
            let more = kept.fill(&mut encoder, &mut piece, PIECE_BYTES)?;
            Ok::<_, std::io::Error>((more.then_some(kept), encoder, piece))
        });
        let (kept, encoder, piece) = read.await.map_err(Problem::internal)?.map_err(Problem::internal)?;
        (self.kept, self.encoder, self.piece) = (kept, Some(encoder), piece);
        Ok(())
    }

    /// Whoever lost the right to a backup meanwhile gets no more, and a server that stops does not wait.
    fn go_on(&self) -> Result<(), Problem> {
        if *self.shared.closing.borrow() {
            return Err(Problem::new(problem::NOT_READY, "the server stops"));
        }
        let token = self.shared.published().snapshot.token(&self.token).cloned();
        let token = token.ok_or_else(|| Problem::internal("a token is gone from the snapshot"))?;
        auth::still_valid(&token, self.shared.clock.coarse())
            .map_err(|why| Problem::new(problem::UNAUTHENTICATED, why))
    }

    /// The next entries.
    async fn read(&mut self) -> Result<Vec<LogEntry>, Problem> {
        self.go_on()?;
        let mut tail = self.tail.take().ok_or_else(|| Problem::internal("a backup broke off before"))?;
        let runtime = Handle::current();
        // Old entries come from the disk, which this thread's other requests must not wait for.
        let read = tokio::task::spawn_blocking(move || {
            let entries = runtime.block_on(tail.next());
            (tail, entries)
        });
        let (tail, entries) = read.await.map_err(Problem::internal)?;
        self.tail = Some(tail);
        entries.map_err(|error| Problem::new(problem::LOG_UNAVAILABLE, error.to_string()))
    }
}
