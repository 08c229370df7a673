use std::collections::BTreeSet;

use proptest::prelude::*;
use stecker_model::{Fingerprint, digest_of};

use super::*;
use crate::reconcile::expected::{Collecting, Origin};

fn digest(state: u8) -> Fingerprint {
    digest_of(&serde_json::json!(state), &[])
}

fn expected(things: &BTreeMap<String, u8>) -> Expected {
    let mut collecting = Collecting::default();
    for (key, state) in things {
        collecting.thing(key, digest(*state), Origin::Ledger(1));
    }
    collecting.done()
}

/// A destination that answers truly.
struct Remote {
    things: Expected,
    digests: usize,
    lists: usize,
    listed: usize,
}

impl Remote {
    fn new(things: &BTreeMap<String, u8>) -> Self {
        Self {
            things: expected(things),
            digests: 0,
            lists: 0,
            listed: 0,
        }
    }

    fn sums(&self, range: KeyRange) -> Bucket {
        self.things.bucket(range)
    }

    fn list(&self, ranges: &[KeyRange]) -> Vec<ListedKey> {
        let all = ranges.iter().flat_map(|range| self.things.within(*range));
        all.map(|thing| ListedKey {
            digest: thing.digest,
            ..listed(&thing.key, 0)
        })
        .collect()
    }

    fn drive(&mut self, drill: &mut Drill<'_>, page: usize) {
        loop {
            match drill.next() {
                Step::Digest { ranges, split } => {
                    self.digests += 1;
                    let parts = ranges.iter().flat_map(|range| range.parts(split));
                    let buckets: Vec<_> = parts.map(|part| self.sums(part)).collect();
                    assert!(buckets.len() <= BUCKETS && ranges.len() <= RANGES);
                    drill.summed(&ranges, split, &buckets);
                }
                Step::List { ranges } => {
                    assert!(ranges.len() <= RANGES);
                    let all = self.list(&ranges);
                    self.listed += all.len();
                    self.lists += 1 + all.len() / page;
                    for entries in all.chunks(page) {
                        drill.page(entries.to_vec()).unwrap();
                    }
                    drill.listed().unwrap();
                }
                Step::Done => break,
            }
        }
    }
}

fn listed(key: &str, state: u8) -> ListedKey {
    ListedKey {
        key: key.to_owned(),
        digest: digest(state),
        copies: 1,
        external_id: None,
        source_version: None,
    }
}

type Account = BTreeSet<(DifferenceKind, String)>;

fn truth(here: &BTreeMap<String, u8>, there: &BTreeMap<String, u8>) -> (Account, u64) {
    let mut account = Account::new();
    let mut equal = 0;
    for (key, state) in here {
        match there.get(key) {
            None => drop(account.insert((DifferenceKind::Missing, key.clone()))),
            Some(other) if other != state => {
                account.insert((DifferenceKind::Different, key.clone()));
            }
            Some(_) => equal += 1,
        }
    }
    for key in there.keys().filter(|key| !here.contains_key(*key)) {
        account.insert((DifferenceKind::Extra, key.clone()));
    }
    (account, equal)
}

fn account(drill: Drill<'_>) -> (Account, u64) {
    let (found, equal) = drill.into_found();
    let count = found.len();
    let account: Account = found.into_iter().map(|one| (one.kind, one.key)).collect();
    assert_eq!(account.len(), count, "nothing is found twice");
    (account, equal)
}

fn things() -> impl Strategy<Value = BTreeMap<String, u8>> {
    prop::collection::btree_map("[a-f0-9]{1,3}", 0_u8..3, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_two_sets_are_told_apart_exactly(here in things(), there in things(), page in 1_usize..50) {
        let expected = expected(&here);
        for mut drill in [Drill::by_sums(&expected), Drill::by_list(&expected)] {
            Remote::new(&there).drive(&mut drill, page);
            prop_assert_eq!(account(drill), truth(&here, &there));
        }
    }

    #[test]
    fn sums_of_any_division_add_up(here in things(), split in 0_u32..10) {
        let expected = expected(&here);
        let parts: Vec<_> = KeyRange::ALL.parts(split).collect();
        let count: u64 = parts.iter().map(|part| expected.bucket(*part).count).sum();
        prop_assert_eq!(count, here.len() as u64);
        let things: usize = parts.iter().map(|part| expected.within(*part).len()).sum();
        prop_assert_eq!(things, here.len());
    }
}

/// The work for some differences hardly depends on how much there is.
#[test]
fn calls_grow_with_the_differences_and_not_with_the_data() {
    for size in [1_000, 20_000, 60_000] {
        let here: BTreeMap<String, u8> = (0..size).map(|n| (format!("order-{n}"), 1)).collect();
        let mut there = here.clone();
        for n in 0..5 {
            there.remove(&format!("order-{}", n * 97));
            there.insert(format!("order-{}", n * 89 + 1), 2);
        }
        let expected = expected(&here);
        let mut drill = Drill::by_sums(&expected);
        let mut remote = Remote::new(&there);
        remote.drive(&mut drill, 1_000);
        assert_eq!(account(drill), truth(&here, &there));
        assert!(remote.digests <= 3, "{size}: {} digests", remote.digests);
        assert!(remote.lists <= 3, "{size}: {} lists", remote.lists);
        let most = 10 * usize::try_from(LISTED).unwrap();
        assert!(remote.listed <= most, "{size}: {} listed", remote.listed);
    }
}

#[test]
fn two_equal_sets_cost_one_call() {
    let here: BTreeMap<String, u8> = (0..5_000).map(|n| (n.to_string(), 1)).collect();
    let expected = expected(&here);
    let mut drill = Drill::by_sums(&expected);
    let mut remote = Remote::new(&here);
    remote.drive(&mut drill, 1_000);
    assert_eq!((remote.digests, remote.lists), (1, 0));
    assert_eq!(account(drill), (Account::new(), 5_000));
}

#[test]
fn what_nothing_can_be_said_of_is_no_difference() {
    let mut collecting = Collecting::default();
    collecting.thing("a", digest(1), Origin::Ledger(1));
    collecting.thing("on its way", digest(1), Origin::Ledger(2));
    collecting.untold("on its way");
    collecting.gone("deleted", 3);
    let expected = collecting.done();
    let there = [("a", 1), ("on its way", 2), ("deleted", 1)];
    let there: BTreeMap<String, u8> = there.map(|(key, state)| (key.to_owned(), state)).into();
    for mut drill in [Drill::by_sums(&expected), Drill::by_list(&expected)] {
        Remote::new(&there).drive(&mut drill, 10);
        let extra = (DifferenceKind::Extra, "deleted".to_owned());
        assert_eq!(account(drill), (Account::from([extra]), 1));
    }
    assert_eq!(expected.gone("deleted"), Some(3));
}

#[test]
fn a_thing_that_is_there_twice_is_found() {
    let here = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]);
    let expected = expected(&here);
    let mut drill = Drill::by_list(&expected);
    let Step::List { .. } = drill.next() else {
        panic!("it lists")
    };
    let twice = ListedKey {
        copies: 2,
        ..listed("a", 1)
    };
    drill.page(vec![twice, listed("b", 1)]).unwrap();
    drill.listed().unwrap();
    let doubled = (DifferenceKind::Doubled, "a".to_owned());
    assert_eq!(account(drill), (Account::from([doubled]), 1));
}

#[test]
fn sums_that_never_agree_with_the_list_end_in_an_error() {
    let here = BTreeMap::from([("a".to_owned(), 1)]);
    let expected = expected(&here);
    let mut drill = Drill::by_sums(&expected);
    for steps in 0..100 {
        match drill.next() {
            Step::Digest { ranges, split } => {
                let count = ranges.len() << split;
                let lie = Bucket {
                    count: 1,
                    sum: [7; 32],
                };
                drill.summed(&ranges, split, &vec![lie; count]);
            }
            Step::List { .. } => match drill.listed() {
                Ok(()) => {}
                Err(Contradiction(why)) => {
                    assert!(why.contains("contradict each other"), "{why}");
                    return;
                }
            },
            Step::Done => panic!("the lie was believed after {steps} steps"),
        }
    }
    panic!("it never ends");
}

#[test]
fn a_change_between_sums_and_list_is_looked_at_again() {
    let here = BTreeMap::from([("a".to_owned(), 1)]);
    let expected = expected(&here);
    let mut drill = Drill::by_sums(&expected);
    let before = BTreeMap::new();
    let Step::Digest { ranges, split } = drill.next() else {
        panic!("it begins with sums")
    };
    let parts = ranges.iter().flat_map(|range| range.parts(split));
    let buckets: Vec<_> = parts.map(|part| Remote::new(&before).sums(part)).collect();
    drill.summed(&ranges, split, &buckets);
    Remote::new(&here).drive(&mut drill, 10);
    assert_eq!(account(drill), (Account::new(), 1));
}

#[test]
fn repeated_keys_and_endless_lists_end_in_an_error() {
    let expected = expected(&BTreeMap::from([("a".to_owned(), 1)]));
    let mut drill = Drill::by_list(&expected);
    drill.next();
    drill.page(vec![listed("a", 1)]).unwrap();
    let Contradiction(why) = drill.page(vec![listed("a", 1)]).unwrap_err();
    assert!(why.contains("on two pages"), "{why}");

    // Sums that said one, and a list that goes on.
    let mut drill = Drill::by_sums(&expected);
    let Step::Digest { ranges, split } = drill.next() else {
        panic!("it begins with sums")
    };
    let lie = Bucket {
        count: 1,
        sum: [7; 32],
    };
    drill.summed(&ranges, split, &vec![lie; ranges.len() << split]);
    let Step::List { ranges } = drill.next() else {
        panic!("it lists")
    };
    let most = SLACK + ranges.len() as u64;
    let mut pages = 0_u64;
    let ended = loop {
        match drill.page(vec![listed(&format!("endless-{pages}"), 1)]) {
            Ok(()) => pages += 1,
            Err(Contradiction(why)) => break why,
        }
        assert!(pages <= most, "it never ends");
    };
    assert!(ended.contains("where its sums counted"), "{ended}");
}
