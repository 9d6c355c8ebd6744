//! Time zones by the rule that POSIX writes them with, such as `CET-1CEST,M3.5.0,M10.5.0/3`: it says everything about a zone that matters
//! for this year's mornings, without a database inside the sandbox.

use crate::time::{DAY_MS, civil_from_days, days_from_civil};

const HOUR_MS: i64 = 3_600_000;

/// A time zone; UTC unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone {
    standard_ms: i64,
    summer: Option<Summer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summer {
    offset_ms: i64,
    begins: Rule,
    ends: Rule,
}

/// The `week`-th (5: last) `weekday` (0: Sunday) of `month`, at this local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    month: i64,
    week: i64,
    weekday: i64,
    at_ms: i64,
}

impl Zone {
    /// Reads `UTC0`, `EST5EDT,M3.2.0,M11.1.0` and the like. Offsets count westward, as POSIX has it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (standard, rest) = name_and_offset(text.trim())?;
        let standard_ms = standard?;
        if rest.is_empty() {
            return Some(Self { standard_ms, summer: None });
        }
        let (offset, rest) = name_and_offset(rest)?;
        let mut rules = rest.strip_prefix(',')?.split(',');
        let (begins, ends) = (Rule::parse(rules.next()?)?, Rule::parse(rules.next()?)?);
        let summer = Summer { offset_ms: offset.unwrap_or(standard_ms + HOUR_MS), begins, ends };
        rules.next().is_none().then_some(Self { standard_ms, summer: Some(summer) })
    }

    /// What the clocks show, as milliseconds since 1970 without a zone.
    #[must_use]
    pub fn local_ms(&self, time_ms: i64) -> i64 {
        let offset = match self.summer {
            Some(summer) if self.is_summer(summer, time_ms) => summer.offset_ms,
            _ => self.standard_ms,
        };
        time_ms.saturating_add(offset)
    }

    fn is_summer(&self, summer: Summer, time_ms: i64) -> bool {
        let (year, ..) = civil_from_days(time_ms.saturating_add(self.standard_ms).div_euclid(DAY_MS));
        let begins = summer.begins.in_year(year) - self.standard_ms;
        let ends = summer.ends.in_year(year) - summer.offset_ms;
        // South of the equator summer begins in one year and ends in the next.
        if begins < ends { (begins..ends).contains(&time_ms) } else { !(ends..begins).contains(&time_ms) }
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let (day, at) = text.split_once('/').unwrap_or((text, "2"));
        let mut numbers = day.strip_prefix('M')?.split('.').map(|part| part.parse::<i64>().ok());
        let (month, week, weekday) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let good = (1..=12).contains(&month) && (1..=5).contains(&week) && (0..=6).contains(&weekday) && numbers.next().is_none();
        good.then_some(Self { month, week, weekday, at_ms: clock_ms(at)? })
    }

    fn in_year(self, year: i64) -> i64 {
        let first = days_from_civil(year, self.month, 1);
        // 1970-01-01 was a Thursday, which is weekday 4.
        let to_weekday = (self.weekday - (first + 4)).rem_euclid(7);
        let mut day = first + to_weekday + 7 * (self.week - 1);
        while civil_from_days(day).1 != self.month {
            day -= 7;
        }
        day * DAY_MS + self.at_ms
    }
}

type NameAndOffset<'a> = (Option<i64>, &'a str);

fn name_and_offset(text: &str) -> Option<NameAndOffset<'_>> {
    let rest = if let Some(quoted) = text.strip_prefix('<') {
        quoted.split_once('>')?.1
    } else {
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        text.get(end..).filter(|_| end >= 3)?
    };
    let end = rest.find(|c: char| !matches!(c, '+' | '-' | ':' | '0'..='9')).unwrap_or(rest.len());
    let (offset, rest) = rest.split_at(end);
    if offset.is_empty() {
        return Some((None, rest));
    }
    Some((Some(-clock_ms(offset)?), rest))
}

/// `[+-]hours[:minutes[:seconds]]`.
fn clock_ms(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split(':').map(|part| part.parse::<u32>().ok().filter(|number| *number <= 167).map(i64::from));
    let hours = parts.next()??;
    let minutes = parts.next().unwrap_or(Some(0))?;
    let seconds = parts.next().unwrap_or(Some(0))?;
    parts.next().is_none().then_some(sign * ((hours * 60 + minutes) * 60 + seconds) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{parse_ms, show};

    fn local(zone: &str, utc: &str) -> String {
        show(Zone::parse(zone).expect("a zone").local_ms(parse_ms(utc).expect("a time")))
    }

    #[test]
    fn clocks_change_when_they_do() {
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(local(berlin, "2026-03-29T00:59:59Z"), "2026-03-29T01:59:59Z");
        assert_eq!(local(berlin, "2026-03-29T01:00:00Z"), "2026-03-29T03:00:00Z");
        assert_eq!(local(berlin, "2026-10-25T00:59:59Z"), "2026-10-25T02:59:59Z");
        assert_eq!(local(berlin, "2026-10-25T01:00:00Z"), "2026-10-25T02:00:00Z");
        assert_eq!(local("EST5EDT,M3.2.0,M11.1.0", "2026-07-01T12:00:00Z"), "2026-07-01T08:00:00Z");
        assert_eq!(local("AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-01T00:00:00Z"), "2026-01-01T11:00:00Z");
        assert_eq!(local("<+0530>-5:30", "2026-01-01T00:00:00Z"), "2026-01-01T05:30:00Z");
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in ["", "Europe/Berlin", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "UTC0,M1.1.1", "E5"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
        assert_eq!(Zone::parse("UTC0"), Some(Zone::default()));
    }
}
