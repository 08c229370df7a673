//! Manifests are published as a whole or not at all; versions stay what they are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use axum::body::Body;
use serde_json::{Value, json};
use stecker_distribution::{
    Algorithm, Auth, Candidate, Digest, Gate, Http, IMAGE_INDEX, IMAGE_MANIFEST, Refusal,
};

use crate::world::{World, bytes, descriptor, digest, image, scenarios};

fn of(manifest: &Value) -> Digest {
    digest(&serde_json::to_vec(manifest).unwrap())
}

async fn a_manifest_is_pulled_as_it_was_pushed(world: World) {
    let (config, layer) = (bytes(1, 10), bytes(2, 10));
    world.push_blob("a/b", &config).await;
    world.push_blob("a/b", &layer).await;
    world
        .get("/v2/a/b/manifests/latest")
        .await
        .error(404, "NAME_UNKNOWN");
    let manifest = image(&config, &layer);
    let raw = format!(" {}\n", serde_json::to_string_pretty(&manifest).unwrap()).into_bytes();
    let sha256 = digest(&raw);
    let kind = [("content-type", IMAGE_MANIFEST)];
    let answer = world
        .ask("PUT", "/v2/a/b/manifests/latest", &kind, raw.clone())
        .await
        .expect(201);
    assert_eq!(answer.header("docker-content-digest"), sha256.as_str());
    assert_eq!(answer.header("oci-subject"), "");
    for path in [
        answer.header("location").to_owned(),
        "/v2/a/b/manifests/latest".to_owned(),
    ] {
        let answer = world.get(&path).await.expect(200);
        assert_eq!(answer.body.as_deref(), Some(&raw[..]));
        assert_eq!(answer.header("content-type"), IMAGE_MANIFEST);
        let answer = world.head(&path).await.expect(200);
        assert_eq!(answer.header("content-length"), raw.len().to_string());
        assert_eq!(answer.header("docker-content-digest"), sha256.as_str());
    }
    let sha512 = Digest::of(Algorithm::Sha512, &raw);
    let path = format!("/v2/a/b/manifests/{sha512}?tag=one&tag=two");
    let answer = world.ask("PUT", &path, &kind, raw.clone()).await.expect(201);
    let tags: Vec<_> = answer
        .headers
        .get_all("oci-tag")
        .iter()
        .map(|tag| tag.to_str().unwrap())
        .collect();
    assert_eq!(tags, ["one", "two"]);
    assert_eq!(
        world
            .head("/v2/a/b/manifests/two")
            .await
            .header("docker-content-digest"),
        sha512.as_str()
    );
    let mut longer = raw;
    longer.push(b' ');
    world
        .ask("PUT", &format!("/v2/a/b/manifests/{sha256}"), &kind, longer)
        .await
        .error(400, "DIGEST_INVALID");
    world
        .get("/v2/a/b/manifests/none")
        .await
        .error(404, "MANIFEST_UNKNOWN");
}

async fn what_is_not_there_is_not_named(world: World) {
    let (config, layer) = (bytes(3, 10), bytes(4, 10));
    world.push_blob("other", &layer).await;
    world.push_blob("a", &config).await;
    let answer = world
        .put("a", "latest", &image(&config, &layer))
        .await
        .error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 1);
    assert_eq!(
        answer.json()["errors"][0]["detail"]["digest"],
        digest(&layer).as_str()
    );
    // Nothing of it is half there.
    world.get("/v2/a/tags/list").await.error(404, "NAME_UNKNOWN");
    let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [descriptor(b"no", IMAGE_MANIFEST)] });
    world
        .put("a", "index", &index)
        .await
        .error(404, "MANIFEST_BLOB_UNKNOWN");
    world.push_blob("a", &layer).await;
    let mut wrong = image(&config, &layer);
    wrong["layers"][0]["size"] = json!(11);
    world
        .put("a", "latest", &wrong)
        .await
        .error(400, "MANIFEST_INVALID");
    world
        .put("a", "latest", &image(&config, &layer))
        .await
        .expect(201);
}

async fn bad_manifests_are_refused(world: World) {
    let manifest = serde_json::to_vec(&image(b"c", b"l")).unwrap();
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    for (kind, body, status, code) in [
        ("text/html", manifest.clone(), 400, "MANIFEST_INVALID"),
        (IMAGE_INDEX, manifest, 400, "MANIFEST_INVALID"),
        (IMAGE_MANIFEST, b"{".to_vec(), 400, "MANIFEST_INVALID"),
        (IMAGE_MANIFEST, b"[]".to_vec(), 400, "MANIFEST_INVALID"),
        (IMAGE_MANIFEST, Vec::new(), 400, "MANIFEST_INVALID"),
        (
            IMAGE_MANIFEST,
            b"{\"schemaVersion\":1}".to_vec(),
            400,
            "MANIFEST_INVALID",
        ),
        (IMAGE_MANIFEST, large, 413, "SIZE_INVALID"),
    ] {
        world
            .ask("PUT", "/v2/a/manifests/x", &[("content-type", kind)], body)
            .await
            .error(status, code);
    }
    world
        .put("a", ".x", &image(b"c", b"l"))
        .await
        .error(400, "MANIFEST_INVALID");
    world
        .put("a", "sha256:baddigeststring", &image(b"c", b"l"))
        .await
        .error(400, "DIGEST_INVALID");
}

async fn a_manifest_of_nearly_four_mebibytes_is_taken(world: World) {
    let config = bytes(5, 10);
    world.push_blob("a", &config).await;
    let annotations: serde_json::Map<String, Value> = (0..390)
        .map(|n| (format!("large-{n}"), json!("A".repeat(10_000))))
        .collect();
    let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor(&config, "x/y"), "layers": [], "annotations": annotations });
    world.put("a", "large", &manifest).await.expect(201);
    assert_eq!(
        world.get("/v2/a/manifests/large").await.body.unwrap().len(),
        serde_json::to_vec(&manifest).unwrap().len()
    );
}

async fn a_version_is_never_another(world: World) {
    let first = world.push_image("a", "1.2.3", 10).await;
    let second = world.push_image("a", "latest", 20).await;
    let again = image(&bytes(10, 50), &bytes(1_000_010, 200));
    let other = image(&bytes(20, 50), &bytes(1_000_020, 200));
    world.put("a", "1.2.3", &again).await.expect(201);
    let answer = world.put("a", "1.2.3", &other).await.error(409, "DENIED");
    assert_eq!(answer.json()["errors"][0]["detail"]["digest"], first.as_str());
    // All tags of a request or none.
    let path = format!("{second}?tag=moved&tag=1.2.3");
    world.put("a", &path, &other).await.error(409, "DENIED");
    world.get("/v2/a/manifests/moved").await.expect(404);
    // A deleted version does not come back as another one.
    world.delete("/v2/a/manifests/1.2.3").await.expect(202);
    world
        .get("/v2/a/manifests/1.2.3")
        .await
        .error(404, "MANIFEST_UNKNOWN");
    world.put("a", "1.2.3", &other).await.error(409, "DENIED");
    world.put("a", "1.2.3", &again).await.expect(201);
    // What is no version moves.
    world.put("a", "latest", &again).await.expect(201);
    assert_eq!(
        world
            .head("/v2/a/manifests/latest")
            .await
            .header("docker-content-digest"),
        first.as_str()
    );
}

async fn of_many_who_release_a_version_at_once_one_wins(world: World) {
    let mut images = Vec::new();
    for seed in 100..108 {
        let (config, layer) = (bytes(seed, 50), bytes(seed + 1_000_000, 200));
        world.push_blob("a", &config).await;
        world.push_blob("a", &layer).await;
        images.push(image(&config, &layer));
    }
    let answers =
        futures_util::future::join_all(images.iter().map(|manifest| world.put("a", "2.0.0", manifest))).await;
    let won: Vec<_> = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| answer.status.as_u16() == 201)
        .collect();
    assert_eq!(won.len(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status.as_u16(), 201 | 409))
    );
    assert_eq!(
        world
            .head("/v2/a/manifests/2.0.0")
            .await
            .header("docker-content-digest"),
        of(&images[won[0].0]).as_str()
    );
}

async fn manifests_and_tags_are_deleted(world: World) {
    let image = world.push_image("a", "one", 30).await;
    world.push_image("a", "two", 30).await;
    world.delete("/v2/a/manifests/one").await.expect(202);
    world.get("/v2/a/manifests/one").await.expect(404);
    world.get("/v2/a/manifests/two").await.expect(200);
    let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [{ "mediaType": IMAGE_MANIFEST, "digest": image.as_str(), "size": 1 }] });
    world.put("a", "index", &index).await.expect(201);
    world
        .delete(&format!("/v2/a/manifests/{image}"))
        .await
        .error(405, "UNSUPPORTED");
    world
        .delete(&format!("/v2/a/manifests/{}", of(&index)))
        .await
        .expect(202);
    world.get("/v2/a/manifests/index").await.expect(404);
    world
        .delete(&format!("/v2/a/manifests/{image}"))
        .await
        .expect(202);
    world.get("/v2/a/manifests/two").await.expect(404);
    world
        .delete(&format!("/v2/a/manifests/{image}"))
        .await
        .error(404, "MANIFEST_UNKNOWN");
    world.delete("/v2/b/manifests/x").await.error(404, "NAME_UNKNOWN");
}

/// Refuses whatever is tagged `bad`, and counts how often it is asked.
#[derive(Debug, Default)]
struct Strict(AtomicUsize);

#[async_trait]
impl Gate for Strict {
    async fn admit(&self, candidate: Candidate<'_>) -> Result<(), Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let (layer, _) = &candidate.manifest.blobs[0];
        assert!(
            candidate.blob(layer, 1000).await.unwrap().is_some(),
            "what is named can be read"
        );
        tokio::task::yield_now().await;
        if candidate.tags.iter().any(|tag| tag.as_str() == "bad") {
            return Err(Refusal {
                message: "no".to_owned(),
                detail: json!({ "rule": 1 }),
                denied: false,
            });
        }
        Ok(())
    }
}

async fn the_gate_decides_before_anything_is_visible(mut world: World) {
    let gate = Arc::new(Strict::default());
    world.router = Http {
        registry: world.registry.clone(),
        auth: Auth::Open,
        gate: Some(gate.clone()),
        discovery: None,
    }
    .router();
    world
        .put("a", "good", &image(b"missing", b"missing too"))
        .await
        .error(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(gate.0.load(Ordering::SeqCst), 0);
    world.push_image("a", "good", 40).await;
    let manifest = image(&bytes(40, 50), &bytes(1_000_040, 200));
    let answer = world
        .put("a", "bad", &manifest)
        .await
        .error(400, "MANIFEST_INVALID");
    assert_eq!(answer.json()["errors"][0]["detail"]["rule"], 1);
    world.get("/v2/a/manifests/bad").await.expect(404);
    // Decisions that something overtook are made again.
    let names = ["a1", "a2", "a3"];
    let answers =
        futures_util::future::join_all(names.iter().map(|tag| world.put("a", tag, &manifest))).await;
    assert!(
        answers.iter().all(|answer| answer.status.as_u16() == 201),
        "{answers:?}"
    );
}

async fn a_client_that_has_it_gets_nothing(world: World) {
    world.push_image("a", "latest", 50).await;
    let etag = world
        .head("/v2/a/manifests/latest")
        .await
        .header("etag")
        .to_owned();
    let answer = world
        .ask(
            "GET",
            "/v2/a/manifests/latest",
            &[("if-none-match", &etag)],
            Body::empty(),
        )
        .await
        .expect(304);
    assert_eq!(answer.body.as_deref(), Some(&b""[..]));
}

scenarios!(
    a_manifest_is_pulled_as_it_was_pushed,
    what_is_not_there_is_not_named,
    bad_manifests_are_refused,
    a_manifest_of_nearly_four_mebibytes_is_taken,
    a_version_is_never_another,
    of_many_who_release_a_version_at_once_one_wins,
    manifests_and_tags_are_deleted,
    the_gate_decides_before_anything_is_visible,
    a_client_that_has_it_gets_nothing,
);
