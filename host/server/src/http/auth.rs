//! Who asks. A bearer token (RFC 6750) is looked up and becomes a [`Principal`]; handlers only ever see that.
//!
//! Today there is one token, made by the host for its own operator. Tenants' keys and their roles come in here, as another
//! [`Authenticator`], and nothing else has to change.

use std::fmt;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use stecker_model::{Name, api::Problem};
use subtle::ConstantTimeEq;

use super::{AppState, problems::ApiProblem};
use crate::Service;

/// The header by which the installation's own operator chooses the tenant; the default tenant unless said otherwise.
pub const TENANT_HEADER: &str = "stecker-tenant";

/// Who asks, and within which tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// For the audit trail.
    pub name: String,
    /// What is seen and changed.
    pub tenant: Name,
    /// What is allowed.
    pub role: Role,
}

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything in every tenant: whoever holds the token in the host's data folder.
    Installation,
    /// Everything in the principal's own tenant.
    Tenant,
}

/// Knows whose a token is.
pub trait Authenticator: Send + Sync {
    /// The holder of the token, if there is one. Takes the same time for every wrong token of a length.
    fn principal(&self, token: &str) -> Option<Principal>;
}

/// The one token of the data folder.
pub struct BootstrapToken(String);

impl BootstrapToken {
    /// The holder of `token` is the installation's operator.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootstrapToken(…)")
    }
}

impl Authenticator for BootstrapToken {
    fn principal(&self, token: &str) -> Option<Principal> {
        // An empty token would let everybody in; there is none such, but a truncated file could make one.
        let same = !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(token.as_bytes()));
        same.then(|| Principal {
            name: "operator".to_owned(),
            tenant: Name::default_tenant(),
            role: Role::Installation,
        })
    }
}

/// Lets only known principals through to the API.
pub(crate) async fn require(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match identify(&state, request.headers()) {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn identify(state: &AppState, headers: &HeaderMap) -> Result<Principal, ApiProblem> {
    let unknown = |detail: &str| {
        Problem::new(401, "unauthorized", "Who are you?", detail).with_hint(
            "send `authorization: Bearer TOKEN`; the token is in the file `token` of the server's data folder, and `stecker --token` or \
             STECKER_TOKEN takes it",
        )
    };
    let token = headers
        .get(header::AUTHORIZATION)
        .ok_or_else(|| unknown("the request carries no token"))?
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unknown("the header `authorization` is not of the form `Bearer TOKEN`"))?;
    let mut principal = state
        .authenticator
        .principal(token)
        .ok_or_else(|| unknown("nobody here has this token"))?;
    if let Some(tenant) = headers.get(TENANT_HEADER) {
        let asked = tenant
            .to_str()
            .unwrap_or_default()
            .parse::<Name>()
            .map_err(|error| {
                let detail = format!("{TENANT_HEADER}: {error}");
                Problem::new(400, "bad-header", "Header not understood", detail)
                    .with_hint("give the name of a tenant, or leave the header away for the default one")
            })?;
        if principal.role != Role::Installation && asked != principal.tenant {
            let detail = format!(
                "{} belongs to the tenant {}, not to {asked}",
                principal.name, principal.tenant
            );
            return Err(Problem::new(403, "forbidden", "Not allowed", detail)
                .with_hint(format!("leave the header `{TENANT_HEADER}` away"))
                .into());
        }
        principal.tenant = asked;
    }
    Ok(principal)
}

/// The operations, as far as the principal may use them.
pub(crate) struct Ops(pub(crate) Service);

impl FromRequestParts<AppState> for Ops {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiProblem> {
        let principal = parts
            .extensions
            .get::<Principal>()
            .ok_or_else(|| crate::problem::internal("a path of the API is not behind the check of tokens"))?;
        Ok(Self(
            state.service.of(principal.tenant.clone(), principal.name.clone()),
        ))
    }
}

/// The operations, for the installation's own operator: a tenant cannot raise its own limits or look at others.
pub(crate) struct HostOps(pub(crate) Service);

impl FromRequestParts<AppState> for HostOps {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiProblem> {
        let Ops(service) = Ops::from_request_parts(parts, state).await?;
        let principal = parts.extensions.get::<Principal>();
        if principal.is_some_and(|principal| principal.role == Role::Installation) {
            return Ok(Self(service));
        }
        Err(Problem::new(
            403,
            "forbidden",
            "Not allowed",
            "this is for whoever runs the host, not for a tenant",
        )
        .with_hint("ask whoever holds the token of the host's data folder")
        .into())
    }
}
