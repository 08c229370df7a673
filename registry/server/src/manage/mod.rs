//! The management API: what is to be said about releases that OCI has no words for. JSON below `/registry/v1/`, errors in OCI's form; who may push
//! into a plugin's repository may yank and deprecate there, and who may pull from it sees it here.
//!
//! | method | path | what |
//! |---|---|---|
//! | GET | `releases?q=&name=&n=&last=` | releases, yanked ones too, in pages |
//! | GET | `releases/{namespace}/{name}/{version}` | all about one |
//! | PUT, DELETE | `releases/{namespace}/{name}/{version}/yanked` | out of what is offered, and back |
//! | PUT, DELETE | `releases/{namespace}/{name}/{version}/deprecated` | to be left, or not any more |
//!
//! PUT and DELETE may be repeated: what they ask for is so afterwards. They answer with all about the release.

mod facts;
mod list;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use semver::Version;
use serde::{Serialize, de::DeserializeOwned};
use stecker_distribution::{Action, ApiError, Code, Http, Release, RepositoryName, Tag};
use stecker_package::{DeprecateRelease, DeprecatedRelease, ListedRelease, YankRelease, YankedRelease, tag};
use stecker_registry::PluginName;

pub(crate) use self::facts::Facts;

/// Bytes of a decision, at most.
const BODY: usize = 64 * 1024;

/// What handlers can reach.
#[derive(Debug)]
pub(crate) struct Manage {
    pub(crate) http: Http,
    pub(crate) facts: Facts,
    /// What stands before a plugin's name in the name of its repository.
    pub(crate) prefix: String,
}

pub(crate) fn router(manage: Arc<Manage>) -> Router {
    let one = "/registry/v1/releases/{namespace}/{name}/{version}";
    Router::new()
        .route("/registry/v1/releases", routing::get(list::list))
        .route(one, routing::get(show))
        .route(&format!("{one}/yanked"), routing::put(yank).delete(unyank))
        .route(
            &format!("{one}/deprecated"),
            routing::put(deprecate).delete(undeprecate),
        )
        .with_state(manage)
}

type Which = Path<(String, String, String)>;

/// A release that somebody asks about.
struct Asked {
    name: PluginName,
    version: Version,
    repository: RepositoryName,
    tag: Tag,
}

impl Asked {
    fn of(prefix: &str, (namespace, name, version): (String, String, String)) -> Result<Self, ApiError> {
        let bad = |reason: String| {
            ApiError::new(Code::NameInvalid, reason).status(axum::http::StatusCode::BAD_REQUEST)
        };
        let name = format!("{namespace}/{name}");
        let name: PluginName = name
            .parse()
            .map_err(|error| bad(format!("`{name}` is no name of a plugin: {error}")))?;
        let version =
            Version::parse(&version).map_err(|error| bad(format!("`{version}` is no version: {error}")))?;
        let repository = stecker_package::repository(prefix, &name)
            .parse()
            .map_err(|error: stecker_distribution::NameError| bad(error.to_string()))?;
        let tag = tag(&version.to_string())
            .parse()
            .map_err(|error: stecker_distribution::TagError| bad(error.to_string()))?;
        Ok(Self {
            name,
            version,
            repository,
            tag,
        })
    }
}

fn bad_request(message: String) -> ApiError {
    ApiError::new(Code::Unsupported, message).status(axum::http::StatusCode::BAD_REQUEST)
}

fn json(value: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(|error| ApiError::new(Code::Unknown, error.to_string()))?;
    let headers = [
        (axum::http::header::CONTENT_TYPE, "application/json"),
        (axum::http::header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = to_bytes(body, BODY)
        .await
        .map_err(|error| bad_request(format!("the body was not taken: {error}")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| bad_request(format!("the body is not understood: {error}")))
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn listed(
    name: PluginName,
    version: Version,
    release: &Release,
    title: String,
    description: String,
) -> Result<ListedRelease, ApiError> {
    let image = release
        .digest
        .as_str()
        .parse()
        .map_err(|error| ApiError::new(Code::Unknown, format!("{}: {error}", release.digest)))?;
    Ok(ListedRelease {
        name,
        version,
        title,
        description,
        image,
        published: time(release.released_at),
        yanked: release.yanked.as_ref().map(|yank| YankedRelease {
            at: time(yank.at),
            reason: yank.reason.clone(),
        }),
        deprecated: release.deprecated.as_ref().map(|deprecation| DeprecatedRelease {
            at: time(deprecation.at),
            message: deprecation.message.clone(),
            deadline: deprecation.deadline.map(day),
        }),
    })
}

pub(crate) fn day(millis: i64) -> Date {
    time(millis).to_zoned(TimeZone::UTC).date()
}

async fn show(State(manage): State<Arc<Manage>>, Path(which): Which, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let shown = async {
        let asked = Asked::of(&manage.prefix, which)?;
        let asker = manage.http.asker(&parts).await?;
        asker.require(&asked.repository, Action::Pull).await?;
        all_about(&manage, &asked).await
    };
    shown.await.unwrap_or_else(IntoResponse::into_response)
}

async fn all_about(manage: &Manage, asked: &Asked) -> Result<Response, ApiError> {
    let missing = || {
        ApiError::new(
            Code::ManifestUnknown,
            format!("there is no release {} of {}", asked.version, asked.name),
        )
    };
    let release = manage
        .http
        .registry
        .release(&asked.repository, &asked.tag)
        .await?;
    let release = release.filter(|release| release.there).ok_or_else(missing)?;
    let facts = manage
        .facts
        .of(&manage.http.registry, &asked.repository, &release.digest)
        .await?
        .ok_or_else(missing)?;
    let signatures = facts::signatures(&manage.http.registry, &asked.repository, &release.digest).await?;
    let listed = listed(
        asked.name.clone(),
        asked.version.clone(),
        &release,
        facts.manifest.title.clone(),
        facts.manifest.description.clone(),
    )?;
    json(&facts.detail(listed, signatures))
}

/// What a change does.
enum Change {
    Yank(YankRelease),
    Unyank,
    Deprecate(DeprecateRelease),
    Undeprecate,
}

async fn change(
    manage: &Manage,
    which: (String, String, String),
    request: Request,
    read: impl AsyncFnOnce(Body) -> Result<Change, ApiError>,
) -> Response {
    let (parts, body) = request.into_parts();
    let changed = async {
        let asked = Asked::of(&manage.prefix, which)?;
        let asker = manage.http.asker(&parts).await?;
        // Before anything of the body is looked at.
        asker.require(&asked.repository, Action::Push).await?;
        let registry = &manage.http.registry;
        let (repository, tag) = (&asked.repository, &asked.tag);
        let word = match read(body).await? {
            Change::Yank(YankRelease { reason }) => {
                registry.yank(repository, tag, &reason).await?;
                "yanked"
            }
            Change::Unyank => {
                registry.unyank(repository, tag).await?;
                "offered again"
            }
            Change::Deprecate(DeprecateRelease { message, deadline }) => {
                if message.trim().is_empty() {
                    return Err(bad_request(
                        "a deprecation has a message: why, and where to move".to_owned(),
                    ));
                }
                let deadline = deadline.map(midnight).transpose()?;
                registry.deprecate(repository, tag, &message, deadline).await?;
                "deprecated"
            }
            Change::Undeprecate => {
                registry.undeprecate(repository, tag).await?;
                "not deprecated any more"
            }
        };
        tracing::info!(release = %format!("{}@{}", asked.name, asked.version), by = asker.name(), "{word}");
        all_about(manage, &asked).await
    };
    changed.await.unwrap_or_else(IntoResponse::into_response)
}

fn midnight(day: Date) -> Result<i64, ApiError> {
    let zoned = day
        .to_zoned(TimeZone::UTC)
        .map_err(|error| bad_request(format!("the deadline {day}: {error}")))?;
    Ok(zoned.timestamp().as_millisecond())
}

async fn yank(State(manage): State<Arc<Manage>>, Path(which): Which, request: Request) -> Response {
    change(&manage, which, request, async |body| {
        read(body).await.map(Change::Yank)
    })
    .await
}

async fn unyank(State(manage): State<Arc<Manage>>, Path(which): Which, request: Request) -> Response {
    change(&manage, which, request, async |_| Ok(Change::Unyank)).await
}

async fn deprecate(State(manage): State<Arc<Manage>>, Path(which): Which, request: Request) -> Response {
    change(&manage, which, request, async |body| {
        read(body).await.map(Change::Deprecate)
    })
    .await
}

async fn undeprecate(State(manage): State<Arc<Manage>>, Path(which): Which, request: Request) -> Response {
    change(&manage, which, request, async |_| Ok(Change::Undeprecate)).await
}
