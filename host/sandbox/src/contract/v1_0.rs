//! Contract 1.0: what guests of it import, handed on to the capabilities. Their roles are those of every version of this major.

use stecker_model::PluginError;
use wasmtime::component::{HasSelf, Linker};

use crate::{
    binding::{Condition, LogLevel, StoredEntry},
    call::CallState,
    capability::{self, crypto::Algorithm},
    egress::{HttpRequest, HttpResponse},
};
use bindings::stecker::plugin::{clock, crypto, http, log, random, storage, types};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/1.0.0",
        world: "host-imports",
        imports: {
            "stecker:plugin/http": async | trappable,
            "stecker:plugin/storage": async | trappable,
            "stecker:plugin/crypto.hmac-sign": async | trappable,
            "stecker:plugin/crypto.hmac-verify": async | trappable,
            default: trappable,
        },
    });
}

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    bindings::HostImports::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

type Fallible<T> = wasmtime::Result<Result<T, types::Error>>;

impl types::Host for CallState {}

impl http::Host for CallState {
    async fn send(&mut self, request: http::Request) -> Fallible<http::Response> {
        let answer = capability::http::send(&self.caller, request.into()).await;
        Ok(answer.map(Into::into).map_err(Into::into))
    }

    async fn send_many(
        &mut self,
        requests: Vec<http::Request>,
    ) -> wasmtime::Result<Vec<Result<http::Response, types::Error>>> {
        let answers =
            capability::http::send_many(&self.caller, requests.into_iter().map(Into::into).collect()).await;
        Ok(answers
            .into_iter()
            .map(|answer| answer.map(Into::into).map_err(Into::into))
            .collect())
    }
}

impl storage::Host for CallState {
    async fn get(&mut self, key: String) -> Fallible<Option<storage::Entry>> {
        let answer = capability::storage::get(&self.caller, &key).await?;
        Ok(answer.map(|entry| entry.map(Into::into)).map_err(Into::into))
    }

    async fn put(&mut self, key: String, value: Vec<u8>, condition: storage::Condition) -> Fallible<u64> {
        let answer = capability::storage::put(&self.caller, &key, value, condition.into()).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn delete(&mut self, key: String, condition: storage::Condition) -> Fallible<bool> {
        let answer = capability::storage::delete(&self.caller, &key, condition.into()).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Fallible<Vec<String>> {
        let answer = capability::storage::list_keys(&self.caller, &prefix, after.as_deref(), limit).await?;
        Ok(answer.map_err(Into::into))
    }
}

impl From<crypto::Digest> for Algorithm {
    fn from(digest: crypto::Digest) -> Self {
        match digest {
            crypto::Digest::Sha1 => Self::Sha1,
            crypto::Digest::Sha256 => Self::Sha256,
            crypto::Digest::Sha384 => Self::Sha384,
            crypto::Digest::Sha512 => Self::Sha512,
        }
    }
}

impl crypto::Host for CallState {
    fn hash(&mut self, algorithm: crypto::Digest, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        Ok(capability::crypto::hash(algorithm.into(), &data))
    }

    async fn hmac_sign(
        &mut self,
        secret: String,
        algorithm: crypto::Digest,
        data: Vec<u8>,
    ) -> Fallible<Vec<u8>> {
        let tag = capability::crypto::sign(&self.caller, &secret, algorithm.into(), &data).await?;
        Ok(tag.map_err(Into::into))
    }

    async fn hmac_verify(
        &mut self,
        secret: String,
        algorithm: crypto::Digest,
        data: Vec<u8>,
        tag: Vec<u8>,
    ) -> Fallible<bool> {
        let genuine =
            capability::crypto::verify(&self.caller, &secret, algorithm.into(), &data, &tag).await?;
        Ok(genuine.map_err(Into::into))
    }
}

impl log::Host for CallState {
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: types::Attributes,
    ) -> wasmtime::Result<()> {
        self.caller.log.write(level.into(), &message, &fields);
        Ok(())
    }
}

impl clock::Host for CallState {
    fn now(&mut self) -> wasmtime::Result<types::Timestamp> {
        Ok(self.caller.time.now())
    }

    fn monotonic_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(capability::clock::monotonic_ms(self.caller.clock_start))
    }
}

impl random::Host for CallState {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        capability::random::bytes(&self.caller.meter.random, len)
    }
}

impl From<PluginError> for types::Error {
    fn from(error: PluginError) -> Self {
        Self {
            code: error.code,
            message: error.message,
            retry_after_ms: error.retry_after_ms,
            details: error.details,
        }
    }
}

impl From<http::Request> for HttpRequest {
    fn from(request: http::Request) -> Self {
        Self {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
            credential: request.credential,
            idempotency_key: request.idempotency_key,
            timeout_ms: request.timeout_ms,
            options: request.options,
        }
    }
}

impl From<HttpResponse> for http::Response {
    fn from(response: HttpResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers,
            body: response.body,
        }
    }
}

impl From<StoredEntry> for storage::Entry {
    fn from(entry: StoredEntry) -> Self {
        Self {
            value: entry.value,
            version: entry.version,
        }
    }
}

impl From<storage::Condition> for Condition {
    fn from(condition: storage::Condition) -> Self {
        match condition {
            storage::Condition::Always => Self::Always,
            storage::Condition::Absent => Self::Absent,
            storage::Condition::Version(version) => Self::Version(version),
        }
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace => Self::Trace,
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}
