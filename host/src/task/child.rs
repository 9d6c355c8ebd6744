//! Tasks that a guest submits: its children.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{AiModel, DefaultsByType, IdempotencyKey, LaneKey, NewTask, PAYLOAD_DEPTH_MAX, TaskId, TaskPlan, TaskType, Tenant, is_shallow};
use crate::clock::UnixMs;

/// What tells a child from its siblings has at most so many characters: with the parent's identity before it, it is an idempotency key.
const KEY_CHARS_MAX: usize = 128;

/// Which task types a plugin may submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeGrant {
    /// Every type: `*`.
    Any,
    /// This one.
    Only(TaskType),
}

impl TypeGrant {
    /// Whether it covers a type.
    #[must_use]
    pub fn covers(&self, task_type: &TaskType) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == task_type,
        }
    }
}

impl std::str::FromStr for TypeGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" {
            return Ok(Self::Any);
        }
        TaskType::new(text).map(Self::Only).map_err(|error| format!("{error}; \"*\" stands for every task type"))
    }
}

impl Serialize for TypeGrant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("*"),
            Self::Only(only) => only.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TypeGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A child as its parent asks for it. Nothing of it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildRequest {
    /// What kind of work it is.
    pub task_type: String,
    /// The AI model it is meant for.
    pub ai_model: Option<String>,
    /// Should be UTF-8 JSON.
    pub payload: Vec<u8>,
    /// What tells it from its siblings.
    pub key: String,
}

/// What a child has to keep to, and what it gets from its parent.
#[derive(Debug, Clone)]
pub struct ChildRules<'a> {
    /// Its parent.
    pub parent: TaskId,
    /// For whom the parent is, and so the child.
    pub tenant: Option<&'a Tenant>,
    /// Which types there may be.
    pub granted: &'a [TypeGrant],
    /// Priority and attempts, by type.
    pub defaults: &'a DefaultsByType,
    /// Largest payload.
    pub payload_bytes_max: u64,
    /// When it is submitted.
    pub now: UnixMs,
}

impl ChildRules<'_> {
    /// Checks everything that needs no look at what is loaded.
    ///
    /// # Errors
    /// A sentence for the plugin's author.
    pub fn check(&self, request: ChildRequest) -> Result<NewTask, String> {
        let task_type = TaskType::new(&request.task_type).map_err(|error| error.to_string())?;
        if !self.granted.iter().any(|grant| grant.covers(&task_type)) {
            return Err(format!(
                "this plugin may not submit tasks of type {task_type}; the operator grants types in child_task_types of its section in the configuration"
            ));
        }
        let ai_model = request.ai_model.as_deref().map(AiModel::new).transpose().map_err(|error| error.to_string())?;
        if u64::try_from(request.payload.len()).map_or(true, |bytes| bytes > self.payload_bytes_max) {
            return Err(format!("the payload has {} bytes and this host takes {}", request.payload.len(), self.payload_bytes_max));
        }
        let key = self.key(&request.key)?;
        let mut digest = Sha256::new();
        for part in [request.task_type.as_bytes(), request.ai_model.as_deref().unwrap_or("*").as_bytes(), &request.payload] {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(part);
        }
        let text = String::from_utf8(request.payload).map_err(|_| "the payload is not UTF-8".to_owned())?;
        let payload = RawValue::from_string(text).map_err(|error| format!("the payload is not JSON: {error}"))?;
        if !is_shallow(payload.get()) {
            return Err(format!("the payload is nested deeper than {PAYLOAD_DEPTH_MAX} levels"));
        }
        let defaults = self.defaults.of(&task_type);
        Ok(NewTask {
            id: TaskId::new(),
            lane: LaneKey { task_type, ai_model },
            priority: defaults.priority,
            payload,
            plan: TaskPlan::default(),
            run_at: self.now,
            max_attempts: defaults.max_attempts,
            tenant: self.tenant.cloned(),
            idempotency: Some((key, digest.finalize().into())),
        })
    }

    /// The parent's identity and the child's own key: unique among all tasks, and tells whose child it is.
    fn key(&self, own: &str) -> Result<IdempotencyKey, String> {
        let fits = (1..=KEY_CHARS_MAX).contains(&own.chars().count());
        let key = fits.then(|| IdempotencyKey::new(&format!("{}/{own}", self.parent)).ok()).flatten();
        key.ok_or_else(|| format!("a child's key has 1 to {KEY_CHARS_MAX} characters, no control characters and no '*'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(task_type: &str, payload: &str, key: &str) -> ChildRequest {
        ChildRequest { task_type: task_type.to_owned(), ai_model: None, payload: payload.into(), key: key.to_owned() }
    }

    #[test]
    fn a_child_is_its_parents_and_keeps_to_the_rules() {
        let (parent, tenant, defaults) = (TaskId::new(), Tenant::new("acme").ok(), DefaultsByType::default());
        let granted = ["echo".parse().expect("a type")];
        let rules =
            ChildRules { parent, tenant: tenant.as_ref(), granted: &granted, defaults: &defaults, payload_bytes_max: 300, now: UnixMs(7) };
        let child = rules.check(request("echo", "{\"n\":1}", "first")).expect("fine");
        assert_eq!((child.payload.get(), child.run_at, &child.tenant), ("{\"n\":1}", UnixMs(7), &tenant));
        assert_eq!(child.idempotency.expect("a key").0.as_str(), format!("{parent}/first"));
        for (wrong, words) in [
            (request("other", "1", "k"), "may not submit tasks of type other"),
            (request("a b", "1", "k"), "a b"),
            (request("echo", "{", "k"), "not JSON"),
            (request("echo", &"1".repeat(301), "k"), "301 bytes"),
            (request("echo", &format!("{}{}", "[".repeat(101), "]".repeat(101)), "k"), "deeper than 100"),
            (request("echo", "1", ""), "1 to 128"),
            (request("echo", "1", "a\nb"), "no control characters"),
            (request("echo", "1", &"k".repeat(129)), "1 to 128"),
        ] {
            let why = rules.check(wrong).expect_err(words);
            assert!(why.contains(words), "{why}");
        }
        assert!(ChildRules { granted: &[], ..rules.clone() }.check(request("echo", "1", "k")).is_err());
        assert!(ChildRules { granted: &[TypeGrant::Any], ..rules }.check(request("other", "1", "k")).is_ok());
    }
}
