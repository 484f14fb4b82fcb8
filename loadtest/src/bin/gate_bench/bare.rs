//! The floor: a server that reads a form of the same bytes, keeps one small file for good, and says so.

use std::fs::File;
use std::io::{Result, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_multipart::Multipart;
use actix_web::error::ErrorInternalServerError;
use actix_web::{App, Error, HttpResponse, HttpServer, web};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tempfile::TempDir;
use tidegate_loadtest::server::{end_with_parent, start_self};

/// The argument that makes this program the floor; a folder for its files follows.
pub(crate) const MODE: &str = "--be-bare";
/// What it keeps of each form, in bytes.
const KEPT_BYTES: usize = 4 * 1024;

/// Where files go, and how many there are.
struct Kept {
    folder: PathBuf,
    count: AtomicUsize,
}

/// Runs the floor: it says where it listens, and serves until it is killed or nobody is left who started it.
pub(crate) fn serve(folder: &str) -> ExitCode {
    let written = PathBuf::from(folder);
    end_with_parent(move || {
        // What cannot be removed stays behind in the folder for what is temporary.
        let _ = std::fs::remove_dir_all(written);
    });
    let kept = web::Data::from(Arc::new(Kept { folder: PathBuf::from(folder), count: AtomicUsize::new(0) }));
    let app = move || App::new().app_data(kept.clone()).route("/", web::post().to(take));
    let server = HttpServer::new(app).workers(1).bind("127.0.0.1:0").expect("a free port");
    println!("listening on http://{}", server.addrs()[0]);
    actix_web::rt::System::new().block_on(server.run()).expect("it runs until it is killed");
    ExitCode::SUCCESS
}

async fn take(mut form: Multipart, kept: web::Data<Kept>) -> std::result::Result<HttpResponse, Error> {
    let mut bytes = 0;
    while let Some(mut part) = form.try_next().await? {
        let mut whole = web::BytesMut::new();
        while let Some(chunk) = part.next().await {
            whole.extend_from_slice(&chunk?);
        }
        bytes += whole.len();
    }
    let name = kept.count.fetch_add(1, Ordering::Relaxed).to_string();
    web::block(move || keep(&kept.folder, &name)).await?.map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok().body(bytes.to_string()))
}

fn keep(folder: &Path, name: &str) -> Result<()> {
    let mut file = File::create_new(folder.join(name))?;
    file.write_all(&[b'x'; KEPT_BYTES])?;
    file.sync_all()
}

/// A running floor; killed when dropped.
pub(crate) struct Bare {
    process: Child,
    pub(crate) address: String,
    _folder: TempDir,
}

impl Bare {
    pub(crate) fn start() -> Bare {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (process, mut lines) = start_self(&[MODE, folder.path().to_str().expect("a plain path")]);
        let line = lines.next().expect("it says where it listens");
        let address = line.strip_prefix("listening on http://").expect("an address").to_owned();
        Bare { process, address, _folder: folder }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
