//! `stecker plugin …`

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::Value;
use stecker_build::{BuildError, BuildRequest, GuestToolchain, build_plugins};
use stecker_model::Digest;
use stecker_server::ReleaseReport;

use crate::{
    args::{BuildPlugin, Globals, Plugin},
    failure::{Failure, Result, failed, file},
    output::{Output, Page, bold, dim, good},
    progress::Progress,
    scaffold, target,
};

pub(crate) async fn plugin(globals: &Globals, output: Output, command: Plugin) -> Result<()> {
    match command {
        Plugin::New(new) => scaffold::new(output, &new),
        Plugin::Publish(words) => super::publish::publish(globals, output, words).await,
        Plugin::Pull(words) => super::pull::pull(globals, output, words).await,
        Plugin::Versions(words) => super::publish::versions(globals, output, words).await,
        Plugin::Search(words) => super::manage::search(globals, output, words).await,
        Plugin::Info(words) => super::manage::info(globals, output, words).await,
        Plugin::Yank(words) => super::manage::yank(globals, output, words).await,
        Plugin::Unyank(words) => super::manage::unyank(globals, output, words).await,
        Plugin::Deprecate(words) => super::manage::deprecate(globals, output, words).await,
        Plugin::Undeprecate(words) => super::manage::undeprecate(globals, output, words).await,
        Plugin::Check(check) => super::check::check(globals, output, check).await,
        Plugin::Build(build) => {
            let built = tokio::task::spawn_blocking(move || run_build(output, build)).await;
            built.map_err(|error| failed("build", error.to_string()))?
        }
        Plugin::Inspect { file: path } => {
            let bytes = fs::read(&path)
                .map_err(|error| file("read", &path, error, "`stecker plugin build` makes components"))?;
            let progress = Progress::new(output, &format!("compiling {}", path.display()));
            // The cache only if there is a data folder already: a look changes nothing.
            let cache = target::data(globals)
                .ok()
                .map(|data| data.join("cache"))
                .filter(|cache| cache.is_dir());
            let report = stecker_server::inspect_component(bytes, cache.as_deref())
                .await
                .map_err(|mut problem| {
                    problem.detail = format!("{}: {}", path.display(), problem.detail);
                    problem
                })?;
            drop(progress);
            output.answer(&report, |page| show(page, &report))?;
            Ok(())
        }
    }
}

/// A component that was built.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Built {
    name: String,
    version: String,
    file: std::path::PathBuf,
    digest: Digest,
    size: u64,
    roles: Vec<String>,
}

fn run_build(output: Output, build: BuildPlugin) -> Result<()> {
    if !build.dir.join("Cargo.toml").is_file() {
        return Err(failed(
            "build",
            format!("there is no Cargo.toml in {}", build.dir.display()),
        )
        .with_hint("give the folder of a plugin, or make one with `stecker plugin new`")
        .into());
    }
    let progress = Progress::new(output, "looking for a compiler for WebAssembly");
    let say = |step: &str| {
        progress.say(step);
        // Warnings of the compiler are several lines; they are for the author.
        if step.contains('\n') {
            output.note(step);
        }
    };
    let request = BuildRequest {
        workspace_dir: absolute(&build.dir)?,
        plugins: build.only,
        release: !build.debug,
        out_dir: build.out.as_deref().map(absolute).transpose()?,
        color: output.colors_errors(),
        ..BuildRequest::default()
    };
    let built =
        GuestToolchain::find_or_make(&say).and_then(|toolchain| build_plugins(&toolchain, &request, &say));
    drop(progress);
    let built = built.map_err(|error| refused(&error))?;
    let built: Vec<Built> = built
        .into_iter()
        .map(|plugin| Built {
            name: plugin.name.to_string(),
            version: plugin.inspection.manifest.version.to_string(),
            file: plugin.path,
            digest: plugin.inspection.digest,
            size: plugin.inspection.size,
            roles: plugin.inspection.roles.iter().map(ToString::to_string).collect(),
        })
        .collect();
    output.answer(&built, |page| {
        for plugin in &built {
            let size = dim(&format!(
                "({} KiB, {})",
                plugin.size / 1_024,
                plugin.digest.short()
            ));
            page.line(format!(
                "{} {}@{} {} {size}",
                good("built"),
                plugin.name,
                plugin.version,
                plugin.file.display()
            ));
        }
    })?;
    Ok(())
}

fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    std::path::absolute(path).map_err(|error| file("find", path, error, "check the path"))
}

fn refused(error: &BuildError) -> Failure {
    failed("build", error.to_string()).into()
}

fn show(page: &mut Page, report: &ReleaseReport) {
    let inspection = &report.inspection;
    let manifest = &inspection.manifest;
    page.field("plugin", format!("{}@{}", manifest.name, manifest.version));
    page.field("title", &manifest.title);
    page.field("description", &manifest.description);
    page.field("digest", inspection.digest.as_str());
    page.field("size", format!("{} KiB", inspection.size / 1_024));
    page.field("contract", inspection.contract.to_string());
    page.field(
        "roles",
        inspection
            .roles
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
    );
    list(page, "imports", inspection.imports.iter().cloned());
    let http = manifest.capabilities.http.iter().map(|http| {
        let hosts: Vec<String> = http.hosts.iter().map(ToString::to_string).collect();
        let methods: Vec<&str> = http.methods.iter().map(|method| method.as_str()).collect();
        format!(
            "{} {} {}",
            methods.join(","),
            hosts.join(" "),
            dim(&format!("— {}", http.purpose))
        )
    });
    let storage = manifest
        .capabilities
        .storage
        .iter()
        .map(|storage| format!("storage of {} bytes", storage.max_bytes));
    let blobs = manifest.capabilities.blobs.iter().map(|blobs| {
        format!(
            "blobs of {} bytes, {} each",
            blobs.max_bytes, blobs.max_blob_bytes
        )
    });
    list(page, "asks for", http.chain(storage).chain(blobs));
    list(
        page,
        "credentials",
        manifest
            .credentials
            .iter()
            .map(|(name, credential)| format!("{name} {}", dim(&format!("— {}", credential.description)))),
    );
    let streams = report
        .description
        .get("streams")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let modes = |value: &Value| {
        let modes = value
            .get("modes")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        modes
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    list(
        page,
        "streams",
        streams
            .iter()
            .map(|stream| format!("{} {}", text(stream, "name"), dim(&modes(stream)))),
    );
    if let Some(schema) = report
        .description
        .get("config")
        .filter(|schema| !schema.is_null())
    {
        page.line(bold("configuration"));
        page.line(serde_json::to_string_pretty(schema).unwrap_or_default());
    }
}

/// One to a line; nothing if there are none.
fn list(page: &mut Page, name: &str, items: impl Iterator<Item = String>) {
    for (index, item) in items.enumerate() {
        if index == 0 {
            page.field(name, item);
        } else {
            page.line(format!("{:<14} {item}", ""));
        }
    }
}
