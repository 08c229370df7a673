//! Lines that guests write, through the contract or to the standard output of WASI: capped per call and, over all calls of a session, by
//! the minute; the rest is counted.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::binding::{LogLevel, Observer};

/// Per call, both kinds together.
const MAX_LINES: u32 = 200;
/// Per session, so that a guest that is called without end does not fill a disk with a little in each call.
const MAX_LINES_PER_MINUTE: u32 = 2_000;
/// Of one line, with its fields.
const MAX_BYTES: usize = 8 << 10;

/// What a session has written in the current minute.
#[derive(Debug, Default)]
pub(crate) struct LogRate(Mutex<Option<(Instant, u32)>>);

impl LogRate {
    fn admit(&self, now: Instant) -> bool {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, lines) = minute.get_or_insert((now, 0));
        if now.duration_since(*since) >= Duration::from_secs(60) {
            (*since, *lines) = (now, 0);
        }
        if *lines >= MAX_LINES_PER_MINUTE {
            return false;
        }
        *lines += 1;
        true
    }
}

pub(crate) struct LogSink {
    rate: Arc<LogRate>,
    observer: Arc<dyn Observer>,
    state: Mutex<State>,
    /// Most calls write nothing.
    is_used: AtomicBool,
}

#[derive(Default)]
struct State {
    lines: u32,
    surplus: u32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Which of the two outputs of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Stdout,
    Stderr,
}

impl Output {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    const fn level(self) -> LogLevel {
        match self {
            Self::Stdout => LogLevel::Info,
            Self::Stderr => LogLevel::Warn,
        }
    }
}

impl LogSink {
    pub(crate) fn new(observer: Arc<dyn Observer>, rate: Arc<LogRate>) -> Self {
        Self {
            rate,
            observer,
            state: Mutex::default(),
            is_used: AtomicBool::new(false),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.is_used.store(true, Ordering::Release);
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one line off what the call may still write.
    fn admit(&self) -> bool {
        self.with(|state| {
            let admitted = state.lines < MAX_LINES && self.rate.admit(Instant::now());
            if admitted {
                state.lines += 1;
            } else {
                state.surplus = state.surplus.saturating_add(1);
            }
            admitted
        })
    }

    pub(crate) fn write(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        if !self.admit() {
            return;
        }
        let message = cut(message, MAX_BYTES);
        let mut room = MAX_BYTES - message.len().min(MAX_BYTES);
        let fitting = fields
            .iter()
            .take_while(|(key, value)| {
                let fits = key.len() + value.len() <= room;
                room = room.saturating_sub(key.len() + value.len());
                fits
            })
            .count();
        self.observer.log(level, &message, fields.split_at(fitting).0);
    }

    /// Bytes of WASI's outputs; a line ends with a line feed, or where it gets too long.
    pub(crate) fn output(&self, output: Output, bytes: &[u8]) {
        let lines: Vec<Vec<u8>> = self.with(|state| {
            let pending = match output {
                Output::Stdout => &mut state.stdout,
                Output::Stderr => &mut state.stderr,
            };
            let mut lines = Vec::new();
            for byte in bytes {
                if *byte == b'\n' {
                    lines.push(std::mem::take(pending));
                } else {
                    pending.push(*byte);
                    if pending.len() >= MAX_BYTES {
                        lines.push(std::mem::take(pending));
                    }
                }
            }
            lines
        });
        for line in lines {
            self.line(output, &line);
        }
    }

    fn line(&self, output: Output, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let fields = [("output".to_owned(), output.name().to_owned())];
        self.write(output.level(), line.trim_end_matches('\r'), &fields);
    }

    /// At the end of the call: lines without an end, and how much was left out.
    pub(crate) fn finish(&self) {
        if !self.is_used.load(Ordering::Acquire) {
            return;
        }
        let pending = self.with(|state| {
            [
                (Output::Stdout, std::mem::take(&mut state.stdout)),
                (Output::Stderr, std::mem::take(&mut state.stderr)),
            ]
        });
        for (output, line) in pending.into_iter().filter(|(_, line)| !line.is_empty()) {
            self.line(output, &line);
        }
        // The instance may serve another call, which begins anew.
        let State { lines, surplus, .. } = self.with(std::mem::take);
        self.is_used.store(false, Ordering::Release);
        // A session whose minute is used up has said so often enough.
        if surplus > 0 && lines > 0 {
            self.observer.log(
                LogLevel::Warn,
                &format!(
                    "{surplus} more lines of this call were left out; a call may write {MAX_LINES}, and a connection \
                     {MAX_LINES_PER_MINUTE} a minute"
                ),
                &[],
            );
        }
    }
}

fn cut(text: &str, max: usize) -> std::borrow::Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (kept, rest) = text.split_at(end);
    format!("{kept}… ({} bytes more)", rest.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::Denial;

    #[derive(Default)]
    struct Lines(Mutex<Vec<(LogLevel, String)>>);

    impl Observer for Lines {
        fn log(&self, level: LogLevel, message: &str, _: &[(String, String)]) {
            self.0.lock().unwrap().push((level, message.to_owned()));
        }
        fn denied(&self, _: &Denial) {}
    }

    #[test]
    fn lines_are_capped_and_the_rest_is_counted() {
        let lines = Arc::new(Lines::default());
        let sink = LogSink::new(Arc::clone(&lines) as _, Arc::default());
        for i in 0..250 {
            sink.write(LogLevel::Info, &i.to_string(), &[]);
        }
        sink.finish();
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 201);
        assert!(lines[200].1.starts_with("50 more lines"), "{:?}", lines[200]);
    }

    #[test]
    fn a_session_has_a_rate_over_all_of_its_calls() {
        let rate = LogRate::default();
        let start = Instant::now();
        let admitted = |at| (0..5_000).filter(|_| rate.admit(at)).count();
        assert_eq!(admitted(start), 2_000);
        assert_eq!(admitted(start + Duration::from_secs(59)), 0);
        assert_eq!(admitted(start + Duration::from_secs(60)), 2_000);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let lines = Arc::new(Lines::default());
        let sink = LogSink::new(Arc::clone(&lines) as _, Arc::default());
        sink.write(LogLevel::Info, &"ä".repeat(MAX_BYTES), &[]);
        let text = &lines.0.lock().unwrap()[0].1;
        assert!(
            text.len() < MAX_BYTES + 64 && text.ends_with("(8192 bytes more)"),
            "{}",
            text.len()
        );
    }

    #[test]
    fn outputs_become_lines() {
        let lines = Arc::new(Lines::default());
        let sink = LogSink::new(Arc::clone(&lines) as _, Arc::default());
        sink.output(Output::Stdout, b"one\r\ntw");
        sink.output(Output::Stderr, b"oops\n");
        sink.output(Output::Stdout, b"o");
        sink.finish();
        let expected = [
            (LogLevel::Info, "one".to_owned()),
            (LogLevel::Warn, "oops".to_owned()),
            (LogLevel::Info, "two".to_owned()),
        ];
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }
}
