//! When a flow's source is read next. Pure: the loop that waits for it is in [`crate::reader`].

use croner::{Cron, parser::CronParser};
use stecker_model::Trigger;

/// Why a cron expression is refused: what is wrong with it and what the fields are.
pub(crate) fn parse_cron(text: &str) -> Result<Cron, String> {
    CronParser::builder().build().parse(text).map_err(|error| {
        format!("`{text}` is not a cron expression ({error}); write five fields: minute hour day-of-month month day-of-week, such as `*/15 * * * *`")
    })
}

/// What makes a flow's source be read without anybody asking.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// Only by hand or by webhooks.
    Never,
    /// This many milliseconds after the end of the last read.
    Every(i64),
    /// At the moments of a cron expression, UTC.
    Cron(Box<Cron>),
}

impl Schedule {
    /// Reads a trigger that was validated before.
    pub(crate) fn of(trigger: &Trigger) -> Result<Self, String> {
        Ok(match (trigger.every, &trigger.cron) {
            (Some(every), _) => Self::Every(i64::try_from(every.duration().as_millis()).unwrap_or(i64::MAX)),
            (None, Some(cron)) => Self::Cron(Box::new(parse_cron(cron)?)),
            (None, None) => Self::Never,
        })
    }

    /// The moment of the next read, given when the last one ended; `None`: not by itself. A flow that was never read is due
    /// at once if it repeats by period, and at the first moment after `started` if it goes by cron.
    pub(crate) fn next(&self, last_read_at: Option<i64>, started: i64, now: i64) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Every(period) => Some(last_read_at.map_or(now, |last| {
                last.saturating_add(*period).min(now.saturating_add(*period))
            })),
            Self::Cron(cron) => {
                // A moment that passed while nothing ran is caught up on once; a clock that jumped back stalls nothing.
                let from = chrono_utc(last_read_at.unwrap_or(started).min(now))?;
                cron.find_next_occurrence(&from, false)
                    .ok()
                    .map(|moment| moment.timestamp_millis())
            }
        }
    }
}

fn chrono_utc(millis: i64) -> Option<chrono::DateTime<chrono::Utc>> {
    chrono::DateTime::from_timestamp_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stecker_model::Period;

    const MONDAY_NOON: i64 = 1_795_435_200_000; // 2026-11-23T12:00:00Z

    #[test]
    fn periods_count_from_the_end_of_the_last_read() {
        let every = Schedule::of(&Trigger {
            every: Some(Period::from_secs(5)),
            ..Trigger::default()
        })
        .unwrap();
        assert_eq!(every.next(None, 0, 1_000), Some(1_000));
        assert_eq!(every.next(Some(1_000), 0, 2_000), Some(6_000));
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_stall_a_flow() {
        let every = Schedule::of(&Trigger {
            every: Some(Period::from_secs(5)),
            ..Trigger::default()
        })
        .unwrap();
        assert_eq!(every.next(Some(9_000_000), 0, 1_000), Some(6_000));
    }

    #[test]
    fn cron_goes_by_utc_and_catches_up_once() {
        let cron = Schedule::of(&Trigger {
            cron: Some("30 12 * * *".to_owned()),
            ..Trigger::default()
        })
        .unwrap();
        assert_eq!(
            cron.next(None, MONDAY_NOON, MONDAY_NOON),
            Some(MONDAY_NOON + 30 * 60_000)
        );
        let days_later = MONDAY_NOON + 3 * 86_400_000;
        assert_eq!(
            cron.next(Some(MONDAY_NOON), days_later, days_later),
            Some(MONDAY_NOON + 30 * 60_000)
        );
    }

    #[test]
    fn a_cron_flow_that_was_never_read_becomes_due() {
        let cron = Schedule::of(&Trigger {
            cron: Some("30 12 * * *".to_owned()),
            ..Trigger::default()
        })
        .unwrap();
        let half_past = MONDAY_NOON + 30 * 60_000;
        for later in [half_past, half_past + 1, half_past + 86_400_000] {
            assert_eq!(cron.next(None, MONDAY_NOON, later), Some(half_past));
        }
        assert_eq!(
            cron.next(Some(half_past + 9_000_000_000), MONDAY_NOON, MONDAY_NOON),
            Some(half_past)
        );
    }

    #[test]
    fn what_is_no_cron_is_explained() {
        let error = parse_cron("every day").unwrap_err();
        assert!(
            error.contains("every day") && error.contains("five fields"),
            "{error}"
        );
    }

    #[test]
    fn by_hand_means_never_by_itself() {
        assert_eq!(Schedule::of(&Trigger::default()).unwrap().next(None, 0, 5), None);
    }
}
