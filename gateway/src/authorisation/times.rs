//! When a connection may be open: days of the week, hours of the day, a time zone, and a last day.

use std::fmt;

use jiff::{
    Timestamp,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

use super::Unmet;

/// Days as the configuration spells them, from Monday on.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The day of this name: `mon` to `sun`.
#[must_use]
pub fn day_named(name: &str) -> Option<Weekday> {
    DAYS.iter().find(|(known, _)| *known == name).map(|(_, day)| *day)
}

fn name_of(day: Weekday) -> &'static str {
    DAYS.iter().find(|(_, known)| *known == day).map_or("", |(name, _)| name)
}

/// Why hours can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimesError {
    /// Not two times of day with a `-` between them.
    #[error("hours are two times of day such as \"08:00-18:00\", or \"22:00-06:00\" over midnight")]
    Malformed,
    /// They begin where they end.
    #[error("hours that begin when they end are none; leave them out for the whole day")]
    Empty,
}

/// Hours of a day on the clock of a time zone: from the first time on, up to the last one, which is out. Where they end before
/// they begin, they go over midnight and belong to the day on which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Seconds since midnight.
    from: u32,
    /// Seconds since midnight, up to those of a whole day.
    to: u32,
}

/// Seconds of a day on the clock.
const DAY: u32 = 24 * 60 * 60;

impl Hours {
    /// Reads `08:00-18:00`, with seconds where they matter; `24:00` is the end of the day.
    ///
    /// # Errors
    ///
    /// [`TimesError`].
    pub fn parse(text: &str) -> Result<Self, TimesError> {
        let (from, to) = text.split_once('-').ok_or(TimesError::Malformed)?;
        let (from, to) = (seconds(from.trim())?, seconds(to.trim())?);
        match (from, to) {
            (DAY, _) => Err(TimesError::Malformed),
            _ if from == to => Err(TimesError::Empty),
            _ => Ok(Self { from, to }),
        }
    }

    fn crosses_midnight(self) -> bool {
        self.to < self.from
    }
}

fn seconds(text: &str) -> Result<u32, TimesError> {
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u32>().ok()).flatten().ok_or(TimesError::Malformed)
    };
    let parts = text.split(':').map(number).collect::<Result<Vec<_>, _>>()?;
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(TimesError::Malformed),
    };
    let total = (hour * 60 + minute) * 60 + second;
    if minute < 60 && second < 60 && total <= DAY { Ok(total) } else { Err(TimesError::Malformed) }
}

/// A time of day as it is written; without seconds where there are none.
fn clock(seconds: u32) -> String {
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if second == 0 { format!("{hour:02}:{minute:02}") } else { format!("{hour:02}:{minute:02}:{second:02}") }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", clock(self.from), clock(self.to))
    }
}

/// The times at which a table holds. All that is given has to be met.
#[derive(Debug, Clone)]
pub struct Times {
    /// On these days; None: on all.
    pub days: Option<Vec<Weekday>>,
    /// In these hours; None: the whole day.
    pub hours: Option<Hours>,
    /// Up to the end of this day.
    pub until: Option<Date>,
    /// Whose clock and days these are.
    pub zone: TimeZone,
}

impl Default for Times {
    fn default() -> Self {
        Self { days: None, hours: None, until: None, zone: TimeZone::UTC }
    }
}

impl Times {
    /// Whether any time will do.
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.days.is_none() && self.hours.is_none() && self.until.is_none()
    }

    /// What isn't met at a moment. The clock decides, as it is on the wall: an hour that is skipped in spring is nobody's, one that
    /// comes twice in autumn counts twice.
    pub(super) fn unmet(&self, at: Timestamp, out: &mut Vec<Unmet>) {
        if self.are_any() {
            return;
        }
        let now = self.zone.to_datetime(at);
        let (mut date, time) = (now.date(), second_of(now.time()));
        if self.until.is_some_and(|until| date > until) {
            out.push(Unmet::Until);
        }
        if let Some(hours) = self.hours {
            let is_after_midnight = hours.crosses_midnight() && time < hours.to;
            let is_in = if hours.crosses_midnight() {
                time >= hours.from || time < hours.to
            } else {
                (hours.from..hours.to).contains(&time)
            };
            if !is_in {
                out.push(Unmet::Hours);
            }
            if is_after_midnight {
                // There is no day before the first one that the calendar has.
                date = date.yesterday().unwrap_or(date);
            }
        }
        if self.days.as_ref().is_some_and(|days| !days.contains(&date.weekday())) {
            out.push(Unmet::Days);
        }
    }
}

fn second_of(time: Time) -> u32 {
    // None of them is negative.
    let [hour, minute, second] = [time.hour(), time.minute(), time.second()].map(|part| u32::from(part.unsigned_abs()));
    (hour * 60 + minute) * 60 + second
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_any() {
            return f.write_str("at any time");
        }
        let mut parts = Vec::new();
        if let Some(days) = &self.days {
            parts.push(days.iter().map(|day| name_of(*day)).collect::<Vec<_>>().join(", "));
        }
        parts.extend(self.hours.map(|hours| hours.to_string()));
        parts.extend(self.until.map(|until| format!("until {until}")));
        write!(f, "{} ({})", parts.join(", "), self.zone.iana_name().unwrap_or("UTC"))
    }
}
