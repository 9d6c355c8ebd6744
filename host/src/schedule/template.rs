//! The task that a schedule submits, and the places in its payload where the time of the run goes.
//!
//! A string that is one of these, whole, is replaced; nothing else of the payload is touched, not even its white space:
//!
//! | | |
//! | --- | --- |
//! | `"${due}"` | when the run was due, RFC 3339 in UTC |
//! | `"${due.date}"` | that date in the schedule's time zone |
//! | `"${due.date-1d}"`, `"${due.date+7d}"` | so many days before or after it |
//!
//! A string that has to begin with `${` itself begins with `$${` here.

use std::ops::Range;

use jiff::ToSpan as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Schedule;
use crate::clock::UnixMs;
use crate::task::{IdempotencyKey, LaneKey, NewTask, Priority, TaskId, TaskPlan, Tenant};
use crate::zone::Zone;

const DAYS_MAX: i32 = 3_660;

/// What a schedule submits: a submission that was checked, without what belongs to a single run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskTemplate {
    /// Type and model.
    pub lane: LaneKey,
    /// How urgent.
    pub priority: Priority,
    /// Any JSON, with places for the time of the run.
    pub payload: Box<RawValue>,
    /// Inputs, tags and limits.
    pub plan: TaskPlan,
    /// Attempts that may be made.
    pub max_attempts: u32,
    /// For whom.
    pub tenant: Option<Tenant>,
}

/// Why a payload cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlaceholderError(String);

/// A payload with the time of a run in its places.
///
/// # Errors
/// When a string begins like a place and is none.
pub fn fill(payload: &RawValue, due: UnixMs, zone: &Zone) -> Result<Box<RawValue>, PlaceholderError> {
    let text = payload.get();
    if !text.contains("${") {
        return Ok(payload.to_owned());
    }
    let (mut filled, mut copied) = (String::with_capacity(text.len()), 0);
    for place in string_values(text) {
        let token = text.get(place.clone()).unwrap_or_default();
        let Some(replacement) = replacement(token, due, zone)? else { continue };
        filled.push_str(text.get(copied..place.start).unwrap_or_default());
        filled.push('"');
        filled.push_str(&replacement);
        filled.push('"');
        copied = place.end;
    }
    filled.push_str(text.get(copied..).unwrap_or_default());
    RawValue::from_string(filled).map_err(|error| PlaceholderError(format!("the payload is not JSON once it is filled in: {error}")))
}

/// What stands in place of a JSON string, without its quotes; nothing when it stays as it is.
fn replacement(token: &str, due: UnixMs, zone: &Zone) -> Result<Option<String>, PlaceholderError> {
    let inner = token.trim_matches('"');
    if inner.starts_with("$${") {
        return Ok(inner.get(1..).map(str::to_owned));
    }
    let Some(place) = inner.strip_prefix("${") else { return Ok(None) };
    let wrong = || {
        let short: String = inner.chars().take(40).collect();
        PlaceholderError(format!("{short:?} is no place of a schedule; there are ${{due}}, ${{due.date}} and ${{due.date-1d}}"))
    };
    let place = place.strip_suffix('}').ok_or_else(wrong)?;
    if place == "due" {
        return Ok(Some(due.to_rfc3339()));
    }
    let shift = place.strip_prefix("due.date").ok_or_else(wrong)?;
    let days = if shift.is_empty() { 0 } else { days(shift).ok_or_else(wrong)? };
    let date = zone.date(due.0).ok().and_then(|date| date.checked_add(days.days()).ok()).ok_or_else(wrong)?;
    Ok(Some(date.to_string()))
}

fn days(shift: &str) -> Option<i32> {
    let number = shift.strip_suffix('d')?;
    let signed = number.starts_with(['+', '-']) && number.get(1..)?.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|days: &i32| signed && days.abs() <= DAYS_MAX)
}

/// Where the strings of a JSON text are that are values, quotes included. The text is known to be JSON.
fn string_values(json: &str) -> Vec<Range<usize>> {
    let bytes = json.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'"')).map(|offset| at + offset) {
        let mut end = start + 1;
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        end += 1;
        let after = bytes.get(end..).unwrap_or_default().trim_ascii_start();
        if after.first() != Some(&b':') {
            found.push(start..end);
        }
        at = end;
    }
    found
}

impl Schedule {
    /// The task of the run that was due at this moment. Whoever submits it, and however often, submits the same one.
    ///
    /// # Errors
    /// As [`fill`]; never for a schedule that was checked when it was put.
    pub fn task(&self, due: UnixMs) -> Result<NewTask, PlaceholderError> {
        let key = format!("schedule:{}:{}", self.name, due.to_rfc3339());
        let key = IdempotencyKey::new(&key).map_err(|error| PlaceholderError(error.to_string()))?;
        let digest = Sha256::new().chain_update(key.as_str()).chain_update(self.revision.to_le_bytes()).finalize().into();
        let template = &self.task;
        Ok(NewTask {
            id: TaskId::new(),
            lane: template.lane.clone(),
            priority: template.priority,
            payload: fill(&template.payload, due, &self.timetable.zone)?,
            plan: template.plan.clone(),
            run_at: due,
            max_attempts: template.max_attempts,
            tenant: template.tenant.clone(),
            idempotency: Some((key, digest)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(payload: &str) -> Result<String, PlaceholderError> {
        // A moment at which Berlin has the next day already.
        let due = UnixMs::parse_rfc3339("2026-02-28T23:30:00Z").expect("a time");
        let payload = RawValue::from_string(payload.to_owned()).expect("JSON");
        fill(&payload, due, &"Europe/Berlin".parse().expect("a zone")).map(|filled| filled.get().to_owned())
    }

    #[test]
    fn only_whole_strings_that_are_places_change() {
        for (payload, expected) in [
            (r#"{"at": "${due}"}"#, r#"{"at": "2026-02-28T23:30:00.000Z"}"#),
            (r#"["${due.date}","${due.date-1d}" , "${due.date+30d}"]"#, r#"["2026-03-01","2026-02-28" , "2026-03-31"]"#),
            (
                r#"{ "${due}" :1e2, "a\"${due}":"x ${due}", "b\\":"$${due}" }"#,
                r#"{ "${due}" :1e2, "a\"${due}":"x ${due}", "b\\":"${due}" }"#,
            ),
            (r#""${due.date}""#, r#""2026-03-01""#),
            ("12345678901234567890.10", "12345678901234567890.10"),
        ] {
            assert_eq!(filled(payload).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_only_looks_like_a_place_is_refused() {
        for payload in ["${", "${}", "${now}", "${due.date-1}", "${due.date1d}", "${due.date-9999d}", "${due.date--1d}", "${due.time}"] {
            let error = filled(&format!("[\"{payload}\"]")).expect_err(payload);
            assert!(error.0.contains("no place of a schedule"), "{error}");
        }
    }
}
