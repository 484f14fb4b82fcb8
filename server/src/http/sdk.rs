//! The browser SDK as this server was built with it: what a page without a build step loads from here. Each file has
//! an address that never changes what it holds, and a digest for the page to insist on.

use std::io::Write as _;
use std::sync::OnceLock;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha384};

use super::Shared;
use super::contract::pages::{marked, part, wants_html};
use super::problem::{self, Problem};

/// The file that pages load; it names the others.
const ENTRY: &str = "tidegate.js";
/// So much of a digest names a file among all that there ever were, in hexadecimal digits.
const SHORT_DIGITS: usize = 16;
/// What is said of a file whose address has its digest.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// One file as it was built.
pub struct File {
    /// Its name, without a folder.
    pub name: &'static str,
    /// Its media type, with the charset of texts.
    pub media: &'static str,
    /// What it holds.
    pub bytes: &'static [u8],
}

/// What `server/build.rs` found when this server was built.
static BUILT: &[File] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// The browser SDK. Cheap until it is asked for.
pub struct Sdk {
    files: &'static [File],
    release: OnceLock<Option<Release>>,
}

/// The files with all that is told of them.
struct Release {
    /// Names this build: the beginning of the digest of [`ENTRY`], which names all other files by theirs.
    name: String,
    files: Vec<Served>,
}

struct Served {
    file: &'static File,
    packed: Bytes,
    /// SHA-384 in hexadecimal.
    digest: String,
    /// The same as pages insist on it.
    integrity: String,
}

impl Sdk {
    /// The one in this binary, if any.
    pub fn built_in() -> Sdk {
        Sdk::of(BUILT)
    }

    /// One of these files.
    pub fn of(files: &'static [File]) -> Sdk {
        Sdk { files, release: OnceLock::new() }
    }

    fn release(&self) -> Result<&Release, Problem> {
        let release = self.release.get_or_init(|| Release::of(self.files));
        release.as_ref().ok_or_else(|| {
            let detail =
                "this server was built without the browser SDK: run `make wasm`, then build the server again";
            Problem::new(problem::SDK_NOT_BUILT, detail)
        })
    }
}

impl Release {
    fn of(files: &'static [File]) -> Option<Release> {
        let files: Vec<Served> = files.iter().map(Served::of).collect();
        let entry = files.iter().find(|served| served.file.name == ENTRY)?;
        Some(Release { name: entry.digest.get(..SHORT_DIGITS)?.to_owned(), files })
    }

    fn find(&self, name: &str) -> Result<&Served, Problem> {
        self.files.iter().find(|served| served.file.name == name).ok_or_else(|| {
            Problem::new(
                problem::NOT_FOUND,
                format!("the SDK has no file `{name}`; `/sdk` lists those that it has"),
            )
        })
    }

    fn address(&self, file: &str) -> String {
        format!("/sdk/{}/{file}", self.name)
    }
}

impl Served {
    fn of(file: &'static File) -> Served {
        use std::fmt::Write as _;
        let hash = Sha384::digest(file.bytes);
        let mut digest = String::with_capacity(hash.len() * 2);
        for byte in &hash {
            // Writing to a string cannot fail.
            let _ = write!(digest, "{byte:02x}");
        }
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        let packed = packer.write_all(file.bytes).and_then(|()| packer.finish()).map_or_else(
            // Memory takes everything, so this is only for the types.
            |_| Bytes::new(),
            Bytes::from,
        );
        Served { file, packed, digest, integrity: format!("sha384-{}", STANDARD.encode(hash)) }
    }

    /// Whether its own name says what it holds.
    fn is_named_by_its_digest(&self) -> bool {
        self.digest.get(..SHORT_DIGITS).is_some_and(|short| self.file.name.contains(short))
    }

    fn answer(&self, request: &HttpRequest, lasts: bool) -> HttpResponse {
        let packs = accepts_gzip(request) && !self.packed.is_empty();
        // Packed and plain are different bytes, and so have different tags.
        let tag = format!("\"{}{}\"", &self.digest[..2 * SHORT_DIGITS], if packs { "-gz" } else { "" });
        let known = request.headers().get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        let is_known =
            known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
        let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer
            .insert_header((header::ETAG, tag))
            .insert_header((header::CACHE_CONTROL, if lasts { FOR_EVER } else { "no-cache" }))
            .insert_header((header::VARY, "Accept-Encoding"))
            .insert_header(("cross-origin-resource-policy", "cross-origin"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        if is_known {
            return answer.finish();
        }
        answer.content_type(self.file.media);
        if packs {
            return answer.insert_header((header::CONTENT_ENCODING, "gzip")).body(Bytes::clone(&self.packed));
        }
        answer.body(Bytes::from_static(self.file.bytes))
    }

    fn view(&self, release: &Release) -> Value {
        let name = self.file.name;
        json!({
            "name": name,
            "path": format!("/sdk/{name}"),
            "immutable_path": release.address(name),
            "media_type": self.file.media,
            "bytes": self.file.bytes.len(),
            "gzip_bytes": self.packed.len(),
            "integrity": self.integrity,
        })
    }
}

/// Whether a client takes gzip. One that says nothing gets plain bytes.
fn accepts_gzip(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or("").split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// What to write into a page, for a server at this address: the SDK as the server has it, today and after an upgrade.
fn snippet(base: &str) -> String {
    starting(&format!("{base}/sdk/{ENTRY}"), base)
}

/// The same for a page that takes these very bytes or none. It stops working with the next release of the server, which
/// has other ones.
fn pinned_snippet(release: &Release, entry: &Served, base: &str) -> String {
    let address = format!("{base}{}", release.address(ENTRY));
    format!(
        "<script type=\"module\" src=\"{address}\" integrity=\"{}\" crossorigin=\"anonymous\"></script>\n{}",
        entry.integrity,
        starting(&address, base)
    )
}

fn starting(address: &str, base: &str) -> String {
    format!(
        "<script type=\"module\">\n  import {{ Tidegate }} from \"{address}\";\n  \
         const tidegate = await Tidegate.start({{ url: \"{base}\", key: \"tg_sdk-browser_…\" }});\n</script>"
    )
}

/// `GET /sdk`: the files, and what to write into a page. HTML for browsers, JSON otherwise.
pub async fn show(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let release = shared.sdk.release()?;
    let entry = release.find(ENTRY)?;
    let base = shared.settings.address_for(&request);
    let (snippet, pinned) = (snippet(&base), pinned_snippet(release, entry, &base));
    let by_accept = HeaderValue::from_static("Accept");
    if wants_html(request.headers().get(header::ACCEPT)) {
        let mut answer = part("text/html; charset=utf-8", page(release, &snippet, &pinned));
        answer.headers_mut().insert(header::VARY, by_accept);
        return Ok(answer);
    }
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::VARY, by_accept)).insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(answer.json(json!({
        "release": release.name,
        "files": release.files.iter().map(|served| served.view(release)).collect::<Vec<Value>>(),
        "snippet": snippet,
        "pinned_snippet": pinned,
    })))
}

/// `GET /sdk/{file}`: as it is now.
pub async fn file(
    request: HttpRequest,
    shared: web::Data<Shared>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let served = shared.sdk.release()?.find(&path)?;
    Ok(served.answer(&request, served.is_named_by_its_digest()))
}

/// `GET /sdk/{release}/{file}`: as it is for ever.
pub async fn file_of_release(
    request: HttpRequest,
    shared: web::Data<Shared>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (wanted, file) = path.into_inner();
    let release = shared.sdk.release()?;
    if wanted != release.name {
        let detail = format!(
            "this server has the SDK's build `{}`, not `{wanted}`: `/sdk` has its addresses",
            release.name
        );
        return Err(Problem::new(problem::NOT_FOUND, detail));
    }
    Ok(release.find(&file)?.answer(&request, true))
}

fn page(release: &Release, snippet: &str, pinned: &str) -> String {
    let row = |served: &Served| {
        let (name, address) = (served.file.name, release.address(served.file.name));
        format!(
            "<tr><td><a href=\"{address}\">{name}</a></td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>\n",
            served.file.bytes.len(),
            served.packed.len(),
            served.integrity
        )
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>The browser SDK · Tidegate</title>\n<link rel=\"stylesheet\" href=\"/docs/style.css\">\n\
         <main>\n<h1>The browser SDK</h1>\n<p>For a page without a build step. The key is made with \
         <code>tidegate token create --scope sdk-browser --origin https://…</code>.</p>\n<pre>{}</pre>\n\
         <p>To take these very bytes or none, which works until the server is upgraded: so copy the files to where your \
         page is, and write their address there.</p>\n<pre>{}</pre>\n<div class=\"scroll\"><table>\n<tr><th>File</th><th>Bytes</th><th>gzip</th><th>Integrity</th></tr>\n{}</table></div>\n\
         <p><a href=\"/docs\">All operations</a></p>\n</main>\n</html>\n",
        marked(snippet),
        marked(pinned),
        release.files.iter().map(row).collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn accepts(value: &str) -> bool {
        accepts_gzip(&TestRequest::get().insert_header((header::ACCEPT_ENCODING, value)).to_http_request())
    }

    #[test]
    fn bytes_are_packed_for_whoever_takes_them_so() {
        assert!(accepts("gzip, deflate, br, zstd") && accepts("br;q=1.0, GZIP;q=0.8"));
        assert!(!accepts("br") && !accepts("gzip;q=0, br") && !accepts("") && !accepts("x-gzip"));
    }

    #[test]
    fn a_server_that_was_built_without_the_sdk_says_how_to_get_it() {
        let problem = Sdk::of(&[]).release().err().expect("there is none");
        assert_eq!(problem.kind(), problem::SDK_NOT_BUILT);
        assert!(problem.to_string().contains("make wasm"), "{problem}");
    }
}
