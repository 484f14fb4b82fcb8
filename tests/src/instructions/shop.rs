//! A server whose flags were made before it came under callgrind, where all is fifty times slower.

use serde_json::{Value, json};

use super::Measured;
use crate::callgrind::{Callgrind, Count};
use crate::{Api, Server, encode, optimised};

pub(crate) const APP: &str = "shop";
const APP_WITH_MANY: &str = "mall";
const LIVE: &str = "live";
/// The flag that is asked for by itself: on for 30 %.
pub(crate) const FLAG: &str = "checkout";
/// A flag with three rules.
pub(crate) const FLAG_WITH_RULES: &str = "fitted";
/// Flags of the app, and of the one with many.
pub(crate) const FLAGS: usize = 100;
const MANY_FLAGS: usize = 5_000;
/// Clients that make flags at the same time: the log writes what comes together at once.
const MAKERS: usize = 16;

/// Requests before anything is counted: memory is held and tables are filled.
const WARM_UP: u64 = 50;
/// Counts of the same; the lowest is told. What differs are timers of the server.
const TRIES: usize = 2;

/// A server under callgrind.
pub(crate) struct Shop {
    server: Server,
    callgrind: Callgrind,
    /// A token of the app's services, and of those of the app with many flags.
    pub(crate) token: String,
    pub(crate) token_of_many: Option<String>,
}

impl Shop {
    /// Makes the apps, and brings the server under callgrind, with settings.
    pub(crate) fn open(has_many: bool, settings: &[(&str, &str)]) -> Shop {
        let binary = &optimised().tidegate;
        let mut server = Server::start_by(vec![binary.into()], &[]);
        let token = app(&server, APP, FLAGS);
        with_rules(&server.admin());
        let token_of_many = has_many.then(|| app(&server, APP_WITH_MANY, MANY_FLAGS));
        server.stop();
        let callgrind = Callgrind::in_own_folder();
        let program = callgrind.around(binary, &["--instr-atstart=no"]);
        let settings = [&[("TIDEGATE_WORKERS", "1")], settings].concat();
        let server = server.restart_by(program, &settings);
        callgrind.tell(server.process_id(), &["instrumentation", "on"]);
        Shop { server, callgrind, token, token_of_many }
    }

    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    pub(crate) fn admin(&self) -> Api {
        self.server.admin()
    }

    /// What a piece of work takes, as one of so many.
    pub(crate) fn count(&mut self, name: &'static str, pieces: u64, mut piece: impl FnMut()) -> Measured {
        (0..WARM_UP.min(pieces)).for_each(|_| piece());
        let whole = || {
            (0..pieces).for_each(|_| piece());
            true
        };
        let mut measured = self.lowest(name, TRIES, whole);
        measured.count = measured.count.each_of(pieces);
        measured
    }

    /// The least that a piece of work took in some tries: of those in which it went as it usually does.
    pub(crate) fn lowest(
        &mut self,
        name: &'static str,
        tries: usize,
        mut piece: impl FnMut() -> bool,
    ) -> Measured {
        let mut once = || {
            let (process, mut is_usual) = (self.server.process_id(), false);
            let count = self.callgrind.meanwhile(process, || is_usual = piece());
            is_usual.then_some(count)
        };
        let counts: Vec<Count> = (0..tries).filter_map(|_| once()).collect();
        let count = counts.into_iter().min_by_key(|count| count.instructions);
        Measured { name, count: count.expect("it went as it usually does in one try") }
    }
}

/// The key of each flag by its place.
pub(crate) fn key(place: usize) -> String {
    if place == 0 { FLAG.to_owned() } else { format!("bulk-{place:05}") }
}

/// An app with so many flags, of which the first and every other one is on, and a token of its services.
fn app(server: &Server, app: &str, flags: usize) -> String {
    let admin = server.admin();
    admin.create_app(app, &[(LIVE, "production")]);
    std::thread::scope(|threads| {
        for maker in 0..MAKERS {
            let admin = admin.clone();
            threads.spawn(move || {
                (maker..flags).step_by(MAKERS).for_each(|place| {
                    let key = key(place);
                    admin.create_flag(app, &json!({ "key": key }));
                    if app == APP && (place == 0 || place % 2 == 1) {
                        let patch = json!({"on": true, "exposure": 30, "serve": {"variant": "on"}});
                        admin.set_flag(app, &key, LIVE, &patch);
                    }
                });
            });
        }
    });
    admin.create_token("sdk-server", app, LIVE)
}

fn with_rules(admin: &Api) {
    admin.create_flag(APP, &json!({ "key": FLAG_WITH_RULES }));
    let rule = |attribute: &str, op: &str, values: Value| {
        json!({"id": attribute, "when": {"attribute": attribute, "op": op, "values": values},
            "serve": {"variant": "on"}})
    };
    let rules = json!([
        rule("country", "in", json!(["AT", "CH", "FR"])),
        rule("app_version", "semver_gte", json!(["3.0.0"])),
        rule("email", "ends_with", json!(["@example.org"])),
    ]);
    let patch = json!({"on": true, "exposure": 100, "serve": {"variant": "off"}, "rules": rules});
    admin.set_flag(APP, &encode(FLAG_WITH_RULES), LIVE, &patch);
}
