//! The days at which vendors end the APIs that a release speaks to. Pure.

use jiff::civil::Date;
use stecker_registry::{Manifest, manifest::Sunset};

use crate::{Code, findings::Findings};

pub(crate) fn check(manifest: &Manifest, today: Date, findings: &mut Findings<'_>) {
    if manifest.upstream.is_empty() && !manifest.capabilities.http.is_empty() {
        findings.add(
            Code::UpstreamUndeclared,
            "the manifest asks for requests and has no `[[upstream]]`",
        );
    }
    let of = |code: Code| {
        manifest.upstream.iter().filter_map(move |upstream| {
            let what = format!("{} {}", upstream.system, upstream.api_version);
            match (code, upstream.sunset) {
                (Code::SunsetMissing, None) => Some(format!("{what} has no `sunset`")),
                (Code::SunsetPast, Some(Sunset::On(date))) if date <= today => {
                    Some(format!("{what} ended on {date}"))
                }
                (Code::SunsetUnproven, Some(Sunset::On(date))) if upstream.url.is_none() => {
                    Some(format!("{what} ends on {date}, and no page says so"))
                }
                _ => None,
            }
        })
    };
    for code in [Code::SunsetMissing, Code::SunsetPast, Code::SunsetUnproven] {
        findings.add_each(code, of(code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatePolicy;

    fn found(upstream: &str) -> Vec<Code> {
        let manifest = Manifest::from_toml(&format!(
            "name = \"a/b\"\nversion = \"1.0.0\"\ntitle = \"B\"\ncontract = \"1.0.0\"\n[[capabilities.http]]\nhosts = [\"a.example\"]\n\
             methods = [\"GET\"]\npurpose = \"p\"\n{upstream}"
        ))
        .unwrap();
        let policy = GatePolicy::publish();
        let mut findings = Findings::new(&policy);
        check(&manifest, jiff::civil::date(2026, 6, 1), &mut findings);
        findings.into_list().iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn every_api_has_a_day_or_none_by_name() {
        let with = |fields: &str| {
            found(&format!(
                "[[upstream]]\nsystem = \"A\"\napi-version = \"1\"\n{fields}"
            ))
        };
        let url = "url = \"https://a.example/versions\"";
        assert_eq!(found(""), [Code::UpstreamUndeclared]);
        assert_eq!(with(""), [Code::SunsetMissing]);
        assert_eq!(with("sunset = \"none\""), []);
        assert_eq!(with(&format!("sunset = 2027-01-31\n{url}")), []);
        assert_eq!(with("sunset = 2027-01-31"), [Code::SunsetUnproven]);
        assert_eq!(with(&format!("sunset = 2026-06-01\n{url}")), [Code::SunsetPast]);
        assert_eq!(with(&format!("sunset = 2026-06-02\n{url}")), []);
    }
}
