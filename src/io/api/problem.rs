//! What the API says when it does not do something: a problem document (RFC 9457).

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{self, RefOr};
use utoipa::{IntoResponses, ToSchema};

use crate::call::HangupCause;
use crate::config::ApiScope;
use crate::io::calling_back::NotBegun;
use crate::io::store::StoreError;
use crate::policy::{DenialReason, Permission};
use crate::time::Wall;

/// A problem document, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// Which kind of problem, a word of ours as a relative URI reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in a few words, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong this time and what to do about it.
    pub detail: String,
    /// From when on it may be tried again, where that is known, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub until: Option<String>,
}

/// The kinds of problems, each with its status and title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something in the request cannot be read.
    BadRequest,
    /// No token, or none of ours.
    NoToken,
    /// The token lacks a scope.
    NoScope,
    /// There is no such thing.
    NotFound,
    /// The path knows other methods.
    NotAllowed,
    /// What is there stands in the way.
    Conflict,
    /// The body is too long.
    TooLong,
    /// The body is no JSON.
    NotJson,
    /// It can be read and makes no sense.
    Senseless,
    /// Too much at once.
    Busy,
    /// Something of ours does not work.
    Broken,
    /// Meta said no.
    MetaRefused,
    /// Meta did not answer.
    MetaAway,
}

impl Kind {
    /// Every kind.
    #[cfg(test)]
    const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::NoToken,
        Self::NoScope,
        Self::NotFound,
        Self::NotAllowed,
        Self::Conflict,
        Self::TooLong,
        Self::NotJson,
        Self::Senseless,
        Self::Busy,
        Self::Broken,
        Self::MetaRefused,
        Self::MetaAway,
    ];

    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::BadRequest => ("bad-request", StatusCode::BAD_REQUEST, "The request cannot be read"),
            Self::NoToken => ("no-token", StatusCode::UNAUTHORIZED, "A bearer token is needed"),
            Self::NoScope => ("no-scope", StatusCode::FORBIDDEN, "The token is not good for this"),
            Self::NotFound => ("not-found", StatusCode::NOT_FOUND, "There is no such thing"),
            Self::NotAllowed => {
                ("not-allowed", StatusCode::METHOD_NOT_ALLOWED, "The method is not known here")
            }
            Self::Conflict => ("conflict", StatusCode::CONFLICT, "It cannot be done now"),
            Self::TooLong => ("too-long", StatusCode::PAYLOAD_TOO_LARGE, "The body is too long"),
            Self::NotJson => ("not-json", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON"),
            Self::Senseless => ("senseless", StatusCode::UNPROCESSABLE_ENTITY, "The request makes no sense"),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "The gateway is busy or stopping"),
            Self::Broken => ("broken", StatusCode::INTERNAL_SERVER_ERROR, "Something of ours does not work"),
            Self::MetaRefused => ("meta-refused", StatusCode::BAD_GATEWAY, "Meta refused"),
            Self::MetaAway => ("meta-away", StatusCode::GATEWAY_TIMEOUT, "Meta cannot be reached"),
        }
    }

    /// The HTTP status.
    pub(super) const fn status(self) -> u16 {
        self.row().1.as_u16()
    }

    /// The kind in a few words.
    pub(super) const fn title(self) -> &'static str {
        self.row().2
    }

    /// A problem of this kind.
    #[must_use]
    pub fn because(self, detail: impl Into<String>) -> Problem {
        let (kind, status, title) = self.row();
        Problem {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            until: None,
        }
    }
}

impl Problem {
    /// What the verdict table says of a cause, and when it may be otherwise.
    #[must_use]
    pub fn of(cause: HangupCause, until: Option<Wall>) -> Self {
        let told = cause.problem();
        // An ordinary end of a call is none of a request that was to begin one.
        let status = if told.status < 400 { StatusCode::CONFLICT.as_u16() } else { told.status };
        Self {
            kind: format!("/problems/{}", told.kind),
            title: told.title.to_owned(),
            status,
            detail: told.detail.to_owned(),
            until: until.map(|it| it.to_string()),
        }
    }

    /// The token lacks `scope`.
    #[must_use]
    pub fn lacks(scope: ApiScope) -> Self {
        Kind::NoScope.because(format!("the token needs the scope {:?}; see [[api.token]]", scope.as_str()))
    }
}

/// The statuses of the verdict table, for what may be refused by a rule, by Meta or by a phone.
pub(super) struct Verdicts;

impl IntoResponses for Verdicts {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let statuses: BTreeSet<u16> =
            HangupCause::all().into_iter().map(|it| Problem::of(it, None).status).collect();
        let problem = |status: u16| {
            let schema = openapi::Ref::from_schema_name("Problem");
            let content = openapi::ContentBuilder::new().schema(Some(schema)).build();
            let text = "A rule, Meta or the gateway says no: a row of the verdict table";
            let response = openapi::ResponseBuilder::new().description(text);
            let response = response.content("application/problem+json", content).build();
            (status.to_string(), response.into())
        };
        statuses.into_iter().map(problem).collect()
    }
}

impl From<NotBegun> for Problem {
    fn from(why: NotBegun) -> Self {
        let kind = match why {
            NotBegun::Refused(cause) => return Self::of(cause, None),
            NotBegun::NotAllowed(permission) => {
                let reason = match permission {
                    Permission::Temporary { .. } => DenialReason::PermissionExpired,
                    _ => DenialReason::NoPermission,
                };
                return Self::of(HangupCause::Denied(reason), None);
            }
            NotBegun::Store(error) => return error.into(),
            NotBegun::NoPhone | NotBegun::NoGroup | NotBegun::NothingMissed => Kind::NotFound,
            NotBegun::Claimed(_) | NotBegun::NotAMember | NotBegun::Settled => Kind::Conflict,
            NotBegun::Stopping => Kind::Busy,
        };
        kind.because(why.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a request of the API failed at the store");
        match error {
            StoreError::Busy | StoreError::Closed | StoreError::Uncertain => {
                Kind::Busy.because("the store did not do it in time; try again")
            }
            _ => Kind::Broken.because("the store said no; the log has the reason"),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let kind = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::NotJson,
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLong,
            StatusCode::UNPROCESSABLE_ENTITY => Kind::Senseless,
            _ => Kind::BadRequest,
        };
        kind.because(rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        let kind = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Kind::TooLong
        } else {
            Kind::BadRequest
        };
        kind.because(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Kind::BadRequest.because(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Kind::NotFound.because(rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_has_a_name_and_a_title_of_its_own() {
        let names: BTreeSet<_> = Kind::ALL.iter().map(|it| it.row().0).collect();
        let titles: BTreeSet<_> = Kind::ALL.iter().map(|it| it.row().2).collect();
        assert_eq!((names.len(), titles.len()), (Kind::ALL.len(), Kind::ALL.len()));
    }

    #[test]
    fn a_problem_tells_its_type_and_a_client_without_token_what_to_bring() {
        let response = Kind::NoToken.because("none").into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
