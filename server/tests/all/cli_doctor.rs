//! `tidegate doctor`: what it finds, and what it says to do.

use crate::running;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use running::{Said, Server, run, tidegate};

/// A proxy that answers each request once the server has said all, the answer changed by `change`.
fn proxy(server: &Server, change: fn(String) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let behind = server.url.trim_start_matches("http://").to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let behind = behind.clone();
            // A client that gave up ends its thread and nothing else.
            std::thread::spawn(move || pass_on(stream, &behind, change));
        }
    });
    url
}

fn pass_on(client: TcpStream, behind: &str, change: fn(String) -> String) -> std::io::Result<()> {
    let mut lines = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut server = TcpStream::connect(behind)?;
    server.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    lines.into_inner().write_all(change(answer).as_bytes())
}

fn doctor(server: &Server) -> Command {
    let mut command = server.command();
    command.arg("doctor");
    command
}

/// The verdict of one check.
#[track_caller]
fn verdict(said: &Said, check: &str) -> String {
    let report = said.json();
    let checks = report["checks"].as_array().expect("a list");
    let found = checks.iter().find(|found| found["check"] == check);
    found.unwrap_or_else(|| panic!("no `{check}` in {said:?}"))["verdict"]
        .as_str()
        .expect("a word")
        .to_owned()
}

#[test]
fn a_set_up_that_is_sound_is_called_so_line_by_line() {
    let server = Server::first_start();
    let said = run(&mut doctor(&server)).ends(0);
    let checks =
        ["address", "tls", "server", "clock", "readiness", "token", "version", "disk", "stream", "sdk"];
    assert_eq!(said.out.lines().count(), checks.len(), "{said:?}");
    for (line, check) in said.out.lines().zip(checks) {
        assert_eq!(line.split_whitespace().nth(1), Some(check), "{line}");
        // How full this machine's disk is nobody knows here, nor whether the browser SDK was built in.
        assert!(matches!(check, "disk" | "sdk") || line.starts_with("ok "), "{line}");
    }
    let said = run(doctor(&server).arg("--json")).ends(0);
    assert_eq!((&said.json()["ok"], &said.json()["complete"]), (&true.into(), &true.into()));
    assert_eq!(verdict(&said, "stream"), "ok");
}

#[test]
fn tokens_of_sdks_are_looked_at_through_what_they_may_do() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    let as_sdk = |options: &str| {
        let key = server.token(options);
        run(doctor(&server).env("TIDEGATE_TOKEN", key).arg("--json")).ends(0)
    };
    let said = as_sdk("--scope sdk-server -a shop --env sandbox --expires 5d");
    assert_eq!((verdict(&said, "token").as_str(), verdict(&said, "stream").as_str()), ("warning", "ok"));
    assert_eq!(verdict(&said, "disk"), "skipped");
    assert_eq!(verdict(&as_sdk("--scope sdk-browser -a shop --env sandbox --origin *"), "stream"), "skipped");
}

#[test]
fn the_app_that_is_named_is_looked_for_with_the_rights_of_the_token() {
    let server = Server::first_start();
    server.tool("app create shop").ends(0);
    let of_shop = server.token("--scope viewer -a shop");
    let look = |token: &str, app: &str| {
        run(doctor(&server).env("TIDEGATE_TOKEN", token).env("TIDEGATE_APP", app).arg("--json"))
    };
    assert_eq!(verdict(&look(&server.token, "shop").ends(0), "app"), "ok");
    assert_eq!(verdict(&look(&of_shop, "shop").ends(0), "app"), "ok");
    let missing = look(&server.token, "shap").ends(0);
    assert_eq!(verdict(&missing, "app"), "warning");
    assert!(missing.out.contains("there is no app `shap`"), "{missing:?}");
    let foreign = look(&of_shop, "shap").ends(1);
    assert_eq!(verdict(&foreign, "app"), "failed");
    assert!(foreign.out.contains("only for `shop`") && foreign.out.contains("may read"), "{foreign:?}");
    let nothing = look(&of_shop, "").ends(0);
    assert!(!nothing.out.contains("\"app\""), "{nothing:?}");
}

#[test]
fn what_is_wrong_is_named_with_the_way_out() {
    let server = Server::first_start();
    let wrong = run(doctor(&server).env("TIDEGATE_TOKEN", "tg_admin_x_y")).ends(1);
    wrong
        .says("failed   token")
        .says("TIDEGATE_TOKEN")
        .says("The rest can only")
        .complains("one check failed");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let away = run(tidegate().env("TIDEGATE_URL", format!("http://{nobody}")).args(["doctor", "--json"]));
    let away = away.ends(1).complains("\"unsound\"");
    assert_eq!(verdict(&away, "address"), "failed");
    assert_eq!(away.json()["complete"], false);
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", other.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in other.incoming().map_while(Result::ok) {
            // Whoever asked may have gone.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        }
    });
    run(tidegate().env("TIDEGATE_URL", url).arg("doctor")).ends(1).says("does not answer like Tidegate");
}

#[test]
fn a_proxy_that_holds_streams_back_is_found_out() {
    let server = Server::first_start();
    let url = proxy(&server, |answer| answer);
    let said = run(doctor(&server).env("TIDEGATE_URL", url)).ends(1);
    said.says("ok       readiness").says("failed   stream").says("response buffering");
}

/// An answer whose header `Date` is of another year, as a proxy writes it whose own clock is wrong.
fn of_another_date(answer: String) -> String {
    let at = answer.find("date: ").map_or(0, |at| at + "date: ".len());
    let end = answer[at..].find("\r\n").map_or(at, |length| at + length);
    format!("{}Wed, 01 Jan 2020 00:00:00 GMT{}", &answer[..at], &answer[end..])
}

/// An answer of a server whose clock is years behind, with the date of a proxy whose clock is right.
fn of_another_time(answer: String) -> String {
    const MOMENT: &str = "2020-01-01T00:00:00.000Z";
    let Some(at) = answer.find("\"now\":\"").map(|at| at + "\"now\":\"".len()) else { return answer };
    format!("{}{MOMENT}{}", &answer[..at], &answer[at + MOMENT.len()..])
}

#[test]
fn a_clock_that_is_wrong_is_found_out_behind_a_proxy_that_tells_its_own_time() {
    let server = Server::first_start();
    let look = |change: fn(String) -> String| {
        run(doctor(&server).env("TIDEGATE_URL", proxy(&server, change)).arg("--json"))
    };
    let said = look(of_another_time).ends(1);
    assert_eq!(verdict(&said, "clock"), "failed");
    assert!(said.out.contains("behind this machine's"), "{said:?}");
    assert_eq!(verdict(&look(of_another_date).ends(1), "clock"), "ok");
    // Without a token, the date is all there is.
    let url = proxy(&server, of_another_date);
    let said =
        run(doctor(&server).env("TIDEGATE_URL", url).env("TIDEGATE_TOKEN", "tg_admin_x_y").arg("--json"));
    assert_eq!(verdict(&said.ends(1), "clock"), "failed");
}

#[test]
fn the_certificate_is_looked_at_before_anything_is_said() {
    let folder = running::folder();
    let path = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
    std::fs::write(path("cert.pem"), certificate.pem()).expect("written");
    std::fs::write(path("key.pem"), key.serialize_pem()).expect("written");
    let files = [path("cert.pem"), path("key.pem")];
    let options = ["--tls-certificate", &files[0], "--tls-key", &files[1]];
    let mut server = Server::start(running::folder(), &options);
    server.read_greeting();
    let trusting = run(doctor(&server).env("TIDEGATE_CACERT", &files[0]).arg("--json")).ends(0);
    assert_eq!(verdict(&trusting, "tls"), "ok");
    let stranger = KeyPair::generate().expect("a key");
    let stranger = CertificateParams::new(vec!["x".to_owned()]).expect("a name").self_signed(&stranger);
    std::fs::write(path("other.pem"), stranger.expect("a certificate").pem()).expect("written");
    let said = run(doctor(&server).env("TIDEGATE_CACERT", path("other.pem")).arg("--json")).ends(1);
    assert_eq!((verdict(&said, "address").as_str(), verdict(&said, "tls").as_str()), ("ok", "failed"));
    assert_eq!(said.json()["complete"], false);
    // The address says how to speak; whoever speaks otherwise is told.
    let with_ca = |server: &Server, url: String| {
        run(doctor(server).env("TIDEGATE_URL", url).env("TIDEGATE_CACERT", &files[0]))
    };
    let plain = with_ca(&server, server.url.replace("https:", "http:"));
    plain.ends(1).says("failed   server").says("begins with https://");
    let other = Server::first_start();
    let encrypted = with_ca(&other, other.url.replace("http:", "https:"));
    encrypted.ends(1).says("failed   tls").says("begins with http://");
}
