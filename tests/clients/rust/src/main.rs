//! A line in, a line out: evaluates flags through the OpenFeature Rust SDK and its OFREP provider.
//!
//! Reads `BASE_URL` and `TOKEN` from the environment, then one question a line from standard input
//! (`{"key", "type", "context"}`), and answers each with one line of what the SDK handed back.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};

use open_feature::{
    Client, EvaluationContext, EvaluationContextFieldValue, EvaluationDetails, EvaluationError,
    FlagMetadataValue, OpenFeature, StructValue, Value as FlagValue,
};
use open_feature_ofrep::{OfrepOptions, OfrepProvider};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Question {
    key: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    context: HashMap<String, Value>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = connect().await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", json!({"event": "ready"}))?;
    for line in std::io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?)?;
        writeln!(out, "{}", answer(&client, &question).await?)?;
        out.flush()?;
    }
    Ok(())
}

async fn connect() -> Result<Client, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", std::env::var("TOKEN")?);
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&bearer)?);
    let options = OfrepOptions { base_url: std::env::var("BASE_URL")?, headers, ..OfrepOptions::default() };
    let provider = OfrepProvider::new(options).await.map_err(|error| format!("{error:?}"))?;
    let mut api = OpenFeature::singleton_mut().await;
    api.set_provider(provider).await;
    Ok(api.create_client())
}

async fn answer(client: &Client, question: &Question) -> Result<Value, Box<dyn Error>> {
    let context = context(&question.context)?;
    let (key, context) = (question.key.as_str(), Some(&context));
    Ok(match question.kind.as_str() {
        "boolean" => line(client.get_bool_details(key, context, None).await, |v| json!(v)),
        "string" => line(client.get_string_details(key, context, None).await, |v| json!(v)),
        "integer" => line(client.get_int_details(key, context, None).await, |v| json!(v)),
        "float" => line(client.get_float_details(key, context, None).await, |v| json!(v)),
        "object" => line(client.get_struct_details::<StructValue>(key, context, None).await, structure),
        other => return Err(format!("no such type: {other}").into()),
    })
}

fn context(fields: &HashMap<String, Value>) -> Result<EvaluationContext, Box<dyn Error>> {
    let mut context = EvaluationContext::default();
    for (name, value) in fields {
        let field = match value {
            Value::String(key) if name == "targetingKey" => {
                context = context.with_targeting_key(key.clone());
                continue;
            }
            Value::String(text) => EvaluationContextFieldValue::String(text.clone()),
            Value::Bool(truth) => EvaluationContextFieldValue::Bool(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => EvaluationContextFieldValue::Int(whole),
                None => EvaluationContextFieldValue::Float(number.as_f64().ok_or("a number too large")?),
            },
            other => return Err(format!("{name}: this client sends flat contexts, not {other}").into()),
        };
        context.add_custom_field(name.clone(), field);
    }
    Ok(context)
}

fn line<T>(result: Result<EvaluationDetails<T>, EvaluationError>, value: impl Fn(&T) -> Value) -> Value {
    match result {
        Ok(details) => json!({
            "value": value(&details.value),
            "variant": details.variant,
            "reason": details.reason.map(|reason| reason.to_string()),
            "errorCode": null,
            "metadata": details.flag_metadata.values.iter()
                .map(|(name, value)| (name.clone(), metadata(value)))
                .collect::<serde_json::Map<_, _>>(),
        }),
        Err(error) => json!({
            "value": null,
            "variant": null,
            "reason": "ERROR",
            "errorCode": error.code.to_string(),
            "errorMessage": error.message,
        }),
    }
}

fn metadata(value: &FlagMetadataValue) -> Value {
    match value {
        FlagMetadataValue::Bool(truth) => json!(truth),
        FlagMetadataValue::Int(number) => json!(number),
        FlagMetadataValue::Float(number) => json!(number),
        FlagMetadataValue::String(text) => json!(text),
    }
}

fn structure(value: &StructValue) -> Value {
    value.fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect::<serde_json::Map<_, _>>().into()
}

fn plain(value: &FlagValue) -> Value {
    match value {
        FlagValue::Bool(truth) => json!(truth),
        FlagValue::Int(number) => json!(number),
        FlagValue::Float(number) => json!(number),
        FlagValue::String(text) => json!(text),
        FlagValue::Array(items) => items.iter().map(plain).collect(),
        FlagValue::Struct(fields) => structure(fields),
    }
}
