//! Blobs are pulled whole and in part, looked for and taken away.

use axum::body::Body;
use stecker_distribution::{Algorithm, Digest};

use crate::world::{World, bytes, digest, image, scenarios};

async fn a_blob_is_pulled_as_it_was_pushed(world: World) {
    for (n, content) in [
        Vec::new(),
        b"{}".to_vec(),
        bytes(1, 3000),
        bytes(2, 20 * 1024 * 1024),
    ]
    .into_iter()
    .enumerate()
    {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, &content);
            let path = format!("/v2/a/b{n}/blobs/{digest}");
            world.get(&path).await.error(404, "BLOB_UNKNOWN");
            world.head(&path).await.expect(404);
            let answer = world
                .ask(
                    "POST",
                    &format!("/v2/a/b{n}/blobs/uploads/?digest={digest}"),
                    &[],
                    content.clone(),
                )
                .await
                .expect(201);
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            assert_eq!(answer.header("location"), path);
            let answer = world.get(&path).await.expect(200);
            assert_eq!(answer.body.as_deref(), Some(&content[..]));
            assert_eq!(answer.header("content-length"), content.len().to_string());
            assert_eq!(answer.header("docker-content-digest"), digest.as_str());
            let answer = world.head(&path).await.expect(200);
            assert_eq!(answer.body.as_deref(), Some(&b""[..]));
            assert_eq!(answer.header("content-length"), content.len().to_string());
        }
    }
}

async fn parts_of_a_blob_are_pulled(world: World) {
    let content = bytes(3, 2048);
    let path = format!("/v2/a/blobs/{}", world.push_blob("a", &content).await);
    for (range, part) in [
        ("bytes=500-1499", 500..1500),
        ("bytes=500-", 500..2048),
        ("bytes=-500", 1548..2048),
        ("bytes=2000-5000", 2000..2048),
    ] {
        let answer = world
            .ask("GET", &path, &[("range", range)], Body::empty())
            .await
            .expect(206);
        assert_eq!(
            answer.header("content-range"),
            format!("bytes {}-{}/2048", part.start, part.end - 1)
        );
        assert_eq!(answer.header("content-length"), part.len().to_string());
        assert_eq!(answer.body.as_deref(), Some(&content[part]));
    }
    for range in ["bytes=500-0", "bytes=5000-10000"] {
        let answer = world
            .ask("GET", &path, &[("range", range)], Body::empty())
            .await
            .expect(416);
        assert_eq!(answer.header("content-range"), "bytes */2048");
    }
    let etag = world.head(&path).await.header("etag").to_owned();
    world
        .ask("GET", &path, &[("if-none-match", &etag)], Body::empty())
        .await
        .expect(304);
    world
        .ask(
            "GET",
            &path,
            &[("range", "bytes=0-1"), ("if-range", "\"other\"")],
            Body::empty(),
        )
        .await
        .expect(200);
}

async fn a_blob_belongs_to_its_repository(world: World) {
    let content = bytes(4, 100);
    let digest = world.push_blob("a", &content).await;
    world
        .get(&format!("/v2/b/blobs/{digest}"))
        .await
        .error(404, "BLOB_UNKNOWN");
    let mount = |query: String| {
        let world = &world;
        async move {
            world
                .ask(
                    "POST",
                    &format!("/v2/b/blobs/uploads/?{query}"),
                    &[("content-length", "0")],
                    Body::empty(),
                )
                .await
        }
    };
    // What cannot be mounted may be pushed.
    for query in [
        format!("mount={digest}&from=c"),
        "mount=sha256:x&from=a".to_owned(),
        format!("mount={digest}&from=../a"),
    ] {
        assert!(
            mount(query)
                .await
                .expect(202)
                .header("location")
                .starts_with("/v2/b/blobs/uploads/")
        );
    }
    let answer = mount(format!("mount={digest}&from=a")).await.expect(201);
    assert_eq!(answer.header("location"), format!("/v2/b/blobs/{digest}"));
    assert_eq!(answer.header("docker-content-digest"), digest.as_str());
    world.get(&format!("/v2/b/blobs/{digest}")).await.expect(200);
    world.delete(&format!("/v2/b/blobs/{digest}")).await.expect(202);
    world.get(&format!("/v2/b/blobs/{digest}")).await.expect(404);
    world.get(&format!("/v2/a/blobs/{digest}")).await.expect(200);
    mount(format!("mount={digest}")).await.expect(201);
}

async fn a_blob_that_a_manifest_names_stays(world: World) {
    let manifest = world.push_image("a", "latest", 5).await;
    let config = digest(&bytes(5, 50));
    let path = format!("/v2/a/blobs/{config}");
    let answer = world.delete(&path).await.error(405, "UNSUPPORTED");
    assert_eq!(
        answer.json()["errors"][0]["detail"]["manifest"],
        manifest.as_str()
    );
    world
        .delete(&format!("/v2/a/manifests/{manifest}"))
        .await
        .expect(202);
    world.delete(&path).await.expect(202);
    world.delete(&path).await.error(404, "BLOB_UNKNOWN");
    assert_eq!(
        world
            .put("a", "again", &image(&bytes(5, 50), &bytes(1_000_005, 200)))
            .await
            .error(404, "MANIFEST_BLOB_UNKNOWN")
            .json()["errors"][0]["detail"]["digest"],
        config.as_str()
    );
}

async fn bad_paths_are_refused(world: World) {
    for (path, status, code) in [
        ("/v2/a/blobs/sha256:x", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/md5:00", 400, "DIGEST_INVALID"),
        ("/v2/a/../b/tags/list", 400, "NAME_INVALID"),
        ("/v2/%2e%2e%2fetc/tags/list", 400, "NAME_INVALID"),
        ("/v2/A/tags/list", 400, "NAME_INVALID"),
        ("/v2/a/nothing", 404, "UNSUPPORTED"),
        ("/v2/_catalog", 404, "UNSUPPORTED"),
        ("/v2/a/blobs/uploads/x", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/a/manifests/.INVALID_MANIFEST_NAME", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
    ] {
        world.get(path).await.error(status, code);
    }
    world.get("/v2/").await.expect(200);
    let answer = world
        .ask("POST", "/v2/a/tags/list", &[], Body::empty())
        .await
        .error(405, "UNSUPPORTED");
    assert_eq!(answer.header("allow"), "GET, HEAD");
}

scenarios!(
    a_blob_is_pulled_as_it_was_pushed,
    parts_of_a_blob_are_pulled,
    a_blob_belongs_to_its_repository,
    a_blob_that_a_manifest_names_stays,
    bad_paths_are_refused,
);
