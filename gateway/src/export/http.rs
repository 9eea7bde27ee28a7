//! Collectors that are told over HTTP: each in its own envelope, and each with its own way of saying that it has got everything.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

use super::ocsf::{Event, Severity};
use crate::config::{ExportHttp, HttpEnvelope};
use crate::fetch::fetch;

/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A collector that is told over HTTP.
pub(super) struct Http {
    name: String,
    to: ExportHttp,
}

impl Http {
    pub(super) fn new(name: String, to: ExportHttp) -> Self {
        Self { name, to }
    }

    pub(super) async fn send(&self, events: &[Event]) -> Result<(), String> {
        let answer = fetch(self.request(events)?, self.to.authorities.as_ref(), MAX_ANSWER, PATIENCE).await?;
        self.taken(&answer)
    }

    fn request(&self, events: &[Event]) -> Result<Request<Full<Bytes>>, String> {
        let (content, body) = match &self.to.envelope {
            HttpEnvelope::Otlp => ("application/json", otlp(events).to_string()),
            HttpEnvelope::Splunk => ("application/json", events.iter().map(splunk).collect()),
            HttpEnvelope::Elastic { index } => {
                ("application/x-ndjson", events.iter().map(|event| elastic(event, index)).collect())
            }
            HttpEnvelope::Webhook(_) => ("application/json", webhook(events).to_string()),
        };
        let mut request = Request::post(self.to.url.as_str()).header(header::CONTENT_TYPE, content);
        if let Some(authorization) = &self.to.authorization {
            let mut value = http::HeaderValue::from_str(authorization).map_err(|_| "the token is no header value")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let (HttpEnvelope::Webhook(signer), [first, ..]) = (&self.to.envelope, events) {
            // The same records have the same name each time, so that whoever gets them twice can tell.
            let id = format!("{}-{}", self.name, first.seq);
            for (name, value) in signer.headers(&id, Timestamp::now().as_second(), &body) {
                request = request.header(name, value);
            }
        }
        request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
    }

    /// Whether everything was taken.
    fn taken(&self, answer: &Response<Bytes>) -> Result<(), String> {
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("it answered {}", status.as_u16()));
        }
        let read = || serde_json::from_slice::<Value>(answer.body()).unwrap_or_default();
        match &self.to.envelope {
            HttpEnvelope::Otlp => {
                // An empty answer is success; what is rejected isn't taken.
                let rejected = &read()["partialSuccess"]["rejectedLogRecords"];
                let rejected = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0);
                if rejected == 0 { Ok(()) } else { Err(format!("it rejected {rejected} records")) }
            }
            HttpEnvelope::Splunk => match read()["code"].as_i64() {
                Some(0) => Ok(()),
                code => Err(format!("it answered with code {code:?}")),
            },
            HttpEnvelope::Elastic { .. } => refused_by_elastic(&read()),
            HttpEnvelope::Webhook(_) => Ok(()),
        }
    }
}

/// Records as OTLP has them (OpenTelemetry protocol 1.x, ExportLogsServiceRequest in its JSON encoding).
fn otlp(events: &[Event]) -> Value {
    let now = Timestamp::now().as_nanosecond().to_string();
    let text = |name: &str, value: &str| json!({ "key": name, "value": { "stringValue": value } });
    let records: Vec<Value> = events
        .iter()
        .map(|event| {
            json!({
                "timeUnixNano": event.nanoseconds.to_string(), "observedTimeUnixNano": now,
                "severityNumber": severity(event.severity), "severityText": event.severity.name(),
                "eventName": format!("sluice.{}", event.kind),
                "body": any(&event.value),
                "attributes": [
                    { "key": "sluice.record", "value": { "intValue": event.seq.to_string() } },
                    text("sluice.event", event.kind), text("session.id", &event.session),
                ],
            })
        })
        .collect();
    let resource = [text("service.name", "sluice"), text("service.version", env!("CARGO_PKG_VERSION"))];
    json!({ "resourceLogs": [{
        "resource": { "attributes": resource },
        "scopeLogs": [{ "scope": { "name": "sluice.evidence" }, "logRecords": records }],
    }] })
}

/// INFO, INFO2, WARN and ERROR of OpenTelemetry's data model.
fn severity(severity: Severity) -> u8 {
    match severity {
        Severity::Informational => 9,
        Severity::Low => 10,
        Severity::Medium => 13,
        Severity::High => 17,
    }
}

/// A value as OTLP's AnyValue.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => json!({ "intValue": whole.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(list) => json!({ "arrayValue": { "values": list.iter().map(any).collect::<Vec<_>>() } }),
        Value::Object(map) => {
            let values: Vec<Value> =
                map.iter().map(|(key, value)| json!({ "key": key, "value": any(value) })).collect();
            json!({ "kvlistValue": { "values": values } })
        }
    }
}

/// A record as Splunk's HTTP event collector has it.
fn splunk(event: &Event) -> String {
    let (seconds, rest) = (event.nanoseconds.div_euclid(1_000_000_000), event.nanoseconds.rem_euclid(1_000_000_000));
    let milliseconds = rest / 1_000_000;
    format!(
        r#"{{"time":{seconds}.{milliseconds:03},"source":"sluice","sourcetype":"sluice:ocsf","event":{}}}"#,
        event.text
    )
}

/// A record as Elasticsearch's bulk API has it: created under its number, so that what comes twice is there once.
fn elastic(event: &Event, index: &str) -> String {
    let action = json!({ "create": { "_index": index, "_id": event.seq.to_string() } });
    let mut document = event.value.clone();
    document["@timestamp"] = event.value["time"].clone();
    format!("{action}\n{document}\n")
}

/// What of a bulk isn't there after it: what was there before is.
fn refused_by_elastic(answer: &Value) -> Result<(), String> {
    if answer["errors"] == false {
        return Ok(());
    }
    let Some(items) = answer["items"].as_array() else { return Err("its answer can't be read".to_owned()) };
    let status = |item: &Value| item["create"]["status"].as_u64().unwrap_or(0);
    let refused: Vec<u64> = items.iter().map(status).filter(|status| !matches!(status, 200..=299 | 409)).collect();
    match refused.first() {
        None => Ok(()),
        Some(status) => Err(format!("it refused {} records, the first with {status}", refused.len())),
    }
}

fn webhook(events: &[Event]) -> Value {
    json!({ "type": "evidence.records", "timestamp": Timestamp::now(), "data": {
        "records": events.iter().map(|event| &event.value).collect::<Vec<_>>(),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_is_taken_where_every_record_is_there_after_it() {
        let answer = |statuses: &[u64]| {
            let items: Vec<Value> = statuses.iter().map(|status| json!({ "create": { "status": status } })).collect();
            refused_by_elastic(&json!({ "errors": true, "items": items }))
        };
        assert_eq!(refused_by_elastic(&json!({ "errors": false, "items": [] })), Ok(()));
        assert_eq!(answer(&[201, 409]), Ok(()), "what was there before is there");
        assert_eq!(answer(&[201, 429, 400]), Err("it refused 2 records, the first with 429".to_owned()));
        assert!(refused_by_elastic(&Value::Null).is_err());
    }

    #[test]
    fn values_are_told_as_any_value_has_them() {
        let told = any(&json!({ "a": [1, true, 1.5, "x"] }));
        let values =
            json!([{ "intValue": "1" }, { "boolValue": true }, { "doubleValue": 1.5 }, { "stringValue": "x" }]);
        assert_eq!(
            told,
            json!({ "kvlistValue": { "values": [{ "key": "a", "value": { "arrayValue": { "values": values } } }] } })
        );
    }
}
