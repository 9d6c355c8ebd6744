//! An event as Stripe sends it, read tolerantly: only what is used is read, and nothing else can make it unreadable.
//!
//! There are two forms. A *snapshot* carries the object as it was. A *thin* event (`v2.core.event`) names the object only, which has
//! to be fetched.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::kind::{Subject, subject};
use super::ledger::Owner;
use crate::clock::UnixMs;

/// The type of the tasks that process events. Their payload is `{"event": ID}`.
pub const TASK_TYPE: &str = "stripe.event";

/// Longest id and type that are read. Stripe's own are far shorter.
const NAME_CHARS_MAX: usize = 255;

/// Why a signed body is no event. It cannot be processed; it is kept all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not JSON, or not an object with the fields of an event.
    #[error("the body is no event: {0}")]
    Unreadable(String),
    /// It has no id, so that it cannot be told from another.
    #[error("the event has no id")]
    NoId,
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// `evt_…`
    pub id: String,
    /// What happened.
    pub event_type: String,
    /// Whose.
    pub owner: Owner,
    /// When, in seconds since 1970: that is all the precision there is.
    pub created_s: i64,
    /// The version the object is rendered in.
    pub api_version: Option<String>,
    /// What it tells of.
    pub content: Content<'a>,
}

/// What an event carries.
#[derive(Debug, Clone)]
pub enum Content<'a> {
    /// The object as it was.
    Snapshot(&'a RawValue),
    /// Only its name.
    Thin {
        /// The object, when there is one.
        related: Option<Related>,
        /// The snapshot event that tells the same.
        snapshot_event: Option<String>,
    },
    /// Nothing that could be used.
    Nothing,
}

/// An object that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Its kind, as Stripe says it.
    pub kind: String,
    /// Its id.
    pub id: String,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    id: Loose,
    #[serde(default)]
    object: Loose,
    #[serde(default, rename = "type")]
    event_type: Loose,
    #[serde(default)]
    created: Loose,
    #[serde(default)]
    livemode: Loose,
    #[serde(default)]
    account: Loose,
    /// Thin events name the account here.
    #[serde(default)]
    context: Loose,
    #[serde(default)]
    api_version: Loose,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    related_object: Option<&'a RawValue>,
    #[serde(default)]
    snapshot_event: Loose,
}

#[derive(Deserialize)]
struct WireData<'a> {
    #[serde(default, borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireRelated {
    #[serde(default)]
    id: Loose,
    #[serde(default, rename = "type")]
    kind: Loose,
    #[serde(default)]
    stripe_context: Loose,
}

/// The account that a context names. It may be a path, from the organisation down to the account.
fn account_of(context: String) -> String {
    match context.rsplit('/').next() {
        Some(last) if last.starts_with("acct_") => last.to_owned(),
        _ => context,
    }
}

/// A value of whatever type: a field that is not what it used to be must not make the rest unreadable.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Loose {
    Flag(bool),
    Number(i64),
    Text(String),
    /// Thin events may name a snapshot event, or an account, by an object.
    Named {
        id: String,
    },
    #[default]
    Nothing,
    Other(serde::de::IgnoredAny),
}

impl Loose {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Named { id: text } => Some(text).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// A text that may be kept as a name.
    fn name(self) -> Option<String> {
        self.text().map(|text| text.chars().take(NAME_CHARS_MAX).collect())
    }

    fn seconds(&self) -> Option<i64> {
        match self {
            Self::Number(seconds) => Some(*seconds),
            Self::Text(text) => UnixMs::parse_rfc3339(text).ok().map(|at| at.0.div_euclid(1000)),
            _ => None,
        }
    }
}

impl<'a> Event<'a> {
    /// Reads an event from the bytes that were signed. Whatever is neither known nor needed is passed over.
    ///
    /// # Errors
    /// See [`EventError`].
    pub fn parse(body: &'a [u8]) -> Result<Self, EventError> {
        let wire: Wire<'a> = serde_json::from_slice(body).map_err(|error| EventError::Unreadable(error.to_string()))?;
        let thin = wire.object.text().as_deref() == Some("v2.core.event");
        let mut account = wire.account.name().or_else(|| wire.context.name().map(account_of));
        let content = if thin {
            let mut related = wire.related_object.and_then(|related| serde_json::from_str::<WireRelated>(related.get()).ok());
            // Before events had a context of their own, the object had it.
            account = account.or_else(|| std::mem::take(&mut related.as_mut()?.stripe_context).name().map(account_of));
            let related = related.and_then(|related| Some(Related { kind: related.kind.name()?, id: related.id.name()? }));
            Content::Thin { related, snapshot_event: wire.snapshot_event.name() }
        } else {
            let data = wire.data.and_then(|data| serde_json::from_str::<WireData<'a>>(data.get()).ok());
            data.and_then(|data| data.object).filter(|object| object.get().starts_with('{')).map_or(Content::Nothing, Content::Snapshot)
        };
        Ok(Self {
            id: wire.id.name().ok_or(EventError::NoId)?,
            event_type: wire.event_type.name().unwrap_or_default(),
            // What does not say that it is real money is not taken for real money.
            owner: Owner { account: account.unwrap_or_default(), livemode: matches!(wire.livemode, Loose::Flag(true)) },
            created_s: wire.created.seconds().unwrap_or_default(),
            api_version: wire.api_version.name(),
            content,
        })
    }

    /// What it tells of; `None` when its type is not known.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        subject(&self.event_type)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    #[test]
    fn a_snapshot() {
        let body = br#"{"id":"evt_1","object":"event","type":"charge.succeeded","created":1700000000,"livemode":true,"account":"acct_1",
            "api_version":"2026-09-30.endive","pending_webhooks":2,"request":{"id":null},"data":{"object":{"id":"ch_1","future":{}},"previous_attributes":{}}}"#;
        let event = Event::parse(body).unwrap();
        assert_eq!((event.id.as_str(), event.event_type.as_str(), event.created_s), ("evt_1", "charge.succeeded", 1_700_000_000));
        assert_eq!(event.owner, Owner { account: "acct_1".to_owned(), livemode: true });
        assert_eq!(event.subject(), Some(Subject::Object(Kind::Charge)));
        assert!(matches!(event.content, Content::Snapshot(object) if object.get() == r#"{"id":"ch_1","future":{}}"#));
    }

    #[test]
    fn a_thin_event_of_a_version_1_object() {
        let body = br#"{"id":"evt_test_2","object":"v2.core.event","type":"v1.charge.updated","created":"2026-10-04T15:13:32.232083866Z","livemode":false,
            "context":"acct_2","related_object":{"id":"ch_1","type":"charge","url":"/v1/charges/ch_1"},"snapshot_event":"evt_1","changes":{}}"#;
        let event = Event::parse(body).unwrap();
        assert_eq!((event.created_s, event.owner.account.as_str(), event.owner.livemode), (1_791_126_812, "acct_2", false));
        assert_eq!(event.subject(), Some(Subject::Object(Kind::Charge)));
        let Content::Thin { related, snapshot_event } = event.content else { panic!("it is thin") };
        assert_eq!(related, Some(Related { kind: "charge".to_owned(), id: "ch_1".to_owned() }));
        assert_eq!(snapshot_event.as_deref(), Some("evt_1"));
    }

    #[test]
    fn a_thin_event_names_its_account_in_one_of_three_ways() {
        let account = |rest: &str| {
            let body = format!(r#"{{"id":"evt_1","object":"v2.core.event","type":"v1.charge.updated",{rest}}}"#);
            Event::parse(body.as_bytes()).unwrap().owner.account
        };
        assert_eq!(account(r#""context":"acct_1""#), "acct_1");
        assert_eq!(account(r#""context":"org_7/acct_1""#), "acct_1");
        assert_eq!(account(r#""context":null,"related_object":{"id":"ch_1","type":"charge","stripe_context":"acct_1"}"#), "acct_1");
        assert_eq!(account(r#""related_object":{"id":"ch_1","type":"charge","stripe_context":null}"#), "");
        assert_eq!(account(r#""context":"org_7""#), "org_7", "what is no account is nobody's own either");
    }

    #[test]
    fn fields_that_changed_their_type_do_not_make_it_unreadable() {
        let body = br#"{"id":"evt_1","type":["charge"],"created":{"at":1},"livemode":"yes","account":null,"api_version":7,"data":[1],"related_object":"ch_1","snapshot_event":{"id":"evt_0","x":1}}"#;
        let event = Event::parse(body).unwrap();
        assert_eq!((event.event_type.as_str(), event.created_s, event.owner.livemode, event.subject()), ("", 0, false, None));
        assert!(matches!(event.content, Content::Nothing));
        assert!(Event::parse(br#"{"id":"evt_test_webhook","object":"event"}"#).is_ok());
    }

    #[test]
    fn what_is_no_event_is_named() {
        for body in [&b"{\"id\":\"evt_1\""[..], b"7", b"", b"\xff", b"null"] {
            assert!(matches!(Event::parse(body), Err(EventError::Unreadable(_))), "{body:?}");
        }
        for body in [&b"{}"[..], b"[]", br#"{"id":7}"#, br#"{"id":""}"#] {
            assert_eq!(Event::parse(body).err(), Some(EventError::NoId));
        }
    }
}
