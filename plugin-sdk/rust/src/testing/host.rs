//! The host that tests have: one per thread, as long as its [`TestHost`] lives.

use super::conversation::{Conversation, Recorded};
use super::{Script, Tape};
use crate::bindings::host::stecker::plugin::storage::Entry;
#[cfg(feature = "blobs")]
use crate::blobs::Blob;
use crate::log::Level;
use crate::time;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// Where the clock stands at first: 2026-01-01T12:00:00Z.
const START: u64 = 1_767_268_800_000;

thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// What the imports work on.
pub(super) struct State {
    pub(super) conversation: Conversation,
    pub(super) requests: Vec<Recorded>,
    pub(super) now: u64,
    pub(super) random: u64,
    pub(super) storage: BTreeMap<String, Entry>,
    pub(super) secrets: BTreeMap<String, Vec<u8>>,
    /// By their digests.
    #[cfg(feature = "blobs")]
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) logs: Vec<LogLine>,
    /// Said again at the end: plugin code may have caught the panic, or turned it into something else.
    pub(super) failure: Option<String>,
}

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Its level.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

/// The test host of this thread. There is one at a time; dropping it checks that every expected request came.
#[derive(Debug)]
pub struct TestHost {
    /// The state is this thread's.
    not_send: PhantomData<Rc<()>>,
}

pub(super) fn with<T>(use_it: impl FnOnce(&mut State) -> T) -> T {
    STATE.with_borrow_mut(|state| match state {
        Some(state) => use_it(state),
        None => panic!(
            "the plugin used an import of the host, but there is no test host on this thread; make one with \
             `Harness::new` or `TestHost::new` and keep it until the end of the test"
        ),
    })
}

impl TestHost {
    /// A host without expectations, its clock at 2026-01-01T12:00:00Z, its random seed 0, its storage empty.
    ///
    /// # Panics
    /// If this thread has one already.
    #[must_use]
    pub fn new() -> Self {
        STATE.with_borrow_mut(|state| {
            assert!(
                state.is_none(),
                "this thread has a test host already; drop it first"
            );
            *state = Some(State {
                conversation: Conversation::default(),
                requests: Vec::new(),
                now: START,
                random: 0,
                storage: BTreeMap::new(),
                secrets: BTreeMap::new(),
                #[cfg(feature = "blobs")]
                blobs: BTreeMap::new(),
                logs: Vec::new(),
                failure: None,
            });
        });
        crate::export::forget_opened();
        Self {
            not_send: PhantomData,
        }
    }

    /// Expects this conversation after what is expected already.
    pub fn script(&self, script: Script) {
        with(|state| state.conversation.append(script.into_conversation()));
    }

    /// Expects this conversation after what is expected already.
    pub fn tape(&self, tape: Tape) {
        with(|state| state.conversation.append(tape.into_conversation()));
    }

    /// Sets the clock, in RFC 3339.
    ///
    /// # Panics
    /// If it is not.
    pub fn set_clock(&self, rfc3339: &str) {
        match time::millis_from_rfc3339(rfc3339) {
            Ok(millis) => with(|state| state.now = millis),
            Err(error) => panic!("{error}"),
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        with(|state| state.now = state.now.saturating_add(by));
    }

    /// Sets the seed of the randomness.
    pub fn seed(&self, seed: u64) {
        with(|state| state.random = seed);
    }

    /// Gives the connection a secret for signatures: the bytes of the key, as the host reads them by `key` of the manifest (decoded, where the
    /// manifest says so).
    pub fn secret(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        with(|state| state.secrets.insert(name.to_owned(), bytes.into()));
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        with(|state| state.requests.clone())
    }

    /// The lines logged so far.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        with(|state| state.logs.clone())
    }

    /// What the storage holds under a key.
    #[must_use]
    pub fn stored(&self, key: &str) -> Option<Vec<u8>> {
        with(|state| state.storage.get(key).map(|entry| entry.value.clone()))
    }

    /// Has the host keep these bytes, as if another connection of the tenant had put them there.
    #[cfg(feature = "blobs")]
    pub fn blob(&self, bytes: impl Into<Vec<u8>>) -> Blob {
        let (digest, size) = super::imports::blobs::keep(bytes.into());
        Blob {
            digest,
            size: Some(size),
            media_type: None,
        }
    }

    /// The bytes of a blob that the host keeps.
    #[cfg(feature = "blobs")]
    #[must_use]
    pub fn blob_bytes(&self, digest: &str) -> Option<Vec<u8>> {
        with(|state| state.blobs.get(digest).cloned())
    }

    /// Checks that every expected request came; dropping the host does the same.
    ///
    /// # Panics
    /// If not.
    pub fn finish(self) {
        drop(self);
    }
}

impl Default for TestHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        crate::export::forget_opened();
        let Some(state) = STATE.take() else { return };
        // A second panic while one is on its way would abort the whole test run.
        if std::thread::panicking() {
            return;
        }
        if let Some(failure) = state.failure {
            panic!("{failure}");
        }
        if let Some(left) = state.conversation.left() {
            panic!("{left}");
        }
    }
}
