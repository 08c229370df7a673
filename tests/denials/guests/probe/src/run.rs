//! Doing a step.

use std::{collections::BTreeMap, hint::black_box};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    bindings::{
        stecker::plugin::{clock, crypto, log, random, storage},
        wasi,
    },
    step::{Request, Step},
    tell::{Told, hex, unhex},
    via_stecker, via_wasi,
};

/// Which of the two ways out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    #[default]
    Stecker,
    Wasi,
}

pub fn step(step: Step, via: Via) -> Told {
    match step {
        Step::Http(request) => http(&request, via),
        Step::SendMany { requests } if via == Via::Stecker => via_stecker::send_many(&requests),
        Step::SendMany { .. } => Told::invalid("`send-many` has no counterpart in wasi:http"),
        Step::WasiMany(many) => via_wasi::many(&many),
        Step::WasiBodyEndless(request) => via_wasi::endless(&request),
        Step::StoragePut {
            key,
            value,
            value_bytes,
            condition,
            repeat,
        } => {
            let value = filled(value, value_bytes);
            let put = |key: &str| match condition_of(&condition) {
                Some(condition) => match storage::put(key, value.as_bytes(), condition) {
                    Ok(version) => Told::done(format!("version {version}"), json!({ "version": version })),
                    Err(error) => error.into(),
                },
                None => Told::invalid("`condition` is always, absent or version:N"),
            };
            match repeat {
                Some(times) => repeated(times, |i| put(&format!("{key}-{i}"))),
                None => put(&key),
            }
        }
        Step::StorageGet { key } => match storage::get(&key) {
            Ok(Some(entry)) => Told::done(
                String::from_utf8_lossy(&entry.value),
                json!({ "version": entry.version, "bytes": entry.value.len() }),
            ),
            Ok(None) => Told::done("absent", Value::Null),
            Err(error) => error.into(),
        },
        Step::StorageDelete { key } => match storage::delete(&key, storage::Condition::Always) {
            Ok(was_there) => Told::done(was_there.to_string(), json!({})),
            Err(error) => error.into(),
        },
        Step::StorageList { prefix, after, limit } => {
            match storage::list_keys(&prefix, after.as_deref(), limit) {
                Ok(keys) => Told::done(keys.join("\n"), json!({ "keys": keys.len() })),
                Err(error) => error.into(),
            }
        }
        #[cfg(feature = "v1-1-0")]
        Step::BlobStat { digest } => crate::blobs::stat(&digest),
        #[cfg(feature = "v1-1-0")]
        Step::BlobRead { digest, offset, len } => crate::blobs::read(&digest, offset, len),
        #[cfg(feature = "v1-1-0")]
        Step::BlobWrite {
            value,
            value_bytes,
            digest,
            repeat,
        } => {
            let value = filled(value, value_bytes);
            let write = |value: &str| crate::blobs::write(value.as_bytes(), digest.as_deref());
            match repeat {
                Some(times) => repeated(times, |i| write(&format!("{value}-{i}"))),
                None => write(&value),
            }
        }
        #[cfg(feature = "v1-1-0")]
        Step::HttpBlobs(blobbed) => crate::blobs::send(&blobbed),
        #[cfg(not(feature = "v1-1-0"))]
        Step::BlobStat { .. } | Step::BlobRead { .. } | Step::BlobWrite { .. } | Step::HttpBlobs(_) => {
            Told::invalid("blobs came with contract 1.1.0")
        }
        Step::Log {
            level,
            message,
            message_bytes,
            repeat,
        } => {
            let message = filled(message, message_bytes);
            let Some(level) = level_of(&level) else {
                return Told::invalid("`level` is trace, debug, info, warn or error");
            };
            let write = |message: &str| {
                log::write(level, message, &[]);
                Told::done("written", json!({}))
            };
            match repeat {
                Some(times) => repeated(times, |i| write(&format!("{message} {i}"))),
                None => write(&message),
            }
        }
        Step::Random { len, repeat } => repeated(repeat.unwrap_or(1), |_| {
            let bytes = match via {
                Via::Stecker => random::bytes(len),
                Via::Wasi => wasi::random::random::get_random_bytes(len.into()),
            };
            Told::done(hex(&bytes), json!({ "bytes": bytes.len() }))
        }),
        Step::Hash { data } => Told::done(
            hex(&crypto::hash(crypto::Digest::Sha256, data.as_bytes())),
            json!({}),
        ),
        Step::HmacSign { secret, data } => {
            match crypto::hmac_sign(&secret, crypto::Digest::Sha256, data.as_bytes()) {
                Ok(tag) => Told::done(hex(&tag), json!({})),
                Err(error) => error.into(),
            }
        }
        Step::HmacVerify { secret, data, tag } => match unhex(&tag) {
            Some(tag) => match crypto::hmac_verify(&secret, crypto::Digest::Sha256, data.as_bytes(), &tag) {
                Ok(genuine) => Told::done(genuine.to_string(), json!({})),
                Err(error) => error.into(),
            },
            None => Told::invalid("`tag` is not hex"),
        },
        Step::Now => now(),
        Step::SleepMs { ms } => {
            wasi::clocks::monotonic_clock::subscribe_duration(ms.saturating_mul(1_000_000)).block();
            Told::done(format!("slept {ms} ms"), json!({}))
        }
        Step::Print { bytes, repeat } => repeated(repeat.unwrap_or(1), |_| print(bytes)),
        Step::Surroundings => surroundings(),
        Step::Socket { kind, name } => socket(&kind, name.as_deref().unwrap_or("localhost")),
        Step::Allocate { bytes } => {
            std::mem::forget(black_box(vec![1_u8; bytes]));
            Told::done(format!("allocated {bytes}"), json!({}))
        }
        Step::Spin => loop {
            black_box(());
        },
        Step::Recurse => Told::done(deeper(0, black_box(u64::MAX)).to_string(), json!({})),
        Step::Trap => std::process::abort(),
    }
}

fn http(request: &Request, via: Via) -> Told {
    let send = |_| match via {
        Via::Stecker => via_stecker::send(request),
        Via::Wasi => via_wasi::send(request),
    };
    match request.repeat {
        Some(times) => repeated(times, send),
        None => send(0),
    }
}

/// What the last one told, and how often there was which outcome.
fn repeated(times: u32, mut one: impl FnMut(u32) -> Told) -> Told {
    let mut outcomes = BTreeMap::<String, u32>::new();
    let mut ok = true;
    let mut last = Told::done("nothing was to be done", json!({}));
    for i in 0..times {
        last = one(i);
        ok &= last.ok;
        *outcomes.entry(last.outcome.clone()).or_default() += 1;
    }
    Told {
        ok,
        details: json!({ "outcomes": outcomes, "last": last.details }),
        ..last
    }
}

fn filled(text: Option<String>, bytes: Option<usize>) -> String {
    text.unwrap_or_else(|| "x".repeat(bytes.unwrap_or(1)))
}

fn condition_of(text: &str) -> Option<storage::Condition> {
    match text {
        "always" => Some(storage::Condition::Always),
        "absent" => Some(storage::Condition::Absent),
        other => Some(storage::Condition::Version(
            other.strip_prefix("version:")?.parse().ok()?,
        )),
    }
}

fn level_of(text: &str) -> Option<log::Level> {
    Some(match text {
        "trace" => log::Level::Trace,
        "debug" => log::Level::Debug,
        "info" => log::Level::Info,
        "warn" => log::Level::Warn,
        "error" => log::Level::Error,
        _ => return None,
    })
}

fn now() -> Told {
    use wasi::clocks::{monotonic_clock, timezone, wall_clock};
    let (now, wall, resolution) = (clock::now(), wall_clock::now(), wall_clock::resolution());
    let zone = timezone::display(wall);
    Told::done(
        now.to_string(),
        json!({
            "monotonic-ms": clock::monotonic_ms(),
            "wasi-monotonic-ns": monotonic_clock::now(),
            "wasi-monotonic-resolution-ns": monotonic_clock::resolution(),
            "wasi-wall-seconds": wall.seconds,
            "wasi-wall-nanoseconds": wall.nanoseconds,
            "wasi-wall-resolution-ns": resolution.seconds * 1_000_000_000 + u64::from(resolution.nanoseconds),
            "wasi-timezone": zone.name,
            "wasi-utc-offset": timezone::utc_offset(wall),
        }),
    )
}

fn print(bytes: usize) -> Told {
    let mut line = vec![b'x'; bytes];
    line.push(b'\n');
    let stream = wasi::cli::stdout::get_stdout();
    for chunk in line.chunks(4_096) {
        if let Err(error) = stream.blocking_write_and_flush(chunk) {
            return Told::failed("fatal", &format!("{error:?}"), json!({}));
        }
    }
    Told::done("printed", json!({}))
}

fn surroundings() -> Told {
    use wasi::{cli::environment, cli::stdin, filesystem::preopens};
    let folders: Vec<String> = preopens::get_directories()
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    let input = stdin::get_stdin().blocking_read(16);
    let seen = json!({
        "environment": environment::get_environment(),
        "arguments": environment::get_arguments(),
        "working-directory": environment::initial_cwd(),
        "folders": folders,
        "input": input.ok(),
    });
    Told::done(seen.to_string(), seen)
}

fn socket(kind: &str, name: &str) -> Told {
    use wasi::sockets::{
        instance_network::instance_network, ip_name_lookup::resolve_addresses, network::IpAddressFamily,
        tcp_create_socket::create_tcp_socket, udp_create_socket::create_udp_socket,
    };
    let answer = match kind {
        "tcp" => create_tcp_socket(IpAddressFamily::Ipv4).map(drop),
        "udp" => create_udp_socket(IpAddressFamily::Ipv6).map(drop),
        "lookup" => resolve_addresses(&instance_network(), name).map(drop),
        _ => return Told::invalid("`kind` is tcp, udp or lookup"),
    };
    match answer {
        Ok(()) => Told::done("opened", json!({})),
        Err(code) => Told::failed("denied", code.name(), json!({ "wasi": code.name() })),
    }
}

#[inline(never)]
fn deeper(depth: u64, end: u64) -> u64 {
    if depth == end {
        0
    } else {
        depth ^ deeper(depth + 1, end).rotate_left(1)
    }
}
