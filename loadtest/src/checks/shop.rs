//! Our own server with an app whose flags are checked, and one with many.

use serde_json::json;

use super::Origin;
use crate::bounds::Target;
use crate::client::{Client, ClientError};
use crate::cores::Cores;
use crate::problem::Problem;
use crate::server::{MEASURED, Server};

/// Clients that make flags, or other things, at the same time: the log writes what comes together at once.
const MAKERS: u64 = 16;
/// Flags that are on are so for so many users of a hundred.
pub(crate) const EXPOSURE: u64 = 30;
/// The flag that is asked for by itself.
const FLAG: &str = "checkout";
pub(crate) const APP: &str = "shop";
const APP_WITH_MANY: &str = "mall";

/// The server, and what is asked of it.
pub(crate) struct Shop {
    server: Server,
    /// Of the app.
    pub(crate) flags: u64,
    pub(crate) shop: Origin,
    pub(crate) mall: Option<Origin>,
}

impl Shop {
    /// Starts one on its core.
    pub(crate) fn start(cores: &Cores, flags: u64, many_flags: Option<u64>) -> Result<Shop, Problem> {
        let server = cores.start(|| Server::start(&MEASURED));
        Shop::on(server, flags, many_flags)
    }

    /// Makes the apps on a server that runs.
    pub(crate) fn on(server: Server, flags: u64, many_flags: Option<u64>) -> Result<Shop, Problem> {
        if server.address().is_empty() {
            return Err(Problem::ended_early());
        }
        let shop = app(&server, APP, flags)?;
        let mall = many_flags.map(|flags| app(&server, APP_WITH_MANY, flags)).transpose()?;
        Ok(Shop { server, flags, shop, mall })
    }

    pub(crate) fn address(&self) -> &str {
        self.server.address()
    }

    pub(crate) fn admin_token(&self) -> &str {
        self.server.admin_token()
    }

    /// A client that may do everything.
    pub(crate) fn admin(&self) -> Result<Client, Problem> {
        Ok(Client::connect(self.address(), self.admin_token())?)
    }

    /// Changes a flag of the app: what was unchanged is so no more.
    pub(crate) fn change(&self) -> Result<(), Problem> {
        let mut admin = self.admin()?;
        let tag = tag_of(&mut admin, APP, &key(0))?;
        let patch = json!({"on": true, "exposure": EXPOSURE + 1});
        admin.ask("PATCH", &state_of(APP, &key(0)), &[("if-match", &tag)], &patch)?.if_granted()?;
        Ok(())
    }
}

/// Whether a flag is on, by its place: the first is, and every other one.
pub(crate) fn is_on(place: u64) -> bool {
    place == 0 || place % 2 == 1
}

/// The tag of a flag as it is now.
pub(crate) fn tag_of(admin: &mut Client, app: &str, flag: &str) -> Result<String, ClientError> {
    let held = admin.ask("GET", &format!("/v1/apps/{app}/flags/{flag}"), &[], &json!(null))?;
    held.if_granted()?;
    Ok(held.header("etag").to_owned())
}

/// The key of each flag by its place.
pub(crate) fn key(place: u64) -> String {
    if place == 0 { FLAG.to_owned() } else { format!("bulk-{place:05}") }
}

/// Where the state of a flag is changed.
pub(crate) fn state_of(app: &str, flag: &str) -> String {
    format!("/v1/apps/{app}/flags/{flag}/environments/live")
}

/// An app with so many flags: the first and every other one is on, at 30 %.
fn app(server: &Server, app: &str, flags: u64) -> Result<Origin, Problem> {
    let mut admin = Client::connect(server.address(), server.admin_token())?;
    let environments = json!([{"key": "live", "kind": "production"}]);
    admin.ask("POST", "/v1/apps", &[], &json!({"key": app, "environments": environments}))?.if_granted()?;
    make_each(server, flags, |admin, place| Ok(flag(admin, app, place)?))?;
    origin_of(server, &mut admin, app, "live", FLAG)
}

/// Makes so many things by their places, some at a time, by clients that may do everything. They come in no order.
pub(crate) fn make_each<T: Send>(
    server: &Server,
    count: u64,
    make: impl Fn(&mut Client, u64) -> Result<T, Problem> + Sync,
) -> Result<Vec<T>, Problem> {
    let made = &|maker: u64| {
        let mut admin = Client::connect(server.address(), server.admin_token())?;
        let places = (maker..count).step_by(usize::try_from(MAKERS).expect("a few"));
        places.map(|place| make(&mut admin, place)).collect::<Result<Vec<T>, Problem>>()
    };
    std::thread::scope(|threads| {
        let makers: Vec<_> = (0..MAKERS).map(|maker| threads.spawn(move || made(maker))).collect();
        let all = makers.into_iter().map(|maker| maker.join().expect("it only asks"));
        Ok(all.collect::<Result<Vec<Vec<T>>, Problem>>()?.into_iter().flatten().collect())
    })
}

/// Somebody who checks flags of an app.
pub(crate) fn origin_of(
    server: &Server,
    admin: &mut Client,
    app: &str,
    environment: &str,
    flag: &str,
) -> Result<Origin, Problem> {
    let wanted = json!({"scope": "sdk-server", "app": app, "environment": environment});
    let token = admin.ask("POST", "/v1/tokens", &[], &wanted)?.if_granted()?;
    let host = server.address().to_owned();
    let address = host.parse().map_err(|_| Problem::ended_early())?;
    Ok(Origin {
        at: Target { address, host, base: String::new() },
        token: token["secret"].as_str().map(str::to_owned),
        flag: flag.to_owned(),
        process: Some(server.process()),
        is_ours: true,
    })
}

fn flag(admin: &mut Client, app: &str, place: u64) -> Result<(), ClientError> {
    let key = key(place);
    let made = admin.ask("POST", &format!("/v1/apps/{app}/flags"), &[], &json!({ "key": key }))?;
    let tag = made.header("etag").to_owned();
    made.if_granted()?;
    if is_on(place) {
        put_at_share(admin, &state_of(app, &key), &tag)?;
    }
    Ok(())
}

/// Turns a flag on, at [`EXPOSURE`] %.
pub(crate) fn put_at_share(admin: &mut Client, state: &str, tag: &str) -> Result<(), ClientError> {
    let patch = json!({"on": true, "exposure": EXPOSURE, "serve": {"variant": "on"}});
    admin.ask("PATCH", state, &[("if-match", tag)], &patch)?.if_granted().map(drop)
}
