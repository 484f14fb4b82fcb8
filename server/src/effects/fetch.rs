//! Reading a text from an address that an operator named, under the same rules as webhooks are called.

use std::time::Duration;

use ureq::Error;

use super::address;
use super::sender::Sender;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The text at an address, of at most `limit` bytes; else why there is none.
pub(super) async fn text(sender: &Sender, url: String, limit: u64) -> Result<String, String> {
    let allow_private = sender.allow_private;
    address::check(&url, allow_private).map_err(|unfit| unfit.to_string())?;
    let reading = tokio::task::spawn_blocking(move || {
        let agent = super::sender::agent(allow_private, TIMEOUT);
        let answer = agent.get(&url).call().map_err(|error| match error {
            Error::Other(error) => error.to_string(),
            error => error.to_string(),
        })?;
        if answer.status().as_u16() != 200 {
            return Err(format!("it answered {}", answer.status().as_u16()));
        }
        answer.into_body().with_config().limit(limit).read_to_string().map_err(|error| error.to_string())
    });
    reading.await.map_err(|error| error.to_string())?
}
