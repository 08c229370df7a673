//! Refusals and use: folded, bounded, never lost without being counted.

use stecker_model::{
    PluginUse,
    api::{DayUsage, DenialFilter, DenialTotal},
};
use stecker_store::{NewDenial, NewDenials, NewUsage, day_of};

use crate::world::{START, World, digest, name, scenarios};

scenarios!(
    the_same_refusal_again_is_counted_in_its_row,
    a_flood_of_kinds_pushes_out_the_oldest_and_says_so,
    refusals_are_forgotten_on_request_and_their_totals_stay,
    use_is_added_up_by_day,
);

fn denial(asked: &str, at: i64) -> NewDenial {
    NewDenial {
        release: digest('a'),
        plugin: "acme/shop@1.0.0".to_owned(),
        rule: "http.host".to_owned(),
        layer: "grant".to_owned(),
        asked: asked.to_owned(),
        smallest_grant: format!("[[connection.grants.http]] # {asked} at {at}"),
        first_seen: at,
        last_seen: at,
        count: 1,
    }
}

fn of_shop(world: &World, kinds: Vec<NewDenial>) -> NewDenials {
    let count = kinds.iter().map(|kind| kind.count).sum();
    NewDenials {
        tenant: world.tenant.clone(),
        used_by: PluginUse::Connection(name("shop")),
        kinds,
        totals: vec![DenialTotal {
            rule: "http.host".to_owned(),
            layer: "grant".to_owned(),
            count,
        }],
        left_out: 0,
    }
}

async fn the_same_refusal_again_is_counted_in_its_row(world: World) {
    for at in [START, START + 5, START + 3] {
        let mut new = of_shop(&world, vec![denial("GET https://a.example", at)]);
        new.kinds[0].count = 10;
        world.store.put_denials(&new).await.unwrap();
    }
    let other_release = NewDenial {
        release: digest('b'),
        ..denial("GET https://a.example", START + 4)
    };
    world
        .store
        .put_denials(&of_shop(&world, vec![other_release]))
        .await
        .unwrap();
    let list = world
        .store
        .denials(&world.tenant, &DenialFilter::default())
        .await
        .unwrap();
    let seen: Vec<_> = list
        .denials
        .iter()
        .map(|denial| (denial.count, denial.first_seen_at, denial.last_seen_at))
        .collect();
    assert_eq!(seen, [(30, START, START + 5), (1, START + 4, START + 4)]);
    let first = &list.denials[0];
    assert!(first.goes_into.contains("name = \"shop\""), "{}", first.goes_into);
    assert!(
        first.smallest_grant.ends_with(&format!("at {}", START + 3)),
        "the newest one"
    );
    assert_eq!(
        world
            .store
            .denial(&world.tenant, &first.id)
            .await
            .unwrap()
            .as_ref(),
        Some(first)
    );
    assert_eq!(world.store.denial(&world.tenant, "0\0").await.unwrap(), None);
    assert_eq!(
        world.store.denial(&name("globex"), &first.id).await.unwrap(),
        None
    );

    // Each part of a filter has to hold.
    let count = async |filter: DenialFilter| {
        let list = world.store.denials(&world.tenant, &filter).await.unwrap();
        list.denials.len()
    };
    for (filter, found) in [
        (serde_json::json!({ "connection": "shop" }), 2),
        (serde_json::json!({ "connection": "erp" }), 0),
        (serde_json::json!({ "flow": "shop" }), 0),
        (serde_json::json!({ "rule": "http.host", "since": START + 5 }), 1),
        (serde_json::json!({ "rule": "storage.quota" }), 0),
        (serde_json::json!({ "limit": 1 }), 1),
    ] {
        let text = filter.to_string();
        assert_eq!(
            count(serde_json::from_value(filter).unwrap()).await,
            found,
            "{text}"
        );
    }
}

async fn a_flood_of_kinds_pushes_out_the_oldest_and_says_so(world: World) {
    let other = NewDenials {
        used_by: PluginUse::Connection(name("erp")),
        ..of_shop(&world, vec![denial("GET https://quiet.example", START - 10)])
    };
    world.store.put_denials(&other).await.unwrap();
    for round in 0..5_i64 {
        let kinds = (0..50_i64)
            .map(|n| denial(&format!("GET https://{round}-{n}.example"), START + round))
            .collect();
        let mut new = of_shop(&world, kinds);
        new.left_out = 1_000;
        world.store.put_denials(&new).await.unwrap();
    }
    let filter = DenialFilter {
        limit: Some(1_000),
        ..DenialFilter::default()
    };
    let list = world.store.denials(&world.tenant, &filter).await.unwrap();
    let (shop, erp): (Vec<_>, Vec<_>) = list
        .denials
        .iter()
        .partition(|denial| denial.connection == Some(name("shop")));
    assert_eq!(
        (shop.len(), erp.len()),
        (200, 1),
        "another connection's are not touched"
    );
    assert!(
        shop.iter().all(|denial| denial.first_seen_at > START),
        "the oldest went"
    );
    assert_eq!(list.left_out.len(), 1);
    assert_eq!(
        list.left_out[0].count,
        5_000 + 50,
        "those that went are counted too"
    );
}

async fn refusals_are_forgotten_on_request_and_their_totals_stay(world: World) {
    world
        .store
        .put_denials(&of_shop(&world, vec![denial("a", START), denial("b", START)]))
        .await
        .unwrap();
    let transform = NewDenials {
        used_by: PluginUse::Flow(name("first")),
        left_out: 1,
        ..of_shop(&world, vec![denial("a", START)])
    };
    world.store.put_denials(&transform).await.unwrap();
    let clear = async |connection: Option<&str>| {
        let connection = connection.map(name);
        let cleared = world
            .store
            .clear_denials(&world.tenant, connection.as_ref(), "ada", START)
            .await;
        cleared.unwrap()
    };
    assert_eq!(clear(Some("erp")).await, 0);
    assert_eq!(clear(Some("shop")).await, 2);
    let list = world
        .store
        .denials(&world.tenant, &DenialFilter::default())
        .await
        .unwrap();
    assert_eq!(list.denials.len(), 1);
    assert_eq!(list.denials[0].flow, Some(name("first")));
    assert_eq!(clear(None).await, 1);
    let list = world
        .store
        .denials(&world.tenant, &DenialFilter::default())
        .await
        .unwrap();
    assert!(list.denials.is_empty() && list.left_out.is_empty(), "{list:?}");
    let totals = world.store.denial_totals(&world.tenant).await.unwrap();
    assert_eq!(totals.iter().map(|total| total.count).collect::<Vec<_>>(), [3]);
    let audit = world.store.audit_log(&world.tenant, 10).await.unwrap();
    let cleared = audit.iter().filter(|entry| entry.action == "denials.clear");
    assert!(cleared.clone().all(|entry| entry.actor == "ada"));
    assert_eq!(cleared.count(), 3);
}

async fn use_is_added_up_by_day(world: World) {
    let used = |used_by: PluginUse, day: i64, peak_memory: u64| NewUsage {
        tenant: world.tenant.clone(),
        used_by,
        day,
        usage: DayUsage {
            calls: 2,
            cpu_us: 30,
            http_bytes: 400,
            peak_memory,
            denials: 1,
            ..DayUsage::default()
        },
    };
    let (shop, first) = (
        PluginUse::Connection(name("shop")),
        PluginUse::Flow(name("first")),
    );
    let today = day_of(START);
    for rows in [
        vec![
            used(shop.clone(), today, 10),
            used(first.clone(), today, 7),
            used(shop.clone(), today + 1, 1),
        ],
        vec![used(shop.clone(), today, 5)],
    ] {
        world.store.add_usage(rows).await.unwrap();
    }
    let usage = world.store.usage(&world.tenant, today).await.unwrap();
    assert_eq!(usage.len(), 2);
    assert_eq!((&usage[0].0, &usage[1].0), (&shop, &first));
    let sum = usage[0].1;
    assert_eq!(
        (
            sum.calls,
            sum.cpu_us,
            sum.http_bytes,
            sum.denials,
            sum.peak_memory
        ),
        (4, 60, 800, 2, 10),
        "the peak is the higher one"
    );
    let bytes = async |connection: &str, day| {
        world
            .store
            .http_bytes(&world.tenant, &name(connection), day)
            .await
            .unwrap()
    };
    assert_eq!(bytes("shop", today).await, 800);
    assert_eq!(bytes("shop", today + 1).await, 400);
    assert_eq!(bytes("erp", today).await, 0);
    assert_eq!(day_of(-1), -1);
    assert_eq!(day_of(START + 86_400_000), today + 1);
}
