//! Who asks, and whether they may. Who is not known is told how to become so (401); who is known and may not is told that (403).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{header, request::Parts};

use super::{Asked, Http};
use crate::{
    auth::{Access, AccessError, Action, Actions, Auth, Grant, Identity, Scope},
    error::{ApiError, Code},
    name::RepositoryName,
};

/// Who asks.
#[derive(Debug)]
pub(crate) enum Caller {
    /// Nobody is asked who they are.
    Anybody,
    /// Somebody who said who they are, or did not.
    Known(Identity),
    /// Somebody with a token, which says what they may do.
    Token(Vec<Grant>),
}

/// A user and a password of a `Basic` header's value.
pub(super) fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, credentials) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

pub(super) fn undecided(error: &AccessError) -> ApiError {
    tracing::error!(%error, "access could not be decided");
    ApiError::new(Code::Unknown, "access cannot be decided now: try again")
        .status(http::StatusCode::SERVICE_UNAVAILABLE)
}

impl Caller {
    pub(super) async fn of(http: &Http, parts: &Parts) -> Result<Self, ApiError> {
        let access = match &http.auth {
            Auth::Open => return Ok(Self::Anybody),
            Auth::Basic { access, .. } | Auth::Bearer { access, .. } => access,
        };
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Ok(Self::Known(Identity::Anonymous));
        };
        let value = value.to_str().unwrap_or_default();
        if let Some((user, password)) = basic(value) {
            if access
                .knows(&user, &password)
                .await
                .map_err(|error| undecided(&error))?
            {
                return Ok(Self::Known(Identity::User(user)));
            }
            return Err(unauthorized(
                http,
                None,
                "the user or the password is wrong",
                None,
            ));
        }
        if let Some((scheme, token)) = value.split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
        {
            let token = token.trim();
            if let Auth::Bearer { issuer, .. } = &http.auth
                && let Some((_, grants)) = issuer.read(token, http.registry.now() / 1000)
            {
                return Ok(Self::Token(grants));
            }
            if let Some(who) = access.bearer(token).await.map_err(|error| undecided(&error))? {
                return Ok(Self::Known(who));
            }
        }
        // A client that comes with an old token asks for a new one with the scope that it is told: the one of this path.
        let scope = crate::route::Route::parse(parts.uri.path())
            .ok()
            .and_then(|route| scope_of(&route, &parts.method));
        Err(unauthorized(
            http,
            scope.as_ref(),
            "the token is not good (any more)",
            Some("invalid_token"),
        ))
    }

    /// That somebody said who they are.
    pub(super) fn require_known(&self, http: &Http) -> Result<(), ApiError> {
        match self {
            Self::Known(Identity::Anonymous) => Err(unauthorized(http, None, "say who you are", None)),
            Self::Anybody | Self::Known(Identity::User(_)) | Self::Token(_) => Ok(()),
        }
    }

    pub(super) async fn rights(&self, http: &Http, repository: &RepositoryName) -> Result<Actions, ApiError> {
        match (self, &http.auth) {
            (Self::Anybody, _) | (_, Auth::Open) => Ok(Actions::ALL),
            (Self::Token(grants), _) => Ok(grants
                .iter()
                .fold(Actions::NONE, |actions, grant| actions.or(grant.on(repository)))),
            (Self::Known(who), Auth::Basic { access, .. } | Auth::Bearer { access, .. }) => {
                rights(&**access, who, repository).await
            }
        }
    }
}

pub(super) async fn rights(
    access: &dyn Access,
    who: &Identity,
    repository: &RepositoryName,
) -> Result<Actions, ApiError> {
    access
        .rights(who, repository)
        .await
        .map_err(|error| undecided(&error))
}

fn scope_of(route: &crate::route::Route, method: &http::Method) -> Option<Scope> {
    use crate::route::Route;
    let repository = match route {
        Route::Base => return None,
        Route::Tags(name)
        | Route::Manifest(name, _)
        | Route::Blob(name, _)
        | Route::Uploads(name)
        | Route::Upload(name, _)
        | Route::Referrers(name, _) => name.clone(),
    };
    let uploads = matches!(route, Route::Uploads(_) | Route::Upload(..));
    let actions = match *method {
        http::Method::DELETE if !uploads => wanted(Action::Delete),
        http::Method::GET | http::Method::HEAD if !uploads => wanted(Action::Pull),
        _ => wanted(Action::Push),
    };
    Some(Scope { repository, actions })
}

/// What a client has to ask for to do something. Who pushes looks at what is there, too.
fn wanted(action: Action) -> Actions {
    match action {
        Action::Pull => Actions::PULL,
        Action::Push => Actions::PUSH,
        Action::Delete => Actions {
            delete: true,
            ..Actions::NONE
        },
    }
}

impl Caller {
    pub(super) async fn require(
        &self,
        http: &Http,
        repository: &RepositoryName,
        action: Action,
    ) -> Result<(), ApiError> {
        if self.rights(http, repository).await?.allow(action) {
            return Ok(());
        }
        let scope = Scope {
            repository: repository.clone(),
            actions: wanted(action),
        };
        let message = format!("this needs the right to {} in {repository}", action.as_str());
        match self {
            Self::Known(Identity::User(_)) => Err(ApiError::new(Code::Denied, message)),
            // A token may be for something else: the client is to ask for another one.
            Self::Token(_) => Err(unauthorized(
                http,
                Some(&scope),
                &message,
                Some("insufficient_scope"),
            )),
            Self::Known(Identity::Anonymous) | Self::Anybody => {
                Err(unauthorized(http, Some(&scope), &message, None))
            }
        }
    }
}

impl Asked<'_> {
    pub(super) async fn may(&self, repository: &RepositoryName, action: Action) -> Result<bool, ApiError> {
        Ok(self.caller.rights(self.http, repository).await?.allow(action))
    }

    pub(super) async fn require(&self, repository: &RepositoryName, action: Action) -> Result<(), ApiError> {
        self.caller.require(self.http, repository, action).await
    }
}

/// 401 with the way to do better.
pub(super) fn unauthorized(
    http: &Http,
    scope: Option<&Scope>,
    message: &str,
    error: Option<&str>,
) -> ApiError {
    let answer = ApiError::new(Code::Unauthorized, message);
    let challenge = match &http.auth {
        Auth::Open => return answer,
        Auth::Basic { realm, .. } => format!("Basic realm=\"{}\", charset=\"UTF-8\"", plain(realm)),
        Auth::Bearer { realm, service, .. } => {
            let mut challenge = format!("Bearer realm=\"{}\",service=\"{}\"", plain(realm), plain(service));
            if let Some(scope) = scope {
                challenge.push_str(&format!(",scope=\"{scope}\""));
            }
            if let Some(error) = error {
                challenge.push_str(&format!(",error=\"{error}\""));
            }
            challenge
        }
    };
    answer.header(header::WWW_AUTHENTICATE, challenge)
}

/// Clients read these with simple means: what would end the quoted text is left out.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
        .collect()
}
