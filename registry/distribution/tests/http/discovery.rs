//! Tags, referrers, yanked and deprecated releases, and where packages are.

use serde_json::{Value, json};
use stecker_distribution::{Auth, Discovery, Http, IMAGE_INDEX, IMAGE_MANIFEST};

use crate::world::{World, bytes, descriptor, digest, scenarios};

async fn tags_come_in_order_and_in_pages(world: World) {
    world.get("/v2/a/tags/list").await.error(404, "NAME_UNKNOWN");
    for tag in ["b", "a", "Z", "c", "d"] {
        world.push_image("a", tag, 1).await;
    }
    assert_eq!(
        world.get("/v2/a/tags/list").await.expect(200).json(),
        json!({ "name": "a", "tags": ["Z", "a", "b", "c", "d"] })
    );
    let (mut path, mut seen) = ("/v2/a/tags/list?n=2".to_owned(), Vec::new());
    loop {
        let answer = world.get(&path).await.expect(200);
        seen.extend(answer.json()["tags"].as_array().unwrap().clone());
        let Some(next) = answer
            .header("link")
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!(seen, ["Z", "a", "b", "c", "d"]);
    let none = world.get("/v2/a/tags/list?n=0").await.expect(200);
    assert_eq!(
        (none.json()["tags"].clone(), none.header("link")),
        (json!([]), "")
    );
    assert_eq!(
        world.get("/v2/a/tags/list?last=bb").await.json()["tags"],
        json!(["c", "d"])
    );
    assert_eq!(
        world.get("/v2/a/tags/list?last=d%00").await.json()["tags"],
        json!([])
    );
    assert_eq!(world.get("/v2/a/tags/list?n=5").await.header("link"), "");
    world.get("/v2/a/tags/list?n=x").await.error(400, "UNSUPPORTED");
}

async fn referrers_are_listed_by_their_subject(world: World) {
    let config = bytes(1, 10);
    world.push_blob("a", &config).await;
    let subject = descriptor(b"a subject that is not there", IMAGE_MANIFEST);
    let path = format!("/v2/a/referrers/{}", subject["digest"].as_str().unwrap());
    let empty = world.get(&path).await.expect(200);
    assert_eq!(empty.header("content-type"), IMAGE_INDEX);
    assert_eq!(
        empty.json(),
        json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [] })
    );
    let by_config = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor(&config, "x/config"), "layers": [], "subject": subject });
    let mut by_type = by_config.clone();
    by_type["artifactType"] = json!("x/type");
    by_type["annotations"] = json!({ "k": "v" });
    let index = json!({ "schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [], "subject": subject });
    let mut expected = Vec::new();
    for (manifest, kind) in [
        (&by_config, Some("x/config")),
        (&by_type, Some("x/type")),
        (&index, None),
    ] {
        let bytes = serde_json::to_vec(manifest).unwrap();
        let answer = world
            .put("a", digest(&bytes).as_str(), manifest)
            .await
            .expect(201);
        assert_eq!(answer.header("oci-subject"), subject["digest"].as_str().unwrap());
        let mut entry = descriptor(&bytes, manifest["mediaType"].as_str().unwrap());
        if let Some(kind) = kind {
            entry["artifactType"] = json!(kind);
        }
        if let Some(annotations) = manifest.get("annotations") {
            entry["annotations"] = annotations.clone();
        }
        expected.push(entry);
    }
    let listed = world.get(&path).await.expect(200);
    assert_eq!(listed.header("oci-filters-applied"), "");
    let sorted = |mut list: Vec<Value>| {
        list.sort_by_key(|entry| entry["digest"].as_str().unwrap().to_owned());
        list
    };
    assert_eq!(
        listed.json()["manifests"].as_array().unwrap(),
        &sorted(expected.clone())
    );
    let filtered = world
        .get(&format!("{path}?artifactType=x%2Ftype"))
        .await
        .expect(200);
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    assert_eq!(filtered.json()["manifests"], json!([expected[1]]));
    assert_eq!(
        world
            .get(&path.replace("/a/", "/unknown/"))
            .await
            .expect(200)
            .json()["manifests"],
        json!([])
    );
    world
        .get("/v2/a/referrers/sha256:x")
        .await
        .error(400, "DIGEST_INVALID");
    world
        .delete(&format!(
            "/v2/a/manifests/{}",
            expected[1]["digest"].as_str().unwrap()
        ))
        .await
        .expect(202);
    assert_eq!(
        world.get(&path).await.json()["manifests"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

async fn many_referrers_come_in_pages(world: World) {
    let config = bytes(1, 10);
    world.push_blob("a", &config).await;
    let subject = descriptor(b"subject", IMAGE_MANIFEST);
    for n in 0..5 {
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor(&config, "x/y"), "layers": [],
            "subject": subject, "annotations": { "n": n.to_string(), "large": "A".repeat(1_000_000) } });
        world.put("a", &format!("t{n}"), &manifest).await.expect(201);
    }
    let (mut path, mut pages, mut seen) = (
        format!(
            "/v2/a/referrers/{}?artifactType=x/y",
            subject["digest"].as_str().unwrap()
        ),
        0,
        0,
    );
    loop {
        let answer = world.get(&path).await.expect(200);
        assert!(answer.body.as_ref().unwrap().len() < 4 * 1024 * 1024);
        pages += 1;
        seen += answer.json()["manifests"].as_array().unwrap().len();
        let Some(next) = answer
            .header("link")
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
        else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!((pages, seen), (2, 5));
}

async fn releases_are_yanked_and_deprecated(world: World) {
    let image = world.push_image("a", "1.0.0", 1).await;
    world.push_image("a", "1.1.0", 2).await;
    let (repository, tag) = ("a".parse().unwrap(), "1.0.0".parse().unwrap());
    let registry = &world.registry;
    registry
        .deprecate(&repository, &tag, "use 1.1.0", Some(1_798_675_200_000))
        .await
        .unwrap();
    registry.yank(&repository, &tag, "wrong totals").await.unwrap();
    assert_eq!(
        world.get("/v2/a/tags/list").await.json()["tags"],
        json!(["1.1.0"])
    );
    assert_eq!(
        world.get("/v2/a/tags/list?yanked=include").await.json()["tags"],
        json!(["1.0.0", "1.1.0"])
    );
    for (method, reference) in [
        ("GET", "1.0.0"),
        ("HEAD", "1.0.0"),
        ("GET", image.as_str()),
        ("HEAD", image.as_str()),
    ] {
        let answer = world
            .ask(
                method,
                &format!("/v2/a/manifests/{reference}"),
                &[],
                axum::body::Body::empty(),
            )
            .await
            .expect(200);
        let warnings: Vec<_> = answer
            .headers
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(
            warnings,
            [
                "299 - \"1.0.0 was yanked: wrong totals\"",
                "299 - \"1.0.0 is deprecated (until 2026-12-31): use 1.1.0\"",
            ]
        );
    }
    assert_eq!(world.get("/v2/a/manifests/1.1.0").await.header("warning"), "");
    world.push_image("b", "0.1.0", 3).await;
    let listed = async |behind, most| -> Vec<String> {
        let listed = registry.all_releases(behind, most).await.unwrap();
        let names = listed
            .iter()
            .map(|entry| format!("{}@{}", entry.repository, entry.release.tag));
        names.collect()
    };
    assert_eq!(listed(None, 10).await, ["a@1.0.0", "a@1.1.0", "b@0.1.0"]);
    assert_eq!(listed(Some((&repository, &tag)), 1).await, ["a@1.1.0"]);
    registry.unyank(&repository, &tag).await.unwrap();
    registry.undeprecate(&repository, &tag).await.unwrap();
    assert_eq!(
        world.get("/v2/a/tags/list").await.json()["tags"],
        json!(["1.0.0", "1.1.0"])
    );
    assert_eq!(world.get("/v2/a/manifests/1.0.0").await.header("warning"), "");
    assert_eq!(registry.releases(&repository).await.unwrap().len(), 2);
    let error = registry
        .yank(&repository, &"9.9.9".parse().unwrap(), "")
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "there is no release `9.9.9` in `a`");
    assert!(
        registry
            .yank(&repository, &tag, &"x".repeat(2_000))
            .await
            .is_err()
    );
}

async fn packages_are_found(mut world: World) {
    let discovery = Discovery {
        registry: "registry.example.com:443".to_owned(),
        namespace_prefix: "plugins/".to_owned(),
    };
    world.router = Http {
        registry: world.registry.clone(),
        auth: Auth::Open,
        gate: None,
        discovery: Some(discovery),
    }
    .router();
    let request = http::Request::get("/.well-known/wasm-pkg/registry.json")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(world.router.clone(), request)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        json!({ "preferredProtocol": "oci", "oci": { "registry": "registry.example.com:443", "namespacePrefix": "plugins/" } })
    );
}

scenarios!(
    tags_come_in_order_and_in_pages,
    referrers_are_listed_by_their_subject,
    many_referrers_come_in_pages,
    releases_are_yanked_and_deprecated,
    packages_are_found,
);
