//! Lists, a page at a time. A cursor is the name of the last item; clients give it back as it came.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::audience::Query;
use super::problem::{self, Problem};

/// Items of a page if nothing is said.
pub const DEFAULT_LIMIT: usize = 100;
/// Most items of a page.
pub const MAX_LIMIT: usize = 1_000;
/// The parameters of every list.
pub const PARAMETERS: [&str; 2] = ["limit", "cursor"];

/// Which page is asked for.
pub struct Page<K> {
    /// How many items.
    pub limit: usize,
    /// After this one.
    pub cursor: Option<K>,
}

/// How many items a page is to have.
pub fn limit(query: &Query) -> Result<usize, Problem> {
    let Some(asked) = query.whole_number("limit")? else { return Ok(DEFAULT_LIMIT) };
    match usize::try_from(asked) {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        _ => {
            let detail = format!("`limit` has to be from 1 to {MAX_LIMIT}");
            Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "limit"))
        }
    }
}

impl<K: std::str::FromStr<Err: std::fmt::Display>> Page<K> {
    /// Reads the parameters of a list; those that only some lists have are named.
    pub fn of(query: &Query, others: &[&str]) -> Result<Page<K>, Problem> {
        query.only(&[&PARAMETERS, others].concat())?;
        Ok(Page { limit: limit(query)?, cursor: query.parse("cursor")? })
    }

    /// Takes the page from the items after the cursor.
    pub fn answer<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        view: impl Fn(T) -> Value,
    ) -> HttpResponse {
        HttpResponse::Ok().json(self.body(items, name, view))
    }

    /// The same, before it is sent.
    pub fn body<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        view: impl Fn(T) -> Value,
    ) -> Value {
        let mut items = items.peekable();
        let mut shown = Vec::new();
        let mut last = None;
        while shown.len() < self.limit {
            let Some(item) = items.next() else { break };
            last = Some(name(&item));
            shown.push(view(item));
        }
        let mut body = json!({ "items": shown });
        if let (Some(last), true) = (last, items.peek().is_some()) {
            body["next_cursor"] = last.into();
        }
        body
    }
}
