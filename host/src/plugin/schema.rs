//! The JSON Schema of a plugin's payloads, compiled when the manifest is read.

use std::fmt;
use std::sync::Arc;

use jsonschema::{PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A schema that can be used: whoever has one can check payloads against it. Cheap to clone.
///
/// No references to files or the network are followed, and patterns take time linear in the text, so that neither a plugin nor a
/// payload can stop the host with one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct PayloadSchema {
    source: Arc<Value>,
    validator: Arc<Validator>,
}

/// What is wrong with a schema, in words for the plugin's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payload_schema is not a JSON Schema that can be used: {0}")]
pub struct SchemaError(String);

/// Where and why a payload does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payload{path}: {why}")]
pub struct Misfit {
    /// The place, such as `.series.0`; empty for the payload as a whole.
    pub path: String,
    /// Why, without the value that is there.
    pub why: String,
}

impl PayloadSchema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(source: Value) -> Result<Self, SchemaError> {
        let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
        let validator = options.build(&source).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { source: Arc::new(source), validator: Arc::new(validator) })
    }

    /// The schema as its author wrote it.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Checks a payload, given as JSON text.
    ///
    /// # Errors
    /// The first place that does not fit.
    pub fn check(&self, payload: &[u8]) -> Result<(), Misfit> {
        let payload: Value =
            serde_json::from_slice(payload).map_err(|error| Misfit { path: String::new(), why: format!("it cannot be read: {error}") })?;
        match self.validator.iter_errors(&payload).next() {
            None => Ok(()),
            Some(error) => Err(Misfit { path: error.instance_path().to_string().replace('/', "."), why: error.masked().to_string() }),
        }
    }
}

impl TryFrom<Value> for PayloadSchema {
    type Error = SchemaError;

    fn try_from(source: Value) -> Result<Self, SchemaError> {
        Self::new(source)
    }
}

impl From<PayloadSchema> for Value {
    fn from(schema: PayloadSchema) -> Self {
        Arc::unwrap_or_clone(schema.source)
    }
}

impl PartialEq for PayloadSchema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for PayloadSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PayloadSchema").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_that_reach_outside_or_need_backtracking_are_refused() {
        assert!(PayloadSchema::new(json!({"type": "object", "required": ["n"]})).is_ok());
        assert!(PayloadSchema::new(json!({"type": 3})).is_err());
        assert!(PayloadSchema::new(json!({"$ref": "https://example.com/schema.json"})).is_err());
        assert!(PayloadSchema::new(json!({"$ref": "file:///etc/passwd"})).is_err());
        assert!(PayloadSchema::new(json!({"pattern": "(a)\\1"})).is_err());
    }

    #[test]
    fn a_misfit_says_where_and_keeps_the_value_to_itself() {
        let schema = PayloadSchema::new(json!({"properties": {"keys": {"items": {"type": "integer"}}}})).expect("good");
        assert_eq!(schema.check(br#"{"keys": [1, 2]}"#), Ok(()));
        let misfit = schema.check(br#"{"keys": [1, "hunter2"]}"#).expect_err("a string").to_string();
        assert!(misfit.starts_with("payload.keys.1: ") && misfit.contains("integer") && !misfit.contains("hunter2"), "{misfit}");
        assert_eq!(schema.check(b"{").expect_err("no JSON").path, "");
    }
}
