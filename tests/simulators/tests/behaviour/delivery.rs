//! Writing to the ERP.

use stecker_simulators::{Fault, Faults, ItemStatus};

use crate::client::{Client, brief, item, start, statuses};

#[tokio::test]
async fn a_synchroniser_that_retries_and_looks_up_is_right_on_a_terrible_day() {
    let (running, client) = start(600, brief(Faults::harsh())).await;
    let orders = client.read_orders(50).await;
    client.deliver(&orders).await;
    client.carry_stock().await;
    let account = running.account();
    let verdict = account.verdict();
    assert!(
        verdict.orders_are_right() && verdict.stock_is_right(),
        "{verdict:#?}"
    );
    assert_eq!(
        (verdict.orders, verdict.booked, verdict.permanently_rejected.len()),
        (600, 597, 3)
    );
    assert_eq!(running.announcement().must_be_rejected, 3);
    for kind in [
        Fault::DropAfterWrite,
        Fault::ItemBusy,
        Fault::TooManyRequests,
        Fault::Reset,
    ] {
        assert!(
            account.faults.contains_key(&kind),
            "{kind} never happened: {:?}",
            account.faults
        );
    }
    for rejection in account.erp.rejections.values().flatten() {
        assert_eq!(rejection.code, "unknown-item");
        assert!(rejection.path.starts_with("/lines/") && rejection.path.ends_with("/sku"));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found_by_lookup() {
    for lost in [
        Faults {
            drop_after_write: 1.0,
            ..Faults::off()
        },
        Faults {
            hang: 1.0,
            ..brief(Faults::off())
        },
    ] {
        let (running, client) = start(10, Faults::off()).await;
        let items: Vec<_> = client.read_orders(3).await.iter().take(3).map(item).collect();
        running.set_faults(lost).unwrap();
        assert_eq!(
            client.book(&items).await,
            None,
            "the connection must end without an answer"
        );
        running.set_faults(Faults::off()).unwrap();
        let found = client.booked_versions(&items).await;
        assert_eq!(found.into_values().collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(
            client.book_now(&items).await,
            ["exists"; 3],
            "the same keys are safe to repeat"
        );
        assert!(running.account().verdict().duplicated.is_empty());
        running.stop().await;
    }
}

#[tokio::test]
async fn a_reset_before_the_work_leaves_nothing_behind() {
    let (running, client) = start(
        10,
        Faults {
            reset: 1.0,
            ..Faults::off()
        },
    )
    .await;
    running.set_faults(Faults::off()).unwrap();
    let items: Vec<_> = client.read_orders(10).await.iter().map(item).collect();
    running
        .set_faults(Faults {
            reset: 1.0,
            ..Faults::off()
        })
        .unwrap();
    for _ in 0..3 {
        assert_eq!(client.book(&items).await, None);
    }
    assert!(running.account().erp.received.is_empty());
    assert_eq!(
        client.book_now(&items).await,
        ["created"; 10],
        "three faults in a row are the most"
    );
    running.stop().await;
}

#[tokio::test]
async fn too_many_requests_says_how_long_to_wait() {
    let (running, client) = start(
        10,
        Faults {
            too_many_requests: 1.0,
            ..Faults::off()
        },
    )
    .await;
    let request = client
        .http
        .get(format!("{}/api/v1/orders", running.shop_url))
        .header("x-api-key", &running.shop_api_key);
    let answer = request.send().await.unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["retry-after"].to_str().unwrap()
        ),
        (429, "1")
    );
    assert_eq!(running.account().faults[&Fault::TooManyRequests], 1);
    running.stop().await;
}

#[tokio::test]
async fn items_of_a_batch_have_outcomes_of_their_own() {
    let (running, client) = start(
        200,
        Faults {
            item_busy: 0.3,
            ..Faults::off()
        },
    )
    .await;
    let orders = client.read_orders(100).await;
    let mut items: Vec<_> = orders.iter().take(50).map(item).collect();
    items[0]["total"] = "0.01".into();
    items[1]["lines"][0]["quantity"] = "two".into();
    items[2] = item(
        orders
            .iter()
            .find(|order| order.lines.iter().any(|line| line.sku.starts_with("DISC")))
            .unwrap(),
    );
    let (status, body) = client.book(&items).await.unwrap();
    assert_eq!(status, 207);
    let outcomes = statuses(&body);
    assert!(
        outcomes.iter().any(|outcome| outcome == "busy")
            && outcomes.iter().any(|outcome| outcome == "created")
    );
    let again = Client::persist(|| client.book(&items)).await;
    for (first, second) in outcomes.iter().zip(statuses(&again)) {
        assert!(first != "created" || second == "exists", "booked, then {second}");
    }
    running.set_faults(Faults::off()).unwrap();
    let (_, calm) = client.book(&items).await.unwrap();
    let codes: Vec<_> = (0..3)
        .map(|place| calm["results"][place]["error"]["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["total-mismatch", "invalid-item", "unknown-item"]);
    let verdict = running.account().verdict();
    assert_eq!(verdict.wrongly_rejected.len(), 2);
    assert_eq!(verdict.permanently_rejected.len(), 1);
    let too_many: Vec<_> = orders.iter().take(51).map(item).collect();
    assert_eq!(client.book(&too_many).await.unwrap().0, 413);
    running.stop().await;
}

#[tokio::test]
async fn an_order_that_was_refused_can_be_repaired_at_either_end() {
    let (running, client) = start(400, Faults::off()).await;
    client.deliver(&client.read_orders(100).await).await;
    let rejected = running.account().verdict().permanently_rejected;
    assert_eq!(rejected.len(), 2);
    let orders = client.read_orders(100).await;
    let refused: Vec<_> = orders
        .into_iter()
        .filter(|order| rejected.contains(&order.number))
        .collect();

    let repaired = running.repair_orders(&[refused[0].id]).unwrap();
    client.deliver(&repaired).await;
    for line in &refused[1].lines {
        running.learn_item(&line.sku);
    }
    assert_eq!(
        running.account().verdict().missing,
        [refused[1].number.clone()],
        "it could be booked now"
    );
    client.deliver(&refused[1..]).await;
    let verdict = running.account().verdict();
    assert!(verdict.orders_are_right(), "{verdict:#?}");
    assert_eq!(verdict.booked, 400);
    running.stop().await;
}

#[tokio::test]
async fn the_same_seed_disturbs_two_runs_in_the_same_way() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let config = stecker_simulators::Config {
            orders: 200,
            seed,
            faults: brief(Faults::harsh()),
            ..Default::default()
        };
        let running = stecker_simulators::Simulators::start(config).await.unwrap();
        let client = Client::new(running.announcement());
        let orders = client.read_orders(10).await;
        client.deliver(&orders).await;
        let account = running.account();
        let received: Vec<_> = account
            .erp
            .received
            .iter()
            .map(|one| (one.reference.clone(), one.status))
            .collect();
        assert!(received.iter().any(|one| one.1 == ItemStatus::Busy));
        runs.push((account.faults, received));
        running.stop().await;
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}
