//! How much a connection may send, over all of its calls and sessions: requests at the same time, requests a second, bytes a day.
//!
//! Kept per tenant and connection, beside the sessions, so that binding anew (a changed grant, another release) starts no new account. What
//! is over a bound waits if the call has the time, because a burst is no fault; what is over the day's bytes is refused, because waiting
//! would not help.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use stecker_model::{ErrorCode, HttpLimits, Name, PluginError};
use tokio::{sync::Notify, time::Instant};

use super::not_sent;
use crate::binding::Denial;

/// Who has waited until so shortly before the end does not begin: the request would be cut off half-way, and may have been acted on.
const LEAST: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The accounts of a sandbox.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<(Name, Name), Arc<Quota>>>);

impl Quotas {
    /// The account of a connection. `used_today`: the bytes since midnight UTC that the embedder knows of; the higher count goes on.
    pub(super) fn of(&self, tenant: &Name, connection: &Name, used_today: u64) -> Arc<Quota> {
        let mut accounts = lock(&self.0);
        let (now, today) = (Instant::now(), today());
        accounts.retain(|_, quota| Arc::strong_count(quota) > 1 || quota.remembers(now, today));
        let key = (tenant.clone(), connection.clone());
        let quota = Arc::clone(accounts.entry(key).or_default());
        drop(accounts);
        lock(&quota.day).at_least(today, used_today);
        quota
    }
}

/// Days since 1970, UTC.
fn today() -> u64 {
    // A clock before 1970 counts as that day; it only has to move on.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / SECONDS_PER_DAY)
}

/// A token bucket that holds one second's worth, kept as the one moment from which it is full again (the generic cell rate algorithm,
/// ITU-T I.371).
#[derive(Debug, Default)]
struct Pace {
    full_at: Option<Instant>,
}

impl Pace {
    /// Takes a token and says how long to wait for it; takes none if that is more than `room`.
    fn take(&mut self, now: Instant, per_second: u32, room: Duration) -> Result<Duration, Duration> {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + SECOND / per_second.max(1);
        let wait = full_at.saturating_duration_since(now + SECOND);
        if wait > room {
            return Err(wait);
        }
        self.full_at = Some(full_at);
        Ok(wait)
    }
}

/// Bytes of one day.
#[derive(Debug, Default, Clone, Copy)]
struct Day {
    number: u64,
    bytes: u64,
}

impl Day {
    fn on(&mut self, today: u64) -> &mut u64 {
        if self.number != today {
            *self = Self {
                number: today,
                bytes: 0,
            };
        }
        &mut self.bytes
    }

    fn add(&mut self, today: u64, bytes: u64) {
        let sum = self.on(today);
        *sum = sum.saturating_add(bytes);
    }

    fn at_least(&mut self, today: u64, bytes: u64) {
        let sum = self.on(today);
        *sum = (*sum).max(bytes);
    }
}

/// The account of one connection.
#[derive(Debug, Default)]
pub(super) struct Quota {
    in_flight: Mutex<u32>,
    freed: Notify,
    pace: Mutex<Pace>,
    day: Mutex<Day>,
}

/// A request on its way; gives its place back when it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Quota);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.0.in_flight);
        *in_flight = in_flight.saturating_sub(1);
        drop(in_flight);
        self.0.freed.notify_waiters();
    }
}

impl Quota {
    fn remembers(&self, now: Instant, today: u64) -> bool {
        let day = *lock(&self.day);
        let is_counting = day.number == today && day.bytes > 0;
        is_counting || lock(&self.pace).full_at.is_some_and(|at| at > now)
    }

    /// Waits for a place among the requests at the same time, at most until `deadline`.
    pub(super) async fn enter(
        &self,
        limits: &HttpLimits,
        deadline: Instant,
    ) -> Result<InFlight<'_>, PluginError> {
        let mut has_waited = false;
        loop {
            // Listening begins before looking, so that a place that is freed in between is not missed.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let is_late = has_waited && Instant::now() + LEAST > deadline;
            if !is_late {
                let mut in_flight = lock(&self.in_flight);
                if *in_flight < limits.in_flight {
                    *in_flight += 1;
                    return Ok(InFlight(self));
                }
            }
            has_waited = true;
            if is_late || tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Err(not_sent(
                    ErrorCode::Transient,
                    format!(
                        "the connection's {} requests at the same time were all under way until the time was over; raise \
                         `limits.http.in-flight` if the system can take more",
                        limits.in_flight
                    ),
                ));
            }
        }
    }

    /// Waits for the next request's turn, at most until `deadline`.
    pub(super) async fn pace(&self, limits: &HttpLimits, deadline: Instant) -> Result<(), PluginError> {
        let now = Instant::now();
        let room = deadline.saturating_duration_since(now);
        let taken = lock(&self.pace).take(now, limits.per_second, room);
        match taken {
            Ok(wait) if wait.is_zero() => Ok(()),
            Ok(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Err(wait) => {
                let mut error = not_sent(
                    ErrorCode::Transient,
                    format!(
                        "the connection's {} requests a second are used up for longer than the call has time; raise \
                         `limits.http.per-second` if the system can take more",
                        limits.per_second
                    ),
                );
                error.retry_after_ms = Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
                Err(error)
            }
        }
    }

    /// Whether a request of this size still fits into the day. Its answer may go beyond, by what one answer may have.
    pub(super) fn admit(&self, limits: &HttpLimits, bytes: u64) -> Result<(), Denial> {
        let used = *lock(&self.day).on(today());
        let needed = used.saturating_add(bytes);
        if needed <= limits.bytes_per_day {
            return Ok(());
        }
        Err(Denial {
            rule: "http.bytes-per-day".to_owned(),
            layer: "grant".to_owned(),
            asked: format!(
                "a request of {bytes} bytes after {used} of the {} bytes from midnight to midnight UTC",
                limits.bytes_per_day
            ),
            smallest_grant: format!("[connection.limits.http]\nbytes-per-day = {needed}"),
        })
    }

    /// Counts what went over the network, in either direction.
    pub(super) fn count(&self, bytes: u64) {
        lock(&self.day).add(today(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> HttpLimits {
        HttpLimits {
            in_flight: 2,
            per_second: 10,
            bytes_per_day: 1_000,
            ..HttpLimits::default()
        }
    }

    /// The bucket needs no clock of its own: it is told what time it is.
    #[test]
    fn a_second_of_requests_goes_at_once_and_then_one_at_a_time() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let ms = Duration::from_millis;
        let waits: Vec<Duration> = (0..13).map(|_| pace.take(start, 10, SECOND).unwrap()).collect();
        assert_eq!(waits[..10], [ms(0); 10]);
        assert_eq!(waits[10..], [ms(100), ms(200), ms(300)]);
        // No room to wait: nothing is taken, and the next one waits no longer.
        assert_eq!(pace.take(start, 10, ms(399)), Err(ms(400)));
        assert_eq!(pace.take(start, 10, ms(400)), Ok(ms(400)));
        // Half a second gives back five, and the one that was ahead.
        let later = start + ms(900);
        let waits: Vec<Duration> = (0..6).map(|_| pace.take(later, 10, SECOND).unwrap()).collect();
        assert_eq!(waits[..5], [ms(0); 5]);
        assert_eq!(waits[5], ms(100));
        // However long it is left alone, it holds no more than a second's worth.
        let much_later = start + Duration::from_secs(60);
        let waits: Vec<Duration> = (0..11)
            .map(|_| pace.take(much_later, 10, SECOND).unwrap())
            .collect();
        assert_eq!((waits[9], waits[10]), (ms(0), ms(100)));
    }

    #[test]
    fn bytes_are_counted_from_midnight_to_midnight() {
        let mut day = Day::default();
        day.add(100, 700);
        day.at_least(100, 300);
        assert_eq!(*day.on(100), 700, "the embedder knows of less");
        day.at_least(100, 900);
        day.add(100, 50);
        assert_eq!(*day.on(100), 950);
        assert_eq!(*day.on(101), 0);
        day.add(101, u64::MAX);
        day.add(101, 1);
        assert_eq!(*day.on(101), u64::MAX);
    }

    #[test]
    fn the_denial_says_what_would_be_enough() {
        let quota = Quota::default();
        quota.count(900);
        assert_eq!(quota.admit(&limits(), 100), Ok(()));
        let denial = quota.admit(&limits(), 101).unwrap_err();
        assert_eq!(
            (denial.rule.as_str(), denial.layer.as_str()),
            ("http.bytes-per-day", "grant")
        );
        let enough = HttpLimits {
            bytes_per_day: denial.smallest_grant.rsplit(' ').next().unwrap().parse().unwrap(),
            ..limits()
        };
        assert_eq!(quota.admit(&enough, 101), Ok(()));
    }

    #[tokio::test]
    async fn places_are_given_back() {
        let quota = Quota::default();
        let soon = || Instant::now() + Duration::from_millis(20);
        let first = quota.enter(&limits(), soon()).await.unwrap();
        let _second = quota.enter(&limits(), soon()).await.unwrap();
        let error = quota.enter(&limits(), soon()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.detail("sent")),
            (ErrorCode::Transient, Some("no"))
        );
        let later = Instant::now() + Duration::from_secs(30);
        let wide = limits();
        let (third, ()) = tokio::join!(quota.enter(&wide, later), async { drop(first) });
        third.unwrap();
    }

    /// Those who wait for the same end as those who are under way must not all begin when these give up.
    #[tokio::test]
    async fn a_place_that_comes_with_the_end_is_not_taken() {
        let quota = Quota::default();
        let (wide, end) = (limits(), Instant::now() + Duration::from_millis(30));
        let held = [
            quota.enter(&wide, end).await.unwrap(),
            quota.enter(&wide, end).await.unwrap(),
        ];
        let giving_up = async {
            tokio::time::sleep_until(end - Duration::from_millis(2)).await;
            drop(held);
        };
        let (waiting, ()) = tokio::join!(quota.enter(&wide, end), giving_up);
        assert_eq!(waiting.unwrap_err().kind(), ErrorCode::Transient);
        assert_eq!(*lock(&quota.in_flight), 0);
    }

    #[tokio::test]
    async fn who_has_no_time_to_wait_is_told_when_to_come_back() {
        let quota = Quota::default();
        let now = Instant::now();
        for _ in 0..10 {
            quota.pace(&limits(), now).await.unwrap();
        }
        let slow = HttpLimits {
            per_second: 1,
            ..limits()
        };
        let error = quota.pace(&slow, now).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.detail("sent")),
            (ErrorCode::Transient, Some("no"))
        );
        assert!(
            error.retry_after_ms.is_some_and(|ms| (1..=1_000).contains(&ms)),
            "{error:?}"
        );
    }

    #[test]
    fn accounts_outlive_sessions_while_there_is_something_in_them() {
        let quotas = Quotas::default();
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let (acme, other, shop) = (name("acme"), name("other"), name("shop"));
        quotas.of(&acme, &shop, 0).count(500);
        assert_eq!(lock(&quotas.of(&acme, &shop, 400).day).bytes, 500);
        assert_eq!(lock(&quotas.of(&acme, &shop, 600).day).bytes, 600);
        assert_eq!(lock(&quotas.of(&other, &shop, 0).day).bytes, 0, "another tenant");
        let held = quotas.of(&other, &name("held"), 0);
        quotas.of(&other, &name("unused"), 0);
        quotas.of(&acme, &shop, 0);
        assert_eq!(lock(&quotas.0).len(), 2, "what is held, and what has bytes today");
        drop(held);
    }
}
