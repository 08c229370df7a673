//! Garbage goes, and nothing else.

use axum::body::Body;
use stecker_distribution::{BlobStore, Http, Registry, RegistryOptions};

use crate::world::{GRACE, World, bytes, digest, files, image, scenarios};

async fn what_nobody_names_goes_after_its_time(world: World) {
    world.push_image("a", "latest", 1).await;
    let alone = world.push_blob("a", &bytes(2, 100)).await;
    let location = world.upload("a").await;
    world
        .ask("PATCH", &location, &[], bytes(3, 100))
        .await
        .expect(202);
    assert_eq!(world.objects(), 4);
    let nothing = world.registry.collect(true).await.unwrap();
    assert_eq!((nothing.objects, world.objects()), (0, 4));
    world.clock.pass(GRACE * 2);
    let collected = world.registry.collect(true).await.unwrap();
    assert_eq!(
        (
            collected.uploads,
            collected.links,
            collected.blobs,
            collected.objects,
            collected.strays
        ),
        (1, 1, 1, 2, 0)
    );
    assert_eq!(world.objects(), 2);
    world.head(&format!("/v2/a/blobs/{alone}")).await.expect(404);
    world.get(&location).await.error(404, "BLOB_UPLOAD_UNKNOWN");
    world
        .head(&format!("/v2/a/blobs/{}", digest(&bytes(1, 50))))
        .await
        .expect(200);
}

async fn who_was_told_that_it_is_there_may_count_on_it(world: World) {
    let (config, layer) = (bytes(4, 50), bytes(5, 50));
    world.push_blob("a", &config).await;
    world.push_blob("a", &layer).await;
    world.clock.pass(GRACE * 2);
    for content in [&config, &layer] {
        world
            .head(&format!("/v2/a/blobs/{}", digest(content)))
            .await
            .expect(200);
    }
    world.registry.collect(false).await.unwrap();
    world
        .put("a", "latest", &image(&config, &layer))
        .await
        .expect(201);
}

async fn what_another_repository_has_stays(world: World) {
    let content = bytes(6, 100);
    let blob = world.push_blob("a", &content).await;
    world
        .ask(
            "POST",
            &format!("/v2/b/blobs/uploads/?mount={blob}&from=a"),
            &[],
            Body::empty(),
        )
        .await
        .expect(201);
    world.delete(&format!("/v2/a/blobs/{blob}")).await.expect(202);
    world.registry.collect(true).await.unwrap();
    assert_eq!(
        world
            .get(&format!("/v2/b/blobs/{blob}"))
            .await
            .expect(200)
            .body
            .as_deref(),
        Some(&content[..])
    );
}

async fn strays_go_and_strangers_stay(world: World) {
    let blobs = world.folder.path().join("blobs");
    world.push_image("a", "latest", 7).await;
    let known = files(&blobs).pop().unwrap();
    let stray = known.with_file_name(format!("{}.{}", "ab".repeat(32), uuid::Uuid::now_v7()));
    std::fs::write(&stray, "x").unwrap();
    std::fs::write(blobs.join("readme.txt"), "x").unwrap();
    assert_eq!(world.registry.collect(false).await.unwrap().strays, 0);
    assert_eq!(world.registry.collect(true).await.unwrap().strays, 1);
    assert!(!stray.exists() && known.exists() && blobs.join("readme.txt").exists());
}

/// Pushes, deletions and collections with no time of grace at all, on two connections to one database: a push may have to be made
/// again, but what was published is whole.
async fn collections_beside_pushes_break_nothing(world: World) {
    world.registry.close().await;
    let open = || async {
        let blobs = BlobStore::folder(&world.folder.path().join("blobs")).unwrap();
        let options = RegistryOptions {
            grace: std::time::Duration::ZERO,
            connections: 4,
            ..RegistryOptions::default()
        };
        Registry::open(&world.url, blobs, options).await.unwrap()
    };
    let (registry, other) = (open().await, open().await);
    let router = Http::open_to_all(registry.clone()).router();
    let world = World {
        registry,
        router,
        ..world
    };
    let pushing = (0..4_u64).map(|pusher| {
        let world = &world;
        async move {
            for round in 0..12 {
                // Contents that others push and delete, too.
                let seed = 1 + (pusher * 5 + round * 3) % 6;
                let (config, layer) = (bytes(seed, 40), bytes(seed + 100, 60));
                let tag = format!("p{pusher}-{}", round % 3);
                for attempt in 0.. {
                    assert!(attempt < 200, "a push is never through");
                    for content in [&config, &layer] {
                        if world
                            .head(&format!("/v2/a/blobs/{}", digest(content)))
                            .await
                            .status
                            .as_u16()
                            != 200
                        {
                            let path = format!("/v2/a/blobs/uploads/?digest={}", digest(content));
                            let status = world
                                .ask("POST", &path, &[], content.clone())
                                .await
                                .status
                                .as_u16();
                            // 503: with no time at all, even what is being written is given up.
                            assert!(matches!(status, 201 | 503), "{status}");
                        }
                    }
                    let answer = world.put("a", &tag, &image(&config, &layer)).await;
                    match answer.status.as_u16() {
                        201 => break,
                        404 => continue,
                        _ => panic!("{answer:?}"),
                    }
                }
                if round % 4 == 3 {
                    let manifest = digest(&serde_json::to_vec(&image(&config, &layer)).unwrap());
                    world.delete(&format!("/v2/a/manifests/{manifest}")).await;
                }
            }
        }
    });
    let collecting = async {
        for _ in 0..40 {
            other.collect(true).await.unwrap();
            world.registry.collect(false).await.unwrap();
        }
    };
    tokio::join!(futures_util::future::join_all(pushing), collecting);
    let tags = world.get("/v2/a/tags/list").await.expect(200).json();
    for tag in tags["tags"].as_array().unwrap() {
        let manifest = world
            .get(&format!("/v2/a/manifests/{}", tag.as_str().unwrap()))
            .await
            .expect(200)
            .json();
        for named in [&manifest["config"], &manifest["layers"][0]] {
            world
                .get(&format!("/v2/a/blobs/{}", named["digest"].as_str().unwrap()))
                .await
                .expect(200);
        }
    }
    assert!(world.registry.damaged().await.unwrap().is_empty());
}

scenarios!(
    what_nobody_names_goes_after_its_time,
    who_was_told_that_it_is_there_may_count_on_it,
    what_another_repository_has_stays,
    strays_go_and_strangers_stay,
    collections_beside_pushes_break_nothing,
);
