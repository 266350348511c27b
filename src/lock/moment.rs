//! A point in time as locks and archives write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Seconds since 1970 in UTC, written `2026-11-22T19:58:56Z` (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(u64);

/// A text that is no time of the one form that is written here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time like `2026-11-22T19:58:56Z`")]
pub struct MomentError(String);

impl Moment {
    /// The time that images and documents about them have where nothing says another: 1980-01-01, the first that a zip archive
    /// can hold, so that programs in the image can pack what is there.
    pub const DEFAULT: Self = Self(315_532_800);

    /// 9999-12-31T23:59:59Z, the last time that RFC 3339 can write.
    pub const LAST: Self = Self(253_402_300_799);

    /// From seconds since 1970; later than year 9999 becomes its end.
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.min(Self::LAST.0))
    }

    /// From a date and a time of day in UTC; `None` if there is no such time, or it is before 1970.
    pub fn from_parts(date: (u64, u64, u64), time: (u64, u64, u64)) -> Option<Self> {
        let ((year, month, day), (hour, minute, second)) = (date, time);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let length = match month {
            2 => 28 + u64::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=length).contains(&day) {
            return None;
        }
        // Days since 0000-03-01, with years that begin in March.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
        Some(Self::from_seconds((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second))
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// `20261122T195856Z`: RFC 3339 without what parts the numbers (ISO 8601's basic format).
    pub fn to_basic(self) -> String {
        self.to_string().replace(['-', ':'], "")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // In 400-year cycles of 146097 days; a year that begins in March ends with its leap day.
        let shifted = days + 719_468;
        let (cycle, day) = (shifted / 146_097, shifted % 146_097);
        let year_of_cycle = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let error = || MomentError(text.chars().take(40).collect());
        let mut numbers = text.split(|character: char| !character.is_ascii_digit()).map(|part| part.parse().ok());
        let mut next = || numbers.next().flatten().ok_or_else(error);
        let (date, time) = ((next()?, next()?, next()?), (next()?, next()?, next()?));
        // Whatever was read is written again: the one text that names this time.
        Self::from_parts(date, time).filter(|moment| moment.to_string() == text).ok_or_else(error)
    }
}

impl TryFrom<String> for Moment {
    type Error = MomentError;

    fn try_from(text: String) -> Result<Self, MomentError> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn is_written_in_both_forms() {
        let moment = Moment::from_seconds(1_795_377_536);
        assert_eq!(moment.to_string(), "2026-11-22T19:58:56Z");
        assert_eq!(moment.to_basic(), "20261122T195856Z");
        assert_eq!(Moment::from_seconds(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Moment::from_seconds(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn only_real_times_are_read() {
        assert_eq!("2024-02-29T00:00:00Z".parse(), Ok(Moment(1_709_164_800)));
        for text in [
            "",
            "2024-02-29",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-1-01T00:00:00Z",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(seconds in 0..Moment::LAST.0) {
            let moment = Moment::from_seconds(seconds);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        }

        #[test]
        fn any_text_is_a_time_or_not(text in "\\PC{0,30}") {
            let _ = text.parse::<Moment>();
        }
    }
}
