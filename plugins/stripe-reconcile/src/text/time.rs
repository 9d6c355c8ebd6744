//! Moments and days: as Stripe's API, its reports and other programs write them.

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Seconds since 1970 in UTC. 32 bits reach to 2106, and a million rows are that much smaller; 0 stands for "not said".
pub(crate) type Moment = u32;

const DAY_SECONDS: i64 = 86_400;
/// Numbers from here on are milliseconds: as seconds they would be beyond the year 5000.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A time zone by its IANA name.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    zone: TimeZone,
    name: std::borrow::Cow<'static, str>,
    /// The last answer: the offset in seconds and from when to when it holds.
    known: std::cell::Cell<(i64, i64, i64)>,
}

impl Zone {
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        if name.eq_ignore_ascii_case("utc") {
            return Ok(Self::utc());
        }
        let zone = TimeZone::get(name).map_err(|_| unknown(name))?;
        Ok(Self { zone, name: name.to_owned().into(), known: std::cell::Cell::new((0, 0, 0)) })
    }

    pub(crate) fn utc() -> Self {
        Self { zone: TimeZone::UTC, name: "UTC".into(), known: std::cell::Cell::new((0, 0, 0)) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The number of the local day a moment lies on, counted from 1970-01-01.
    pub(crate) fn day(&self, moment: Moment) -> i32 {
        let moment = i64::from(moment);
        (moment + self.offset_seconds(moment)).div_euclid(DAY_SECONDS).try_into().unwrap_or(i32::MAX)
    }

    /// The offset from UTC. Most questions are about the same half year.
    fn offset_seconds(&self, moment: i64) -> i64 {
        let (offset, from, to) = self.known.get();
        if (from..to).contains(&moment) {
            return offset;
        }
        let Ok(at) = Timestamp::from_second(moment) else { return 0 };
        let offset = i64::from(self.zone.to_offset(at).seconds());
        let from = self.zone.preceding(at).next().map_or(i64::MIN, |change| change.timestamp().as_second());
        let to = self.zone.following(at).next().map_or(i64::MAX, |change| change.timestamp().as_second());
        // `preceding` looks before the moment itself, which may be a change: then nothing before it is known.
        let changes_now = self.zone.preceding(Timestamp::from_second(moment + 1).unwrap_or(at)).next().is_some_and(|c| c.timestamp() == at);
        self.known.set((offset, if changes_now { moment } else { from }, to));
        offset
    }

    /// The moment of a local date and time. In the hour that a clock skips it is the one after; in the hour it repeats the first.
    pub(crate) fn moment(&self, local: DateTime) -> Option<i64> {
        if self.zone == TimeZone::UTC {
            return Offset::UTC.to_timestamp(local).ok().map(Timestamp::as_second);
        }
        self.zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp().as_second())
    }

    /// The moment a local day begins.
    pub(crate) fn start_of(&self, date: Date) -> Option<i64> {
        self.moment(date.at(0, 0, 0, 0))
    }
}

fn unknown(name: &str) -> String {
    format!("{name:?} is no time zone: write an IANA name such as Europe/Berlin, or UTC")
}

/// Reads Unix seconds or milliseconds, RFC 3339, `2026-01-31 12:00:00` (with `T` or a space; in `zone` when no offset is given), or a date
/// alone, which is the start of that day in `zone`.
#[inline(always)]
pub(crate) fn parse_moment(text: &[u8], zone: &Zone) -> Option<Moment> {
    let seconds = if text.len() > 4 && text.get(4) == Some(&b'-') { parse_written(text, zone)? } else { parse_unix(text)? };
    Moment::try_from(seconds).ok()
}

#[inline(always)]
fn parse_unix(text: &[u8]) -> Option<i64> {
    let number = taskwarden_money::parse_minor(text).ok()?;
    Some(if number.abs() >= MILLISECONDS_FROM { number.div_euclid(1000) } else { number })
}

fn parse_written(text: &[u8], zone: &Zone) -> Option<i64> {
    let date = parse_date(text.get(..10)?)?;
    let rest = text.get(10..)?;
    let Some((separator, clock)) = rest.split_first() else { return zone.start_of(date) };
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let seconds_end = if clock.get(5) == Some(&b':') { 8 } else { 5 };
    let (time, rest) = clock.split_at_checked(seconds_end)?;
    let two = |at: usize| number(time.get(at..at + 2)?);
    let second = if seconds_end == 8 { two(6)? } else { 0 };
    if time.get(2) != Some(&b':') {
        return None;
    }
    let narrow = |value: i32| i8::try_from(value).ok();
    let local = date.to_datetime(jiff::civil::Time::new(narrow(two(0)?)?, narrow(two(3)?)?, narrow(second)?, 0).ok()?);
    let rest = match rest {
        [b'.', fraction @ ..] => fraction.get(fraction.iter().take_while(|b| b.is_ascii_digit()).count()..)?,
        rest => rest,
    };
    match rest {
        [] => zone.moment(local),
        b"Z" | b"z" | b" UTC" => Offset::UTC.to_timestamp(local).ok().map(Timestamp::as_second),
        [sign @ (b'+' | b'-'), hour @ .., b':', m1, m2] => {
            let seconds = (number(hour)? * 60 + number(&[*m1, *m2])?) * 60;
            let offset = Offset::from_seconds(if *sign == b'-' { -seconds } else { seconds }).ok()?;
            offset.to_timestamp(local).ok().map(Timestamp::as_second)
        }
        _ => None,
    }
}

/// Reads `2026-01-31`.
pub(crate) fn parse_date(text: &[u8]) -> Option<Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = number(&[*y1, *y2, *y3, *y4])?;
    Date::new(i16::try_from(year).ok()?, i8::try_from(number(&[*m1, *m2])?).ok()?, i8::try_from(number(&[*d1, *d2])?).ok()?).ok()
}

fn number(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i32::from(digit - b'0')))
}

/// The date with this number.
pub(crate) fn show_day(day: i32) -> String {
    Date::constant(1970, 1, 1).checked_add(i64::from(day).days()).map(|date| date.to_string()).unwrap_or_default()
}

/// RFC 3339 in UTC.
pub(crate) fn show_moment(moment: Moment) -> String {
    Timestamp::from_second(i64::from(moment)).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc() -> Zone {
        Zone::find("UTC").expect("known")
    }

    #[test]
    fn every_way_to_write_a_moment() {
        for text in [
            "1769860800",
            "1769860800000",
            "2026-01-31T12:00:00Z",
            "2026-01-31 12:00:00",
            "2026-01-31 12:00",
            "2026-01-31 12:00:00 UTC",
            "2026-01-31T13:00:00.250+01:00",
            "2026-01-31T06:30:00-05:30",
        ] {
            assert_eq!(parse_moment(text.as_bytes(), &utc()), Some(1_769_860_800), "{text}");
        }
        assert_eq!(parse_moment(b"2026-01-31", &utc()), Some(1_769_817_600));
        let berlin = Zone::find("Europe/Berlin").expect("known");
        assert_eq!(parse_moment(b"2026-01-31 13:00:00", &berlin), Some(1_769_860_800));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "soon", "2026-02-30", "2026-01-31T25:00:00Z", "2026-01-31x", "-5", "99999999999", "31.01.2026", "2026-01-31T1:2:3"]
        {
            assert_eq!(parse_moment(text.as_bytes(), &utc()), None, "{text}");
        }
        assert!(Zone::find("Mars/Olympus").is_err());
    }

    #[test]
    fn days_are_local_also_when_clocks_change() {
        let berlin = Zone::find("Europe/Berlin").expect("known");
        let day = |text: &str| show_day(berlin.day(parse_moment(text.as_bytes(), &utc()).expect("a moment")));
        // 2026-03-29 has 23 hours, 2026-10-25 has 25.
        assert_eq!(
            [day("2026-03-28T23:30:00Z"), day("2026-03-29T21:59:59Z"), day("2026-03-29T22:00:00Z")],
            ["2026-03-29", "2026-03-29", "2026-03-30"]
        );
        assert_eq!(
            [day("2026-10-24T21:59:59Z"), day("2026-10-24T22:00:00Z"), day("2026-10-25T22:59:59Z")],
            ["2026-10-24", "2026-10-25", "2026-10-25"]
        );
        let kathmandu = Zone::find("Asia/Kathmandu").expect("known");
        assert_eq!(show_day(kathmandu.day(parse_moment(b"2026-01-01T18:14:59Z", &utc()).expect("a moment"))), "2026-01-01");
        assert_eq!(show_day(kathmandu.day(parse_moment(b"2026-01-01T18:15:00Z", &utc()).expect("a moment"))), "2026-01-02");
        assert_eq!(show_moment(1_769_860_800), "2026-01-31T12:00:00Z");
    }
}
