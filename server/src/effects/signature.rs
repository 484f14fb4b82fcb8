//! The signature of Standard Webhooks: HMAC-SHA256 of id, time and body, once with each secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use rollout_rules::webhook::{SECRET_PREFIX, WebhookSecret};
use sha2::Sha256;

/// Bytes of key in a secret; Standard Webhooks asks for 24 to 64.
const KEY_BYTES: usize = 32;

/// Draws a new secret.
pub fn draw_secret() -> WebhookSecret {
    let key = STANDARD.encode(rand::random::<[u8; KEY_BYTES]>());
    WebhookSecret::new(format!("{SECRET_PREFIX}{key}"))
}

/// The header `webhook-signature`: one signature for each secret, separated by spaces.
pub(super) fn sign(secrets: &[WebhookSecret], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let signatures: Vec<String> =
        secrets.iter().filter_map(|secret| sign_with(secret, id, timestamp_s, body)).collect();
    signatures.join(" ")
}

/// `None` if the secret is none, which the core does not let into the log.
fn sign_with(secret: &WebhookSecret, id: &str, timestamp_s: u64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.reveal().strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp_s}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification's own libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn the_published_example_gets_its_published_signature() {
        let secret = WebhookSecret::new(SECRET.to_owned());
        assert_eq!(sign(&[secret], ID, 1_614_265_330, BODY), SIGNATURE);
    }

    #[test]
    fn two_secrets_sign_side_by_side_while_receivers_change_over() {
        let secrets = [draw_secret(), WebhookSecret::new(SECRET.to_owned())];
        assert!(secrets[0].is_well_formed());
        let signed = sign(&secrets, ID, 1_614_265_330, BODY);
        let (new, old) = signed.split_once(' ').expect("two");
        assert_eq!(old, SIGNATURE);
        assert!(new.starts_with("v1,") && new != old, "{new}");
    }
}
