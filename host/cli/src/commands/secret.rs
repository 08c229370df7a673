//! `stecker secret …`

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
};

use console::Term;
use stecker_model::{
    Authorize, Authorized, Name, RotateKeys, SecretInfo, SecretPart, SecretText, SetSecret, api::Problem,
};
use stecker_server::Operations;

use crate::{
    args::{Globals, Secret, SetSecret as Words},
    failure::{Result, failed, file},
    output::{Output, Page, bold, good, time},
    progress::Progress,
    target::Target,
};

/// More than any secret has.
const MAX_INPUT: u64 = 64 << 10;

pub(crate) async fn secret(globals: &Globals, output: Output, command: Secret) -> Result<()> {
    let target = Target::find(globals, output, "stecker secret").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Secret) -> Result<()> {
    let operations = target.operations();
    match command {
        Secret::List => {
            let all = operations.secrets().await?;
            output.answer(&all, |page| list(page, &all))?;
        }
        Secret::Set(words) => {
            let secret = SetSecret {
                value: value(&words, output)?,
                username: words.username,
                part: if words.refresh_token {
                    SecretPart::RefreshToken
                } else {
                    SecretPart::Secret
                },
            };
            let info = operations
                .set_secret(&words.connection, &words.credential, &secret)
                .await?;
            output.answer(&info, |page| {
                page.line(format!("{} {}/{}", good("set"), info.connection, info.credential));
            })?;
            if info.kind.is_none() {
                output.note(&format!(
                    "there is no connection {} yet that uses it",
                    info.connection
                ));
            }
        }
        Secret::Remove {
            connection,
            credential,
        } => {
            let info = operations.remove_secret(&connection, &credential).await?;
            output.answer(&info, |page| {
                page.line(format!("removed {connection}/{credential}"));
            })?;
        }
        Secret::Authorize {
            connection,
            credential,
            redirect_uri,
        } => authorize(operations, output, &connection, &credential, redirect_uri).await?,
        Secret::RotateKeys { master } => {
            let progress = Progress::new(output, "encrypting secrets again");
            let done = operations.rotate_keys(&RotateKeys { master }).await?;
            drop(progress);
            output.answer(&done, |page| {
                if done.key_version == 0 {
                    page.line("the tenant has no secrets");
                } else {
                    page.line(format!("{} data key {}", good("new"), done.key_version));
                    page.field("secrets", format!("{} encrypted again", done.items));
                }
                if done.data_keys > 0 {
                    page.field(
                        "master key",
                        format!("{} data keys encrypted again", done.data_keys),
                    );
                }
            })?;
        }
    }
    Ok(())
}

fn list(page: &mut Page, all: &[SecretInfo]) {
    if all.is_empty() {
        return page
            .line("no secrets in the vault; `stecker secret set CONNECTION CREDENTIAL` puts one there");
    }
    let when = |at: Option<i64>| at.map(time).unwrap_or_default();
    let rows = all.iter().map(|info| {
        vec![
            info.connection.to_string(),
            info.credential.to_string(),
            info.kind.clone().unwrap_or_default(),
            when(info.set_at.or(info.tokens_at)),
            when(info.used_at),
            when(info.expires_at),
        ]
    });
    page.table(
        &["CONNECTION", "CREDENTIAL", "KIND", "SET", "USED", "TOKEN ENDS"],
        &rows.collect::<Vec<_>>(),
    );
}

async fn authorize(
    operations: &dyn Operations,
    output: Output,
    connection: &Name,
    credential: &Name,
    redirect_uri: String,
) -> Result<()> {
    let begun = operations
        .authorize(connection, credential, &Authorize { redirect_uri })
        .await?;
    output.answer(&begun, |page| {
        page.line(bold("open this address in a browser and consent:"));
        page.line(format!("  {}", begun.url));
        page.line(format!("it counts until {}", time(begun.expires_at)));
    })?;
    output.note("then paste the whole address that the browser was sent to:");
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .map_err(|error| failed("input", format!("the address could not be read: {error}")))?;
    if line.trim().is_empty() {
        return Err(nothing("no address was given, so nothing was authorized").into());
    }
    let callback = SecretText::from(line);
    let info = operations
        .authorized(connection, credential, &Authorized { callback })
        .await?;
    output.answer(&info, |page| {
        page.line(format!("{} {connection}/{credential}", good("authorized")));
    })?;
    Ok(())
}

/// From where it was said, else asked for at the terminal, else what is piped in.
fn value(words: &Words, output: Output) -> Result<SecretText> {
    let text = if let Some(path) = &words.from_file {
        fs::read_to_string(path)
            .map_err(|error| file("read", path, error, "give the file with --from-file"))?
    } else if let Some(variable) = &words.from_env {
        std::env::var(variable)
            .map_err(|error| failed("input", format!("environment variable {variable}: {error}")))?
    } else if io::stdin().is_terminal() {
        output.note(&format!(
            "secret for {}/{} (not shown):",
            words.connection, words.credential
        ));
        Term::stderr()
            .read_secure_line()
            .map_err(|error| failed("input", format!("the secret could not be read: {error}")))?
    } else {
        let mut text = String::new();
        io::stdin()
            .take(MAX_INPUT)
            .read_to_string(&mut text)
            .map_err(|error| failed("input", format!("the secret could not be read: {error}")))?;
        text
    };
    let text = SecretText::from(text);
    let value = text.expose().trim_end_matches(['\r', '\n']);
    if value.is_empty() {
        return Err(nothing("there is no secret in what was given").into());
    }
    Ok(SecretText::from(value.to_owned()))
}

fn nothing(detail: &str) -> Problem {
    failed("input", detail).with_hint("pipe it in, or give --from-file or --from-env; nothing was changed")
}
