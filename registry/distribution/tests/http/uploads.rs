//! Uploads in one request, in two, in chunks, streamed; and everything that can be wrong with them.

use axum::body::Body;
use stecker_distribution::{Algorithm, BlobStore, Digest, Http, Registry, RegistryOptions};

use crate::world::{World, bytes, digest, scenarios};

fn range(start: usize, chunk: &[u8]) -> String {
    format!("{start}-{}", start + chunk.len() - 1)
}

async fn chunks_are_put_together(world: World) {
    for (algorithm, put_last) in [(Algorithm::Sha256, false), (Algorithm::Sha512, true)] {
        let content = bytes(1, 3_000);
        let digest = Digest::of(algorithm, &content);
        let mut location = world.upload("a").await;
        let mut start = 0;
        for chunk in content.chunks(1_001) {
            // One that does not fit is refused, says where the next byte is, and changes nothing.
            let ahead = world
                .ask(
                    "PATCH",
                    &location,
                    &[("content-range", &range(start + 1, chunk))],
                    chunk.to_vec(),
                )
                .await;
            let ahead = ahead.error(416, "BLOB_UPLOAD_INVALID");
            assert_eq!(ahead.header("location"), location);
            let answer = world.get(&location).await.expect(204);
            assert_eq!(answer.header("range"), format!("0-{}", start.max(1) - 1));
            let is_last = start + chunk.len() == content.len();
            let headers = [
                ("content-range", range(start, chunk)),
                ("content-length", chunk.len().to_string()),
            ];
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            if put_last && is_last {
                let answer = world
                    .ask(
                        "PUT",
                        &format!("{location}?digest={digest}"),
                        &headers,
                        chunk.to_vec(),
                    )
                    .await
                    .expect(201);
                assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            } else {
                let answer = world
                    .ask("PATCH", &location, &headers, chunk.to_vec())
                    .await
                    .expect(202);
                assert_eq!(answer.header("range"), format!("0-{}", start + chunk.len() - 1));
                assert!(!answer.header("docker-upload-uuid").is_empty());
                location = answer.header("location").to_owned();
            }
            start += chunk.len();
        }
        if !put_last {
            world
                .ask("PUT", &format!("{location}?digest={digest}"), &[], Body::empty())
                .await
                .expect(201);
        }
        assert_eq!(
            world
                .get(&format!("/v2/a/blobs/{digest}"))
                .await
                .expect(200)
                .body
                .as_deref(),
            Some(&content[..])
        );
        world.get(&location).await.error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}

async fn a_stream_of_many_pieces_is_one_blob(world: World) {
    let content = bytes(2, 21 * 1024 * 1024 + 17);
    let digest = digest(&content);
    let location = world.upload("a").await;
    let answer = world
        .ask("PATCH", &location, &[], content.clone())
        .await
        .expect(202);
    assert_eq!(answer.header("range"), format!("0-{}", content.len() - 1));
    world
        .ask(
            "PUT",
            &format!("{location}?digest={digest}"),
            &[("content-length", "0")],
            Body::empty(),
        )
        .await
        .expect(201);
    assert_eq!(
        world.get(&format!("/v2/a/blobs/{digest}")).await.body.as_deref(),
        Some(&content[..])
    );
    assert_eq!(world.objects(), 1, "the pieces are gone");
}

async fn another_content_is_refused_however_it_comes(world: World) {
    let content = bytes(3, 900);
    let wrong = digest(b"other");
    let uri = format!("/v2/a/blobs/uploads/?digest={wrong}");
    world
        .ask("POST", &uri, &[], content.clone())
        .await
        .error(400, "DIGEST_INVALID");
    let location = world.upload("a").await;
    world
        .ask("PUT", &format!("{location}?digest={wrong}"), &[], content.clone())
        .await
        .error(400, "DIGEST_INVALID");
    let location = world.upload("a").await;
    world
        .ask("PATCH", &location, &[], content.clone())
        .await
        .expect(202);
    world
        .ask("PUT", &location, &[], Body::empty())
        .await
        .error(400, "DIGEST_INVALID");
    world
        .ask("PUT", &format!("{location}?digest=sha256:x"), &[], Body::empty())
        .await
        .error(400, "DIGEST_INVALID");
    world
        .ask("PUT", &format!("{location}?digest={wrong}"), &[], Body::empty())
        .await
        .error(400, "DIGEST_INVALID");
    world.get(&location).await.error(404, "BLOB_UPLOAD_UNKNOWN");
    let location = world.upload("a").await;
    world
        .ask("PATCH", &location, &[], bytes(4, 9 * 1024 * 1024))
        .await
        .expect(202);
    world
        .ask("PUT", &format!("{location}?digest={wrong}"), &[], content)
        .await
        .error(400, "DIGEST_INVALID");
    world.get(&format!("/v2/a/blobs/{wrong}")).await.expect(404);
    world.registry.collect(true).await.unwrap();
    assert_eq!(world.objects(), 0, "nothing of it is left");
}

async fn sizes_are_held_to(world: World) {
    let location = world.upload("a").await;
    let content = bytes(5, 100);
    for (headers, status, code) in [
        (
            vec![("content-range", "0-99"), ("content-length", "50")],
            400,
            "SIZE_INVALID",
        ),
        (vec![("content-range", "0-49")], 400, "SIZE_INVALID"),
        (vec![("content-range", "0-199")], 400, "SIZE_INVALID"),
        (
            vec![("content-range", "bytes 0-99/100")],
            416,
            "BLOB_UPLOAD_INVALID",
        ),
        (vec![("content-range", "99-0")], 416, "BLOB_UPLOAD_INVALID"),
        (vec![("content-range", "")], 416, "BLOB_UPLOAD_INVALID"),
    ] {
        world
            .ask("PATCH", &location, &headers, content.clone())
            .await
            .error(status, code);
    }
    assert_eq!(world.get(&location).await.expect(204).header("range"), "0-0");
    world
        .ask("PATCH", &location, &[], bytes(6, 33 * 1024 * 1024))
        .await
        .error(413, "SIZE_INVALID");
    let location = world.upload("a").await;
    world
        .ask("PATCH", &location, &[], bytes(6, 32 * 1024 * 1024))
        .await
        .expect(202);
    world
        .ask("PATCH", &location, &[], bytes(6, 31 * 1024 * 1024))
        .await
        .expect(202);
    world
        .ask("PATCH", &location, &[], bytes(6, 2 * 1024 * 1024))
        .await
        .error(413, "SIZE_INVALID");
}

async fn an_upload_is_cancelled(world: World) {
    let location = world.upload("a").await;
    world
        .ask("PATCH", &location, &[], bytes(7, 100))
        .await
        .expect(202);
    // Another repository's upload is none of this one.
    world
        .get(&location.replace("/v2/a/", "/v2/b/"))
        .await
        .error(404, "BLOB_UPLOAD_UNKNOWN");
    world.delete(&location).await.expect(204);
    world.delete(&location).await.error(404, "BLOB_UPLOAD_UNKNOWN");
    world
        .ask("PATCH", &location, &[], bytes(7, 100))
        .await
        .error(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(world.objects(), 0);
}

async fn an_upload_goes_on_in_another_process(world: World) {
    let content = bytes(8, 3_000);
    let digest = digest(&content);
    let location = world.upload("a").await;
    world
        .ask("PATCH", &location, &[], content[..2_000].to_vec())
        .await
        .expect(202);
    world.registry.close().await;
    let blobs = BlobStore::folder(&world.folder.path().join("blobs")).unwrap();
    let registry = Registry::open(&world.url, blobs, RegistryOptions::default())
        .await
        .unwrap();
    let router = Http::open_to_all(registry.clone()).router();
    let world = World {
        registry,
        router,
        ..world
    };
    assert_eq!(world.get(&location).await.expect(204).header("range"), "0-1999");
    world
        .ask(
            "PUT",
            &format!("{location}?digest={digest}"),
            &[("content-range", "2000-2999")],
            content[2_000..].to_vec(),
        )
        .await
        .expect(201);
    assert_eq!(
        world.get(&format!("/v2/a/blobs/{digest}")).await.body.as_deref(),
        Some(&content[..])
    );
}

async fn two_who_add_at_once_do_not_mix(world: World) {
    let location = world.upload("a").await;
    let (one, two) = (bytes(9, 500), bytes(10, 500));
    let headers = [("content-range", "0-499")];
    let (first, second) = tokio::join!(
        world.ask("PATCH", &location, &headers, one.clone()),
        world.ask("PATCH", &location, &headers, two.clone())
    );
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 416]);
    let kept = if first.status.as_u16() == 202 { one } else { two };
    world
        .ask(
            "PUT",
            &format!("{location}?digest={}", digest(&kept)),
            &[],
            Body::empty(),
        )
        .await
        .expect(201);
}

scenarios!(
    chunks_are_put_together,
    a_stream_of_many_pieces_is_one_blob,
    another_content_is_refused_however_it_comes,
    sizes_are_held_to,
    an_upload_is_cancelled,
    an_upload_goes_on_in_another_process,
    two_who_add_at_once_do_not_mix,
);
