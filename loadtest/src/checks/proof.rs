//! That what is measured is the work that it seems to be.

use serde_json::Value;

use super::{Origin, Shop};
use crate::kinds::checks::Request;
use crate::problem::Problem;
use crate::sender::ask;

/// Asks once, and compares.
pub(crate) fn prove(shop: &Shop, request: Request) -> Result<(), Problem> {
    match request {
        Request::Single => single(&shop.shop).map(|_| ()),
        Request::Bulk => bulk_is_all_singles(&shop.shop, shop.flags),
        Request::Unchanged => {
            ends_with_a_change(shop)?;
            shop.mall.as_ref().map_or(Ok(()), |mall| stays_unchanged(mall).map(|_| ()))
        }
    }
}

fn single(origin: &Origin) -> Result<Value, Problem> {
    one(origin, &origin.flag)
}

fn one(origin: &Origin, flag: &str) -> Result<Value, Problem> {
    let answer = ask(origin.at.address, &origin.single(flag))?;
    if answer.status != 200 {
        return Err(Problem::Refused { what: "one flag", status: answer.status });
    }
    json(&answer.body)
}

fn json(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::Wrong(format!("no JSON: {error}")))
}

/// All flags at once are what each is by itself.
fn bulk_is_all_singles(origin: &Origin, count: u64) -> Result<(), Problem> {
    let answer = ask(origin.at.address, &origin.bulk(None))?;
    if answer.status != 200 {
        return Err(Problem::Refused { what: "all flags", status: answer.status });
    }
    let all = json(&answer.body)?;
    let flags = all["flags"].as_array().cloned().unwrap_or_default();
    if flags.len() as u64 != count {
        return Err(Problem::Wrong(format!("there are {} flags among all {count}", flags.len())));
    }
    for flag in &flags {
        let key = flag["key"].as_str().unwrap_or_default();
        let single = one(origin, key)?;
        if single != *flag {
            return Err(Problem::Wrong(format!("`{key}` is {single} by itself, and {flag} among all")));
        }
    }
    Ok(())
}

/// Gives a tag with which nothing has changed.
fn stays_unchanged(origin: &Origin) -> Result<String, Problem> {
    let tag = origin.tag()?.ok_or(Problem::NoTag)?;
    let answer = ask(origin.at.address, &origin.bulk(Some(&tag)))?;
    if answer.status == 304 && answer.body.is_empty() {
        return Ok(tag);
    }
    Err(Problem::Wrong(format!("nothing has changed, and the answer is {}", answer.status)))
}

fn ends_with_a_change(shop: &Shop) -> Result<(), Problem> {
    let tag = stays_unchanged(&shop.shop)?;
    shop.change()?;
    let answer = ask(shop.shop.at.address, &shop.shop.bulk(Some(&tag)))?;
    if answer.status != 200 || answer.header("etag") == Some(&tag) {
        return Err(Problem::Wrong(format!("a flag was changed, and the answer is {}", answer.status)));
    }
    stays_unchanged(&shop.shop).map(|_| ())
}
