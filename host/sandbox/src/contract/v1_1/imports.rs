//! What guests of this version import, handed on to the capabilities.

use super::bindings::stecker::plugin::{blobs, clock, crypto, http, http_blobs, log, random, storage, types};
use crate::{
    call::CallState,
    capability::{self, crypto::Algorithm},
};

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
        let answers = capability::http::send_many(&self.caller, super::convert::all(requests)).await;
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

impl blobs::Host for CallState {
    async fn stat(&mut self, digest: String) -> Fallible<Option<blobs::Blob>> {
        let answer = capability::blobs::stat(&self.caller, &digest).await?;
        Ok(answer.map(|blob| blob.map(Into::into)).map_err(Into::into))
    }

    async fn read(&mut self, digest: String, offset: u64, len: u32) -> Fallible<Vec<u8>> {
        let answer = capability::blobs::read(&self.caller, &digest, offset, len).await?;
        Ok(answer.map_err(Into::into))
    }

    async fn write(&mut self, bytes: Vec<u8>, options: types::Attributes) -> Fallible<blobs::Blob> {
        let answer = capability::blobs::write(&self.caller, bytes, &options).await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }
}

impl http_blobs::Host for CallState {
    async fn send(&mut self, exchange: http_blobs::Exchange) -> Fallible<http_blobs::Answer> {
        let http_blobs::Exchange { request, body, sink } = exchange;
        let body = super::convert::all(body);
        let answer =
            capability::blobs::exchange(&self.caller, request.into(), body, sink.map(Into::into)).await?;
        Ok(answer.map(Into::into).map_err(Into::into))
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
