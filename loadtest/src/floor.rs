//! The floor: bare handlers of the same web framework, in a process of their own. They get the requests that ours
//! gets, read the body, and answer prepared bytes; their twins by GET read none.

use std::net::SocketAddr;
use std::process::{Child, ExitCode};

use actix_web::{App, HttpResponse, HttpServer, web};

use crate::problem::Problem;
use crate::server::{end_with_parent, start_floor};

/// The argument that makes this program the floor; the bytes of an answer as long as ours follow.
const MODE: &str = "--be-floor";
/// Bytes of the prepared answer that stands for all flags of an app.
const BULK_BYTES: usize = 9_000;
/// Longest answer that the floor prepares, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// An answer as long as ours.
pub(crate) const SAME: &str = "/same";
/// An answer that stands for all flags of an app.
pub(crate) const BULK: &str = "/bulk";
/// An answer that says that nothing changed.
pub(crate) const UNCHANGED: &str = "/unchanged";

/// Runs the floor until it is killed, if that is what the arguments ask for; to be called first.
pub(crate) fn serve_if_asked(arguments: &[String]) -> Option<ExitCode> {
    let [mode, bytes] = arguments else { return None };
    if mode != MODE {
        return None;
    }
    let Some(bytes) = bytes.parse().ok().filter(|bytes| *bytes <= MAX_BYTES) else {
        return Some(ExitCode::from(2));
    };
    end_with_parent(|| ());
    Some(serve(bytes))
}

fn serve(bytes: usize) -> ExitCode {
    let (same, bulk) = (json_of(bytes), json_of(BULK_BYTES));
    let app = move || {
        App::new()
            .service(prepared(SAME, same.clone()))
            .service(prepared(BULK, bulk.clone()))
            .service(web::resource(UNCHANGED).get(unchanged_for_all).post(unchanged))
    };
    let server = HttpServer::new(app).workers(1).bind("127.0.0.1:0").expect("a free port");
    println!("listening on http://{}", server.addrs()[0]);
    actix_web::rt::System::new().block_on(server.run()).expect("it runs until it is killed");
    ExitCode::SUCCESS
}

fn prepared(path: &str, answer: web::Bytes) -> actix_web::Resource {
    let by_get = answer.clone();
    let json = |answer: &web::Bytes| HttpResponse::Ok().content_type("application/json").body(answer.clone());
    web::resource(path)
        .get(move || std::future::ready(json(&by_get)))
        .post(move |_: web::Bytes| std::future::ready(json(&answer)))
}

async fn unchanged_for_all() -> HttpResponse {
    HttpResponse::NotModified().finish()
}

async fn unchanged(_: web::Bytes) -> HttpResponse {
    HttpResponse::NotModified().finish()
}

/// A text of JSON with so many bytes; two at least.
fn json_of(bytes: usize) -> web::Bytes {
    let inside = "x".repeat(bytes.saturating_sub(2));
    format!("\"{inside}\"").into()
}

/// A running floor; killed when dropped.
pub(crate) struct Floor {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Floor {
    /// Starts one whose answers are as long as ours.
    pub(crate) fn start(same_bytes: usize) -> Result<Floor, Problem> {
        let (process, address) = start_floor(&[MODE, &same_bytes.to_string()])?;
        Ok(Floor { process, address })
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
