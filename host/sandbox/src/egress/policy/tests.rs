use super::*;

fn grant(host: &str, schemes: &[&str], methods: &[&str]) -> HttpGrant {
    HttpGrant {
        host: host.to_owned(),
        schemes: schemes.iter().map(|s| (*s).to_owned()).collect(),
        methods: methods.iter().map(|s| (*s).to_owned()).collect(),
        ..HttpGrant::default()
    }
}

fn grants(http: &[HttpGrant]) -> Grants {
    Grants {
        http: http.to_vec(),
        ..Grants::default()
    }
}

fn decide(policy: &Policy, method: &str, url: &str) -> Result<CarveOuts, Denial> {
    policy.decide(&parse_method(method)?, &parse(url)?)
}

fn rule(policy: &Policy, method: &str, url: &str) -> String {
    decide(policy, method, url).map_or_else(|denial| denial.rule, |_| "allowed".to_owned())
}

/// One grant on both sides (host, schemes, methods); a request; allowed, or the rule that refuses it.
const WHAT_A_GRANT_ALLOWS: &str = "
    api.acme.example https usual                  | GET     https://api.acme.example/v1?a=b                | allowed
    api.acme.example https usual                  | GET     https://API.acme.example/                      | allowed
    API.acme.example https usual                  | GET     https://api.acme.example/                      | allowed
    api.acme.example https usual                  | GET     https://api.acme.example:443/                  | allowed
    api.acme.example https usual                  | GET     https://api.acme.example:8443/                 | http.port
    api.acme.example https usual                  | GET     https://acme.example/                          | http.host
    api.acme.example https usual                  | GET     https://x.api.acme.example/                    | http.host
    api.acme.example https usual                  | GET     https://evilapi.acme.example/                  | http.host
    api.acme.example https usual                  | GET     http://api.acme.example/                       | http.scheme
    api.acme.example https,http usual             | GET     http://api.acme.example/                       | allowed
    api.acme.example https GET                    | POST    https://api.acme.example/                      | http.method
    api.acme.example https usual                  | DELETE  https://api.acme.example/                      | allowed
    api.acme.example https usual                  | OPTIONS https://api.acme.example/                      | http.method
    api.acme.example https OPTIONS                | OPTIONS https://api.acme.example/                      | allowed
    api.acme.example:8443 https usual             | GET     https://api.acme.example:8443/                 | allowed
    api.acme.example:8443 https usual             | GET     https://api.acme.example/                      | http.port
    *.acme.example https usual                    | GET     https://a.acme.example/                        | allowed
    *.acme.example https usual                    | GET     https://a.b.acme.example/                      | allowed
    *.acme.example https usual                    | GET     https://acme.example/                          | http.host
    *.acme.example https usual                    | GET     https://evilacme.example/                      | http.host
    *.acme.example:8443 https usual               | GET     https://a.acme.example:8443/                   | allowed
    bücher.example https usual                    | GET     https://xn--bcher-kva.example/                 | allowed
    1.1.1.1 https usual                           | GET     https://1.1.1.1/                               | allowed
    1.1.1.1 https usual                           | GET     https://0x01010101/                            | allowed
    *.acme.example https usual                    | GET     https://1.1.1.1/                               | http.host
    [2606:4700::1111] https usual                 | GET     https://[2606:4700::1111]/                     | allowed
    [2606:4700::1111]:8443 https usual            | GET     https://[2606:4700:0::1111]:8443/              | allowed
    localhost https,http usual                    | GET     http://localhost/                              | http.address
    localhost:80 https,http usual                 | GET     http://localhost/                              | allowed
    localhost:8080 https,http usual               | GET     http://localhost:8080/                         | allowed
    erp.localhost https,http usual                | GET     http://erp.localhost/                          | http.address
    127.0.0.1 https,http usual                    | GET     http://127.0.0.1/                              | http.address
    127.0.0.1:8080 https,http usual               | GET     http://127.0.0.1:8080/                         | allowed
    127.0.0.1:8080 https,http usual               | GET     http://127.0.0.1:8081/                         | http.port
    127.0.0.1:8080 https,http usual               | GET     http://2130706433:8080/                        | allowed
    127.0.0.1:8080 https,http usual               | GET     http://127.0.0.2:8080/                         | http.host
    127.0.0.1:8080 https,http usual               | GET     http://[::ffff:127.0.0.1]:8080/                | http.host
    0.0.0.0 https,http usual                      | GET     http://0.0.0.0/                                | http.address
    [::1] https,http usual                        | GET     http://[::1]/                                  | http.address
    [::ffff:127.0.0.1] https,http usual           | GET     http://[::ffff:127.0.0.1]/                     | http.address
    [64:ff9b::7f00:1] https,http usual            | GET     http://[64:ff9b::127.0.0.1]/                   | http.address
    [2002:7f00:1::] https,http usual              | GET     http://[2002:7f00:1::]/                        | http.address
    10.1.2.3 https usual                          | GET     https://10.1.2.3/                              | http.address
    10.1.2.3:443 https usual                      | GET     https://10.1.2.3/                              | allowed
    169.254.169.254 https,http usual              | GET     http://169.254.169.254/latest/meta-data        | http.address
";

#[test]
fn what_a_grant_allows() {
    for line in WHAT_A_GRANT_ALLOWS.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "|").collect();
        let [host, schemes, methods, method, url, expected] = words.as_slice() else {
            panic!("{line}")
        };
        let methods: Vec<&str> = methods.split(',').filter(|method| *method != "usual").collect();
        let schemes: Vec<&str> = schemes.split(',').collect();
        let side = grants(&[grant(host, &schemes, &methods)]);
        let policy = Policy::new(&side, &side, None).unwrap();
        assert_eq!(rule(&policy, method, url), *expected, "{line}");
    }
}

#[test]
fn what_no_grant_allows() {
    let side = grants(&[grant("acme.example", &["https", "http"], &["GET", "OPTIONS"])]);
    let policy = Policy::new(&side, &side, None).unwrap();
    for (method, url, rule) in [
        ("GET", "https://user@acme.example/", "http.userinfo"),
        ("GET", "ftp://acme.example/", "http.url-scheme"),
        ("GET", "acme.example", "http.url"),
        ("GET", "https://acme.example./", "http.url"),
        ("CONNECT", "https://acme.example/", "http.method"),
        ("TRACE", "https://acme.example/", "http.method"),
    ] {
        let denial = decide(&policy, method, url).unwrap_err();
        assert_eq!(
            (denial.rule.as_str(), denial.layer.as_str()),
            (rule, "host"),
            "{method} {url}"
        );
        assert_eq!(denial.smallest_grant, "");
    }
}

#[test]
fn all_sides_have_to_agree() {
    let asked = grants(&[grant("*.acme.example", &["https"], &["GET", "POST"])]);
    let granted = grants(&[
        grant("api.acme.example", &["https", "http"], &["GET", "DELETE"]),
        grant("eu.acme.example", &["https"], &[]),
        grant("other.example", &["https"], &[]),
    ]);
    let ceiling = grants(&[
        grant("api.acme.example", &["https"], &[]),
        grant("shop.acme.example", &["https"], &[]),
    ]);
    let policy = Policy::new(&asked, &granted, Some(&ceiling)).unwrap();
    let layer = |method, url| decide(&policy, method, url).err().map(|denial| denial.layer);
    assert_eq!(layer("GET", "https://api.acme.example/"), None);
    for (method, url, by) in [
        ("POST", "https://api.acme.example/", "grant"),
        ("GET", "https://shop.acme.example/", "grant"),
        ("DELETE", "https://api.acme.example/", "manifest"),
        ("GET", "http://api.acme.example/", "manifest"),
        ("GET", "https://other.example/", "manifest"),
        ("GET", "https://eu.acme.example/", "ceiling"),
    ] {
        assert_eq!(layer(method, url).as_deref(), Some(by), "{method} {url}");
    }
    let shut = Policy::new(&asked, &granted, Some(&Grants::default())).unwrap();
    assert_eq!(
        decide(&shut, "GET", "https://api.acme.example/")
            .unwrap_err()
            .layer,
        "ceiling"
    );
}

#[test]
fn paths_are_compared_where_a_grant_names_them() {
    let side = |paths: &[&str]| {
        grants(&[HttpGrant {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..grant("acme.example", &["https"], &[])
        }])
    };
    let below = Policy::new(&side(&["/admin/api", "/files/"]), &side(&[]), None).unwrap();
    let anywhere = Policy::new(&side(&[]), &side(&[]), None).unwrap();
    for (path, expected) in [
        ("/admin/api", "allowed"),
        ("/admin/api/orders.json?q=/../x", "allowed"),
        ("/files/a%20b", "allowed"),
        ("/admin/apis", "http.path"),
        ("/", "http.path"),
        ("", "http.path"),
        ("/admin/api/../secrets", "http.path"),
        ("/admin/api/%2e%2e/secrets", "http.path"),
        ("/admin/api/.%2E/secrets", "http.path"),
        ("/admin/api/%2f..%2fsecrets", "http.path"),
        ("/admin/api/..%5csecrets", "http.path"),
        ("/admin/api/..;/secrets", "http.path"),
        ("/admin/api/%252e%252e/secrets", "http.path"),
    ] {
        let url = format!("https://acme.example{path}");
        assert_eq!(rule(&below, "GET", &url), expected, "{path}");
        assert_eq!(rule(&anywhere, "GET", &url), "allowed", "{path}");
    }
    let denial = decide(&below, "GET", "https://acme.example/orders?token=x").unwrap_err();
    assert!(denial.asked.ends_with("/orders"), "{}", denial.asked);
    assert!(
        denial.smallest_grant.ends_with("paths = [\"/orders\"]"),
        "{}",
        denial.smallest_grant
    );
}

/// What a setup file says of grants, read and decided by.
fn pasted_grants(pasted: &str) -> Grants {
    let text = format!("[[connection]]\nname = \"erp\"\nplugin = {{ path = \"x.wasm\" }}\n\n{pasted}\n");
    let setup: stecker_model::Setup = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    setup.connections[0].grants.clone()
}

fn pasted_ceiling(pasted: &str) -> Grants {
    let limits: stecker_model::TenantLimits =
        toml::from_str(pasted).unwrap_or_else(|error| panic!("{error}\n{pasted}"));
    limits.ceiling.unwrap()
}

fn pasted_capabilities(pasted: &str) -> Grants {
    let text =
        format!("name = \"a/b\"\nversion = \"1.0.0\"\ntitle = \"B\"\ncontract = \"1.0.0\"\n{pasted}\n");
    let manifest =
        stecker_registry::Manifest::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    manifest.capabilities.as_grants(&serde_json::json!({})).unwrap()
}

/// Whatever is refused can be allowed by pasting what the refusal says, layer by layer.
#[test]
fn the_smallest_grant_is_enough() {
    for (method, url) in [
        ("GET", "https://api.acme.example/x"),
        ("POST", "http://api.acme.example/x"),
        ("PUT", "https://api.acme.example:8443/x"),
        ("GET", "http://127.0.0.1:8069/x"),
        ("GET", "http://localhost/x"),
        ("GET", "http://[::1]:9/x"),
        ("OPTIONS", "https://1.1.1.1/x"),
        ("GET", "https://10.1.2.3/x"),
        ("GET", "http://169.254.169.254/x"),
        ("GET", "https://[64:ff9b::10.1.2.3]/x"),
    ] {
        let parsed = parse(url).unwrap();
        let host = format!(
            "{}:{}",
            parsed.host().unwrap(),
            parsed.port_or_known_default().unwrap()
        );
        let asked = grants(&[grant(&host, &["https", "http"], &[method])]);
        let nothing = Policy::new(&asked, &Grants::default(), Some(&Grants::default())).unwrap();
        let denial = decide(&nothing, method, url).unwrap_err();
        assert_eq!(denial.layer, "grant");
        let granted = pasted_grants(&denial.smallest_grant);
        let denial = decide(
            &Policy::new(&asked, &granted, Some(&Grants::default())).unwrap(),
            method,
            url,
        )
        .unwrap_err();
        assert_eq!(denial.layer, "ceiling");
        let ceiling = pasted_ceiling(&denial.smallest_grant);
        let policy = Policy::new(&asked, &granted, Some(&ceiling)).unwrap();
        assert_eq!(rule(&policy, method, url), "allowed", "{}", denial.smallest_grant);
    }
    for url in ["https://api.acme.example/x", "http://api.acme.example:8080/x"] {
        let denial = decide(
            &Policy::new(&Grants::default(), &Grants::default(), None).unwrap(),
            "GET",
            url,
        )
        .unwrap_err();
        let asked = pasted_capabilities(&denial.smallest_grant);
        let policy = Policy::new(&asked, &asked, None).unwrap();
        assert_eq!(rule(&policy, "GET", url), "allowed", "{}", denial.smallest_grant);
    }
}

/// A name that resolves into the network of the machine: the carve-out is for the host, its port and the address.
#[test]
fn a_denied_address_says_what_opens_it() {
    let side = grants(&[grant("erp.acme.example", &["https"], &["GET"])]);
    let policy = Policy::new(&side, &side, Some(&side)).unwrap();
    let (method, url) = (Method::GET, parse("https://erp.acme.example/x").unwrap());
    let refused = |policy: &Policy, address: &str| {
        let carve_outs = policy.decide(&method, &url).unwrap();
        let refused = carve_outs.admit(address.parse().unwrap()).err()?;
        Some(deny_addresses(&method, &url, &[refused]))
    };
    let denial = refused(&policy, "64:ff9b::10.1.2.3").unwrap();
    assert_eq!(
        (denial.rule.as_str(), denial.layer.as_str()),
        ("http.address", "grant")
    );
    assert!(
        denial
            .asked
            .contains("at 64:ff9b::a01:203, which leads to 10.1.2.3, which is private (RFC 1918)"),
        "{}",
        denial.asked
    );
    assert!(
        denial.smallest_grant.contains("addresses = [\"10.1.2.3\"]"),
        "{}",
        denial.smallest_grant
    );
    let mut granted = side.clone();
    granted.http.extend(pasted_grants(&denial.smallest_grant).http);
    let policy = Policy::new(&side, &granted, Some(&side)).unwrap();
    let denial = refused(&policy, "10.1.2.3").unwrap();
    assert_eq!(denial.layer, "ceiling");
    let mut ceiling = side.clone();
    ceiling.http.extend(pasted_ceiling(&denial.smallest_grant).http);
    let policy = Policy::new(&side, &granted, Some(&ceiling)).unwrap();
    assert_eq!(refused(&policy, "10.1.2.3"), None);
    assert_eq!(refused(&policy, "10.1.2.4").unwrap().layer, "grant");
}

/// The carve-out of one grant is not that of another for the same host.
#[test]
fn a_carve_out_goes_with_its_grant() {
    let asked = grants(&[grant("erp.acme.example", &["https", "http"], &["GET", "POST"])]);
    let mut inside = grant("erp.acme.example", &["https"], &["GET"]);
    inside.addresses = vec!["10.1.2.3".to_owned()];
    let granted = grants(&[inside, grant("erp.acme.example", &["https", "http"], &["POST"])]);
    let policy = Policy::new(&asked, &granted, None).unwrap();
    let inside = "10.1.2.3".parse().unwrap();
    let open = |method, url| decide(&policy, method, url).unwrap().admit(inside).is_ok();
    assert!(open("GET", "https://erp.acme.example/"));
    assert!(!open("POST", "https://erp.acme.example/"));
    assert!(!open("POST", "http://erp.acme.example/"));
}

#[test]
fn grants_that_are_none() {
    for host in [
        "",
        "*",
        "*.example",
        "*.192.0.2.7",
        "a.*.example",
        "https://acme.example",
        "acme.example/api",
        "acme.example:0",
        "acme.example:99999",
        "acme.example:+80",
        "acme.example.",
        "acme..example",
        "user@acme.example",
        "::1",
    ] {
        let side = grants(&[grant(host, &["https"], &[])]);
        assert!(Policy::new(&side, &side, None).is_err(), "{host}");
    }
    let bad = |change: &dyn Fn(&mut HttpGrant)| {
        let mut one = grant("acme.example", &["https"], &[]);
        change(&mut one);
        let side = grants(&[one]);
        Policy::new(&side, &Grants::default(), None).is_err()
            && Policy::new(&Grants::default(), &side, None).is_err()
            && Policy::new(&Grants::default(), &Grants::default(), Some(&side)).is_err()
    };
    assert!(bad(&|grant| grant.schemes.clear()));
    assert!(bad(&|grant| grant.methods.push("CONNECT".to_owned())));
    assert!(bad(&|grant| grant.paths.push("api".to_owned())));
    assert!(bad(&|grant| grant.addresses.push("10.0.0.0/99".to_owned())));
}
