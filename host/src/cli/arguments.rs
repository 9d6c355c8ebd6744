//! Arguments that several verbs take.

use anyhow::Context;
use serde_json::value::RawValue;

/// Splits `NAME=VALUE`.
///
/// # Errors
/// A sentence that says what was expected.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

/// Reads a payload argument: JSON text, or `@FILE`. The text is kept: a plugin is to see the numbers as they were written.
///
/// # Errors
/// When the file cannot be read or the text is not JSON.
pub(super) fn payload(argument: &str) -> anyhow::Result<Box<RawValue>> {
    let text = match argument.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read the payload from {file}"))?,
        None => argument.to_owned(),
    };
    serde_json::from_str(&text).context("the payload is not JSON (quote it for your shell, or use @FILE)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_empty_and_a_value_may_be_anything() {
        assert_eq!(name_and_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(name_and_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(name_and_value("=b").is_err_and(|e| e.contains("NAME=VALUE")));
        assert!(name_and_value("a").is_err());
    }

    #[test]
    fn a_payload_is_the_text_that_was_given() {
        assert_eq!(
            payload(r#"{"z": 1.50, "a": 10000000000000000000001}"#).expect("good").get(),
            r#"{"z": 1.50, "a": 10000000000000000000001}"#
        );
        assert!(payload("{a}").is_err_and(|e| e.to_string().contains("@FILE")));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("payload.json");
        std::fs::write(&file, "[1]\n").expect("written");
        assert_eq!(payload(&format!("@{}", file.display())).expect("good").get(), "[1]");
        assert!(payload("@nowhere.json").is_err_and(|e| e.to_string().contains("nowhere.json")));
    }
}
