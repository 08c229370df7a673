//! The steps, as they are written in `steps.json`.

use serde::Deserialize;

/// One thing to do.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// One request, or the same one several times.
    Http(Request),
    /// Several requests at once; only with `"via": "stecker"`.
    SendMany {
        requests: Vec<Request>,
    },
    /// Several requests started and none waited for; then dropped, or kept to the end of the call. Always through `wasi:http`.
    WasiMany(Many),
    /// A request whose body has no end. Always through `wasi:http`.
    WasiBodyEndless(Request),
    /// `value`, or that many bytes of `x`. Repeated, the keys get `-0`, `-1`, … at their end.
    StoragePut {
        key: String,
        value: Option<String>,
        #[serde(rename = "value-bytes")]
        value_bytes: Option<usize>,
        /// `always`, `absent` or `version:N`.
        #[serde(default = "always")]
        condition: String,
        repeat: Option<u32>,
    },
    StorageGet {
        key: String,
    },
    StorageDelete {
        key: String,
    },
    StorageList {
        #[serde(default)]
        prefix: String,
        after: Option<String>,
        #[serde(default = "hundred")]
        limit: u32,
    },
    BlobStat {
        digest: String,
    },
    BlobRead {
        digest: String,
        #[serde(default)]
        offset: u64,
        #[serde(default = "hundred")]
        len: u32,
    },
    /// `value`, or that many bytes of `x`. Repeated, the bytes get `-0`, `-1`, … at their end.
    BlobWrite {
        value: Option<String>,
        #[serde(rename = "value-bytes")]
        value_bytes: Option<usize>,
        /// Expected.
        digest: Option<String>,
        repeat: Option<u32>,
    },
    /// A request whose body is `pieces` (texts, or `blob:` and a digest) if there are any, and whose answer goes into a blob of at most `max-bytes` if that
    /// is there. The message of an answer that became a blob is its status and its digest.
    HttpBlobs(Blobbed),
    /// `message`, or that many bytes of `x`. Repeated, each line ends with its number.
    Log {
        #[serde(default = "info")]
        level: String,
        message: Option<String>,
        #[serde(rename = "message-bytes")]
        message_bytes: Option<usize>,
        repeat: Option<u32>,
    },
    /// The message is the hex of the last bytes. With `"via": "wasi"` from `wasi:random`.
    Random {
        len: u32,
        repeat: Option<u32>,
    },
    /// SHA-256, in hex.
    Hash {
        data: String,
    },
    /// HMAC-SHA-256, in hex.
    HmacSign {
        secret: String,
        data: String,
    },
    /// `tag` in hex; the message is `true` or `false`.
    HmacVerify {
        secret: String,
        data: String,
        tag: String,
    },
    /// All the clocks there are.
    Now,
    /// Waits, through `wasi:clocks` and `wasi:io/poll`.
    SleepMs {
        ms: u64,
    },
    /// Writes lines of so many bytes to the standard output of WASI.
    Print {
        bytes: usize,
        repeat: Option<u32>,
    },
    /// What WASI says about where the guest is: environment, arguments, working directory, folders, standard input.
    Surroundings,
    /// `tcp`, `udp`, or `lookup` of a name; through `wasi:sockets`.
    Socket {
        kind: String,
        name: Option<String>,
    },
    /// Takes memory, writes to all of it and never gives it back.
    Allocate {
        bytes: usize,
    },
    /// Computes for ever.
    Spin,
    /// Calls itself for ever.
    Recurse,
    /// Executes `unreachable`.
    Trap,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    #[serde(default = "get")]
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// After these: a name, so many bytes of `x` as the value, and how often. The names get `-0`, `-1`, … at their end.
    pub header_repeat: Option<(String, usize, u32)>,
    pub body: Option<String>,
    /// A byte, and how often.
    pub body_repeat: Option<(u8, usize)>,
    pub credential: Option<String>,
    pub idempotency_key: Option<String>,
    /// Through `wasi:http` it is the `first-byte-timeout`.
    pub timeout_ms: Option<u32>,
    #[serde(default)]
    pub options: Vec<(String, String)>,
    /// One after the other. The message is that of the last; `details.outcomes` counts status codes and error codes.
    pub repeat: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Many {
    pub count: u32,
    /// Whether the requests stay under way until the call ends.
    #[serde(default)]
    pub keep: bool,
    #[serde(flatten)]
    pub request: Request,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blobbed {
    #[serde(default)]
    pub pieces: Vec<String>,
    pub max_bytes: Option<u64>,
    /// Of the answer's body, expected.
    pub digest: Option<String>,
    #[serde(flatten)]
    pub request: Request,
}

impl Request {
    pub fn headers(&self) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        if let Some((name, bytes, count)) = &self.header_repeat {
            headers.extend((0..*count).map(|i| (format!("{name}-{i}"), "x".repeat(*bytes))));
        }
        headers
    }

    pub fn body(&self) -> Option<Vec<u8>> {
        match (&self.body, self.body_repeat) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some((byte, count))) => Some(vec![byte; count]),
            (None, None) => None,
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

fn always() -> String {
    "always".to_owned()
}

fn info() -> String {
    "info".to_owned()
}

const fn hundred() -> u32 {
    100
}
