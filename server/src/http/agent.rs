//! A language model in the headers of a request: which one acts, through what and for whom, and what its act came from. Headers,
//! because they go with every act alike, whatever its body, and with a token that several agents share.

use actix_web::http::header::{HeaderMap, HeaderName};
use rollout_rules::governance::{Actor, Work};
use rollout_rules::ids::Digest;

use super::problem::{self, Problem, percent_decoded};

/// Where an agent names itself: `model=…; tool=…; on-behalf-of=…`.
const AGENT: HeaderName = HeaderName::from_static("tidegate-agent");
/// Where it says what its act came from: `prompt=…; file=…; file=…; more-files=…; reviewer=…`, each of which may be left out.
const WORK: HeaderName = HeaderName::from_static("tidegate-agent-work");
/// Longest name of a model, a tool or a person, in bytes.
const MAX_AGENT_NAME_BYTES: usize = 128;

/// Whose act a request is: the token's, or that of the agent that its headers name.
pub(super) fn acting(headers: &HeaderMap, of_token: &Actor) -> Result<Actor, Problem> {
    let mut actor = agent(headers)?.unwrap_or_else(|| of_token.clone());
    if let Some(said) = work(headers)? {
        let Actor::Agent { work, .. } = &mut actor else {
            return Err(wrong(
                "the header `Tidegate-Agent-Work` is for language models: name the one that acts with `Tidegate-Agent`, or use a \
                 token that was made for one; people and pipelines leave it out",
            ));
        };
        *work = Some(Box::new(said));
    }
    Ok(actor)
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(problem::INVALID_PARAMETER, detail.into())
}

fn agent(headers: &HeaderMap) -> Result<Option<Actor>, Problem> {
    let Some(value) = headers.get(AGENT) else { return Ok(None) };
    let wrong = || wrong("write the header `Tidegate-Agent` as `model=…; tool=…; on-behalf-of=…`");
    let (mut model, mut tool, mut on_behalf_of) = (None, None, None);
    for part in std::str::from_utf8(value.as_bytes()).map_err(|_| wrong())?.split(';') {
        let (name, text) = part.split_once('=').ok_or_else(wrong)?;
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_AGENT_NAME_BYTES {
            return Err(wrong());
        }
        let place = match name.trim().to_ascii_lowercase().as_str() {
            "model" => &mut model,
            "tool" => &mut tool,
            "on-behalf-of" => &mut on_behalf_of,
            _ => return Err(wrong()),
        };
        if place.replace(text.to_owned()).is_some() {
            return Err(wrong());
        }
    }
    match (model, tool, on_behalf_of) {
        (Some(model), Some(tool), Some(on_behalf_of)) => {
            Ok(Some(Actor::Agent { model, tool, on_behalf_of, work: None }))
        }
        _ => Err(wrong()),
    }
}

fn work(headers: &HeaderMap) -> Result<Option<Work>, Problem> {
    let mut values = headers.get_all(WORK);
    let Some(value) = values.next() else { return Ok(None) };
    // None of what was sent is told again: it may be the prompt itself.
    let form = || {
        wrong(
            "write the header `Tidegate-Agent-Work` as `prompt=…; file=…; file=…; more-files=…; reviewer=…`, what is left out left \
             out, and `;`, `%` and letters beyond ASCII in names as %XX",
        )
    };
    if values.next().is_some() {
        return Err(wrong("send the header `Tidegate-Agent-Work` once: it takes several `file=…`"));
    }
    let (mut work, mut more_files) = (Work::default(), None);
    for part in value.to_str().map_err(|_| form())?.split(';') {
        let (name, text) = part.split_once('=').ok_or_else(form)?;
        let text = percent_decoded(text.trim());
        let is_second = match name.trim().to_ascii_lowercase().as_str() {
            "prompt" => work.prompt.replace(prompt(&text)?).is_some(),
            "file" => {
                work.files.push(text);
                false
            }
            "more-files" => {
                let count = text.parse().map_err(|_| {
                    wrong("`more-files` in the header `Tidegate-Agent-Work` has to be a number, such as 30")
                })?;
                more_files.replace(count).is_some()
            }
            "reviewer" => work.reviewer.replace(text).is_some(),
            _ => return Err(form()),
        };
        if is_second {
            return Err(form());
        }
    }
    work.more_files = more_files.unwrap_or(0);
    work.check().map_err(|fault| wrong(format!("the header `Tidegate-Agent-Work`: {fault}")))?;
    Ok(Some(work))
}

fn prompt(text: &str) -> Result<Digest, Problem> {
    text.strip_prefix("sha256:").unwrap_or(text).parse().map_err(|_| {
        wrong(
            "`prompt` in the header `Tidegate-Agent-Work` has to be the SHA-256 of the prompt: 64 hexadecimal digits, as `sha256sum` \
             prints them; the prompt itself is never sent",
        )
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    const NAMED: (&str, &str) = ("tidegate-agent", "model=m-1; tool=editor; on-behalf-of=ada");

    fn human() -> Actor {
        Actor::Human { name: "ada".into() }
    }

    fn told(headers: &HeaderMap) -> String {
        acting(headers, &human()).unwrap_err().to_string()
    }

    #[test]
    fn an_agent_is_named_whole_or_refused() {
        let ada = Actor::Agent {
            model: "m-1".into(),
            tool: "editor".into(),
            on_behalf_of: "ada".into(),
            work: None,
        };
        assert_eq!(acting(&headers(&[NAMED]), &human()).unwrap(), ada);
        assert_eq!(acting(&HeaderMap::new(), &human()).unwrap(), human());
        for bad in
            ["", "model=m", "model=m; tool=t; on-behalf-of=", "model=m; model=m; tool=t; on-behalf-of=x"]
        {
            assert!(acting(&headers(&[("tidegate-agent", bad)]), &human()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_an_act_came_from_is_read_with_names_in_any_letters() {
        let digits = "8b".repeat(32);
        let said = format!(
            "prompt=sha256:{digits}; file=src/a.py; File=%C3%BC%3B.py; more-files=3; reviewer=Grace H"
        );
        let actor = acting(&headers(&[NAMED, ("tidegate-agent-work", &said)]), &human()).unwrap();
        let Actor::Agent { work: Some(work), .. } = actor else { panic!("{actor:?}") };
        assert_eq!(work.prompt, Some(digits.parse().unwrap()));
        assert_eq!(work.files, ["src/a.py", "ü;.py"]);
        assert_eq!((work.more_files, work.reviewer.as_deref()), (3, Some("Grace H")));
        // Also where the token says who acts.
        let of_token =
            Actor::Agent { model: "m".into(), tool: "t".into(), on_behalf_of: "ada".into(), work: None };
        let actor = acting(&headers(&[("tidegate-agent-work", "reviewer=grace")]), &of_token).unwrap();
        let Actor::Agent { model, work: Some(work), .. } = actor else { panic!("{actor:?}") };
        assert_eq!((model.as_str(), work.reviewer.as_deref()), ("m", Some("grace")));
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_being_told_again() {
        let files = ["file=a"; 21].join("; ");
        let long = format!("reviewer={}", "x".repeat(201));
        let cases = [
            ("prompt=write me a shop", "SHA-256 of the prompt"),
            ("prompt=", "SHA-256 of the prompt"),
            ("", "write the header"),
            ("write me a shop", "write the header"),
            ("colour=red", "write the header"),
            ("reviewer=a; reviewer=b", "write the header"),
            ("more-files=1; more-files=1", "write the header"),
            ("more-files=-1", "has to be a number"),
            ("reviewer=%0A", "name of the reviewer"),
            ("file=a; file=", "name of file 2"),
            (&files, "21 files are named and 20 are taken"),
            (&long, "at most 200 bytes"),
        ];
        for (said, why) in cases {
            let told = told(&headers(&[NAMED, ("tidegate-agent-work", said)]));
            assert!(told.contains(why) && !told.contains("shop"), "{said}: {told}");
        }
        let twice = headers(&[NAMED, ("tidegate-agent-work", "file=a"), ("tidegate-agent-work", "file=b")]);
        assert!(told(&twice).contains("once"));
    }

    #[test]
    fn people_and_pipelines_act_from_no_prompt() {
        let said = headers(&[("tidegate-agent-work", "reviewer=grace")]);
        assert!(told(&said).contains("name the one that acts with `Tidegate-Agent`"));
        assert!(acting(&said, &Actor::Service { name: "ci".into() }).is_err());
    }
}
