//! Query parameters. Unknown ones are errors, so that a misspelt filter does not silently select everything.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::problem::{Answer, Problem};

/// The parameters of one request, of which each is known and given once.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads the part behind `?`.
    pub(super) fn parse(text: Option<&str>, known: &[&str]) -> Answer<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let detail = match known {
                    [] => "this address takes no query parameters".to_owned(),
                    known => format!("the query parameters here are {}", known.join(", ")),
                };
                return Err(Problem::unknown_field(shortened(&name), detail));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::invalid_field(name, "this parameter is given twice"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// One parameter as text; an empty one counts as not given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// One parameter, parsed.
    pub(super) fn get<T: FromStr<Err: Display>>(&self, name: &str) -> Answer<Option<T>> {
        self.text(name).map(|text| text.parse().map_err(|e: T::Err| Problem::invalid_field(name, e.to_string()))).transpose()
    }

    /// One parameter as a whole number between bounds.
    pub(super) fn number(&self, name: &str, min: u32, max: u32) -> Answer<Option<u32>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.map(Some).ok_or_else(|| Problem::invalid_field(name, format!("this must be a whole number from {min} to {max}")))
    }

    /// One parameter as a length of time: a number with `ms`, `s` or `m` behind it.
    pub(super) fn duration(&self, name: &str, max: Duration) -> Answer<Option<Duration>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = || Problem::invalid_field(name, format!("this must be a time such as 500ms or 30s, at most {}s", max.as_secs()));
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            _ => return Err(wrong()),
        };
        let duration = Duration::from_millis(number.saturating_mul(unit_ms));
        if duration > max { Err(wrong()) } else { Ok(Some(duration)) }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::super::problem::Code;
    use super::*;

    #[test]
    fn unknown_and_repeated_parameters_are_named() {
        let wrong = |text| Query::parse(Some(text), &["state"]).map(|_| ()).expect_err(text);
        assert_eq!(wrong("sate=queued").parts(), (422, Code::UnknownField, Some("sate")));
        assert_eq!(wrong("state=a&state=b").parts(), (422, Code::InvalidField, Some("state")));
    }

    #[test]
    fn durations_need_a_unit_and_have_a_maximum() {
        let read = |text: &str| {
            let query = Query::parse(Some(&format!("wait={text}")), &["wait"])?;
            query.duration("wait", Duration::from_secs(60))
        };
        assert_eq!(read("30s").ok().flatten(), Some(Duration::from_secs(30)));
        assert_eq!(read("1m").ok().flatten(), Some(Duration::from_secs(60)));
        assert_eq!(read("250ms").ok().flatten(), Some(Duration::from_millis(250)));
        for bad in ["30", "61s", "s", "-1s", "99999999999999999999s", "18446744073709551615m"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
