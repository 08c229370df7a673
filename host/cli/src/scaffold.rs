//! `stecker plugin new`: a folder that builds, has a passing test, and says in its comments what to change.
//!
//! The templates lie in `templates/` as they are written out, with a few words in `@…@` to fill in; this crate's tests build them
//! and run their tests, so that they cannot rot.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    args::{Kind, NewPlugin},
    failure::{Result, failed, file},
    output::{Output, bold, good},
};

/// What is written, by kind.
const fn sources(kind: Kind) -> [(&'static str, &'static str); 5] {
    let (manifest, lib, test) = match kind {
        Kind::Source => (
            include_str!("../templates/source/plugin.toml"),
            include_str!("../templates/source/lib.rs.txt"),
            include_str!("../templates/source/test.rs.txt"),
        ),
        Kind::Destination => (
            include_str!("../templates/destination/plugin.toml"),
            include_str!("../templates/destination/lib.rs.txt"),
            include_str!("../templates/destination/test.rs.txt"),
        ),
        Kind::Transform => (
            include_str!("../templates/transform/plugin.toml"),
            include_str!("../templates/transform/lib.rs.txt"),
            include_str!("../templates/transform/test.rs.txt"),
        ),
    };
    [
        ("Cargo.toml", include_str!("../templates/Cargo.toml.txt")),
        ("plugin.toml", manifest),
        ("src/lib.rs", lib),
        ("tests/behaviour.rs", test),
        ("README.md", include_str!("../templates/README.md")),
    ]
}

/// What was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Made {
    name: String,
    path: PathBuf,
    files: Vec<PathBuf>,
}

pub(crate) fn new(output: Output, wish: &NewPlugin) -> Result<()> {
    let folder = wish
        .path
        .clone()
        .unwrap_or_else(|| PathBuf::from(wish.name.name()));
    if !is_free(&folder)? {
        return Err(failed(
            "not-empty",
            format!("{} is there already and not empty", folder.display()),
        )
        .with_hint("give another folder with --path; nothing was written")
        .into());
    }
    let folder = std::path::absolute(&folder)
        .map_err(|error| file("find", &folder, error, "give another folder with --path"))?;
    let sdk = sdk(wish, &folder)?;
    let dependency = match &sdk {
        Some(path) => format!(
            "stecker-sdk = {{ path = {} }}",
            toml::Value::from(relative(path, &folder).display().to_string())
        ),
        None => {
            output.note("note: the SDK was not found near here; Cargo.toml names it by version, and --sdk-path would name a folder");
            format!("stecker-sdk = \"{}\"", env!("CARGO_PKG_VERSION"))
        }
    };
    let package = format!("{}-{}", wish.name.namespace(), wish.name.name());
    let words = [
        ("@NAME@", wish.name.as_str().to_owned()),
        ("@PACKAGE@", package.clone()),
        ("@CRATE@", package.replace('-', "_")),
        ("@TITLE@", title(wish.name.name())),
        ("@TYPE@", title(wish.name.name()).replace(' ', "")),
        ("@SDK@", dependency),
        (
            "@FILE@",
            format!("{}-{}-0.1.0.wasm", wish.name.namespace(), wish.name.name()),
        ),
    ];
    let mut files = Vec::new();
    for (name, template) in sources(wish.kind) {
        let text = words.iter().fold(template.to_owned(), |text, (word, value)| {
            text.replace(word, value)
        });
        let path = folder.join(name);
        let written =
            fs::create_dir_all(path.parent().unwrap_or(&folder)).and_then(|()| fs::write(&path, text));
        written.map_err(|error| {
            file(
                "write",
                &path,
                error,
                "choose a folder that can be written, with --path",
            )
        })?;
        files.push(PathBuf::from(name));
    }
    fs::write(folder.join(".gitignore"), "/target\n").map_err(|error| {
        file(
            "write",
            &folder,
            error,
            "choose a folder that can be written, with --path",
        )
    })?;
    let made = Made {
        name: wish.name.to_string(),
        path: folder.clone(),
        files,
    };
    output.answer(&made, |page| {
        page.line(format!(
            "{} {} in {}",
            good("made"),
            bold(&made.name),
            folder.display()
        ));
        page.line(format!("  cd {}", folder.display()));
        page.line("  cargo test               its tests, without WebAssembly or network");
        page.line("  stecker plugin build     the component");
    })?;
    Ok(())
}

fn is_free(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(file("use", folder, error, "give another folder with --path")),
    }
}

/// As told; else the SDK's sources above the new folder, or above this one.
fn sdk(wish: &NewPlugin, folder: &Path) -> Result<Option<PathBuf>> {
    if let Some(path) = &wish.sdk_path {
        if !is_sdk(path) {
            return Err(failed(
                "no-sdk",
                format!(
                    "{} is not the SDK: its Cargo.toml would name the package stecker-sdk",
                    path.display()
                ),
            )
            .with_hint("give the folder plugin-sdk/rust of Stecker's sources")
            .into());
        }
        return fs::canonicalize(path)
            .map(Some)
            .map_err(|error| file("find", path, error, "give another one with --sdk-path"));
    }
    let here = std::env::current_dir().unwrap_or_default();
    let above = folder
        .ancestors()
        .chain(here.ancestors())
        .map(|parent| parent.join("plugin-sdk/rust"));
    Ok(above
        .filter(|path| is_sdk(path))
        .find_map(|path| fs::canonicalize(path).ok()))
}

fn is_sdk(path: &Path) -> bool {
    let package = fs::read_to_string(path.join("Cargo.toml"))
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok());
    package.is_some_and(|table| {
        table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(toml::Value::as_str)
            == Some("stecker-sdk")
    })
}

/// Relative if both are in the same project, so that it can be moved and shared; else absolute.
fn relative(sdk: &Path, folder: &Path) -> PathBuf {
    let shared = sdk
        .parent()
        .and_then(Path::parent)
        .filter(|root| folder.starts_with(root));
    let Some(inner) = shared.and_then(|root| folder.strip_prefix(root).ok()) else {
        return sdk.to_owned();
    };
    let mut path: PathBuf = inner.components().map(|_| "..").collect();
    path.push("plugin-sdk/rust");
    path
}

/// `clean-up` → `Clean Up`.
fn title(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_ascii_uppercase().to_string() + letters.as_str()
        })
    };
    name.split('-').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_named_relative_within_a_project_and_absolute_elsewhere() {
        let sdk = Path::new("/home/a/stecker/plugin-sdk/rust");
        assert_eq!(
            relative(sdk, Path::new("/home/a/stecker/plugins/connectors/shop")),
            Path::new("../../../plugin-sdk/rust")
        );
        assert_eq!(relative(sdk, Path::new("/home/a/shop")), sdk);
    }

    #[test]
    fn every_template_has_a_manifest_that_is_valid_and_no_word_left() {
        for kind in [Kind::Source, Kind::Destination, Kind::Transform] {
            for (name, template) in sources(kind) {
                let text = template.replace("@NAME@", "acme/shop").replace("@TITLE@", "Shop");
                if name == "plugin.toml" {
                    stecker_registry::Manifest::from_toml(&text).unwrap();
                    assert!(!text.contains('@'), "{text}");
                }
            }
        }
        assert_eq!(title("clean-up"), "Clean Up");
    }
}
