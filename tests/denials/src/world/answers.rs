//! The answers of the upstream, honest and hostile.

use std::{io, time::Duration};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    secrets,
    upstream::{Behaviour, field},
};

/// Between two bytes that drip.
const DRIP: Duration = Duration::from_millis(20);

pub(super) async fn give(socket: &mut TcpStream, head: &str, behaviour: &Behaviour) -> io::Result<()> {
    match behaviour {
        Behaviour::Echo => echo(socket, head).await,
        Behaviour::Redirect { to, status } => {
            let path = head.split(' ').nth(1).unwrap_or_default();
            if path.starts_with("/landing") {
                return echo(socket, head).await;
            }
            let head = format!(
                "HTTP/1.1 {status} Away\r\nlocation: {to}\r\ncontent-length: 4\r\nconnection: close\r\n\r\naway"
            );
            socket.write_all(head.as_bytes()).await
        }
        Behaviour::Bomb { codings, mib } => {
            let body = bomb(codings, *mib)?;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: {codings}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            socket.write_all(head.as_bytes()).await?;
            socket.write_all(&body).await
        }
        Behaviour::Endless => {
            chunked(socket).await?;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            loop {
                socket.write_all(chunk.as_bytes()).await?;
            }
        }
        Behaviour::Drip => {
            chunked(socket).await?;
            loop {
                socket.write_all(b"1\r\nx\r\n").await?;
                tokio::time::sleep(DRIP).await;
            }
        }
        // Until the other side gives up.
        Behaviour::Silent => socket.read_to_end(&mut Vec::new()).await.map(drop),
        Behaviour::Headers { count, size } => {
            let value = "v".repeat(*size);
            let mut answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n".to_owned();
            for i in 0..*count {
                answer.push_str(&format!("x-{i}: {value}\r\n"));
            }
            answer.push_str("\r\nok");
            socket.write_all(answer.as_bytes()).await
        }
        Behaviour::Reset => {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                .await?;
            socket.set_zero_linger()
        }
        Behaviour::Raw { bytes } => socket.write_all(bytes.as_bytes()).await,
        Behaviour::Repeat => {
            let secret = field(head, "authorization")
                .and_then(|value| value.split_once(' '))
                .map(|(_, secret)| secret)
                .or_else(|| field(head, "x-api-key"))
                .unwrap_or("nothing came");
            let forms = secrets::forms(secret);
            let lines: String = forms.iter().map(|(_, form)| format!("<{form}>\n")).collect();
            let mut answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n",
                lines.len()
            );
            for (i, (_, form)) in forms.iter().enumerate() {
                answer.push_str(&format!("x-form-{i}: {form}\r\n"));
            }
            answer.push_str(&format!("\r\n{lines}"));
            socket.write_all(answer.as_bytes()).await
        }
    }
}

async fn echo(socket: &mut TcpStream, head: &str) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{head}",
        head.len()
    );
    socket.write_all(answer.as_bytes()).await
}

async fn chunked(socket: &mut TcpStream) -> io::Result<()> {
    socket
        .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
}

fn bomb(codings: &str, mib: usize) -> io::Result<Vec<u8>> {
    let zeros = vec![0; 1 << 20];
    let mut body = Vec::new();
    for (i, coding) in codings.split(',').map(str::trim).enumerate() {
        let write = |out: &mut dyn io::Write| -> io::Result<()> {
            if i > 0 {
                return out.write_all(&body);
            }
            (0..mib).try_for_each(|_| out.write_all(&zeros))
        };
        body = match coding {
            "gzip" => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                write(&mut encoder)?;
                encoder.finish()?
            }
            "deflate" => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
                write(&mut encoder)?;
                encoder.finish()?
            }
            "br" => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 64 << 10, 5, 22);
                write(&mut encoder)?;
                encoder.into_inner()
            }
            other => {
                return Err(io::Error::other(format!(
                    "`{other}` is no coding of this upstream"
                )));
            }
        };
    }
    Ok(body)
}
