//! Tidegate as a provider for the `open-feature` crate. It answers as Tidegate's OFREP endpoint does,
//! from local checks.
//!
//! ```no_run
//! use open_feature::OpenFeature;
//! use tidegate_sdk::Client;
//! use tidegate_sdk::openfeature::Provider;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:8080", "tg_sdk-server_…").start()?;
//! let mut api = OpenFeature::singleton_mut().await;
//! api.set_provider(Provider::new(client)).await;
//! let flags = api.create_client();
//! let is_new = flags.get_bool_value("checkout", None, None).await.unwrap_or(false);
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use open_feature::provider::{FeatureProvider, ProviderMetadata, ProviderStatus, ResolutionDetails};
use open_feature::{
    EvaluationContext, EvaluationContextFieldValue, EvaluationError, EvaluationErrorCode, EvaluationReason,
    EvaluationResult, FlagMetadata, StructValue, Value, async_trait,
};
use rollout_rules::context::{Attribute, Context, ContextError};
use rollout_rules::evaluate::{Answer, Reason, StandardReason};
use rollout_rules::time::UnixMs;
use serde_json::Value as Json;

use crate::client::Client;
use crate::detail::ErrorKind;
use crate::status::Status;

/// How long initialization waits for the first flags; the client goes on trying after it.
pub const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// An OpenFeature provider over a [`Client`].
pub struct Provider {
    client: Client,
    metadata: ProviderMetadata,
}

impl Provider {
    /// A provider that answers from this client.
    pub fn new(client: Client) -> Provider {
        Provider { client, metadata: ProviderMetadata::new("tidegate") }
    }

    fn resolve<T>(
        &self,
        key: &str,
        context: &EvaluationContext,
        read: impl FnOnce(&Json) -> Option<T>,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        let context = context_of(context)
            .map_err(|refused| error(EvaluationErrorCode::InvalidContext, refused.to_string()))?;
        let read = |answer: &Answer<'_>| match answer.reason {
            Reason::NoUnit => None,
            _ => read(answer.value()),
        };
        self.client.check(key, &context, read, |found| {
            let (value, answer) = found.map_err(|kind| error(code_of(kind), kind.to_string()))?;
            if answer.reason == Reason::NoUnit {
                let missing = "the flag divides by targeting key, and there is none";
                return Err(error(EvaluationErrorCode::TargetingKeyMissing, missing.to_owned()));
            }
            let value = value.ok_or_else(|| {
                let kind = ErrorKind::TypeMismatch { found: answer.kind() };
                error(EvaluationErrorCode::TypeMismatch, kind.to_string())
            })?;
            Ok(ResolutionDetails {
                value,
                variant: Some(answer.variant().to_string()),
                reason: Some(reason_of(answer)),
                flag_metadata: Some(metadata_of(answer)),
            })
        })
    }
}

#[async_trait]
impl FeatureProvider for Provider {
    async fn initialize(&mut self, _context: &EvaluationContext) {
        // What it stands at afterwards is told by `status`.
        let _ = self.client.ready(READY_TIMEOUT).await;
    }

    fn status(&self) -> ProviderStatus {
        match self.client.status() {
            Status::Starting => ProviderStatus::NotReady,
            Status::Live { .. } => ProviderStatus::Ready,
            Status::FromCache { .. } | Status::Stale { .. } => ProviderStatus::STALE,
            Status::Offline { .. } => ProviderStatus::Error,
        }
    }

    fn metadata(&self) -> &ProviderMetadata {
        &self.metadata
    }

    async fn resolve_bool_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        self.resolve(flag_key, evaluation_context, Json::as_bool)
    }

    async fn resolve_int_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        self.resolve(flag_key, evaluation_context, integer)
    }

    async fn resolve_float_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        self.resolve(flag_key, evaluation_context, Json::as_f64)
    }

    async fn resolve_string_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        self.resolve(flag_key, evaluation_context, |value| value.as_str().map(str::to_owned))
    }

    async fn resolve_struct_value(
        &self,
        flag_key: &str,
        evaluation_context: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        self.resolve(flag_key, evaluation_context, |value| value.as_object().map(fields_of))
    }
}

fn error(code: EvaluationErrorCode, message: String) -> EvaluationError {
    EvaluationError { code, message: Some(message) }
}

fn code_of(kind: ErrorKind) -> EvaluationErrorCode {
    match kind {
        ErrorKind::NotReady => EvaluationErrorCode::ProviderNotReady,
        ErrorKind::FlagNotFound => EvaluationErrorCode::FlagNotFound,
        ErrorKind::TypeMismatch { .. } => EvaluationErrorCode::TypeMismatch,
    }
}

fn reason_of(answer: &Answer<'_>) -> EvaluationReason {
    match answer.standard_reason() {
        StandardReason::Disabled => EvaluationReason::Disabled,
        StandardReason::TargetingMatch => EvaluationReason::TargetingMatch,
        StandardReason::Split => EvaluationReason::Split,
        StandardReason::Static => EvaluationReason::Static,
        StandardReason::Default => EvaluationReason::Default,
        StandardReason::Unknown => EvaluationReason::Unknown,
    }
}

fn metadata_of(answer: &Answer<'_>) -> FlagMetadata {
    let revision = i64::try_from(answer.revision().0).unwrap_or(i64::MAX);
    let mut metadata = FlagMetadata::default()
        .with_value("tidegate.revision", revision)
        .with_value("tidegate.reason", answer.reason.cause());
    if let Reason::Killed(height) = answer.reason {
        metadata.add_value("tidegate.killed", height.to_string());
    }
    if answer.reason == Reason::Expired {
        metadata.add_value("tidegate.expired_at", answer.flag().state().expires_at.to_string());
    }
    if let Some(rule) = answer.rule() {
        metadata.add_value("tidegate.rule", rule.as_str());
    }
    if let Some(split) = answer.split() {
        metadata.add_value("tidegate.split", split.as_str());
    }
    metadata
}

/// A number flag's value as an integer, if it is one.
fn integer(value: &Json) -> Option<i64> {
    /// Up to here every integer has a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| {
        let float = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
        #[allow(
            clippy::cast_possible_truncation,
            reason = "it is whole and within the range of exact integers"
        )]
        Some(float as i64)
    })
}

/// OpenFeature's structures know no null: such fields and items are left out.
fn fields_of(object: &serde_json::Map<String, Json>) -> StructValue {
    let fields = object.iter().filter_map(|(name, value)| Some((name.clone(), value_of(value)?)));
    StructValue { fields: fields.collect() }
}

fn value_of(value: &Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().filter_map(value_of).collect()),
        Json::Object(object) => Value::Struct(fields_of(object)),
    })
}

/// The context in Tidegate's form. A structure is understood if it is a [`StructValue`] or a
/// [`serde_json::Value`]; the program's own types cannot be read, and are left out.
fn context_of(context: &EvaluationContext) -> Result<Context, ContextError> {
    let mut read = match &context.targeting_key {
        Some(key) => Context::new(key),
        None => Context::anonymous(),
    };
    for (name, value) in &context.custom_fields {
        if let Some(attribute) = attribute_of(value) {
            read = read.try_with(name, attribute)?;
        }
    }
    match read.refused() {
        Some(refused) => Err(refused.clone()),
        None => Ok(read),
    }
}

fn attribute_of(value: &EvaluationContextFieldValue) -> Option<Attribute> {
    Some(match value {
        EvaluationContextFieldValue::Bool(flag) => (*flag).into(),
        EvaluationContextFieldValue::Int(whole) => (*whole).into(),
        EvaluationContextFieldValue::Float(number) => (*number).into(),
        EvaluationContextFieldValue::String(text) => text.as_str().into(),
        EvaluationContextFieldValue::DateTime(at) => {
            let ms = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()?;
            UnixMs(ms).to_string().into()
        }
        EvaluationContextFieldValue::Struct(object) => match object.downcast_ref::<StructValue>() {
            Some(object) => struct_attribute(object),
            None => json_attribute(object.downcast_ref::<Json>()?),
        },
    })
}

fn struct_attribute(object: &StructValue) -> Attribute {
    let fields = object.fields.iter().map(|(name, value)| (Box::from(name.as_str()), plain_attribute(value)));
    Attribute::Object(fields.collect())
}

fn plain_attribute(value: &Value) -> Attribute {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Int(whole) => (*whole).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Attribute::List(items.iter().map(plain_attribute).collect()),
        Value::Struct(object) => struct_attribute(object),
    }
}

fn json_attribute(value: &Json) -> Attribute {
    match value {
        Json::Null => Attribute::Null,
        Json::Bool(flag) => (*flag).into(),
        Json::Number(number) => number.as_f64().unwrap_or(f64::NAN).into(),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Attribute::List(items.iter().map(json_attribute).collect()),
        Json::Object(fields) => Attribute::Object(
            fields.iter().map(|(name, value)| (Box::from(name.as_str()), json_attribute(value))).collect(),
        ),
    }
}
