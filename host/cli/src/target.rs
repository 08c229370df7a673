//! Who does it: a server, or this very process in the data folder.

use std::{fs, path::PathBuf};

use stecker_model::Name;
use stecker_server::{
    Context, DataFolder, FolderError, Host, HostError, HostOptions, HttpClient, MasterKeyOption, Operations,
    Service,
};

use crate::{
    args::Globals,
    failure::{Failure, Result, failed},
    output::Output,
};

/// No option of the command line takes it: those can be seen by everybody on the machine.
const MASTER_KEY: &str = "STECKER_MASTER_KEY";

/// Who does it.
pub(crate) enum Target {
    /// This process, which has the data folder for itself.
    Here { host: Host, service: Service },
    /// A server.
    There(HttpClient),
}

impl Target {
    /// The server that is named, else the one that runs in the data folder, else this process.
    pub(crate) async fn find(globals: &Globals, output: Output, command: &str) -> Result<Self> {
        if let Some(server) = &globals.server {
            let client = HttpClient::new(server, &token(globals, server)?, &globals.tenant)?;
            if client.is_exposed() {
                output.note("warning: the token goes to that server without encryption; use https");
            }
            return Ok(Self::There(client));
        }
        match Host::open(&host_options(globals, command)?).await {
            Ok(host) => {
                let service = host.service(globals.tenant.clone(), "cli");
                Ok(Self::Here { host, service })
            }
            Err(HostError::Folder(locked @ FolderError::Locked { server: Some(_), .. })) => {
                let Some(context) = DataFolder::server_of(&data(globals)?) else {
                    return Err(HostError::from(locked).into());
                };
                Ok(Self::There(through(&context, &globals.tenant)?))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn operations(&self) -> &dyn Operations {
        match self {
            Self::Here { service, .. } => service,
            Self::There(client) => client,
        }
    }

    /// Gives the data folder back.
    pub(crate) async fn close(self) {
        if let Self::Here { host, service } = self {
            drop(service);
            host.close().await;
        }
    }
}

/// The options of a host in this process.
pub(crate) fn host_options(globals: &Globals, command: &str) -> Result<HostOptions> {
    let mut options = HostOptions::new(data(globals)?, command);
    options.database.clone_from(&globals.database);
    options.compiler = Some(myself()?);
    options.master_key = master_key(globals)?;
    Ok(options)
}

/// This program, to be started again for compiling.
fn myself() -> Result<PathBuf> {
    // The file may have been replaced by a newer version since, whose code would not fit.
    if cfg!(target_os = "linux") {
        return Ok("/proc/self/exe".into());
    }
    Ok(std::env::current_exe()?)
}

fn master_key(globals: &Globals) -> Result<MasterKeyOption> {
    let text = std::env::var(MASTER_KEY).ok().filter(|text| !text.is_empty());
    match (&globals.master_key_file, text) {
        (Some(_), Some(_)) => Err(Failure::Usage(format!(
            "there are two master keys: --master-key-file (or STECKER_MASTER_KEY_FILE) and {MASTER_KEY}; give one"
        ))),
        (Some(file), None) => Ok(MasterKeyOption::File(file.clone())),
        (None, Some(text)) => Ok(MasterKeyOption::Text(text.into())),
        (None, None) => Ok(MasterKeyOption::Own),
    }
}

/// The data folder: as told, else where the XDG Base Directory Specification puts data.
pub(crate) fn data(globals: &Globals) -> Result<PathBuf> {
    if let Some(data) = &globals.data {
        return Ok(data.clone());
    }
    let xdg = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    xdg.or_else(|| Some(std::env::home_dir()?.join(".local/share")))
        .map(|base| base.join("stecker"))
        .ok_or_else(|| {
            Failure::Usage("there is no home folder to keep data in; give a folder with --data".to_owned())
        })
}

/// The token as told, else the data folder's, if its server is the one that is meant.
fn token(globals: &Globals, server: &str) -> Result<String> {
    if let Some(token) = &globals.token {
        return Ok(token.clone());
    }
    let context = DataFolder::server_of(&data(globals)?);
    match context.filter(|context| context.url == server.trim_end_matches('/')) {
        Some(context) => read_token(&context),
        None => Err(Failure::Usage(
            "--server needs the server's token: give it with --token or STECKER_TOKEN. It is in the file `token` of the server's data folder"
                .to_owned(),
        )),
    }
}

/// The server that is named, or runs in the data folder, and its token; none: there is none.
pub(crate) fn server(globals: &Globals) -> Result<Option<(String, String)>> {
    if let Some(server) = &globals.server {
        return Ok(Some((server.clone(), token(globals, server)?)));
    }
    // A folder that is not there has no server; whether there is one at all does not matter here.
    let Some(context) = data(globals).ok().and_then(|data| DataFolder::server_of(&data)) else {
        return Ok(None);
    };
    let token = read_token(&context)?;
    Ok(Some((context.url, token)))
}

fn through(context: &Context, tenant: &Name) -> Result<HttpClient> {
    Ok(HttpClient::new(&context.url, &read_token(context)?, tenant)?)
}

fn read_token(context: &Context) -> Result<String> {
    fs::read_to_string(&context.token_file)
        .map(|text| text.trim().to_owned())
        .map_err(|error| {
            failed(
                "token",
                format!(
                    "the token of the server at {} cannot be read: {}: {error}",
                    context.url,
                    context.token_file.display()
                ),
            )
            .with_hint("run the command as the user that the server runs as, or give the token with --token")
            .into()
        })
}
