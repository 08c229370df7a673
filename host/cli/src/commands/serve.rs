//! `stecker serve`

use std::io;

use stecker_server::{RegistryOption, ServeOptions, Server};

use crate::{
    args::{Globals, Serve},
    failure::{Failure, Result},
    output::{Output, bold, warn},
    target,
};

pub(crate) async fn serve(globals: &Globals, output: Output, serve: &Serve) -> Result<()> {
    if globals.server.is_some() {
        return Err(Failure::Usage(
            "`serve` is a server itself; leave --server away (or unset STECKER_SERVER)".to_owned(),
        ));
    }
    let mut host = target::host_options(globals, "stecker serve")?;
    host.lease_ttl = serve.lease();
    host.dns.clone_from(&serve.dns);
    host.retention = serve.retention();
    host.blobs.clone_from(&serve.blobs);
    let mut options = ServeOptions {
        listen: serve.listen,
        anonymous_pull: serve.anonymous_pull,
        public: serve.public_url.clone(),
        ..ServeOptions::new(host)
    };
    if serve.no_registry {
        options.host.registry = RegistryOption::Off;
    }
    let has_registry = !serve.no_registry;
    let mut told = Ok(());
    stecker_server::serve(options, |server| told = tell(output, server, has_registry)).await?;
    told.map_err(Failure::from)
}

/// Where it is. Whoever started it may not listen; that is no reason not to serve.
fn tell(output: Output, server: &Server, has_registry: bool) -> io::Result<()> {
    let context = server.context();
    output.answer(context, |page| {
        page.line(format!("{} {}", bold("serving at"), context.url));
        page.line(format!("  token     {}", context.token_file.display()));
        page.line(format!("  API       {}/api/v1/openapi.json", context.url));
        page.line(format!("  webhooks  {}/hooks/TENANT/CONNECTION", context.url));
        if has_registry {
            page.line(format!("  registry  {}/v2/", context.url));
        }
        page.line("  stop      ctrl-c");
        if !server.address().ip().is_loopback() {
            let address = server.address();
            page.line(warn(&format!(
                "  {address} is reachable by others, unencrypted: put a proxy that speaks TLS in front of it"
            )));
        }
    })
}
