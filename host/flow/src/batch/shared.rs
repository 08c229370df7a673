//! What the lanes of one flow tell each other.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use stecker_model::DeliveryPolicy;

use crate::{reach::Reach, sizing::BatchSize};

/// What the lanes of one flow tell each other.
pub(crate) struct Shared {
    /// Records that brought a whole batch down, or may have: they go one by one until they are settled, so that a poisonous
    /// one is found and its neighbours are not punished.
    pub(crate) suspects: HashSet<i64>,
    /// Nothing is sent before this moment, because the destination asked for it.
    pub(crate) hold_until: i64,
    /// Failed lookups in a row, per record.
    pub(super) lookups: HashMap<i64, u32>,
    /// Whether anything gets through.
    pub(super) reach: Reach,
    /// How many records a batch takes.
    pub(super) size: BatchSize,
    /// How many records are looked up together. One question of several that gets no answer leaves all of them open, so that where one in five
    /// fails, fifteen together nearly never succeed.
    pub(super) lookup_size: BatchSize,
}

impl Shared {
    pub(crate) fn new(policy: &DeliveryPolicy) -> Self {
        Self {
            suspects: HashSet::new(),
            hold_until: 0,
            lookups: HashMap::new(),
            reach: Reach::default(),
            size: BatchSize::new(policy.batch),
            lookup_size: BatchSize::new(policy.batch),
        }
    }

    /// Records that a batch takes now. One, as long as nothing gets through: more could only fail.
    pub(crate) fn batch(&self) -> usize {
        if self.reach.is_blocked() {
            1
        } else {
            self.size.get()
        }
    }

    /// Records that a lookup takes now.
    pub(crate) fn lookup(&self) -> usize {
        self.batch().min(self.lookup_size.get())
    }

    /// Batches at the same time, of at most `most`. As long as nothing gets through, one at a time finds out whether it does again.
    pub(crate) fn lanes(&self, most: usize) -> usize {
        if self.reach.is_blocked() { 1 } else { most }
    }
}

pub(crate) fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sizing::Went;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn lookups_that_get_no_answer_are_asked_with_fewer_and_writes_are_not() {
        let mut shared = Shared::new(&DeliveryPolicy::default());
        let most = shared.batch();
        assert_eq!(shared.lookup(), most);
        for _ in 0..10 {
            let asked = shared.lookup();
            shared
                .lookup_size
                .after(asked, Duration::ZERO, DEADLINE, Went::Refused);
        }
        assert_eq!((shared.lookup(), shared.batch()), (1, most));
        for _ in 0..100 {
            let asked = shared.lookup();
            shared
                .lookup_size
                .after(asked, Duration::ZERO, DEADLINE, Went::Answered);
        }
        assert_eq!(shared.lookup(), most, "and with more again when it answers");
    }
}
