//! When a cron expression is due in a time zone, also on the days on which the clocks change.
//!
//! Two readings of a clock that is changed, as people mean them:
//!
//! * An expression that names hours ("at two") is due once for each time of day it names. Where clocks are put forward over that time,
//!   it is due as long after the change as it would have been after the hour before: 02:30 becomes 03:30. Where the time of day comes
//!   twice, it is due the first time.
//! * One for every hour ("every ten minutes") goes by elapsed time: the hour that comes twice counts twice, the one that is left out does
//!   not count.

use jiff::civil::Date;
use jiff::tz::AmbiguousOffset;

use super::Cron;
use crate::clock::UnixMs;
use crate::zone::Zone;

/// Between a leap day and the next there can be eight years.
const HORIZON_DAYS: u32 = 366 * 8 + 2;

/// A cron expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    /// Which minutes of which days.
    pub cron: Cron,
    /// Where.
    pub zone: Zone,
}

impl Timetable {
    /// The first moment after `at` at which something is due; nothing only at the end of the calendar.
    #[must_use]
    pub fn next_after(&self, at: UnixMs) -> Option<UnixMs> {
        // From the day before: a time that clocks skip can be due on the day after it.
        self.nearest(self.zone.date(at.0).ok()?.yesterday().ok()?, Date::tomorrow, |due| due > at, Iterator::min)
    }

    /// The last moment up to and including `at` at which something was due.
    #[must_use]
    pub fn last_until(&self, at: UnixMs) -> Option<UnixMs> {
        self.nearest(self.zone.date(at.0).ok()?, Date::yesterday, |due| due <= at, Iterator::max)
    }

    fn nearest(
        &self,
        first: Date,
        step: fn(Date) -> Result<Date, jiff::Error>,
        fits: impl Fn(UnixMs) -> bool,
        best: fn(std::vec::IntoIter<UnixMs>) -> Option<UnixMs>,
    ) -> Option<UnixMs> {
        let mut date = first;
        let mut found: Option<UnixMs> = None;
        for _ in 0..HORIZON_DAYS {
            let mut candidates: Vec<UnixMs> = self.due_on(date).into_iter().filter(|due| fits(*due)).collect();
            let is_last_look = found.is_some();
            candidates.extend(found);
            found = best(candidates.into_iter());
            // One day more than the first that has something: see `next_after`.
            if is_last_look {
                return found;
            }
            date = step(date).ok()?;
        }
        found
    }

    /// Every moment that belongs to a date, in no particular order.
    fn due_on(&self, date: Date) -> Vec<UnixMs> {
        if !self.cron.has_date(date) {
            return Vec::new();
        }
        let mut due = Vec::new();
        for hour in self.cron.hours() {
            for minute in self.cron.minutes() {
                let time = date.at(hour, minute, 0, 0);
                let mut take = |offset: jiff::tz::Offset| {
                    due.extend(offset.to_timestamp(time).ok().map(|at| UnixMs(at.as_millisecond())));
                };
                match self.zone.offset(time) {
                    AmbiguousOffset::Unambiguous { offset } => take(offset),
                    AmbiguousOffset::Gap { .. } if self.cron.is_hourly() => {}
                    AmbiguousOffset::Gap { before, .. } => take(before),
                    AmbiguousOffset::Fold { before, after } => {
                        take(before);
                        if self.cron.is_hourly() {
                            take(after);
                        }
                    }
                }
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cron: &str, zone: &str) -> Timetable {
        Timetable { cron: Cron::parse(cron).expect(cron), zone: zone.parse().expect(zone) }
    }

    fn ms(text: &str) -> UnixMs {
        UnixMs::parse_rfc3339(text).expect(text)
    }

    /// The next so many moments after a time, with the offset of the zone.
    fn due(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let table = table(cron, zone);
        let all = std::iter::successors(table.next_after(ms(after)), |last| table.next_after(*last));
        all.take(count)
            .map(|at| {
                let zoned = jiff::Timestamp::from_millisecond(at.0).expect("in range").in_tz(table.zone.name()).expect("a zone");
                zoned.strftime("%m-%d %H:%M%:z").to_string()
            })
            .collect()
    }

    #[test]
    fn an_ordinary_week() {
        assert_eq!(due("30 2 * * mon-fri", "UTC", "2026-11-27T02:30:00Z", 2), ["11-30 02:30+00:00", "12-01 02:30+00:00"]);
        assert_eq!(due("*/25 23 * * *", "Asia/Kathmandu", "2026-11-25T00:00:00Z", 4).last().map(String::as_str), Some("11-26 23:00+05:45"));
        assert_eq!(due("0 0 29 feb *", "UTC", "2096-03-01T00:00:00Z", 1), ["02-29 00:00+00:00"], "there is none in the year 2100");
    }

    #[test]
    fn clocks_put_forward_move_a_time_of_day_that_is_skipped_and_skip_nothing_that_goes_by_elapsed_time() {
        // In Berlin 02:00 to 03:00 does not exist on 29 March 2026.
        let berlin = |cron| due(cron, "Europe/Berlin", "2026-03-28T12:00:00Z", 3);
        assert_eq!(berlin("30 2 * * *"), ["03-29 03:30+02:00", "03-30 02:30+02:00", "03-31 02:30+02:00"]);
        assert_eq!(berlin("0 2,3 * * *"), ["03-29 03:00+02:00", "03-30 02:00+02:00", "03-30 03:00+02:00"], "both at once is once");
        let around = due("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 4);
        assert_eq!(around, ["03-29 01:30+01:00", "03-29 03:00+02:00", "03-29 03:30+02:00", "03-29 04:00+02:00"]);
    }

    #[test]
    fn clocks_put_back_repeat_no_time_of_day_and_all_that_goes_by_elapsed_time() {
        // In New York 01:00 to 02:00 comes twice on 1 November 2026.
        let york = |cron| due(cron, "America/New_York", "2026-11-01T04:59:00Z", 3);
        assert_eq!(york("30 1 * * *"), ["11-01 01:30-04:00", "11-02 01:30-05:00", "11-03 01:30-05:00"]);
        assert_eq!(york("0 1,2 * * *"), ["11-01 01:00-04:00", "11-01 02:00-05:00", "11-02 01:00-05:00"]);
        assert_eq!(york("30 * * * *"), ["11-01 01:30-04:00", "11-01 01:30-05:00", "11-01 02:30-05:00"]);
        assert_eq!(york("0 0 * * *"), ["11-02 00:00-05:00", "11-03 00:00-05:00", "11-04 00:00-05:00"]);
    }

    #[test]
    fn a_zone_that_leaves_out_midnight_or_a_whole_day() {
        // Cairo puts clocks forward at midnight; Samoa had no 30 December 2011.
        assert_eq!(due("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2), ["04-24 01:00+03:00", "04-25 00:00+03:00"]);
        assert_eq!(due("0 9 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", 1), ["12-31 09:00+14:00"]);
        assert_eq!(due("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 2), ["12-29 09:00-10:00", "12-31 09:00+14:00"]);
    }

    #[test]
    fn going_back_finds_what_going_forward_found() {
        for (cron, zone) in [
            ("30 2 * * *", "Europe/Berlin"),
            ("*/7 * * * *", "Europe/Berlin"),
            ("0 1,2 * * *", "America/New_York"),
            ("15 * * * *", "Australia/Lord_Howe"),
            ("0 0 1,15 * sun", "Africa/Cairo"),
        ] {
            let table = table(cron, zone);
            for start in
                ["2026-03-28T00:00:00Z", "2026-04-04T00:00:00Z", "2026-04-23T12:00:00Z", "2026-10-24T12:00:00Z", "2026-10-31T20:00:00Z"]
            {
                let mut at = ms(start);
                for _ in 0..100 {
                    let next = table.next_after(at).expect("there is always a next");
                    assert!(next > at, "{cron} {zone} {at:?}");
                    assert_eq!(table.last_until(next), Some(next), "{cron} {zone}");
                    let before = table.last_until(UnixMs(next.0 - 1)).expect("there is always a last");
                    assert!(before <= at, "{cron} {zone}: {before:?} lies between {at:?} and {next:?}");
                    at = next;
                }
            }
        }
    }
}
