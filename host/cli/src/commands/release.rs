//! `stecker release …`

use std::fs;

use crate::{
    args::{Globals, Release},
    failure::{Result, failed, file},
    output::{Output, dim, good, time},
    progress::Progress,
    target::Target,
};

pub(crate) async fn release(globals: &Globals, output: Output, command: Release) -> Result<()> {
    // A file that is no plugin is refused before a host is looked for.
    let component = match &command {
        Release::List => Vec::new(),
        Release::Add { file: path } => {
            let bytes = fs::read(path)
                .map_err(|error| file("read", path, error, "`stecker plugin build` makes components"))?;
            stecker_registry::inspect(&bytes)
                .map_err(|error| failed("not-a-plugin", format!("{}: {error}", path.display())))?;
            bytes
        }
    };
    let target = Target::find(globals, output, "stecker release").await?;
    let result = answer(&target, output, command, component).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Release, component: Vec<u8>) -> Result<()> {
    let operations = target.operations();
    match command {
        Release::List => {
            let all = operations.releases().await?;
            output.answer(&all, |page| {
                if all.is_empty() {
                    return page.line(
                        "no releases yet; `stecker release add FILE` adds one, and so does `stecker apply`",
                    );
                }
                let rows = all.iter().map(|release| {
                    vec![
                        release.name.clone(),
                        release.version.clone(),
                        release.digest.short().to_owned(),
                        (release.size / 1_024).to_string(),
                        release
                            .roles
                            .iter()
                            .filter(|role| *role != "meta")
                            .cloned()
                            .collect::<Vec<_>>()
                            .join(" "),
                        time(release.added_at),
                    ]
                });
                page.table(
                    &["NAME", "VERSION", "DIGEST", "KIB", "ROLES", "ADDED"],
                    &rows.collect::<Vec<_>>(),
                );
            })?;
        }
        Release::Add { file } => {
            let progress = Progress::new(output, &format!("adding {}", file.display()));
            let info = operations.add_release(component).await?;
            drop(progress);
            output.answer(&info, |page| {
                page.line(format!(
                    "{} {}@{} {}",
                    good("added"),
                    info.name,
                    info.version,
                    dim(info.digest.as_str())
                ));
            })?;
        }
    }
    Ok(())
}
