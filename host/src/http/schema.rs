//! Payloads against the JSON Schema that a plugin carries, compiled once per plugin.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;
use jsonschema::{PatternOptions, Validator};
use parking_lot::Mutex;
use serde_json::Value;

use super::problem::{Answer, Code, Problem};
use super::submit::shown;
use crate::registry::Plugin;

/// Schemas kept compiled; more plugins than this are rare, and then some are compiled again.
const KEPT_MAX: usize = 256;

/// Compiles a schema the way payloads will be checked against it: no references to files or the network are followed, and
/// patterns take time linear in the text, so that neither a plugin nor a payload can stop the host with one.
///
/// # Errors
/// What is wrong with the schema.
pub fn compile_schema(schema: &Value) -> Result<Validator, String> {
    jsonschema::options().with_pattern_options(PatternOptions::regex()).build(schema).map_err(|e| e.to_string())
}

/// Compiled schemas by the digest of their plugin.
#[derive(Default)]
pub(super) struct Schemas {
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Schemas {
    /// Checks a payload against its plugin's schema, if it has one.
    pub(super) fn check(&self, plugin: &Plugin, payload: &str) -> Answer<()> {
        let Some(schema) = &plugin.manifest.payload_schema else { return Ok(()) };
        let validator = self.validator(plugin, schema)?;
        let payload: Value =
            serde_json::from_str(payload).map_err(|e| Problem::invalid_field("payload", format!("the payload cannot be read: {e}")))?;
        let Some(error) = validator.iter_errors(&payload).next() else { return Ok(()) };
        let path = error.instance_path().to_string().replace('/', ".");
        let detail = format!("plugin {} does not take this payload: {}", plugin.manifest.name, shown(&error.masked().to_string()));
        Err(Problem::invalid_field(format!("payload{}", shown(&path)), detail))
    }

    fn validator(&self, plugin: &Plugin, schema: &Value) -> Answer<Arc<Validator>> {
        if let Some(known) = self.compiled.lock().get(&plugin.digest_hex) {
            return Ok(Arc::clone(known));
        }
        let made = compile_schema(schema).map(Arc::new).map_err(|why| {
            let detail =
                format!("the payload_schema of plugin {} cannot be used: {}; its author has to mend it", plugin.manifest.name, shown(&why));
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, Code::PluginSchemaBroken, detail).at("task_type")
        })?;
        let mut compiled = self.compiled.lock();
        if compiled.len() >= KEPT_MAX {
            compiled.clear();
        }
        compiled.insert(plugin.digest_hex.clone(), Arc::clone(&made));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn schemas_that_reach_outside_or_need_backtracking_are_refused() {
        assert!(compile_schema(&json!({"type": "object", "required": ["n"]})).is_ok());
        assert!(compile_schema(&json!({"type": 3})).is_err());
        assert!(compile_schema(&json!({"$ref": "https://example.com/schema.json"})).is_err());
        assert!(compile_schema(&json!({"$ref": "file:///etc/passwd"})).is_err());
        assert!(compile_schema(&json!({"pattern": "(a)\\1"})).is_err());
    }
}
