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
        storage: None,
    }
}

fn decide(policy: &Policy, method: &str, url: &str) -> Result<(), Denial> {
    policy.decide(&parse_method(method)?, &parse(url)?)
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
    192.0.2.7 https usual                         | GET     https://192.0.2.7/                             | allowed
    192.0.2.7 https usual                         | GET     https://0xc0000207/                            | allowed
    *.acme.example https usual                    | GET     https://192.0.2.7/                             | http.host
    [2001:db8::1] https usual                     | GET     https://[2001:db8::1]/                         | allowed
    [2001:db8::1]:8443 https usual                | GET     https://[2001:db8:0::1]:8443/                  | allowed
    localhost https,http usual                    | GET     http://localhost/                              | http.loopback
    localhost:80 https,http usual                 | GET     http://localhost/                              | allowed
    localhost:8080 https,http usual               | GET     http://localhost:8080/                         | allowed
    127.0.0.1 https,http usual                    | GET     http://127.0.0.1/                              | http.loopback
    127.0.0.1:8080 https,http usual               | GET     http://127.0.0.1:8080/                         | allowed
    127.0.0.1:8080 https,http usual               | GET     http://2130706433:8080/                        | allowed
    127.0.0.1:8080 https,http usual               | GET     http://127.0.0.2:8080/                         | http.host
    0.0.0.0 https,http usual                      | GET     http://0.0.0.0/                                | http.loopback
    [::1] https,http usual                        | GET     http://[::1]/                                  | http.loopback
    [::ffff:127.0.0.1] https,http usual           | GET     http://[::ffff:127.0.0.1]/                     | http.loopback
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
        let policy = Policy::new(&side, &side).unwrap();
        let rule = decide(&policy, method, url).err().map(|denial| denial.rule);
        assert_eq!(rule.as_deref().unwrap_or("allowed"), *expected, "{line}");
    }
}

#[test]
fn what_no_grant_allows() {
    let side = grants(&[grant("acme.example", &["https", "http"], &["GET", "OPTIONS"])]);
    let policy = Policy::new(&side, &side).unwrap();
    for (method, url, rule) in [
        ("GET", "https://user@acme.example/", "http.userinfo"),
        ("GET", "https://:pass@acme.example/", "http.userinfo"),
        ("GET", "ftp://acme.example/", "http.url-scheme"),
        ("GET", "file:///etc/passwd", "http.url-scheme"),
        ("GET", "acme.example", "http.url"),
        ("GET", "/relative", "http.url"),
        ("GET", "", "http.url"),
        ("GET", "https://", "http.url"),
        ("GET", "https://acme.example./", "http.url"),
        ("GET", "https://acme.exa\nmple/", "http.url"),
        ("GET", "https://acme.example/\u{0}", "http.url"),
        ("CONNECT", "https://acme.example/", "http.method"),
        ("TRACE", "https://acme.example/", "http.method"),
        ("get", "https://acme.example/", "http.method"),
        ("GET /\r\n", "https://acme.example/", "http.method"),
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
fn both_sides_have_to_agree() {
    let asked = grants(&[grant("*.acme.example", &["https"], &["GET", "POST"])]);
    let granted = grants(&[
        grant("api.acme.example", &["https", "http"], &["GET", "DELETE"]),
        grant("other.example", &["https"], &[]),
    ]);
    let policy = Policy::new(&asked, &granted).unwrap();
    let layer = |method, url| decide(&policy, method, url).err().map(|denial| denial.layer);
    assert_eq!(layer("GET", "https://api.acme.example/"), None);
    for (method, url, by) in [
        ("POST", "https://api.acme.example/", "grant"),
        ("GET", "https://shop.acme.example/", "grant"),
        ("DELETE", "https://api.acme.example/", "manifest"),
        ("GET", "http://api.acme.example/", "manifest"),
        ("GET", "https://other.example/", "manifest"),
    ] {
        assert_eq!(layer(method, url).as_deref(), Some(by), "{method} {url}");
    }
}

/// Whatever is refused by the operator's side can be allowed by pasting what the refusal says.
#[test]
fn the_smallest_grant_is_enough() {
    let urls = [
        ("GET", "https://api.acme.example/x"),
        ("POST", "http://api.acme.example/x"),
        ("PUT", "https://api.acme.example:8443/x"),
        ("GET", "http://127.0.0.1:8069/x"),
        ("GET", "http://localhost/x"),
        ("GET", "http://[::1]:9/x"),
        ("OPTIONS", "https://192.0.2.7/x"),
    ];
    for (method, url) in urls {
        let parsed = parse(url).unwrap();
        let host = format!(
            "{}:{}",
            parsed.host().unwrap(),
            parsed.port_or_known_default().unwrap()
        );
        let asked = grants(&[grant(&host, &["https", "http"], &[method])]);
        let nothing = Policy::new(&asked, &Grants::default()).unwrap();
        let denial = decide(&nothing, method, url).unwrap_err();
        assert_eq!(denial.layer, "grant");

        let setup: stecker_model::Setup = toml_setup(&denial.smallest_grant);
        let policy = Policy::new(&asked, &setup.connections[0].grants).unwrap();
        assert_eq!(decide(&policy, method, url), Ok(()), "{}", denial.smallest_grant);
    }
}

fn toml_setup(pasted: &str) -> stecker_model::Setup {
    let text = format!("[[connection]]\nname = \"erp\"\nplugin = {{ path = \"x.wasm\" }}\n\n{pasted}\n");
    toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn grants_that_are_none() {
    for (host, schemes, methods) in [
        ("", &["https"][..], &[][..]),
        ("*", &["https"], &[]),
        ("*.example", &["https"], &[]),
        ("*.192.0.2.7", &["https"], &[]),
        ("a.*.example", &["https"], &[]),
        ("https://acme.example", &["https"], &[]),
        ("acme.example/api", &["https"], &[]),
        ("acme.example:0", &["https"], &[]),
        ("acme.example:99999", &["https"], &[]),
        ("acme.example:+80", &["https"], &[]),
        ("acme.example.", &["https"], &[]),
        ("user@acme.example", &["https"], &[]),
        ("::1", &["https"], &[]),
        ("acme.example", &[], &[]),
        ("acme.example", &["ftp"], &[]),
        ("acme.example", &["https"], &["get"]),
        ("acme.example", &["https"], &["CONNECT"]),
    ] {
        let side = grants(&[grant(host, schemes, methods)]);
        assert!(
            Policy::new(&side, &side).is_err(),
            "{host} {schemes:?} {methods:?}"
        );
    }
}
