//! The system that a guest may talk to. It answers whatever a scenario has it answer, byte by byte: an honest server library would
//! refuse to say most of it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::answers;

/// What the upstream does with every request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Behaviour {
    /// 200, with the request line and the headers that came in as the body. The connection is closed afterwards.
    #[default]
    Echo,
    /// Away to `to`, except for paths that begin with `/landing`, which are echoed.
    Redirect {
        to: String,
        #[serde(default = "found")]
        status: u16,
    },
    /// Zeros, compressed once for every coding in `codings` (`gzip`, `br`, `deflate`, separated by commas).
    Bomb { codings: String, mib: usize },
    /// A body without an end, as fast as it goes.
    Endless,
    /// A body without an end, a byte every 20 ms.
    Drip,
    /// No answer at all.
    Silent,
    /// 200 with very many or very large headers.
    Headers { count: usize, size: usize },
    /// The connection is reset in the middle of the body.
    Reset,
    /// These very bytes, then the end of the connection.
    Raw { bytes: String },
    /// Says the secret that came in, in every form, in body and headers.
    Repeat,
}

const fn found() -> u16 {
    302
}

/// What has come in during one scenario.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: AtomicU64,
    /// Requests that are being answered, and the most that were at the same time.
    now: AtomicU64,
    pub(crate) at_once: AtomicU64,
    heads: Mutex<Vec<String>>,
}

impl Seen {
    /// Request lines and headers, as they came.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts a request for as long as it is being answered.
struct Answering<'a>(&'a Seen);

impl<'a> Answering<'a> {
    fn begin(seen: &'a Seen) -> Self {
        let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
        seen.at_once.fetch_max(now, Ordering::SeqCst);
        Self(seen)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Scene {
    behaviour: Behaviour,
    seen: Arc<Seen>,
}

pub(crate) struct Upstream {
    address: SocketAddr,
    scene: Arc<Mutex<Arc<Scene>>>,
    /// Ends with the upstream.
    _listening: JoinSet<()>,
}

impl Upstream {
    pub(crate) fn start(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let scene = Arc::new(Mutex::new(Arc::new(Scene {
            behaviour: Behaviour::default(),
            seen: Arc::default(),
        })));
        let mut listening = JoinSet::new();
        let current = Arc::clone(&scene);
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let scene = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
                // That a guest's host hangs up is the usual end of these conversations.
                connections.spawn(async move { drop(converse(socket, &scene).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            scene,
            _listening: listening,
        })
    }

    /// From now on it behaves like this; returns what comes in from now on.
    pub(crate) async fn set(&self, behaviour: &Behaviour) -> io::Result<Arc<Seen>> {
        self.settle().await?;
        let seen = Arc::<Seen>::default();
        let mut scene = self.scene.lock().unwrap_or_else(PoisonError::into_inner);
        *scene = Arc::new(Scene {
            behaviour: behaviour.clone(),
            seen: Arc::clone(&seen),
        });
        Ok(seen)
    }

    /// A guest may have left connections that nobody has accepted yet. They are accepted in their order, so once this one is, those are with
    /// the scene that they belong to.
    async fn settle(&self) -> io::Result<()> {
        let mut last = TcpStream::connect(self.address).await?;
        last.shutdown().await?;
        last.read_to_end(&mut Vec::new()).await.map(drop)
    }
}

/// Beyond, nobody listens any more.
const MAX_HEAD: usize = 1 << 20;

async fn converse(socket: TcpStream, scene: &Scene) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD {
            return Ok(());
        }
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    scene.seen.requests.fetch_add(1, Ordering::SeqCst);
    let _answering = Answering::begin(&scene.seen);
    scene
        .seen
        .heads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(head.clone());
    let mut left: usize = field(&head, "content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        left = left.saturating_sub(read);
    }
    let mut socket = socket.into_inner();
    answers::give(&mut socket, &head, &scene.behaviour).await?;
    socket.shutdown().await
}

/// The value of a header of a request.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
