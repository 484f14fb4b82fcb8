//! Every setting in one table: its name, its default and why. The file's keys, the names in the
//! environment and the flags all come from here, and so does what `--print-config` says.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in a file: `limits.connections` is `connections` in the table `[limits]`.
    pub path: &'static str,
    /// Its value where nobody gives one, as it would be typed. Empty: none.
    pub default: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
}

impl Setting {
    /// Its name in the environment: `TIDEGATE_LIMITS_CONNECTIONS`.
    pub fn env_name(&self) -> String {
        format!("TIDEGATE_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// Its flag without the dashes: `limits-connections`.
    pub fn flag_name(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// Its default for people.
    pub fn shown_default(&self) -> &'static str {
        if self.default.is_empty() { "none" } else { self.default }
    }

    /// Whether it is one that many will touch, so that short help shows it.
    pub fn is_common(&self) -> bool {
        !self.path.contains('.') || self.path.starts_with("log.")
    }
}

/// The setting of that name.
pub fn find(path: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.path == path)
}

/// The name most like a mistyped one, if any is like it at all.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// From here on two names are taken for one with a slip in it.
    const ALIKE: f64 = 0.8;
    names
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(typed, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

const fn setting(
    path: &'static str,
    default: &'static str,
    what: &'static str,
    why: &'static str,
) -> Setting {
    Setting { path, default, what, why }
}

const LIFE: &str = "long enough to finish a rollout, short enough that a forgotten flag dies by itself";
const CAP: &str = "a flag that must live longer is extended with a reason, which the log keeps and counts";

/// All settings, in the order that they are printed.
pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "127.0.0.1:8080",
        "Address and port to listen on; port 0 takes a free one",
        "this machine only: without TLS the server speaks plain HTTP, and tokens must not cross a network in the clear",
    ),
    setting(
        "insecure_http",
        "false",
        "Allow `listen` to be an address that other machines reach, without TLS",
        "name a certificate in `tls` or put a TLS proxy in front instead, or set this inside a network that you trust",
    ),
    setting(
        "data_dir",
        "./tidegate-data",
        "Directory of the change log, checkpoints and kill journal; made if absent",
        "next to where you start it, so that a first try leaves nothing elsewhere",
    ),
    setting(
        "node_id",
        "node-1",
        "This server's name in the log",
        "one server needs no more; servers that share a log need a name each",
    ),
    setting(
        "public_url",
        "",
        "Address under which clients reach the server, such as https://flags.example.org",
        "without it the request's Host is taken; name it behind a proxy that changes Host",
    ),
    setting(
        "workers",
        "0",
        "Threads that serve requests; 0 is one for each core",
        "more than cores gains nothing: no request blocks",
    ),
    setting(
        "shutdown_grace",
        "5s",
        "How long requests in progress may take after SIGTERM or Ctrl-C",
        "requests take milliseconds, and orchestrators kill after 10 to 30 s; streams end at once, so that clients move on",
    ),
    setting(
        "tls.certificate",
        "",
        "PEM file with the server's certificate, those of its issuers after it; with it the server speaks HTTPS. Read again when it changes",
        "a certificate is for a name that only you know; a broken new file is logged and the old one stays in use",
    ),
    setting(
        "tls.key",
        "",
        "PEM file with the certificate's private key, without a password. Read again when it changes",
        "it belongs to the certificate, and only the server's user should be able to read it",
    ),
    setting(
        "tls.client_certificates",
        "off",
        "Whether clients show certificates too: off, optional (one that is shown has to be valid) or required (no connection without one)",
        "it adds a lock before the token, for CI and operators; the token alone decides what a request may do. Probes and SDKs without one are shut out by required",
    ),
    setting(
        "tls.client_ca",
        "",
        "PEM file with the CAs whose client certificates are taken. Read again when it changes; connections that are open stay",
        "a CA of your own: any other would let in whoever it certified",
    ),
    setting(
        "log.level",
        "info",
        "What is logged to stderr: error, warn, info, debug or trace",
        "one line for what an operator should know; `debug` adds one for each request",
    ),
    setting(
        "log.format",
        "text",
        "How a log line looks: text or json",
        "a person reads it first; choose json where a collector does",
    ),
    setting(
        "metrics.access",
        "loopback",
        "Who may read /metrics without a token: loopback, everyone or nobody",
        "a collector on the same machine just works, and what a proxy passes on (X-Forwarded-For, Forwarded, X-Real-IP or Via) is from elsewhere; others send a viewer's token",
    ),
    setting(
        "cors.origins",
        "*",
        "Web origins whose pages may check flags, separated by commas; * is any",
        "checks carry a token and no cookie, so an origin adds no right; name yours to be strict",
    ),
    setting(
        "ofrep.require_targeting_key",
        "true",
        "Refuse an OFREP evaluation whose context has no targeting key, as OFREP 0.3 asks",
        "a missing key is usually a mistake; without it only what needs no unit can be served",
    ),
    setting(
        "webhooks.allow_private",
        "false",
        "Let webhooks lead to private, loopback and link-local addresses, and over plain http",
        "whoever may make a webhook could knock at doors inside your network; set it where receivers live there",
    ),
    setting(
        "webhooks.deliver",
        "true",
        "Send what webhooks are to be told, and call and tell whom guardrails ask for; while this is false it waits, and webhooks, jobs and channels can still be tested",
        "whoever makes a webhook wants to hear; set it to false on a copy made of a backup, which would tell the same receivers",
    ),
    setting(
        "mail.server",
        "",
        "Host and port of the mail server by which guardrails tell people, such as smtp.example.org:587",
        "only you know one; without it, channels that are mail end as dead letters, which can be replayed",
    ),
    setting(
        "mail.encryption",
        "starttls",
        "How the mail server is spoken to: starttls (nothing is sent without), tls (from the first byte, port 465) or none",
        "what port 587 offers everywhere; use none only for a relay on the same machine or network, and without a user",
    ),
    setting(
        "mail.from",
        "",
        "Whom mail is from, such as tidegate@example.org",
        "mail servers take mail only from addresses that they know",
    ),
    setting(
        "mail.user",
        "",
        "Whom to log in to the mail server as",
        "a relay inside your network asks for none",
    ),
    setting(
        "mail.password_file",
        "",
        "File that holds the password of `mail.user`; read at start",
        "a password in a file of its own is in no process list and no printed settings",
    ),
    setting(
        "limits.connections",
        "40000",
        "Most connections open at once; more wait in the system's queue",
        "two in three of the 65,536 file descriptors that services are usually given",
    ),
    setting(
        "limits.streams",
        "30000",
        "Most event streams open at once, those of web pages at most three quarters of them; more get 503. As many pages are kept",
        "leaves connections for requests when streams are at their bound",
    ),
    setting(
        "limits.in_flight",
        "2048",
        "Most requests worked on at once, streams, kills and health aside; more get 503",
        "checks take microseconds: so many at once mean that something hangs",
    ),
    setting(
        "limits.body",
        "256KiB",
        "Largest request body; more gets 413",
        "four times the largest log entry",
    ),
    setting(
        "limits.requests_per_second",
        "200000",
        "Requests a second of one token, on average; more get 429. Kills are never refused. 0: no limit",
        "more than one machine serves: it stops a runaway fleet, not a busy app; lower it where tokens share a server",
    ),
    setting(
        "limits.burst",
        "200000",
        "Requests that one token may make at once after a pause; once half of them are gone, checks that came last are answered first",
        "a second's worth, so that a fleet may start together",
    ),
    setting(
        "limits.failed_logins_per_minute",
        "120",
        "Requests with invalid tokens a minute that one address (of IPv6, one /64) gets a 401 for; more get 429",
        "guessing stays hopeless, and a misconfigured fleet shows in the log without filling it",
    ),
    setting(
        "limits.pages_per_minute",
        "12000",
        "Pages a minute that one address (of IPv6, one /64) may open; more get 429",
        "an office, or all that comes through one proxy, opens its pages anew within a minute after a restart",
    ),
    setting(
        "limits.request_timeout",
        "10s",
        "How long a client may take for the TLS handshake, then to send the head, then the body, of a request",
        "a slow network needs seconds; a client that dribbles bytes holds a connection for nothing",
    ),
    setting(
        "limits.write_timeout",
        "45s",
        "How long a client may take nothing of what it is sent; then its connection is closed",
        "three heartbeats of a stream: who has not read for so long is gone or stuck, and comes back to a fresh state",
    ),
    setting(
        "limits.keep_alive",
        "75s",
        "How long a quiet connection is kept for the next request",
        "longer than the 60 s of common proxies, so that they close first and never meet a closing connection",
    ),
    setting("expiry.default.tier0.preview", "7d", "Life of a new tier 0 flag in previews", LIFE),
    setting("expiry.default.tier0.sandbox", "14d", "Life of a new tier 0 flag in sandboxes", LIFE),
    setting("expiry.default.tier0.production", "14d", "Life of a new tier 0 flag in production", LIFE),
    setting("expiry.default.tier1.preview", "7d", "Life of a new tier 1 flag in previews", LIFE),
    setting("expiry.default.tier1.sandbox", "30d", "Life of a new tier 1 flag in sandboxes", LIFE),
    setting("expiry.default.tier1.production", "30d", "Life of a new tier 1 flag in production", LIFE),
    setting("expiry.default.tier2.preview", "7d", "Life of a new tier 2 flag in previews", LIFE),
    setting("expiry.default.tier2.sandbox", "30d", "Life of a new tier 2 flag in sandboxes", LIFE),
    setting("expiry.default.tier2.production", "90d", "Life of a new tier 2 flag in production", LIFE),
    setting("expiry.longest.tier0.preview", "7d", "Longest life of a tier 0 flag in previews", CAP),
    setting("expiry.longest.tier0.sandbox", "30d", "Longest life of a tier 0 flag in sandboxes", CAP),
    setting("expiry.longest.tier0.production", "14d", "Longest life of a tier 0 flag in production", CAP),
    setting("expiry.longest.tier1.preview", "14d", "Longest life of a tier 1 flag in previews", CAP),
    setting("expiry.longest.tier1.sandbox", "90d", "Longest life of a tier 1 flag in sandboxes", CAP),
    setting("expiry.longest.tier1.production", "30d", "Longest life of a tier 1 flag in production", CAP),
    setting("expiry.longest.tier2.preview", "14d", "Longest life of a tier 2 flag in previews", CAP),
    setting("expiry.longest.tier2.sandbox", "90d", "Longest life of a tier 2 flag in sandboxes", CAP),
    setting("expiry.longest.tier2.production", "90d", "Longest life of a tier 2 flag in production", CAP),
    setting(
        "approvals.tier0",
        "0",
        "Approvals by other people that a raise in production needs, tier 0",
        "a personal app has one person",
    ),
    setting(
        "approvals.tier1",
        "1",
        "Approvals by other people that a raise in production needs, tier 1",
        "a second pair of eyes where a team depends on it",
    ),
    setting(
        "approvals.tier2",
        "2",
        "Approvals by other people that a raise in production needs, tier 2",
        "two where the organisation depends on it",
    ),
    setting(
        "approvals.proposal_life",
        "7d",
        "How long a proposal and its approvals stand",
        "what was approved last week was approved for last week's state",
    ),
    setting(
        "gate.enforcement",
        "enforce",
        "Whether what the gate says binds: enforce, or report (decisions are made and shown, nothing is refused or lowered for them)",
        "a flag goes live only after its build has passed; report is for getting to know it",
    ),
    setting(
        "gate.keep_evidence",
        "400d",
        "How long the evidence, judgement and receipt of a decision are kept, 7d to 3650d; of what runs in any environment, and of what to go back to there, always. Of an environment the last 64 decisions at most",
        "a year, and some weeks to look back at it; once they are gone a build is judged again only with evidence that is handed in anew",
    ),
    setting(
        "previews.default_life",
        "2d",
        "Life of a preview environment that names none",
        "a preview serves one change under review",
    ),
    setting(
        "previews.longest_life",
        "14d",
        "Longest life of a preview environment, from now",
        "longer than any review; what lives on is a sandbox",
    ),
];
