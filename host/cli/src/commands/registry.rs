//! `stecker registry …`

use std::io::{self, Read as _};

use serde::Serialize;
use stecker_registry_server::{ServeOptions, serve};
use zeroize::Zeroizing;

use crate::{
    args::{Globals, Registry, ServeRegistry},
    failure::{Failure, Result, failed},
    output::{Output, bold},
    target,
};

/// Characters of a password, at least.
const SHORTEST: usize = 12;

pub(crate) async fn registry(globals: &Globals, output: Output, command: Registry) -> Result<()> {
    match command {
        Registry::Serve(words) => run(globals, output, words).await,
        Registry::User { name } => user(output, &name),
    }
}

/// Where it is.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Serving {
    url: String,
    data: String,
}

async fn run(globals: &Globals, output: Output, words: ServeRegistry) -> Result<()> {
    let data = match words.data {
        Some(data) => data,
        None => target::data(globals)?.join("registry"),
    };
    let options = ServeOptions {
        listen: words.listen,
        data: data.clone(),
        database: globals.database.clone(),
        users: words.users,
        anonymous_pull: words.anonymous_pull,
        public: words.public_url,
    };
    let mut told = Ok(());
    let tell = |address: std::net::SocketAddr| {
        let serving = Serving {
            url: format!("http://{address}"),
            data: data.display().to_string(),
        };
        told = output.answer(&serving, |page| {
            page.line(format!("{} {}", bold("serving plugins at"), serving.url));
            page.line(format!("  data      {}", serving.data));
            page.line(format!("  push to   {address}/NAMESPACE/NAME:VERSION"));
            page.line("  stop      ctrl-c");
        });
    };
    serve(options, tell, stecker_server::asked_to_end())
        .await
        .map_err(|error| failed("registry", error.to_string()))?;
    told.map_err(Failure::from)
}

fn user(output: Output, name: &str) -> Result<()> {
    if name.is_empty() || name.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
        return Err(Failure::Usage(
            "a user's name has no colon and no space in it".to_owned(),
        ));
    }
    let mut password = Zeroizing::new(String::new());
    io::stdin().read_to_string(&mut password)?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.chars().count() < SHORTEST {
        return Err(failed(
            "password",
            format!("the password has less than {SHORTEST} characters"),
        )
        .with_hint("`openssl rand -base64 24` makes a good one; it is read from standard input")
        .into());
    }
    let hash = stecker_distribution::hash_password(password)
        .map_err(|error| failed("password", error.to_string()))?;
    output.text(&format!("{name}:{hash}\n"))?;
    Ok(())
}
