//! Cron expressions of five fields, read strictly: what is not understood is refused, never guessed.
//!
//! Written here rather than taken from a crate, because the crates for it bring a second library for time with them, differ in what
//! they make of a clock that is put forward or back, and accept more than they document.

use jiff::civil::Date;

/// Why a text is not a cron expression, in words for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// Which minutes of which days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: Box<str>,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether the field for days of the month, or of the week, begins with `*`. As in every cron since the first: when neither does,
    /// a day that fits one of them is enough.
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const EVERY_HOUR: u64 = (1 << 24) - 1;

struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    /// Names of the values from `min` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of the month", min: 1, max: 31, names: &[] },
    Field { name: "month", min: 1, max: 12, names: &MONTHS },
    // 7 is Sunday too.
    Field { name: "day of the week", min: 0, max: 7, names: &WEEKDAYS },
];

impl Cron {
    /// Reads `minute hour day-of-month month day-of-week`, each of them `*`, a value, a range `a-b`, either of `*` and a range with a
    /// step `/n`, or a list of these with commas. Months and days of the week have their English three-letter names too.
    ///
    /// # Errors
    /// Which field is wrong, and what it may be.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(CronError(format!(
                "a cron expression has 5 fields (minute, hour, day of the month, month, day of the week) and this has {}; \
                 \"0 2 * * *\" is every day at two",
                parts.len()
            )));
        };
        let [minutes, hours, days, months, weekdays] = &FIELDS;
        let cron = Self {
            minutes: minutes.read(minute)?,
            hours: hours.read(hour)?,
            days: days.read(day)?,
            months: months.read(month)?,
            weekdays: weekdays.read(weekday).map(|bits| if bits & (1 << 7) == 0 { bits } else { bits | 1 })?,
            any_day: day.starts_with('*'),
            any_weekday: weekday.starts_with('*'),
            text: parts.join(" ").into(),
        };
        // A leap day comes at least once in eight years, and every other date that exists once in one.
        let exists = cron.any_day || !cron.any_weekday || (1..=12).any(|month| cron.months & (1 << month) != 0 && cron.has_day_in(month));
        if exists { Ok(cron) } else { Err(CronError(format!("none of the months of {:?} has such a day", cron.text))) }
    }

    fn has_day_in(&self, month: u8) -> bool {
        let days = match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        self.days & ((1 << (days + 1)) - 1) != 0
    }

    /// As it was written, with single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether something is due on this date.
    pub(super) fn has_date(&self, date: Date) -> bool {
        let bit = |bits: u64, number: i8| u32::try_from(number).is_ok_and(|number| bits & (1 << number) != 0);
        let (day, weekday) = (bit(self.days, date.day()), bit(self.weekdays, date.weekday().to_sunday_zero_offset()));
        let fits = match (self.any_day, self.any_weekday) {
            (false, false) => day || weekday,
            _ => day && weekday,
        };
        fits && bit(self.months, date.month())
    }

    /// The hours something is due in.
    pub(super) fn hours(&self) -> impl Iterator<Item = i8> {
        bits(self.hours, 24)
    }

    /// The minutes of such an hour.
    pub(super) fn minutes(&self) -> impl Iterator<Item = i8> + Clone {
        bits(self.minutes, 60)
    }

    /// Whether it is due in every hour there is, so that it goes by elapsed time rather than by what a clock on the wall shows.
    pub(super) fn is_hourly(&self) -> bool {
        self.hours == EVERY_HOUR
    }
}

fn bits(set: u64, below: i8) -> impl Iterator<Item = i8> + Clone {
    (0..below).filter(move |number| set & (1 << number) != 0)
}

impl std::fmt::Display for Cron {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item).ok_or_else(|| self.wrong(item))?))
    }

    fn item(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (first, last) = if range == "*" {
            // Sunday once: a step from 0 must not meet it again as 7.
            (self.min, if self.max == 7 { 6 } else { self.max })
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, last) = (self.value(first)?, self.value(last)?);
            // "fri-sun" ends at 7.
            (first, if self.max == 7 && last == 0 && first > 0 { 7 } else { last })
        } else if step.is_some() {
            return None;
        } else {
            let value = self.value(range)?;
            (value, value)
        };
        let step = usize::from(step.unwrap_or(1));
        (first <= last).then(|| (first..=last).step_by(step).fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u8> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|at| u8::try_from(at).ok());
        named.map(|at| at + self.min).or_else(|| number(text)).filter(|value| (self.min..=self.max).contains(value))
    }

    fn wrong(&self, item: &str) -> CronError {
        let short: String = item.chars().take(20).collect();
        let names = match self.names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        CronError(format!(
            "{short:?} is not a {}: it may be *, a value from {} to {}{names}, a range such as {}-{}, a step such as */2, or a list of these",
            self.name,
            self.min,
            self.max,
            self.min,
            self.min + 3
        ))
    }
}

fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        Cron::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn minutes(text: &str) -> Vec<i8> {
        cron(text).minutes().collect()
    }

    #[test]
    fn every_way_to_write_a_field() {
        assert_eq!(minutes("*/20 * * * *"), [0, 20, 40]);
        assert_eq!(minutes("5-25/10,59,7 * * * *"), [5, 7, 15, 25, 59]);
        assert_eq!(minutes("00 * * * *"), [0]);
        assert!(cron("* 0-23 * * *").is_hourly() && cron("* */1 * * *").is_hourly() && !cron("* 0-22 * * *").is_hourly());
        assert_eq!(cron("  0   2 * jan-MAR   * ").as_str(), "0 2 * jan-MAR *");
    }

    #[test]
    fn days_of_the_week_and_of_the_month_are_joined_by_or_unless_one_of_them_is_a_star() {
        let date = |day| jiff::civil::date(2026, 11, day);
        let days = |text: &str| (1..=30).filter(|day| cron(text).has_date(date(*day))).collect::<Vec<i8>>();
        assert_eq!(days("0 0 * * sun"), [1, 8, 15, 22, 29]);
        assert_eq!(days("0 0 * * 7"), days("0 0 * * 0"));
        assert_eq!(days("0 0 * * fri-sun"), days("0 0 * * 0,5,6"));
        assert_eq!(days("0 0 13 * fri"), [6, 13, 20, 27]);
        assert_eq!(days("0 0 12 * fri"), [6, 12, 13, 20, 27]);
        assert_eq!(days("0 0 */10 * sun"), [1], "a step counts as a star: both must fit");
        assert_eq!(days("0 0 31 * *"), Vec::<i8>::new());
        assert_eq!(days("0 0 1 dec *"), Vec::<i8>::new());
    }

    #[test]
    fn what_is_not_understood_is_refused_and_the_field_is_named() {
        for (text, words) in [
            ("0 2 * *", "has 4"),
            ("@daily", "has 1"),
            ("0 0 2 * * *", "has 6"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of the month"),
            ("* * L * *", "day of the month"),
            ("* * 15W * *", "day of the month"),
            ("* * ? * *", "day of the month"),
            ("* * * 13 *", "month"),
            ("* * * * 8", "day of the week"),
            ("* * * * mon#2", "day of the week"),
            ("* * * * monday", "day of the week"),
            ("5/10 * * * *", "minute"),
            ("*/0 * * * *", "minute"),
            ("30-10 * * * *", "minute"),
            ("1, * * * *", "minute"),
            ("-1 * * * *", "minute"),
            ("+1 * * * *", "minute"),
            ("1-2-3 * * * *", "minute"),
            ("999 * * * *", "minute"),
            ("0 0 30 feb *", "none of the months"),
            ("0 0 31 4,6,9,11 *", "none of the months"),
        ] {
            let error = Cron::parse(text).expect_err(text);
            assert!(error.0.contains(words), "{text}: {error}");
        }
        assert!(Cron::parse("0 0 29 feb *").is_ok() && Cron::parse("0 0 31 4 mon").is_ok());
    }
}
