//! Which AI models a plugin takes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::task::AiModel;

/// A pattern over `ai_model`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelPattern {
    /// Every model, and tasks without one: `*`.
    Any,
    /// Models that start with this: `claude-*`.
    Prefix(String),
    /// This model only.
    Exact(AiModel),
}

/// How closely a pattern fits; of several that match, the closest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// By `*`.
    Any,
    /// By a prefix of this many bytes.
    Prefix(usize),
    /// By name.
    Exact,
}

impl ModelPattern {
    /// Reads `*`, `prefix*` or a model's name.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Any),
            Some(prefix) => AiModel::new(prefix).map(|_| Self::Prefix(prefix.to_owned())).map_err(|e| e.to_string()),
            None => AiModel::new(text).map(Self::Exact).map_err(|e| e.to_string()),
        }
    }

    /// How closely this fits a task's model; `None` if it does not.
    #[must_use]
    pub fn matches(&self, model: Option<&AiModel>) -> Option<Specificity> {
        match (self, model) {
            (Self::Any, _) => Some(Specificity::Any),
            (Self::Prefix(prefix), Some(model)) if model.as_str().starts_with(prefix.as_str()) => Some(Specificity::Prefix(prefix.len())),
            (Self::Exact(name), Some(model)) if name == model => Some(Specificity::Exact),
            _ => None,
        }
    }
}

impl std::fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(name) => name.fmt(f),
        }
    }
}

impl Serialize for ModelPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_pattern_is_the_greatest() {
        let model = AiModel::new("claude-opus").ok();
        let fit = |p: &str| ModelPattern::parse(p).ok().and_then(|p| p.matches(model.as_ref()));
        assert!(fit("claude-opus") > fit("claude-*"));
        assert!(fit("claude-*") > fit("c*"));
        assert!(fit("c*") > fit("*"));
        assert_eq!(fit("gpt*"), None);
        assert_eq!(ModelPattern::parse("x*").ok().and_then(|p| p.matches(None)), None);
        assert!(ModelPattern::parse("a*b").is_err());
    }
}
