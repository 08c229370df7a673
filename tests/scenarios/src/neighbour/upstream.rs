//! A system that the abuser is granted, and that is on its side: bodies that never end, and bodies that come a byte at a time.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Upstream {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // The host is meant to hang up.
                    let _ = answer(stream).await;
                });
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).await?;
    let endless = request
        .get(..read)
        .is_some_and(|request| request.starts_with(b"GET /endless"));
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    if endless {
        let mut chunk = format!("{:x}\r\n", 16 << 10).into_bytes();
        chunk.resize(chunk.len() + (16 << 10), b'x');
        chunk.extend(b"\r\n");
        loop {
            stream.write_all(&chunk).await?;
        }
    }
    loop {
        stream.write_all(b"1\r\nx\r\n").await?;
        sleep(Duration::from_millis(50)).await;
    }
}
