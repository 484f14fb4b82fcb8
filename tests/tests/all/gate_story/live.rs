//! A flag goes live: with a build that passed, and with somebody else's approval.

use serde_json::{Value, json};
use tidegate_sdk::{Client, Context};
use tidegate_tests::discount::ARTIFACT;
use tidegate_tests::{Api, Discount, Ended, PATIENCE, Tool, eventually};

pub(crate) const FLAG: &str = "new-price";

/// Who uses the app: by its SDK, and by OFREP.
pub(crate) struct People {
    sdk: Client,
    ofrep: Api,
}

impl People {
    pub(crate) fn of(app: &Discount) -> People {
        let token = app.server_token();
        let sdk = Client::builder(app.server.url(), &token).start().expect("the SDK starts");
        sdk.wait_ready(PATIENCE).expect("the SDK hears of the server");
        People { sdk, ofrep: app.server.with_token(&token) }
    }

    /// Whether any of two hundred is served the new variant by the SDK.
    fn any_sees_it(&self) -> bool {
        (0..200).any(|nth| self.sdk.bool(FLAG, &Context::new(&format!("person-{nth}")), false))
    }

    /// Why OFREP answers as it does, and whether any of two hundred is served the new variant by it.
    fn asked_over_http(&self) -> (String, bool) {
        let mut reason = String::new();
        let any = (0..200).any(|nth| {
            let asked = json!({"context": {"targetingKey": format!("person-{nth}")}});
            let answer = self.ofrep.post(&format!("/ofrep/v1/evaluate/flags/{FLAG}"), &asked).expect(200);
            answer["reason"].as_str().unwrap_or_default().clone_into(&mut reason);
            answer["value"] == json!(true)
        });
        (reason, any)
    }

    pub(crate) fn are_served_it(&self) {
        assert!(self.asked_over_http().1, "OFREP serves nobody the new variant");
        eventually("the SDK serves the new variant", || self.any_sees_it().then_some(()));
    }

    /// As soon as the SDK has heard.
    pub(crate) fn are_no_more_served_it(&self) {
        eventually("the SDK serves its off variant", || (!self.any_sees_it()).then_some(()));
        assert_eq!(self.asked_over_http(), ("DISABLED".to_owned(), false));
    }
}

/// How what runs in production stands.
pub(crate) fn standing(app: &Discount) -> Value {
    app.admin.get("/v1/apps/discount/environments/production/gate").expect(200)
}

/// Ada proposes to raise the flag and Ben approves; gives the proposal.
pub(crate) fn proposed(app: &Discount, exposure: &str) -> String {
    let raise = ["flag", "on", FLAG, "--env", "production", "--exposure", exposure, "--propose"];
    let id = app.ada.json(&raise)["id"].as_str().expect("an id").to_owned();
    approve(&app.ada, &id).expect(6).says("nobody approves their own");
    approve(&app.ben, &id).expect(0);
    id
}

fn approve(who: &Tool, id: &str) -> Ended {
    who.run(&["proposal", "approve", id, "--role", "platform"])
}

pub(crate) fn apply(app: &Discount, id: &str) -> Ended {
    app.ada.run(&["proposal", "apply", id])
}

pub(crate) fn go_live(app: &Discount) -> People {
    app.ada.run(&["flag", "create", FLAG]).expect(0);
    let people = People::of(app);
    let raise = ["flag", "on", FLAG, "--env", "production", "--exposure", "30%"];
    app.ada.run(&raise).expect(6).says("takes 1 approval");
    let id = proposed(app, "30%");
    // A decision alone moves nothing: nobody told yet what runs.
    let refused = apply(app, &id).expect(6);
    refused.says("the gate does not let this through yet");
    refused.says("tidegate release deployed");
    app.ada.run(&["gate", "show", "--env", "production"]).expect(6);
    people.are_no_more_served_it();

    app.pipeline
        .run(&["release", "deployed", ARTIFACT, "--env", "production", "--version", "1.0.0"])
        .expect(0);
    app.ada.run(&["gate", "show", "--env", "production"]).expect(0).says("it may be raised");
    // What was approved was approved for what ran then.
    apply(app, &id).expect(5).says("propose it again");
    let id = proposed(app, "30%");
    apply(app, &id).expect(0);
    people.are_served_it();
    people
}
