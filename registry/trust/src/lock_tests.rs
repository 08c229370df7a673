use proptest::prelude::*;

use super::*;

fn wanted(user: &str, name: &str, range: &str) -> Wanted {
    Wanted {
        user: user.to_owned(),
        name: name.parse().unwrap(),
        range: range.parse().unwrap(),
        source: "registry.example".to_owned(),
    }
}

fn choice(version: &str) -> Choice {
    Choice {
        version: version.parse().unwrap(),
        component: text::digest_of(version.as_bytes()),
        manifest: text::digest_of(b"{}"),
        step: None,
        notes: Vec::new(),
    }
}

fn lock() -> LockFile {
    LockFile::of([
        (
            &wanted("flow/orders.transform.1", "stecker/jq", "*"),
            &choice("0.1.0"),
        ),
        (&wanted("connection/shop", "acme/shop", "^1"), &choice("1.10.0")),
        (
            &wanted("connection/shop-eu", "acme/shop", "^1"),
            &choice("1.10.0"),
        ),
        (
            &wanted("connection/old-shop", "acme/shop", "~1.9"),
            &choice("1.9.3"),
        ),
    ])
}

#[test]
fn the_text_is_sorted_and_comes_back() {
    let text = lock().to_toml();
    let again = LockFile::from_toml(&text).unwrap();
    assert_eq!(again, lock());
    assert_eq!(again.to_toml(), text);
    let versions: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("version = \""))
        .collect();
    assert_eq!(
        versions,
        [
            "version = \"1.9.3\"",
            "version = \"1.10.0\"",
            "version = \"0.1.0\""
        ]
    );
    assert!(
        text.contains(r#"used-by = ["connection/shop", "connection/shop-eu"]"#),
        "{text}"
    );
    assert!(
        LockFile::from_toml(&LockFile::default().to_toml())
            .unwrap()
            .uses()
            .next()
            .is_none()
    );
}

#[test]
fn where_setup_and_lock_do_not_agree() {
    let mut setup = vec![
        wanted("flow/orders.transform.1", "stecker/jq", "*"),
        wanted("connection/shop", "acme/shop", "^1"),
        wanted("connection/shop-eu", "acme/shop", "^1"),
        wanted("connection/old-shop", "acme/shop", "~1.9"),
    ];
    assert!(lock().check(&setup).is_empty());
    setup[0].source = "elsewhere.example".to_owned();
    setup[1].range = "^2".parse().unwrap();
    setup[2].name = "acme/till".parse().unwrap();
    setup[3].user = "connection/new".to_owned();
    let faults: Vec<_> = lock().check(&setup).iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "`flow/orders.transform.1` is locked to a release of `registry.example`, and the setup looks in `elsewhere.example`",
            "`connection/shop` is locked to 1.10.0, which is not within `^2`",
            "`connection/shop-eu` is locked to acme/shop, and the setup wants acme/till",
            "`connection/new` is not locked",
            "`connection/old-shop` is locked, and no longer in the setup",
        ]
    );
}

#[test]
fn updating_one_leaves_the_others_and_the_difference_is_told() {
    let mut after = lock();
    after.update(&wanted("connection/shop", "acme/shop", "^1"), &choice("1.11.0"));
    after.update(&wanted("connection/new", "acme/erp", "*"), &choice("2.0.0"));
    after.remove("flow/orders.transform.1");
    let changes: Vec<_> = lock()
        .changes_to(&after)
        .iter()
        .map(ToString::to_string)
        .collect();
    let erp = text::digest_of(b"2.0.0");
    assert_eq!(
        changes,
        [
            format!("connection/new: + acme/erp 2.0.0 ({})", erp.short()),
            "connection/shop: acme/shop 1.10.0 → 1.11.0 (minor)".to_owned(),
            "flow/orders.transform.1: - stecker/jq 0.1.0".to_owned(),
        ]
    );
    let mut swapped = lock();
    let other = Choice {
        component: text::digest_of(b"other"),
        ..choice("1.10.0")
    };
    swapped.update(&wanted("connection/shop", "acme/shop", "^1"), &other);
    assert!(lock().changes_to(&swapped)[0].to_string().contains("other bytes"));
    assert!(lock().changes_to(&lock()).is_empty());
    assert_eq!(
        lock().get("connection/shop").unwrap().pinned().version,
        Version::new(1, 10, 0)
    );
}

#[test]
fn what_is_no_lock_says_why() {
    let twice = lock()
        .to_toml()
        .replace("connection/shop-eu", "connection/old-shop");
    for (text, word) in [
        ("", "version"),
        ("version = 2\n[[something-new]]", "format 2"),
        ("version = 1\nmore = 1", "more"),
        ("version = 1\n<<<<<<< HEAD\n", "line 2"),
        (&twice, "locked twice"),
        (&lock().to_toml().replace("sha256:", "md5:"), "digest"),
    ] {
        let error = LockFile::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_texts_never_panic(text in "\\PC{0,200}", lines in prop::collection::vec("(version = [0-9]|\\[\\[release\\]\\]|name = \"[a-z/]{0,5}\"|used-by = \\[\\])", 0..8)) {
        let _ = LockFile::from_toml(&text);
        let _ = LockFile::from_toml(&lines.join("\n"));
    }

    /// Names of uses and registries are anybody's texts.
    #[test]
    fn any_lock_comes_back(uses in prop::collection::btree_map("\\PC{0,20}", ("[a-z]{1,5}/[a-z]{1,5}", 0_u64..20, "\\PC{0,20}"), 0..10)) {
        let mut lock = LockFile::default();
        for (user, (name, patch, source)) in uses {
            let wanted = Wanted { source, ..wanted(&user, &name, "*") };
            lock.update(&wanted, &choice(&format!("1.0.{patch}")));
        }
        let text = lock.to_toml();
        let again = LockFile::from_toml(&text).unwrap();
        prop_assert_eq!(&again, &lock);
        prop_assert_eq!(again.to_toml(), text);
    }
}
