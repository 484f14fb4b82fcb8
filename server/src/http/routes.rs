//! Which path leads where. A path that exists with another method answers 405 and names the ones it has.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, PathConfig, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use super::contract::pages;
use super::problem::{self, Problem};
use super::{
    apps, backup, clients, delivery, effects, evidence, explain, exposures, feed, flags, gate, guardrails,
    health, history, kill, log, ofrep, outcomes, page, proposals, recording, releases, revert, rollouts,
    runbook, sdk, segments, server_info, tokens, watched, webhooks, whoami,
};

/// Anything that no path matches.
pub(super) async fn nothing_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = problem::percent_decoded(request.path());
    Err(Problem::new(problem::NOT_FOUND, format!("there is nothing at `{path}`")))
}

/// Names in paths that have not the form of their kind name nothing.
pub(super) fn path_config() -> PathConfig {
    PathConfig::default().error_handler(|error, _| {
        let text = error.to_string();
        Problem::new(problem::NOT_FOUND, format!("nothing can be called so: {text}")).into()
    })
}

/// One path, and what it offers by method.
pub(super) struct Place {
    path: String,
    routes: Vec<(Method, Route)>,
}

impl Place {
    /// The path, with the patterns of its names.
    #[cfg(test)]
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The methods.
    #[cfg(test)]
    pub(super) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.routes.iter().map(|(method, _)| method)
    }
}

/// All places. Whatever is here has to be described in `http/contract` too; a test names what is not.
#[derive(Default)]
pub(super) struct Places(Vec<Place>);

impl Places {
    fn service(&mut self, place: Place) -> &mut Places {
        self.0.push(place);
        self
    }
}

fn resource(place: Place) -> Resource {
    let Place { path, routes } = place;
    let allow = routes.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>().join(", ");
    let allow = HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static(""));
    let mut resource = web::resource(&*path);
    for (method, route) in routes {
        resource = resource.route(route.method(method));
    }
    resource.default_service(web::to(move |request: HttpRequest| {
        let allow = allow.clone();
        async move {
            let detail = format!(
                "{} is not offered here; these are: {}",
                request.method(),
                allow.to_str().unwrap_or("")
            );
            let problem = Problem::new(problem::METHOD_NOT_ALLOWED, detail).header(header::ALLOW, allow);
            Err::<HttpResponse, Problem>(problem)
        }
    }))
}

/// One resource and its handlers by method.
macro_rules! at {
    ($path:expr, $($method:ident $handler:expr),+ $(,)?) => {
        Place { path: String::from($path), routes: vec![$((Method::$method, web::route().to($handler))),+] }
    };
}

/// Registers all places.
pub(super) fn routes(config: &mut ServiceConfig) {
    for place in places() {
        config.service(resource(place));
    }
}

/// All places.
pub(super) fn places() -> Vec<Place> {
    let mut all = Places::default();
    let config = &mut all;
    checks(config);
    config
        .service(at!("/openapi.json", GET pages::openapi))
        .service(at!("/docs", GET pages::docs))
        .service(at!("/docs/script.js", GET pages::script))
        .service(at!("/docs/style.css", GET pages::style))
        .service(at!("/problems/{code}", GET pages::problem_page))
        .service(at!("/sdk", GET sdk::show))
        .service(at!("/sdk/{file}", GET sdk::file))
        .service(at!("/sdk/{release}/{file}", GET sdk::file_of_release))
        .service(at!("/healthz", GET health::healthz, HEAD health::healthz))
        .service(at!("/readyz", GET health::readyz, HEAD health::readyz))
        .service(at!("/metrics", GET health::metrics))
        .service(at!("/v1/backup", GET backup::backup))
        .service(at!("/v1/whoami", GET whoami::whoami))
        .service(at!("/v1/server", GET server_info::show))
        .service(at!("/v1/feed", GET feed::feed))
        .service(at!("/v1/feed/ack", POST feed::acknowledge))
        .service(at!("/v1/page", POST page::open))
        .service(at!("/v1/page/stream", GET page::stream::follow))
        .service(at!("/v1/page/outcomes", POST page::outcomes::take))
        .service(at!("/v1/clients", GET clients::list))
        .service(at!("/v1/exposures", POST exposures::take))
        .service(at!("/v1/stale-flags", GET exposures::stale))
        .service(at!("/v1/outcomes", POST outcomes::take))
        .service(at!("/v1/kills/{kill_id}", GET delivery::get))
        .service(at!("/v1/kill", POST kill::kill_everything))
        .service(at!("/v1/revive", POST kill::revive_everything))
        .service(at!("/v1/tokens", GET tokens::list, POST tokens::create))
        .service(at!("/v1/tokens/{token}", DELETE tokens::revoke))
        .service(at!("/v1/log", GET log::list))
        .service(at!("/v1/log/stream", GET log::stream))
        .service(at!("/v1/proposals", GET proposals::list, POST proposals::create))
        .service(at!("/v1/proposals/{id}", GET proposals::get))
        .service(at!("/v1/proposals/{id}/approve", POST proposals::approve))
        .service(at!("/v1/proposals/{id}/apply", POST proposals::apply))
        .service(at!("/v1/proposals/{id}/reject", POST proposals::reject));
    apps_and_flags(config);
    webhooks(config);
    guardrails(config);
    segments(config, "/v1");
    segments(config, "/v1/apps/{app}");
    all.0
}

fn checks(config: &mut Places) {
    config
        .service(at!(ofrep::ALL, POST ofrep::bulk::evaluate_flags))
        .service(at!(ofrep::ONE, POST ofrep::single::evaluate_flag))
        .service(at!("/ofrep/v1/events", GET ofrep::events::events));
}

fn apps_and_flags(config: &mut Places) {
    let flag = "/v1/apps/{app}/flags/{flag}";
    config
        .service(at!("/v1/apps", GET apps::list, POST apps::create))
        .service(at!("/v1/apps/{app}", GET apps::get, PATCH apps::update))
        .service(at!("/v1/apps/{app}/kill", POST kill::kill_app))
        .service(at!("/v1/apps/{app}/revive", POST kill::revive_app))
        .service(at!("/v1/apps/{app}/environments", GET apps::list_environments, POST apps::create_environment))
        .service(at!(
            "/v1/apps/{app}/environments/{environment}",
            GET apps::get_environment,
            PATCH apps::update_environment,
            DELETE apps::remove_environment,
        ))
        .service(at!(
            "/v1/apps/{app}/environments/{environment}/releases",
            GET releases::list,
            POST releases::deployed,
        ))
        .service(at!("/v1/apps/{app}/flags", GET flags::list, POST flags::create))
        .service(at!(flag, GET flags::get, PATCH flags::update, DELETE flags::archive))
        .service(at!(&format!("{flag}/extend"), POST flags::extend))
        .service(at!(&format!("{flag}/archive"), POST flags::archive))
        .service(at!(&format!("{flag}/kill"), POST kill::kill_flag))
        .service(at!(&format!("{flag}/revive"), POST kill::revive_flag))
        .service(at!(&format!("{flag}/environments/{{environment}}"), GET flags::get_state, PATCH flags::set_state));
    judging(config);
    looking_back(config, flag);
    rolling_out(config, flag);
    watching(config);
}

/// The gate: evidence in, decisions out, and what it judges by.
fn judging(config: &mut Places) {
    let (app, decision) = ("/v1/apps/{app}", "/v1/apps/{app}/decisions/{decision}");
    let waiver = format!("{app}/waivers/{{waiver}}");
    config
        .service(at!(
            &format!("{app}/environments/{{environment}}/gate"),
            GET gate::standing,
            POST gate::check,
        ))
        .service(at!(&format!("{app}/decisions"), GET gate::list))
        .service(at!(decision, GET gate::get))
        .service(at!(&format!("{decision}/receipt"), GET gate::receipt))
        .service(at!(&format!("{decision}/evidence/{{digest}}"), GET gate::evidence))
        .service(at!(&format!("{app}/source"), GET gate::source::get, PUT gate::source::set))
        .service(at!(&format!("{app}/waivers"), GET gate::waivers::list, POST gate::waivers::request))
        .service(at!(&waiver, GET gate::waivers::get))
        .service(at!(&format!("{waiver}/approve"), POST gate::waivers::approve))
        .service(at!(&format!("{waiver}/revoke"), POST gate::waivers::revoke))
        .service(at!("/v1/gate/key", GET gate::key))
        .service(at!("/v1/gate/policy", GET gate::policy::get, PUT gate::policy::set))
        .service(at!("/v1/gate/policy/test", POST gate::policy::test))
        .service(at!("/v1/gate/roles", GET gate::roles::list, POST gate::roles::grant))
        .service(at!("/v1/gate/roles/revoke", POST gate::roles::revoke));
}

/// How an app stands, and what guardrails acted on.
fn watching(config: &mut Places) {
    let evidence = "/v1/apps/{app}/evidence";
    config
        .service(at!("/v1/apps/{app}/environments/{environment}/slo", GET watched::slo))
        .service(at!("/v1/apps/{app}/environments/{environment}/recording", GET recording::recording))
        .service(at!(evidence, GET evidence::list))
        .service(at!(&format!("{evidence}/{{evidence}}"), GET evidence::get))
        .service(at!(&format!("{evidence}/{{evidence}}/recording"), GET evidence::recording));
}

/// Rollouts of flags, stage by stage.
fn rolling_out(config: &mut Places, flag: &str) {
    let one = format!("{flag}/environments/{{environment}}/rollout");
    config
        .service(at!("/v1/apps/{app}/rollouts", GET rollouts::list))
        .service(at!(&one, GET rollouts::get, POST rollouts::start))
        .service(at!(&format!("{one}/pause"), POST rollouts::pause))
        .service(at!(&format!("{one}/resume"), POST rollouts::resume))
        .service(at!(&format!("{one}/abort"), POST rollouts::abort))
        .service(at!(&format!("{one}/advance"), POST rollouts::advance));
}

/// Why a flag answers so, what became of it, and back to what it was.
fn looking_back(config: &mut Places, flag: &str) {
    let state = format!("{flag}/environments/{{environment}}");
    config
        .service(at!(&format!("{flag}/history"), GET history::list))
        .service(at!(&format!("{flag}/diff"), GET history::diff))
        .service(at!(&format!("{state}/explain"), POST explain::explain))
        .service(at!(&format!("{state}/exposures"), GET exposures::show))
        .service(at!(&format!("{state}/outcomes"), GET outcomes::show))
        .service(at!(&format!("{state}/verdicts"), GET watched::verdicts))
        .service(at!(&format!("{state}/revert"), POST revert::revert));
}

/// What guards rollouts, whom that calls, and what became of it.
fn guardrails(config: &mut Places) {
    let (app, flag) = ("/v1/apps/{app}", "/v1/apps/{app}/flags/{flag}");
    let (job, channel) = ("/v1/apps/{app}/jobs/{job}", "/v1/apps/{app}/channels/{channel}");
    config
        .service(at!(
            &format!("{app}/guardrails"),
            GET guardrails::of_app,
            PUT guardrails::set_of_app,
            DELETE guardrails::clear_of_app,
        ))
        .service(at!(
            &format!("{flag}/guardrails"),
            GET guardrails::of_flag,
            PUT guardrails::set_of_flag,
            DELETE guardrails::clear_of_flag,
        ))
        .service(at!(&format!("{flag}/environments/{{environment}}/drill"), POST guardrails::drill))
        .service(at!(&format!("{app}/jobs"), GET runbook::list_jobs, POST runbook::create_job))
        .service(at!(job, PATCH runbook::update_job, DELETE runbook::remove_job))
        .service(at!(&format!("{job}/rotate"), POST runbook::rotate_job))
        .service(at!(&format!("{job}/test"), POST runbook::test_job))
        .service(at!(&format!("{app}/channels"), GET runbook::list_channels, POST runbook::create_channel))
        .service(at!(channel, DELETE runbook::remove_channel))
        .service(at!(&format!("{channel}/test"), POST runbook::test_channel))
        .service(at!(&format!("{app}/effects"), GET effects::list))
        .service(at!(&format!("{app}/effects/replay"), POST effects::replay_all))
        .service(at!(&format!("{app}/effects/{{effect}}/replay"), POST effects::replay));
}

fn webhooks(config: &mut Places) {
    let one = "/v1/webhooks/{webhook}";
    config
        .service(at!("/v1/webhooks", GET webhooks::list, POST webhooks::create))
        .service(at!(one, GET webhooks::get, PATCH webhooks::update, DELETE webhooks::remove))
        .service(at!(&format!("{one}/rotate"), POST webhooks::rotate))
        .service(at!(&format!("{one}/test"), POST webhooks::test))
        .service(at!(&format!("{one}/deliveries"), GET webhooks::deliveries))
        .service(at!(&format!("{one}/replay"), POST webhooks::replay));
}

fn segments(config: &mut Places, under: &str) {
    config
        .service(at!(&format!("{under}/segments"), GET segments::list))
        .service(at!(
            &format!("{under}/segments/{{segment}}"),
            GET segments::get,
            PUT segments::put,
            DELETE segments::remove,
        ))
        .service(at!(
            &format!("{under}/segments/{{segment}}/members"),
            GET segments::members,
            POST segments::change_members,
        ));
}
