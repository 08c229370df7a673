//! What the harness catches in plugins that break the contract, and the schema that is published with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests may do what tests may"
)]

use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use stecker_sdk::prelude::*;
use stecker_sdk::testing::Harness;

#[derive(Deserialize, JsonSchema)]
struct Config {
    /// Which rule to break.
    breaks: String,
}

struct Offender {
    breaks: String,
}

impl Plugin for Offender {
    type Config = Config;

    fn describe() -> Description {
        Description::new("Offender").upstream_until("Somewhere", "v1", "2027-01-31")
    }

    fn open(config: Config) -> Result<Self> {
        if config.breaks == "open" {
            return Err(Error::config("it cannot be opened").detail("path", "/breaks"));
        }
        Ok(Self {
            breaks: config.breaks,
        })
    }
}

#[derive(Serialize, JsonSchema)]
struct Thing {
    name: String,
}

impl Connection for Offender {
    fn check(&self) -> Result<Vec<Probe>> {
        Ok(vec![Probe {
            hint: None,
            ..Probe::failed("reach", "down", "")
        }])
    }

    fn discover(&self) -> Result<Vec<StreamInfo>> {
        let things = || StreamInfo::of::<Thing>("things").key(&["/name"]).modes(&["read"]);
        Ok(match self.breaks.as_str() {
            "twice" => vec![things(), things()],
            "mode" => vec![things().modes(&["readd"])],
            "pointer" => vec![things().key(&["name"])],
            _ => vec![things()],
        })
    }
}

impl Source for Offender {
    fn read(&self, request: &ReadRequest) -> Result<Page> {
        let thing = Record::upsert(
            "things",
            "1",
            "1",
            &Thing {
                name: "one".to_owned(),
            },
        )?;
        match self.breaks.as_str() {
            "stands still" => Ok(Page::new(vec![thing]).resume_where(request)),
            "too many" => Page::new(vec![thing; 3]).resume_at(&1),
            "schema" => Page::new(vec![thing.with_payload(&json!({"name": 7}))?]).resume_at(&1),
            "key" => Page::new(vec![Record {
                key: String::new(),
                ..thing
            }])
            .resume_at(&1),
            "stream" => Page::new(vec![Record {
                stream: "others".to_owned(),
                ..thing
            }])
            .resume_at(&1),
            _ => Page::new(vec![thing]).resume_at(&1),
        }
    }
}

impl Destination for Offender {
    fn write(&self, _: &str, _: &[WriteItem]) -> Result<Vec<Outcome>> {
        Ok(Vec::new())
    }
}

impl Transform for Offender {
    fn apply(&self, batch: &[Record]) -> Result<Vec<Transformed>> {
        Ok(batch
            .iter()
            .map(|_| Transformed::Drop(stecker_sdk::random::hex(4)))
            .collect())
    }
}

stecker_sdk::export_plugin!(Offender: connection, source, destination, transform);

fn caught(breaks: &str, call: impl FnOnce(&Harness<Offender>)) -> String {
    let harness = Harness::<Offender>::new(json!({"breaks": breaks}));
    let panic = catch_unwind(AssertUnwindSafe(|| call(&harness))).expect_err(breaks);
    let constant = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    panic
        .downcast_ref::<String>()
        .cloned()
        .or(constant)
        .unwrap_or_default()
}

#[test]
fn a_page_that_breaks_the_contract_fails_the_test() {
    for (breaks, says) in [
        ("stands still", "does not move on"),
        ("too many", "3 records, 2 were asked for"),
        ("schema", "at `/name`"),
        ("key", "1 to 512 bytes"),
        ("stream", "another stream"),
    ] {
        let message = caught(breaks, |harness| {
            let streams = harness.discover().unwrap();
            harness
                .read("things")
                .max_records(2)
                .conforming_to(&streams)
                .page()
                .ok();
        });
        assert!(message.contains(says), "{breaks}: {message}");
    }
}

#[test]
fn streams_probes_outcomes_and_purity_are_checked() {
    for (breaks, says) in [
        ("twice", "there twice"),
        ("mode", "modes that do not exist"),
        ("pointer", "no JSON Pointer"),
    ] {
        let message = caught(breaks, |harness| drop(harness.discover()));
        assert!(message.contains(says), "{breaks}: {message}");
    }
    assert!(caught("", |harness| drop(harness.check())).contains("what to do"));
    let thing = || vec![Record::delete("things", "1", "1")];
    assert!(caught("", |harness| drop(harness.write("things", thing()))).contains("one outcome per record"));
    assert!(caught("", |harness| drop(harness.apply(thing()))).contains("the same again"));
}

#[test]
fn the_configuration_is_checked_before_the_plugin_is_opened() {
    let error = Harness::<Offender>::new(json!({"breaks": ["x"]}))
        .discover()
        .unwrap_err();
    assert_eq!(
        (error.code(), error.detail_of("path")),
        ("config", Some("/breaks"))
    );
    let error = Harness::<Offender>::new(json!({"breaks": "open"}))
        .discover()
        .unwrap_err();
    assert_eq!(error.message(), "it cannot be opened");
}

#[test]
fn the_description_has_the_schema_of_the_configuration() {
    let description = Harness::<Offender>::new(json!({"breaks": ""})).describe();
    assert_eq!(
        description.config["properties"]["breaks"]["description"],
        "Which rule to break."
    );
    assert_eq!(
        description.config["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(description.upstream[0].sunset.as_deref(), Some("2027-01-31"));
}

/// The WIT points at this file. Set `STECKER_BLESS=1` to write it anew after `Description` changed.
#[test]
fn the_published_schema_of_descriptions_is_that_of_the_type() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/1.0.0/description.schema.json");
    let text = format!("{:#}\n", stecker_sdk::description_schema());
    if std::env::var_os("STECKER_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        published,
        text,
        "run this test with STECKER_BLESS=1 and commit {}",
        path.display()
    );
}
