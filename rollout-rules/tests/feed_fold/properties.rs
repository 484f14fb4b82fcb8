//! Whatever happens, and wherever a client came in.

use proptest::prelude::*;
use rollout_rules::context::Context;
use rollout_rules::evaluate::{FlagSet, evaluate_all};
use rollout_rules::feed::{Audience, ClientState, Frame, FrameBody};
use rollout_rules::time::UnixMs;

use super::history::{History, audience, fold, two_apps};
use super::random::{change, steps};

/// The answers at some moments to some people.
fn answers(flags: FlagSet<'_>) -> Vec<String> {
    let contexts = [
        Context::anonymous(),
        Context::new("ann"),
        Context::new("unit-5").with("plan", "pro7"),
        Context::new("unit-1").with("plan", "x2"),
    ];
    let moments = [UnixMs(1_000_000), UnixMs(1_500_100), UnixMs(2_000_100)];
    let mut answers = Vec::new();
    for context in &contexts {
        for now in moments {
            for answer in evaluate_all(&flags, context, now) {
                answers.push(format!(
                    "{} {} {:?} {}",
                    answer.key(),
                    answer.variant(),
                    answer.reason,
                    answer.revision()
                ));
            }
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_client_knows_what_the_server_knows_wherever_it_came_in(steps in steps()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        for audience in [audience("shop", "production"), audience("desk", "sandbox")] {
            let mut clients: Vec<ClientState> = Vec::new();
            for at in 0..history.entries.len() {
                let frame = history.frame(at, &audience);
                if let Some(frame) = &frame {
                    clients = clients.iter().map(|client| fold(Some(client), frame)).collect();
                }
                match history.snapshot(at + 1, &audience) {
                    None => prop_assert!(clients.iter().all(ClientState::is_gone)),
                    Some(snapshot) => {
                        let fresh = fold(None, &snapshot);
                        let Audience::Server { app, environment } = &audience else { continue };
                        let server = answers(history.snapshots[at + 1].flag_set(app, environment).unwrap());
                        prop_assert_eq!(&answers(fresh.flag_set()), &server, "after entry {}", at + 1);
                        for client in &clients {
                            prop_assert_eq!(&client.to_frame().body, &snapshot.body, "after entry {}", at + 1);
                            prop_assert_eq!(&answers(client.flag_set()), &server);
                        }
                        clients.push(fresh);
                    }
                }
                // A client that came back resumes with the frames it has missed; those it has seen and
                // gets again do no harm.
                if let (Some(frame), Some(client)) = (&frame, clients.first()) {
                    let (again, applied) = ClientState::fold(Some(client), frame).unwrap();
                    prop_assert!(again.to_frame() == client.to_frame());
                    prop_assert!(!applied.moved || matches!(frame.body, FrameBody::Snapshot(_)));
                }
            }
        }
    }

    #[test]
    fn what_is_kept_on_disk_is_what_was_served(steps in steps()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        let audience = audience("shop", "production");
        if let Some(snapshot) = history.snapshot(history.entries.len(), &audience) {
            let client = fold(None, &snapshot);
            let kept = Frame::decode(&client.to_frame().encode().unwrap()).unwrap();
            let again = fold(None, &kept);
            prop_assert_eq!(again.to_frame(), client.to_frame());
            prop_assert_eq!(again.resume_token(), client.resume_token());
            prop_assert_eq!(answers(again.flag_set()), answers(client.flag_set()));
        }
    }

    #[test]
    fn nothing_about_people_and_their_words_travels(steps in steps()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        for at in 0..history.entries.len() {
            for frame in [history.frame(at, &audience("shop", "production")), history.snapshot(at, &audience("shop", "production"))] {
                let text = frame.map(|frame| String::from_utf8(frame.encode().unwrap()).unwrap()).unwrap_or_default();
                prop_assert!(!text.contains("secret"), "{}", text);
                prop_assert!(!text.contains("owner") && !text.contains("actor") && !text.contains("reason"), "{}", text);
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_is_no_frame(steps in steps(), cut in any::<prop::sample::Index>()) {
        let history = History::new(two_apps().into_iter().chain(steps.into_iter().map(change)));
        let at = history.entries.len();
        if let Some(frame) = history.snapshot(at, &audience("shop", "production")) {
            let json = frame.encode().unwrap();
            prop_assert!(Frame::decode(&json[..cut.index(json.len())]).is_err());
        }
    }
}
