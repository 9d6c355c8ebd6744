//! Timestamps as people write them, to milliseconds since 1970 in UTC.

pub(crate) const DAY_MS: i64 = 86_400_000;

/// Reads RFC 3339 (`T` or a space between date and time; without an offset it is UTC), a date alone (`2026-01-31`, `2026/01/31`, `20260131`), or
/// Unix seconds, milliseconds, microseconds or nanoseconds.
pub(crate) fn parse_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(day) = compact_date(text) {
        return Some(day * DAY_MS);
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(unix_ms(number));
    }
    if !text.is_ascii() || text.len() < 10 {
        return text.parse::<f64>().ok().and_then(unix_ms_f64);
    }
    let (date, rest) = text.split_at(10);
    let Some(day) = parse_date(date) else { return text.parse::<f64>().ok().and_then(unix_ms_f64) };
    let Some(separator) = rest.chars().next() else { return Some(day * DAY_MS) };
    if !matches!(separator, 'T' | 't' | ' ') {
        return None;
    }
    let (clock, offset_ms) = split_offset(rest.get(1..)?)?;
    Some(day * DAY_MS + parse_clock(clock)? - offset_ms)
}

/// Whether a text is a date without a time of day.
pub(crate) fn is_date(text: &str) -> bool {
    let text = text.trim();
    compact_date(text).is_some() || (text.len() == 10 && parse_date(text).is_some())
}

/// From here on numbers are milliseconds, not seconds; ten digits are seconds until the year 2286, and thirteen are milliseconds from 2001 on.
const MILLISECONDS_FROM: f64 = 1e11;
/// From here on they are microseconds: sixteen digits are, until the year 5138.
const MICROSECONDS_FROM: f64 = 1e14;
/// From here on they are nanoseconds.
const NANOSECONDS_FROM: f64 = 1e17;

/// What a number stands for as a time is told by its size.
pub(crate) fn unix_ms(number: i64) -> i64 {
    let size = number.unsigned_abs() as f64;
    if size < MILLISECONDS_FROM {
        number.saturating_mul(1000)
    } else if size < MICROSECONDS_FROM {
        number
    } else if size < NANOSECONDS_FROM {
        number.div_euclid(1000)
    } else {
        number.div_euclid(1_000_000)
    }
}

/// The same for a number with a fraction.
pub(crate) fn unix_ms_f64(number: f64) -> Option<i64> {
    let size = number.abs();
    let ms = if size < MILLISECONDS_FROM {
        number * 1000.0
    } else if size < MICROSECONDS_FROM {
        number
    } else if size < NANOSECONDS_FROM {
        number / 1000.0
    } else {
        number / 1e6
    };
    #[expect(clippy::cast_possible_truncation, reason = "bounded here")]
    (ms.abs() < MICROSECONDS_FROM).then(|| ms.round() as i64)
}

/// Eight digits that are a day of the last or of this century, and no moment in the first months of Unix time.
fn compact_date(text: &str) -> Option<i64> {
    const YEARS: std::ops::Range<i64> = 1900..2200;
    if text.len() != 8 || !text.is_ascii() {
        return None;
    }
    let ((year, rest), number) = (text.split_at(4), digits(text)?);
    let (month, day) = rest.split_at(2);
    if YEARS.contains(&(number / 10_000)) { parse_date(&format!("{year}-{month}-{day}")) } else { None }
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split(if text.contains('/') { '/' } else { '-' });
    let (year, month, day) = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if parts.next().is_some() || !(1..=days).contains(&day) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at(at);
    let minus = offset.starts_with('-');
    // +01:00, +0100 and +01.
    let offset = offset.get(1..)?;
    let (hours, minutes) =
        offset.split_once(':').or_else(|| if offset.len() == 4 { offset.split_at_checked(2) } else { Some((offset, "0")) })?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ms = (hours * 60 + minutes) * 60_000;
    Some((clock, if minus { -ms } else { ms }))
}

fn parse_clock(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':');
    let (hour, minute) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let second = parts.next().map_or(Some(0), digits)?;
    // 60 is a leap second, which Unix time does not know: it becomes the next second.
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    digits(fraction)?;
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    Some(((hour * 60 + minute) * 60 + second) * 1000 + digits(&thousandths)?)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years start in March, so that the leap day comes last.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// Months since the year 0.
pub(crate) fn month_index(time_ms: i64) -> i64 {
    let (year, month, _) = civil_from_days(time_ms.div_euclid(DAY_MS));
    year * 12 + month - 1
}

/// A date when the moment is midnight, else RFC 3339 in UTC.
pub(crate) fn show(time_ms: i64) -> String {
    let (year, month, day) = civil_from_days(time_ms.div_euclid(DAY_MS));
    let ms = time_ms.rem_euclid(DAY_MS);
    if ms == 0 {
        return format!("{year:04}-{month:02}-{day:02}");
    }
    let seconds = ms / 1000;
    let fraction = if ms % 1000 == 0 { String::new() } else { format!(".{:03}", ms % 1000) };
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{fraction}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_moment() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31 12:00:00",
            "2026/01/31 12:00",
            "2026-01-31T13:00:00.000+01:00",
            "2026-01-31T13:00:00+0100",
            "2026-01-31T04:00:00-08",
            "1769860800",
            "1769860800000",
            "1769860800000000",
            "1769860800000000000",
            "1769860800.0",
            "1.7698608e15",
        ] {
            assert_eq!(parse_ms(text), Some(1_769_860_800_000), "{text}");
        }
        for text in ["2026-01-31", "2026/01/31", "20260131"] {
            assert_eq!(parse_ms(text), Some(1_769_817_600_000), "{text}");
        }
        // No day: seconds in August 1970.
        assert_eq!(parse_ms("20260231"), Some(20_260_231_000));
        assert_eq!(parse_ms("2026-01-31T12:00:00.25Z"), Some(1_769_860_800_250));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "date",
            "2026-02-30",
            "2026-13-01",
            "2026-01-31T25:00:00Z",
            "2026-01-31Tnoon",
            "2026-01-31T12:00:00.x",
            "NaN",
            "inf",
            "31.01.2026",
        ] {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }

    #[test]
    fn shown_moments_are_read_back() {
        for ms in [0, -1, 951_782_400_000, 1_769_860_800_250, -62_135_596_800_000, 253_402_300_799_000] {
            assert_eq!(parse_ms(&show(ms)), Some(ms), "{}", show(ms));
        }
    }
}
