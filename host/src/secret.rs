//! A text that must not be seen: it can be used, and it can be neither printed nor logged.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands in place of a secret wherever one would be shown.
const HIDDEN: &str = "(hidden)";

/// A secret that has been checked to be one: there is something in it, and no white space.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why a text is no secret. Never says what the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Whoever accepts an empty secret accepts everybody.
    #[error("the secret is empty, which would let anybody in; give the one that was issued to you")]
    Empty,
    /// A line break from a file or a shell is the usual cause, and it would make every signature wrong.
    #[error("the secret has white space in it, which no issued secret has; remove it (a line break at the end is the usual cause)")]
    WhiteSpace,
}

impl Secret {
    /// Checks and keeps a secret.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.trim().is_empty() {
            Err(SecretError::Empty)
        } else if text.chars().any(char::is_whitespace) {
            Err(SecretError::WhiteSpace)
        } else {
            Ok(Self(Box::from(text)))
        }
    }

    /// The secret itself, to compute with or to send to whoever issued it, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secrets = Secrets::deserialize(deserializer)?;
        match <[Self; 1]>::try_from(secrets.0) {
            Ok([secret]) => Ok(secret),
            Err(_) => Err(serde::de::Error::custom("this must be one secret")),
        }
    }
}

/// Where a shared database is: a URL, which may hold a password and is therefore never shown. None is SQLite in the data folder.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DatabaseUrl(Option<Secret>);

impl DatabaseUrl {
    /// Checks a URL; an empty text is none.
    ///
    /// # Errors
    /// A sentence that says what is expected and repeats nothing of the text.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(None));
        }
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(
                "a database is given as postgres://user:password@host:5432/name?sslmode=require; leave it empty for SQLite".to_owned()
            );
        }
        Secret::new(text).map(|url| Self(Some(url))).map_err(|_| "a database's URL has no white space in it; write %20".to_owned())
    }

    /// The URL itself, to connect with and for nothing else.
    #[must_use]
    pub fn expose(&self) -> Option<&str> {
        self.0.as_ref().map(Secret::expose)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Several secrets of which any will do, as while one is being replaced. Read from a list, or from one text with commas, which is
/// what an environment variable holds. An empty text or list is no secret at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secrets(pub Vec<Secret>);

impl<'de> Deserialize<'de> for Secrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretsVisitor)
    }
}

struct SecretsVisitor;

/// Every other kind of value is refused by serde with a sentence that repeats it only when it is a number, a flag or the like.
impl<'de> Visitor<'de> for SecretsVisitor {
    type Value = Secrets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret, or a list of them")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secrets, E> {
        if text.is_empty() {
            return Ok(Secrets::default());
        }
        text.split(',').map(|text| Secret::new(text).map_err(E::custom)).collect::<Result<_, _>>().map(Secrets)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Secrets, A::Error> {
        let mut secrets = Vec::new();
        while let Some(one) = list.next_element::<Secret>()? {
            secrets.push(one);
        }
        Ok(Secrets(secrets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_let_anybody_in_is_no_secret() {
        for nothing in ["", " ", "\n", "\t \u{a0}"] {
            assert_eq!(Secret::new(nothing), Err(SecretError::Empty), "{nothing:?}");
        }
        assert_eq!(Secret::new("whsec_a\n"), Err(SecretError::WhiteSpace));
        assert_eq!(Secret::new("whsec_a").map(|secret| secret.expose().to_owned()), Ok("whsec_a".to_owned()));
    }

    #[test]
    fn nothing_shows_it() {
        let secrets = Secrets(vec![Secret::new("whsec_deep").unwrap()]);
        assert!(!format!("{secrets:?} {:?}", secrets.0).contains("deep"));
        assert_eq!(serde_json::to_string(&secrets).unwrap(), r#"["(hidden)"]"#);
    }

    #[test]
    fn one_or_several_or_none_can_be_given_and_refusals_do_not_repeat_them() {
        let read = |json: &str| serde_json::from_str::<Secrets>(json).map(|secrets| secrets.0.len()).map_err(|error| error.to_string());
        assert_eq!(read(r#""whsec_a""#), Ok(1));
        assert_eq!(read(r#""whsec_a,whsec_b""#), Ok(2));
        assert_eq!(read(r#"["whsec_a","whsec_b"]"#), Ok(2));
        assert_eq!((read(r#""""#), read("[]")), (Ok(0), Ok(0)));
        for wrong in [r#""whsec_deep, whsec_b""#, r#"["whsec_deep "]"#, r#"[""]"#, r#"["whsec_deep,"]"#, "7"] {
            let refusal = read(wrong).expect_err(wrong);
            assert!(!refusal.contains("deep"), "{refusal}");
        }
    }
}
