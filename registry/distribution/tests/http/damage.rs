//! What was damaged where it lies is not served as good.

use axum::body::Body;

use crate::world::{World, bytes, files, scenarios};

async fn damage(world: &World, how: fn(&mut Vec<u8>)) {
    for file in files(&world.folder.path().join("blobs")) {
        let mut content = std::fs::read(&file).unwrap();
        how(&mut content);
        std::fs::write(&file, content).unwrap();
    }
}

async fn a_damaged_blob_is_set_aside_and_can_be_pushed_again(world: World) {
    let damages: [fn(&mut Vec<u8>); 3] = [
        |content| {
            if let Some(byte) = content.last_mut() {
                *byte ^= 1;
            }
        },
        |content| content.truncate(content.len() - 1),
        |content| content.push(0),
    ];
    for (n, how) in damages.into_iter().enumerate() {
        let repository = format!("r{n}");
        let content = bytes(n as u64, 10_000);
        let path = format!(
            "/v2/{repository}/blobs/{}",
            world.push_blob(&repository, &content).await
        );
        damage(&world, how).await;
        // Even of a part that is as it was.
        world
            .ask("GET", &path, &[("range", "bytes=0-9")], Body::empty())
            .await
            .error(500, "UNKNOWN");
        world.head(&path).await.expect(404);
        assert_eq!(world.registry.damaged().await.unwrap().len(), 1 + n);
        world.push_blob(&repository, &content).await;
        assert_eq!(
            world.get(&path).await.expect(200).body.as_deref(),
            Some(&content[..])
        );
        // Garbage collection leaves it for a look.
        world.registry.collect(true).await.unwrap();
        assert_eq!(world.registry.damaged().await.unwrap().len(), 1 + n);
        world.delete(&path).await.expect(202);
        world.registry.collect(true).await.unwrap();
    }
}

async fn a_large_damaged_blob_never_arrives_complete(world: World) {
    let content = bytes(7, 12 * 1024 * 1024);
    let path = format!("/v2/a/blobs/{}", world.push_blob("a", &content).await);
    assert!(world.get(&path).await.expect(200).body.is_some());
    damage(&world, |content| content[0] ^= 1).await;
    assert!(
        world.get(&path).await.expect(200).body.is_none(),
        "the answer breaks off"
    );
    world.get(&path).await.error(404, "BLOB_UNKNOWN");
}

async fn a_blob_whose_object_is_gone_is_unknown(world: World) {
    let path = format!("/v2/a/blobs/{}", world.push_blob("a", &bytes(8, 100)).await);
    for file in files(&world.folder.path().join("blobs")) {
        std::fs::remove_file(file).unwrap();
    }
    world.get(&path).await.error(500, "UNKNOWN");
    world.get(&path).await.error(404, "BLOB_UNKNOWN");
}

scenarios!(
    a_damaged_blob_is_set_aside_and_can_be_pushed_again,
    a_large_damaged_blob_never_arrives_complete,
    a_blob_whose_object_is_gone_is_unknown,
);
