//! The provider through OpenFeature's own SDK.
#![allow(clippy::unwrap_used, reason = "tests")]

mod peer;

use open_feature::provider::FeatureProvider as _;
use open_feature::{
    EvaluationContext, EvaluationErrorCode, EvaluationReason, FlagMetadataValue, OpenFeature, StructValue,
    Value,
};
use peer::{Peer, changes, kill, live, until};
use tidegate_sdk::openfeature::Provider;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn ann() -> EvaluationContext {
    EvaluationContext::default().with_targeting_key("ann").with_custom_field("plan", "pro")
}

#[test]
fn every_type_answers_through_openfeature() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    run(async {
        let mut api = OpenFeature::default();
        api.set_provider(Provider::new(client)).await;
        let flags = api.create_client();
        let ann = ann();
        assert_eq!(flags.get_bool_value("checkout", Some(&ann), None).await, Ok(true));
        assert_eq!(flags.get_string_value("colour", Some(&ann), None).await.as_deref(), Ok("blue"));
        assert_eq!(flags.get_float_value("limit", Some(&ann), None).await, Ok(2.5));
        let layout: Layout = flags.get_struct_value("layout", Some(&ann), None).await.unwrap();
        assert_eq!(layout, Layout { columns: 3 });
    });
}

#[derive(Debug, PartialEq)]
struct Layout {
    columns: i64,
}

impl TryFrom<StructValue> for Layout {
    type Error = String;

    fn try_from(value: StructValue) -> Result<Layout, String> {
        let columns = value.fields.get("columns").and_then(Value::as_i64).ok_or("no columns")?;
        Ok(Layout { columns })
    }
}

#[test]
fn details_carry_variant_reason_and_metadata() {
    let peer = Peer::start();
    let (client, mut feed) = live(&peer);
    let changes = changes(&client);
    let provider = Provider::new(client);
    run(async {
        let ruled = provider.resolve_string_value("staff", &ann()).await.unwrap();
        assert_eq!(
            (ruled.variant.as_deref(), ruled.reason),
            (Some("on"), Some(EvaluationReason::TargetingMatch))
        );
        let metadata = ruled.flag_metadata.unwrap().values;
        assert_eq!(metadata["tidegate.rule"], FlagMetadataValue::String("is-staff".into()));
        assert_eq!(metadata["tidegate.revision"], FlagMetadataValue::Int(3));
        let plain = provider.resolve_bool_value("checkout", &ann()).await.unwrap();
        assert_eq!(plain.reason, Some(EvaluationReason::Static));

        feed.send(&kill("checkout", 5, 6));
        until(&changes, 6);
        let killed = provider.resolve_bool_value("checkout", &ann()).await.unwrap();
        assert_eq!((killed.value, killed.reason), (false, Some(EvaluationReason::Disabled)));
        let metadata = killed.flag_metadata.unwrap().values;
        assert_eq!(metadata["tidegate.killed"], FlagMetadataValue::String("flag".into()));
        assert_eq!(metadata["tidegate.reason"], FlagMetadataValue::String("killed".into()));
    });
}

#[test]
fn errors_have_their_codes() {
    let peer = Peer::start();
    let (client, _feed) = live(&peer);
    let provider = Provider::new(client);
    let anonymous = EvaluationContext::default();
    let crowded = (0..1_000).fold(ann(), |context, i| context.with_custom_field(format!("a{i}"), i));
    run(async {
        let code = |error: open_feature::EvaluationError| error.code;
        let missing = provider.resolve_bool_value("nobody", &ann()).await.map_err(code);
        assert_eq!(missing.map(|_| ()), Err(EvaluationErrorCode::FlagNotFound));
        let other = provider.resolve_int_value("limit", &ann()).await.map_err(code);
        assert_eq!(other.map(|_| ()), Err(EvaluationErrorCode::TypeMismatch), "2.5 is no integer");
        let keyless = provider.resolve_bool_value("split", &anonymous).await.map_err(code);
        assert_eq!(keyless.map(|_| ()), Err(EvaluationErrorCode::TargetingKeyMissing));
        let invalid = provider.resolve_bool_value("checkout", &crowded).await.map_err(code);
        assert_eq!(invalid.map(|_| ()), Err(EvaluationErrorCode::InvalidContext));
        let early = tidegate_sdk::Client::builder(&Peer::nowhere(), "tg_key").start().unwrap();
        let early = Provider::new(early).resolve_bool_value("checkout", &ann()).await.map_err(code);
        assert_eq!(early.map(|_| ()), Err(EvaluationErrorCode::ProviderNotReady));
    });
}

#[test]
fn initialization_waits_for_the_first_flags() {
    let peer = Peer::start();
    let client = peer.builder().start().unwrap();
    let server = std::thread::spawn(move || (peer.next_feed().open_with(&peer::shop(5)), peer));
    run(async {
        let mut provider = Provider::new(client);
        provider.initialize(&EvaluationContext::default()).await;
        assert_eq!(provider.status(), open_feature::provider::ProviderStatus::Ready);
        assert!(provider.resolve_bool_value("checkout", &ann()).await.unwrap().value);
    });
    drop(server.join().unwrap());
}
