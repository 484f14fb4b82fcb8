//! Pages that do not read what they are sent: they are let go, and nobody else notices.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate::http::Settings;

use super::{Page, SITE, set};
use crate::served::{Served, ungated};

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shop with a text `banner` whose values are long, for pages.
fn shop() -> (Served, String) {
    let settings = Settings { workers: 1, write_timeout: Duration::from_secs(1), ..Settings::default() };
    let served = Served::with(settings, ungated());
    served.shop();
    let variants = json!([
        {"key": "even", "value": "e".repeat(7_000)}, {"key": "odd", "value": "o".repeat(7_000)}, {"key": "off", "value": ""},
    ]);
    let flag = json!({
        "key": "banner", "type": "string", "variants": variants, "off_variant": "off", "browser": "values",
    });
    served.post("/v1/apps/shop/flags", &flag).expect(201);
    set(&served, "banner", &json!({"on": true, "exposure": 100, "serve": {"variant": "odd"}}));
    let key = served.page_key(&[SITE]);
    (served, key)
}

/// A stream of a page that takes little at a time, as long as nobody reads it.
fn stuck(served: &Served, page: &Page) -> TcpStream {
    let stream = served.ask_for_stream("", &page.path(), &[("Origin", SITE)]);
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 4_096).expect("a small window");
    stream
}

fn wait_for_streams(served: &Served, count: usize) {
    let begun = Instant::now();
    while !served.get("/metrics").text.contains(&format!("\ntidegate_streams {count}\n")) {
        assert!(begun.elapsed() < PATIENCE, "{count} streams are open");
    }
}

#[test]
fn a_page_that_stops_reading_is_let_go_and_the_others_hear_everything() {
    let (served, key) = shop();
    let open = |name: &str| Page::open(&served, &key, json!({"targetingKey": name}));
    let (mut reading, mut left) = (open("ann"), open("bob"));
    let mut heard = reading.stream(&served);
    let _unread = stuck(&served, &left);
    wait_for_streams(&served, 2);
    let mut last = 0;
    for variant in ["even", "odd"].repeat(30) {
        last = set(&served, "banner", &json!({"serve": {"variant": variant}}));
        reading.follow(&mut heard, last);
        assert_eq!(reading.serves("banner").0, variant);
    }
    wait_for_streams(&served, 1);
    // Nothing was kept for it: it is told how things stand.
    left.follow(&mut left.stream(&served), last);
    assert_eq!(left.serves("banner").0, "odd");
}
