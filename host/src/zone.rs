//! Time zones: when a day begins and ends where somebody lives. The zones' rules are inside the binary, so that the same figures come out on
//! every machine, also on one that has no zones installed, and all hosts of one database agree.

use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan as _};

/// A time zone by its IANA name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A stretch of time, its end not included, in milliseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub start_ms: i64,
    /// The first moment after it.
    pub end_ms: i64,
}

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Fifteen minutes.
    QuarterHour,
    /// An hour of the local clock.
    Hour,
    /// A local day, which has 23, 24 or 25 hours.
    Day,
    /// A local month.
    Month,
}

impl Step {
    const ALL: [(Self, &'static str); 4] =
        [(Self::QuarterHour, "quarter_hour"), (Self::Hour, "hour"), (Self::Day, "day"), (Self::Month, "month")];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(step, _)| *step == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(step, _)| *step)
            .ok_or_else(|| "this must be quarter_hour, hour, day or month".to_owned())
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::parse(name)
    }
}

/// Every offset there is today is a multiple of it, so days of all zones can be made from such pieces.
pub const QUARTER_HOUR_MS: i64 = 15 * 60 * 1000;

/// Beyond these years no figures are kept.
const OUT_OF_RANGE: &str = "this time is out of range";

impl Zone {
    /// The zone of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        let zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| zone.iana_name().is_some());
        let short: String = name.chars().take(40).collect();
        zone.map(Self).ok_or_else(|| format!("{short:?} is not a time zone; give an IANA name such as Europe/Berlin or UTC"))
    }

    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// Its IANA name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The offset or the two offsets of a local time, which clocks may skip or show twice.
    #[must_use]
    pub fn offset(&self, local: DateTime) -> AmbiguousOffset {
        self.0.to_ambiguous_timestamp(local).offset()
    }

    /// The date that a moment falls on.
    ///
    /// # Errors
    /// For moments beyond the calendar.
    pub fn date(&self, at_ms: i64) -> Result<Date, String> {
        let at = Timestamp::from_millisecond(at_ms).map_err(|_| OUT_OF_RANGE.to_owned())?;
        Ok(at.to_zoned(self.0.clone()).date())
    }

    /// A whole day. It begins with the first moment that has its date: where midnight is skipped, that is later.
    ///
    /// # Errors
    /// For days beyond the calendar.
    pub fn day(&self, date: Date) -> Result<Period, String> {
        Ok(Period { start_ms: self.begin(date)?, end_ms: self.begin(later(date, 1.day())?)? })
    }

    /// The period that a moment falls into.
    ///
    /// # Errors
    /// For moments beyond the calendar.
    pub fn period(&self, step: Step, at_ms: i64) -> Result<Period, String> {
        match step {
            Step::QuarterHour => Ok(self.local(at_ms, QUARTER_HOUR_MS)?),
            Step::Hour => self.local(at_ms, 3_600_000),
            Step::Day => self.day(self.date(at_ms)?),
            Step::Month => {
                let first = self.date(at_ms)?.first_of_month();
                Ok(Period { start_ms: self.begin(first)?, end_ms: self.begin(later(first, 1.month())?)? })
            }
        }
    }

    fn begin(&self, date: Date) -> Result<i64, String> {
        date.to_zoned(self.0.clone()).map(|begin| begin.timestamp().as_millisecond()).map_err(|_| OUT_OF_RANGE.to_owned())
    }

    /// A stretch that begins at a multiple of its length on the local clock.
    fn local(&self, at_ms: i64, length_ms: i64) -> Result<Period, String> {
        let at = Timestamp::from_millisecond(at_ms).map_err(|_| OUT_OF_RANGE.to_owned())?;
        let offset_ms = i64::from(self.0.to_offset(at).seconds()) * 1000;
        let start_ms = (at_ms + offset_ms).div_euclid(length_ms) * length_ms - offset_ms;
        Ok(Period { start_ms, end_ms: start_ms + length_ms })
    }
}

fn later(date: Date, by: jiff::Span) -> Result<Date, String> {
    date.checked_add(by).map_err(|_| OUT_OF_RANGE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMs;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn ms(text: &str) -> i64 {
        UnixMs::parse_rfc3339(text).unwrap().0
    }

    fn day(zone_name: &str, date: &str) -> (String, i64) {
        let day = zone(zone_name).day(date.parse().unwrap()).unwrap();
        (UnixMs(day.start_ms).to_rfc3339(), (day.end_ms - day.start_ms) / 60_000)
    }

    #[test]
    fn days_have_23_24_and_25_hours() {
        assert_eq!(day("Europe/Berlin", "2026-03-28"), ("2026-03-27T23:00:00.000Z".to_owned(), 24 * 60));
        assert_eq!(day("Europe/Berlin", "2026-03-29"), ("2026-03-28T23:00:00.000Z".to_owned(), 23 * 60));
        assert_eq!(day("Europe/Berlin", "2026-10-25"), ("2026-10-24T22:00:00.000Z".to_owned(), 25 * 60));
        assert_eq!(day("America/New_York", "2026-11-01"), ("2026-11-01T04:00:00.000Z".to_owned(), 25 * 60));
        assert_eq!(day("UTC", "2026-03-29"), ("2026-03-29T00:00:00.000Z".to_owned(), 24 * 60));
    }

    #[test]
    fn zones_of_half_and_quarter_hours_and_days_without_a_midnight() {
        assert_eq!(day("Asia/Kathmandu", "2026-01-01").0, "2025-12-31T18:15:00.000Z");
        assert_eq!(day("Asia/Kolkata", "2026-01-01").0, "2025-12-31T18:30:00.000Z");
        assert_eq!(day("Australia/Lord_Howe", "2026-04-05").1, 24 * 60 + 30);
        assert_eq!(day("America/Sao_Paulo", "2018-11-04"), ("2018-11-04T03:00:00.000Z".to_owned(), 23 * 60));
        assert_eq!(day("Pacific/Chatham", "2026-07-01").0, "2026-06-30T11:15:00.000Z");
    }

    #[test]
    fn hours_that_come_twice_are_two() {
        let berlin = zone("Europe/Berlin");
        let first = berlin.period(Step::Hour, ms("2026-10-25T00:30:00Z")).unwrap();
        let second = berlin.period(Step::Hour, ms("2026-10-25T01:30:00Z")).unwrap();
        assert_eq!((first.end_ms, second.start_ms), (ms("2026-10-25T01:00:00Z"), ms("2026-10-25T01:00:00Z")));
        let kathmandu = zone("Asia/Kathmandu").period(Step::Hour, ms("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(kathmandu.start_ms, ms("2025-12-31T23:15:00Z"));
        assert_eq!(berlin.period(Step::QuarterHour, ms("2026-10-25T00:14:59Z")).unwrap().end_ms, ms("2026-10-25T00:15:00Z"));
        let month = berlin.period(Step::Month, ms("2026-10-25T00:30:00Z")).unwrap();
        assert_eq!((month.start_ms, month.end_ms), (ms("2026-09-30T22:00:00Z"), ms("2026-10-31T23:00:00Z")));
    }

    #[test]
    fn zones_have_iana_names() {
        let names = ["europe/berlin", "UTC", "Asia/Kathmandu"].map(|name| zone(name).name().to_owned());
        assert_eq!(names, ["Europe/Berlin", "UTC", "Asia/Kathmandu"]);
        for name in ["", "Berlin", "Europe/berlin/x", "CET+1", "+02:00", "EST5EDT,M3.2.0,M11.1.0", "../etc/passwd"] {
            assert!(name.parse::<Zone>().is_err(), "{name}");
        }
        assert!("week".parse::<Step>().is_err());
        assert!("day".parse::<Step>().is_ok_and(|step| step.name() == "day"));
    }
}
