//! What a page is told, as it is written: everything at once, or single flags for its context.

use bytes::Bytes;
use rollout_rules::feed::Frame;
use rollout_rules::ids::{FlagKey, Revision};
use rollout_rules::project::browser::Pages;
use rollout_rules::time::UnixMs;

use super::sessions::Page;
use crate::http::Shared;
use crate::http::feed::channel::{reaches, travelling};
use crate::http::feed::page_ring::Values;
use crate::http::problem::{self, Problem};
use crate::state::Published;

fn pages<'p>(shared: &'p Shared, published: &'p Published, page: &'p Page) -> Pages<'p> {
    Pages {
        log: shared.log_id(),
        app: &page.of.app,
        environment: &page.of.environment,
        folded: &published.folded,
        live: &published.snapshot,
    }
}

/// Everything, as a frame.
pub(super) fn everything(
    shared: &Shared,
    published: &Published,
    page: &Page,
    now: UnixMs,
) -> Result<Frame, Problem> {
    let standing = published.overlays.iter().filter(|kill| reaches(kill, &page.of.app, &page.of.environment));
    let overlays: Vec<_> = standing.map(travelling).collect();
    pages(shared, published, page).snapshot(&page.context, &overlays, now).ok_or_else(|| {
        let detail = format!("there is no environment `{}` of an app `{}`", page.of.environment, page.of.app);
        Problem::new(problem::NOT_FOUND, detail)
    })
}

/// Everything, as an event of the page's stream.
pub(super) fn everything_as_event(
    shared: &Shared,
    published: &Published,
    page: &Page,
    now: UnixMs,
) -> Result<Bytes, Problem> {
    let frame = everything(shared, published, page, now)?;
    frame.encode_event().map(Bytes::from).map_err(Problem::internal)
}

/// Whether a page that has seen the log so far lacks nothing of what is published.
pub(super) fn has_all(published: &Published, page: &Page, seen: Revision) -> bool {
    let (app, environment) = (&page.of.app, &page.of.environment);
    seen <= published.revision()
        && published.folded.feed_revision(app, environment) <= seen
        && !published.overlays.iter().any(|kill| reaches(kill, app, environment))
}

/// Flags that may answer otherwise now, as an event; none, if none of them is told by value.
pub(super) fn values(
    shared: &Shared,
    flags: &[FlagKey],
    values: &Values,
    page: &Page,
    now: UnixMs,
) -> Option<Bytes> {
    let pages = pages(shared, &values.published, page);
    let fragments: Vec<_> = flags
        .iter()
        .filter_map(|flag| {
            let told = pages.told(flag, &page.context, now)?;
            values.fragments.get(flag, told, |told| {
                let served = pages.told_flag(flag, told, now)?;
                serde_json::to_string(&served)
                    .inspect_err(|error| tracing::error!(%error, "a flag is not told"))
                    .ok()
            })
        })
        .collect();
    if fragments.is_empty() {
        return None;
    }
    Some(as_event(shared.log_id().as_str(), values.published.revision(), &fragments))
}

/// The event of a change that puts these flags: the same bytes as of the frame that has them.
fn as_event(log: &str, revision: Revision, fragments: &[impl AsRef<str>]) -> Bytes {
    let flags: usize = fragments.iter().map(|one| one.as_ref().len() + 16).sum();
    let mut event = String::with_capacity(flags + 192);
    event.push_str("event: change\nid: ");
    event.push_str(&format!("{log}:{revision}\ndata: {{\"v\":2,\"log\":\"{log}\",\"revision\":{revision}"));
    event.push_str(",\"body\":{\"change\":{\"follows\":0,\"ops\":[");
    for (index, fragment) in fragments.iter().enumerate() {
        event.push_str(if index == 0 { "{\"put_flag\":" } else { ",{\"put_flag\":" });
        event.push_str(fragment.as_ref());
        event.push('}');
    }
    event.push_str("]}}}\n\n");
    Bytes::from(event)
}

#[cfg(test)]
mod tests {
    use rollout_rules::change::Command;
    use rollout_rules::context::Context;
    use rollout_rules::ids::{EnvKey, TokenId};
    use serde_json::json;

    use super::super::sessions::Opener;
    use super::*;
    use crate::http::feed::fragments::Fragments;
    use crate::http::tests::{Node, START};

    #[tokio::test]
    async fn an_event_that_is_put_together_has_the_bytes_of_its_frame() {
        let node = Node::start().await;
        let (app, environment) = (node.shop().await, EnvKey::new("production").expect("a key"));
        let keys: Vec<FlagKey> = ["a", "b\u{e9}/1"].iter().filter_map(|key| FlagKey::new(key).ok()).collect();
        for key in &keys {
            let create = json!({ "do": "create_flag", "app": "shop", "key": key, "browser": "values" });
            node.submit(serde_json::from_value::<Command>(create).expect("a command")).await;
        }
        let (shared, token) = (node.shared(), TokenId::new("token").expect("an id"));
        let opener = shared.pages.opener(Opener { app, environment, token, origin: None });
        let page = Page::new(opener, Context::new("ann"), 0, START);
        let published = shared.published_full();
        let pages = pages(&shared, &published, &page);
        let flags =
            keys.iter().filter_map(|key| pages.told_flag(key, pages.told(key, &page.context, START)?, START));
        let whole = pages.values_frame(flags.collect()).encode_event().expect("a frame");
        let found = Values {
            flags: keys.clone(),
            published: shared.published_full(),
            fragments: Fragments::default(),
        };
        for _ in 0..2 {
            let joined = values(&shared, &keys, &found, &page, START).expect("an event");
            assert_eq!(joined, whole, "{}", String::from_utf8_lossy(&joined));
        }
        node.state.stop().await;
    }
}
