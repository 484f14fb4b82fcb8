//! The browser SDK as the server hands it out.

use std::io::Read as _;

use flate2::read::GzDecoder;
use tidegate::http::sdk::{File, Sdk};

use crate::served::{Reply, Served};

/// As `make wasm` names it: by the beginning of its own SHA-384.
const WASM: &str = "tidegate-a24c87575ec08159.wasm";
static FILES: &[File] = &[
    File {
        name: "tidegate.js",
        media: "text/javascript; charset=utf-8",
        bytes:
            b"export const Tidegate = { start() {} };\n// and more, and more, and more, and more, and more\n",
    },
    File { name: WASM, media: "application/wasm", bytes: b"\0asm\x01\0\0\0" },
];

fn get(served: &Served, path: &str, headers: &[(&str, &str)]) -> Reply {
    served.send("GET", path, headers, "")
}

#[test]
fn a_page_loads_the_sdk_from_an_address_that_never_changes_what_it_holds() {
    let served = Served::handing_out(Sdk::of(FILES));
    let listed = get(&served, "/sdk", &[]);
    assert_eq!((listed.header("cache-control"), listed.header("vary")), ("no-cache", "Accept"));
    let told = listed.expect(200);
    let script = &told["files"][0];
    assert_eq!(
        (script["name"].as_str(), script["bytes"].as_u64()),
        (Some("tidegate.js"), Some(FILES[0].bytes.len() as u64))
    );
    let address = script["immutable_path"].as_str().expect("an address");
    assert_eq!(address, format!("/sdk/{}/tidegate.js", told["release"].as_str().expect("a name")));
    let pinned = told["pinned_snippet"].as_str().expect("a text");
    let integrity = script["integrity"].as_str().expect("a digest");
    assert!(integrity.starts_with("sha384-") && pinned.contains(integrity), "{pinned}");
    assert!(pinned.contains(&format!("http://{}{address}", served.address)), "{pinned}");
    // What people paste first goes on after an upgrade, which has another digest.
    let snippet = told["snippet"].as_str().expect("a text");
    assert!(snippet.contains(&format!("http://{}/sdk/tidegate.js", served.address)), "{snippet}");
    let release = told["release"].as_str().expect("a name");
    assert!(!snippet.contains(integrity) && !snippet.contains(release), "{snippet}");

    let lasting = get(&served, address, &[]);
    assert_eq!((lasting.status, lasting.text.as_bytes()), (200, FILES[0].bytes));
    for (name, value) in [
        ("content-type", "text/javascript; charset=utf-8"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("vary", "Accept-Encoding"),
    ] {
        assert_eq!(lasting.header(name), value, "{name}");
    }
    let newest = get(&served, "/sdk/tidegate.js", &[]);
    assert_eq!((newest.text.as_bytes(), newest.header("cache-control")), (FILES[0].bytes, "no-cache"));
    let known = get(&served, "/sdk/tidegate.js", &[("If-None-Match", newest.header("etag"))]);
    assert_eq!((known.status, known.text.as_str()), (304, ""));
    get(&served, "/sdk/0000000000000000/tidegate.js", &[]).refused(404, "not_found");
    get(&served, "/sdk/other.js", &[]).refused(404, "not_found");
}

#[test]
fn the_module_is_what_it_says_beside_the_script_wherever_that_was_loaded_from() {
    let served = Served::handing_out(Sdk::of(FILES));
    let release = get(&served, "/sdk", &[]).json()["release"].as_str().expect("a name").to_owned();
    for path in [format!("/sdk/{WASM}"), format!("/sdk/{release}/{WASM}")] {
        let module = get(&served, &path, &[]);
        assert_eq!((module.status, module.text.as_bytes()), (200, FILES[1].bytes));
        assert_eq!(module.header("content-type"), "application/wasm");
        assert_eq!(module.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
    }
}

#[test]
fn browsers_are_sent_it_packed_under_a_tag_of_its_own() {
    let served = Served::handing_out(Sdk::of(FILES));
    let plain = get(&served, "/sdk/tidegate.js", &[]);
    let mut request = format!("GET /sdk/tidegate.js HTTP/1.1\r\nHost: {}\r\n", served.address);
    request.push_str("Accept-Encoding: gzip, deflate, br\r\nConnection: close\r\n\r\n");
    let (head, packed) = served.raw_bytes(request.as_bytes());
    let tag = head.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag")).expect("a tag").1.clone();
    assert!(
        head.iter().any(|(name, value)| name.eq_ignore_ascii_case("content-encoding") && value == "gzip")
    );
    let mut text = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut text).expect("packed with gzip");
    assert_eq!(text, FILES[0].bytes);
    assert_ne!(tag, plain.header("etag"));
    let told = get(&served, "/sdk", &[]).json();
    assert_eq!(told["files"][0]["gzip_bytes"].as_u64(), Some(packed.len() as u64));
}

#[test]
fn people_see_a_page_with_what_to_paste() {
    let served = Served::handing_out(Sdk::of(FILES));
    let page = get(&served, "/sdk", &[("Accept", "text/html")]);
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!((page.header("cache-control"), page.header("vary")), ("no-cache", "Accept"));
    assert!(
        page.text.contains("&lt;script type=&quot;module&quot;") && page.text.contains(WASM),
        "{}",
        page.text
    );
}

#[test]
fn a_server_that_was_built_without_it_says_how_to_build_it() {
    let served = Served::handing_out(Sdk::of(&[]));
    for path in ["/sdk", "/sdk/tidegate.js", "/sdk/0000000000000000/tidegate.js"] {
        let refused = get(&served, path, &[("Origin", "https://shop.example")]);
        let told = refused.refused(404, "sdk_not_built");
        assert!(told["detail"].as_str().expect("a text").contains("make wasm"), "{told}");
        assert_eq!(refused.header("access-control-allow-origin"), "*", "a page may read why");
        assert_eq!(refused.header("cache-control"), "no-store", "it may be built in later");
    }
}
