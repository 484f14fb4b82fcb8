//! `tidegate flag outcomes`: what a flag's variants did to requests.

use clap::Args;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use serde_json::Value;

use super::client::with_query;
use super::delivery::grouped;
use super::failure::Failure;
use super::flag::{path, read};
use super::output::{Table, Tone};
use super::reading::{moment, text};
use super::session::Session;
use super::when::{self, Ago};

/// The split of units that a rollout has reached and those that it has not.
const EXPOSURE: &str = ".exposure";

/// Whose outcomes, and since when.
#[derive(Args, Clone, Debug)]
pub struct OutcomesOptions {
    /// Which flag
    key: FlagKey,
    /// In which environment; may be left out where there is only one
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// From when on: a length of time ago such as 30m or 2d, or a date, of the last 8 days; an hour ago if not said
    #[arg(long, value_name = "WHEN")]
    since: Option<Ago>,
}

/// Shows what each variant did.
pub(super) fn show(session: &mut Session, app: &AppKey, options: &OutcomesOptions) -> Result<(), Failure> {
    let flag = read(session, app, &options.key)?;
    let (environment, _) = flag.state(options.environment.as_ref())?;
    let mut path = format!("{}/environments/{environment}/outcomes", path(app, &options.key));
    if let Some(since) = options.since {
        path = with_query(&path, "since", &since.before(session.now).to_string());
    }
    let answer = session.client.get(&path)?.body;
    if session.json {
        return session.print_json(&answer);
    }
    let second = |name| moment(&answer, name).map_or_else(String::new, when::second);
    let pages = match &flag.browser {
        Some(_) => {
            ", and pages do with a key made for it: tidegate token create --scope sdk-browser --outcomes --origin https://…"
        }
        None => "",
    };
    let none = format!(
        "nobody reported requests with {} in {environment} from {} to {}; the SDK does where checks go through a request scope{pages}",
        options.key,
        second("since"),
        second("until"),
    );
    let table = table(answer["variants"].as_array().map(Vec::as_slice).unwrap_or_default());
    Ok(table.write(&mut *session.out, session.style, &none)?)
}

fn table(variants: &[Value]) -> Table {
    let mut table = Table::new(["SPLIT", "VARIANT", "REQUESTS", "ERRORS", "P50", "P95", "P99", "COST"]);
    for one in variants {
        let split = text(one, "split");
        let number = |name: &str| one[name].as_u64();
        let cost = number("cost_micros").unwrap_or(0);
        let cells = [
            if split == EXPOSURE { "exposure".to_owned() } else { split },
            text(one, "variant"),
            grouped(number("requests").unwrap_or(0)),
            number("error_rate_millionths").map_or_else(|| "-".to_owned(), percent),
            duration(number("p50_us")),
            duration(number("p95_us")),
            duration(number("p99_us")),
            format!("{}.{:02}", grouped(cost / 1_000_000), cost % 1_000_000 / 10_000),
        ];
        table.toned_row(cells.into_iter().map(|cell| (cell, Tone::Plain)).collect());
    }
    table
}

/// `3.12 %`.
fn percent(millionths: u64) -> String {
    format!("{}.{:02} %", millionths / 10_000, millionths % 10_000 / 100)
}

/// `850 us`, `12.3 ms` or `4.20 s`.
fn duration(us: Option<u64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1_000 => format!("{us} us"),
        Some(us) if us < 1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        Some(us) => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::Style;

    #[test]
    fn each_variant_has_a_line_in_units_that_people_read() {
        let of = |split: &str, variant: &str, p95: Value| {
            json!({
                "split": split, "variant": variant, "requests": 12_345, "bad_requests": 385,
                "error_rate_millionths": 31_186, "p50_us": 850, "p95_us": p95, "p99_us": 4_200_000,
                "cost_micros": 1_234_567_890,
            })
        };
        let table = table(&[of(".exposure", "on", json!(12_340)), of("main", "off", Value::Null)]);
        let mut out = Vec::new();
        table.write(&mut out, Style::default(), "").expect("a vector takes everything");
        let shown = String::from_utf8(out).expect("text");
        let lines = [
            "SPLIT     VARIANT  REQUESTS  ERRORS  P50     P95      P99     COST",
            "exposure  on       12,345    3.11 %  850 us  12.3 ms  4.20 s  1,234.56",
            "main      off      12,345    3.11 %  850 us  -        4.20 s  1,234.56",
        ];
        assert_eq!(shown.lines().map(str::trim_end).collect::<Vec<_>>(), lines);
    }
}
