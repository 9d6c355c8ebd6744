//! From bytes to typed JSON, with errors that name the field, and a digest that does not depend on how JSON was written.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::problem::{Answer, Code, Problem};
use crate::task::{PAYLOAD_DEPTH_MAX, is_shallow};
use axum::http::StatusCode;

const MESSAGE_CHARS_MAX: usize = 300;

/// Reads a body. Strict: unknown and repeated fields are errors.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Answer<T> {
    // Serde would also read a struct from an array of its fields' values, which is nobody's intention.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first == b'[') {
        return Err(Problem::invalid_field("body", "the body must be a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes, &error))
}

/// Reads the body again, this time keeping track of where it is. Only bodies that are wrong pay for that.
fn explain<'a, T: Deserialize<'a>>(bytes: &'a [u8], error: &serde_json::Error) -> Problem {
    // Serde calls some values of a wrong kind a syntax error, so the text itself is asked whether it is JSON.
    if std::str::from_utf8(bytes).is_err() || serde_json::from_slice::<IgnoredAny>(bytes).is_err() {
        let detail = format!("the body is not JSON: {}", shortened(&error.to_string()));
        return Problem::new(StatusCode::BAD_REQUEST, Code::MalformedJson, detail);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let (path, message) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Err(error) => (error.path().to_string(), error.inner().to_string()),
        Ok(_) => (".".to_owned(), error.to_string()),
    };
    let path = if path == "." { String::new() } else { path };
    // Serde makes these errors for derived types and offers no way to tell them apart but their wording, which is part of
    // its documented interface (`de::Error::unknown_field` and its siblings).
    let named = message.split('`').nth(1).unwrap_or_default();
    if message.starts_with("unknown field") {
        return Problem::unknown_field(shortened(&path), shortened(&message));
    }
    let is_about_a_key = message.starts_with("missing field") || message.starts_with("duplicate field");
    let field = match (is_about_a_key, path.is_empty()) {
        (false, _) => path,
        (true, true) => named.to_owned(),
        (true, false) if path.ends_with(named) => path,
        (true, false) => format!("{path}.{named}"),
    };
    let problem = Problem::invalid_field(shortened(&field), shortened(&message));
    if field.is_empty() { problem.at("body") } else { problem }
}

fn shortened(message: &str) -> String {
    let mut short: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}

/// Refuses JSON text that is nested deeper than readers can follow. The text is known to be valid JSON.
pub(super) fn check_depth(json: &str) -> Answer<()> {
    if is_shallow(json) {
        return Ok(());
    }
    Err(Problem::invalid_field("payload", format!("the payload is nested deeper than {PAYLOAD_DEPTH_MAX} levels")))
}

/// SHA-256 of a JSON value that does not depend on white space, escapes or the order of keys.
pub(super) fn canonical_digest(value: &Value) -> [u8; 32] {
    let mut hasher = Sha256::new();
    feed(&mut hasher, value);
    hasher.finalize().into()
}

/// Every value begins with a letter for its kind and carries its length where it has one, so that no two values read the same.
fn feed(hasher: &mut Sha256, value: &Value) {
    let counted = |hasher: &mut Sha256, kind: u8, count: usize| {
        hasher.update([kind]);
        hasher.update((count as u64).to_le_bytes());
    };
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(value) => hasher.update([b'b', u8::from(*value)]),
        Value::Number(number) => {
            let text = number.to_string();
            counted(hasher, b'd', text.len());
            hasher.update(text.as_bytes());
        }
        Value::String(text) => {
            counted(hasher, b's', text.len());
            hasher.update(text.as_bytes());
        }
        Value::Array(items) => {
            counted(hasher, b'a', items.len());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(fields) => {
            counted(hasher, b'o', fields.len());
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by(|a, b| a.0.cmp(b.0));
            for (key, value) in fields {
                counted(hasher, b'k', key.len());
                hasher.update(key.as_bytes());
                feed(hasher, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Batch, Submission};
    use super::*;

    fn refusal<'a, T: Deserialize<'a> + std::fmt::Debug>(body: &'a str) -> (u16, Code, Option<String>) {
        let problem = parse::<T>(body.as_bytes()).expect_err(body);
        let (status, code, field) = problem.parts();
        (status, code, field.map(str::to_owned))
    }

    #[test]
    fn refusals_name_the_field_wherever_it_is() {
        let at = |field: &str| Some(field.to_owned());
        let one = refusal::<Submission<'_>>;
        assert_eq!(one(r#"{"task_type":"t","colour":1}"#), (422, Code::UnknownField, at("colour")));
        assert_eq!(one(r#"{"task_type":"t","priority":"urgent"}"#), (422, Code::InvalidField, at("priority")));
        assert_eq!(one(r#"{"payload":1}"#), (422, Code::InvalidField, at("task_type")));
        assert_eq!(one(r#"{"task_type":"t","task_type":"u"}"#), (422, Code::InvalidField, at("task_type")));
        assert_eq!(one(r#"{"task_type":"t","limits":{"fuel":-1}}"#), (422, Code::InvalidField, at("limits.fuel")));
        assert_eq!(one(r#"{"task_type":"t","inputs":{"a":{"bolb":1}}}"#), (422, Code::UnknownField, at("inputs.a.bolb")));
        assert_eq!(one(r#"["t"]"#), (422, Code::InvalidField, at("body")));
        assert_eq!(one("{"), (400, Code::MalformedJson, None));
        assert_eq!(one(r#"{"task_type":"t"} {}"#), (400, Code::MalformedJson, None));
        let many = refusal::<Batch<'_>>;
        assert_eq!(
            many(r#"{"tasks":[{"task_type":"t"},{"task_type":"t","priority":3}]}"#),
            (422, Code::InvalidField, at("tasks[1].priority"))
        );
        assert_eq!(many(r#"{"tasks":[{"task_type":"t","x":3}]}"#), (422, Code::UnknownField, at("tasks[0].x")));
        assert_eq!(many(r#"{"tasks":[{}]}"#), (422, Code::InvalidField, at("tasks[0].task_type")));
    }

    #[test]
    fn payloads_are_kept_as_text_and_deep_ones_are_refused() {
        let body = format!(r#"{{"task_type":"t","payload": {{"a" : "{}" }} }}"#, "[".repeat(500));
        let submission: Submission<'_> = parse(body.as_bytes()).expect("valid");
        let payload = submission.payload.expect("given").get();
        assert!(payload.starts_with(r#"{"a" : "[["#));
        assert!(check_depth(payload).is_ok(), "brackets inside a string are no depth");
        assert!(check_depth(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
        assert!(check_depth(&format!("{}{}", "[".repeat(101), "]".repeat(101))).is_err());
    }

    #[test]
    fn the_digest_sees_content_and_not_form() {
        let digest = |text: &str| canonical_digest(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(digest(r#"{"a":1,"b":["\u0041"]}"#), digest(r#" { "b" : ["A"], "a":1 } "#));
        assert_ne!(digest(r#"["a","b"]"#), digest(r#"["ab"]"#));
        assert_ne!(digest(r#"[[],1]"#), digest(r#"[[1]]"#));
        assert_ne!(digest("1"), digest("1.0"));
    }
}
